"""What it runs on: chips as YAML, their schema and loader, component tables."""
