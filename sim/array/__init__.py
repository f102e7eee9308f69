"""Arrays of PEs: clock-by-clock simulators and their closed forms."""
