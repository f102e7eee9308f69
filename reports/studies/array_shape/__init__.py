"""Array shape: one array for prefill and decode, from tall to wide."""
