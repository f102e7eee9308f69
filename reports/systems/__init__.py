"""Systems of chips: what is printed of a run, and how runs scale with the chips."""
