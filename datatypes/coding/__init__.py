"""From groups of numbers to codes: one file for each coder, with its scales and searches."""
