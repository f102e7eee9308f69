"""What quantization papers say of their methods, checked on the weights of MiniLM-L6."""

from .study import Checked, Statement, print_tables, reproduce, write

__all__ = ["Checked", "Statement", "print_tables", "reproduce", "write"]
