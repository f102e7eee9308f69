"""Reading a config.json: from its keys, by the rules of its family, to the parts of a model."""

from .model import read_model

__all__ = ["read_model"]
