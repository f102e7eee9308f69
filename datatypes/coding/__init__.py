"""From groups of numbers to codes: one file a coder, each with its scales and searches."""
