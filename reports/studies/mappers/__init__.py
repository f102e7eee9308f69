"""The published rules against a search of mappings, on chips of equal area."""
