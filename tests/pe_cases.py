"""Weights that the tests of the bit-serial PE draw from."""

# the integers on the PE's grid, by format
GRIDS = {
    "int8": range(-128, 128),
    "int7": range(-64, 64),
    "int6": range(-32, 32),
    "int5": range(-16, 16),
    "int4": range(-8, 8),
    "int3": range(-4, 4),
    "fp4_e2m1": sorted({s * m for m in (0, 1, 2, 3, 4, 6, 8, 10, 12, 16) for s in (1, -1)}),
    "fp3_e2m0": sorted({s * m for m in (0, 1, 2, 3, 4, 6) for s in (1, -1)}),
}
