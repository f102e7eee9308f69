"""Products, chains and a layer of GPT-3 6.7B on AccelForge's chips, beside its optima of them."""
