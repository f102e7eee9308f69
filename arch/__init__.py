"""What it runs on: chips as YAML, their schema and loader, component tables."""

from .loader import arch_names, load_arch, resolve
from .schema import Arch, Operand
from .system import System, load_system, system_names

__all__ = [
    "Arch",
    "Operand",
    "System",
    "arch_names",
    "load_arch",
    "load_system",
    "resolve",
    "system_names",
]
