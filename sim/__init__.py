"""What happens: processing elements, arrays, memory, the engine that runs a mapped layer."""
