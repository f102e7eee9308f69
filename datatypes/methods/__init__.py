"""Calibration: methods that choose scales, codes, rotations and rests of a layer's weights."""
