"""What twenty language models take on shipped chips, as tables and a chart."""
