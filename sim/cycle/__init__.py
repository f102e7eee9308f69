"""The cycle rung: folds, tiles, buffers and DRAM as events."""
