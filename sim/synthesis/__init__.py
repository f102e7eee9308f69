"""Synthesis: area, energy and clock of generated hardware, from gates of a cell library."""
