"""Kernels of the searches: dual grain, outlier pairs, bit planes, ranges."""
