"""Marks, ticks and styles of all charts."""
