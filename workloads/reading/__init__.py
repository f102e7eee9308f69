"""Reading a config.json: from its keys, by the rules of its family, to the parts of a model."""

from .model import read_model
from .quantization import Stored

__all__ = ["Stored", "read_model"]
