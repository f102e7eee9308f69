"""What a reader found: the configuration of a model, or the products themselves."""

from dataclasses import dataclass

from ..config import Config
from ..products import Products
from .weights import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model as its reader leaves it.

    Attributes
    ----------
    name : str
        What the model is called.
    what : Config or Products
        Keys from which a model is yet to be built, or the products.
    notes : tuple of str
        What of the source is left out or assumed, a sentence each.
    weights : Weights or None
        The tensors that a model built from the keys has to have.
    """

    name: str
    what: Config | Products
    notes: tuple[str, ...] = ()
    weights: Weights | None = None
