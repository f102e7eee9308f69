"""What skipping zero terms gains, by format and by what has to step together."""
