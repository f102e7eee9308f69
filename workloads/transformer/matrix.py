"""Weights of a transformer: matrices and tables; and a product of a pass, with what it reads."""

from dataclasses import dataclass

from ..gemm import Gemm


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """A weight matrix, and perhaps a bias.

    Attributes
    ----------
    stage : str
        Where in a part it stands, e.g. ``"query"``.
    name : str
        Name of its product, e.g. ``"q_proj"``.
    outputs, inputs : int
        Rows and columns.
    bias : bool
        Whether a bias of ``outputs`` elements is added.
    keys, values : int
        Outputs that are keys, and values, of the K/V cache.
    """

    stage: str
    name: str
    outputs: int
    inputs: int
    bias: bool = False
    keys: int = 0
    values: int = 0

    @property
    def elements(self) -> int:
        """Elements of the matrix, its bias not."""
        return self.outputs * self.inputs

    @property
    def parameters(self) -> int:
        """Elements of the matrix and its bias."""
        return self.elements + self.bias * self.outputs

    def gemm(self, rows: int, sequences: int = 1) -> Gemm:
        """Return the product with ``rows`` tokens, which ``sequences`` share equally."""
        return Gemm(
            name=self.name,
            m=rows,
            n=self.outputs,
            k=self.inputs,
            sequences=sequences,
            keys=self.keys,
            values=self.values,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """An embedding: ``rows`` vectors of ``width`` elements, looked up rather than multiplied."""

    name: str
    rows: int
    width: int

    @property
    def elements(self) -> int:
        """Elements of the table."""
        return self.rows * self.width


ENTRY = ""  # among the inputs of a product: what its part reads
SOURCE = "<source>"  # what the encoder leaves


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A matrix product of one layer, with what it reads.

    Attributes
    ----------
    stage : str
        Where in its part it stands.
    gemm : Gemm
        The product; ``count`` instances of it run one after another (experts).
    inputs : tuple of str
        Names of the products whose results it reads; ``ENTRY`` is what its part reads,
        ``SOURCE`` what the encoder leaves.
    weights : tuple of str
        Names of the products whose results are its weight operand: K and V of attention.
    parts : int
        Instances whose results are read together; 1 elsewhere.
    leaves : bool
        Whether its results are some of the model's, whoever reads them besides.
    direct : bool
        Whether its input is what ``inputs`` made, each element in its place, worked on there or
        not: nothing between them moves, joins, repeats or leaves out any.
    takes : tuple of str or None
        Names of the products, or steps of the vector unit, whose results it reads as they lie
        there. None: of ``inputs``, those whose results no step takes from memory.
    """

    stage: str
    gemm: Gemm
    inputs: tuple[str, ...] = (ENTRY,)
    weights: tuple[str, ...] = ()
    parts: int = 1
    leaves: bool = False
    direct: bool = True
    takes: tuple[str, ...] | None = None
