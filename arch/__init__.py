"""What it runs on: chips as YAML, their schema and loader, component tables."""

from .loader import arch_names, load_arch, resolve
from .schema import Arch, Operand

__all__ = ["Arch", "Operand", "arch_names", "load_arch", "resolve"]
