"""The machine that executes a mapping: memories of any number, transfers on ports, the array."""
