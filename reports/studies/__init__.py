"""Shipped studies: sweep files, and a ranking of schemes on real weights."""
