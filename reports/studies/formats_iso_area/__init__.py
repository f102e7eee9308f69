"""Formats at equal array area: what a format saves, and what it costs in accuracy."""
