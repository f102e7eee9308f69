"""Proofs of mappings: read, counted again and checked, with nothing but Python's own library."""
