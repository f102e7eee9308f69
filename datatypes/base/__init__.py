"""What every room stands on: errors, strict YAML and JSON, arrays, compiled functions."""
