"""Schemes: an element format, its groups, its scales; how they are written and laid out."""
