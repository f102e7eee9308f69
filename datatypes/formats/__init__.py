"""Number formats: their grids, rounding, casts, the catalogue and files of one's own."""
