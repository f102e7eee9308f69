"""Readers of weight files: safetensors, GGUF, npy."""
