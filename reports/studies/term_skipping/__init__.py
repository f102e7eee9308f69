"""Term skipping on or off: what skipping zero terms gains, and what waiting loses."""
