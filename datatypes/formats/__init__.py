"""Number formats: their grids, rounding, casts, the catalogue and user-defined files."""
