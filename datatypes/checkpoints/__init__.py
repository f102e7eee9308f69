"""Checkpoints: folders and files of many tensors, quantized and written whole; others' layouts."""
