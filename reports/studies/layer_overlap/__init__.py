"""Layers that overlap, results that stay: what a chip gains when layers meet."""
