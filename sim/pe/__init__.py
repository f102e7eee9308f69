"""Processing elements: bit-exact arithmetic of one PE."""
