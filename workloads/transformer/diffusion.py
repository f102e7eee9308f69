"""Blocks of diffusion transformers: text and image attend to each other, steered by one vector."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..vector_step import Tensor, VectorStep
from .attention import Attention
from .forward import Forward
from .matrix import ENTRY, Matrix, Product
from .mlp import Mlp
from .part import Part, linear, streamed


def steered(name: str, hidden: int, vectors: int) -> Matrix:
    """Return the matrix that makes scales, shifts and gates of the vector that steers a block."""
    return Matrix(stage="steer", name=name, outputs=vectors * hidden, inputs=hidden, bias=True)


def once(matrix: Matrix, run: Forward) -> Product:
    """Return the product of a matrix with one vector of each sequence, which comes from outside."""
    gemm = matrix.gemm(run.sequences, run.sequences)
    return Product(stage=matrix.stage, gemm=gemm, inputs=())


def _rows(matrix: Matrix, run: Forward, rows: int, inputs: tuple[str, ...]) -> Product:
    """Return the product of a matrix with some of the tokens of each sequence."""
    gemm = matrix.gemm(rows * run.sequences, run.equal_sequences)
    return Product(stage=matrix.stage, gemm=gemm, inputs=inputs)


def adapted(name: str, rows: int, width: int, after: tuple[str, ...]) -> VectorStep:
    """Return a norm whose results are scaled and shifted by what steers the block.

    Parameters
    ----------
    name : str
        Of the step.
    rows, width : int
        Tokens, and their elements.
    after : tuple of str
        The products that it waits for.
    """
    vector = Tensor(rows * width, width)
    return VectorStep(
        name=name,
        operations=("layer_norm", "multiply", "add"),
        rows=rows,
        elements=vector.elements,
        after=after,
        reads=(vector,),
        writes=(vector._replace(operand="input"),),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class JointAttention(Part):
    """Attention of text and image together, each with matrices of its own (arXiv:2403.03206).

    Attributes
    ----------
    image : Attention
        Heads, and the matrices of the image's tokens.
    names : tuple of str
        Of the text's matrices: queries, keys, values, output.
    text : int
        Tokens of the text, ahead of the image's.
    steer : tuple of str
        Names of the matrices that steer image and text, six vectors each.
    """

    image: Attention
    names: tuple[str, ...] = ("add_q_proj", "add_k_proj", "add_v_proj", "to_add_out")
    text: int
    steer: tuple[str, ...] = ("norm1_linear", "norm1_context_linear")

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return (self.names[-1], self.image.output)

    @property
    def other_parameters(self) -> int:
        """Parameters of the norms of queries and keys, of image and text."""
        return 2 * self.image.other_parameters

    @property
    def _steers(self) -> tuple[Matrix, ...]:
        return tuple(steered(name, self.image.hidden, 6) for name in self.steer)

    def _pairs(self) -> Iterator[tuple[Matrix, Matrix]]:
        """Yield each matrix of the image with the text's."""
        matrices = (matrix for matrix, _ in self.image.matrices())
        for matrix, name in zip(matrices, self.names, strict=True):
            yield matrix, replace(matrix, name=name)

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        for matrix in self._steers:
            yield matrix, 1
        for pair in self._pairs():
            for matrix in pair:
                yield matrix, 1

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        for matrix in self._steers:
            yield once(matrix, run)
        theirs = {image.name: text for image, text in self._pairs()}
        tokens = run.rows // run.sequences - self.text
        for product in self.image.products(run):
            text = theirs.get(product.gemm.name)
            if text is None:
                both = (
                    tuple(n for name in each for n in (name, *_named(theirs, name)))
                    for each in (product.inputs, product.weights)
                )
                inputs, weights = both
                yield replace(product, inputs=inputs, weights=weights)
                continue
            first = text.stage != "out"
            for i, (matrix, rows) in enumerate(
                ((self._matrix(product), tokens), (text, self.text))
            ):
                inputs = (ENTRY, self.steer[i]) if first else product.inputs
                yield _rows(matrix, run, rows, inputs)

    def _matrix(self, product: Product) -> Matrix:
        name = product.gemm.name
        return next(matrix for matrix, _ in self.image.matrices() if matrix.name == name)

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield what steers, the norms, what attention asks for, and the gates."""
        wide = self.image.hidden
        yield from steering(self.steer[0], 2 * run.sequences, wide)
        yield adapted("adaptive_norm", run.rows, wide, (self.steer[-1],))
        yield from (s for s in self.image.vector_steps(run) if s.name != "kv_cache")
        yield gated("attention_out_gate", run.rows, wide, self.exits)


def _named(theirs: dict[str, Matrix], name: str) -> tuple[str, ...]:
    return (theirs[name].name,) if name in theirs else ()


def steering(name: str, rows: int, width: int) -> Iterator[VectorStep]:
    """Yield the activation of the vector that steers, ahead of each of its matrices."""
    yield replace(streamed(f"{name}_silu", "silu", rows * width, rows, ()), streams=False)


def gated(name: str, rows: int, width: int, after: tuple[str, ...]) -> VectorStep:
    """Return the product of results with a gate that steers the block.

    Parameters
    ----------
    name : str
        Of the step.
    rows, width : int
        Tokens, and their elements.
    after : tuple of str
        The products whose results they are.
    """
    return streamed(name, "multiply", rows * width, rows, after)


@dataclass(frozen=True, slots=True, kw_only=True)
class JointMlp(Part):
    """Two MLPs alike: one of the image's tokens, one of the text's.

    ``image`` is the image's, ``names`` are those of the text's matrices, ``text`` its tokens.
    """

    image: Mlp
    names: tuple[str, ...] = ("ff_context_in", "ff_context_out")
    text: int

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return (self.names[-1], self.image.names[-1])

    def _both(self, run: Forward | None = None) -> tuple[tuple[Mlp, int], ...]:
        """Return both MLPs, with the tokens of each sequence that they see."""
        tokens = 0 if run is None else run.rows // run.sequences - self.text
        return (self.image, tokens), (replace(self.image, names=self.names), self.text)

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        for mlp, _ in self._both():
            yield from mlp.matrices()

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        for mlp, tokens in self._both(run):
            into, back = mlp.into_and_back()
            yield _rows(into, run, tokens, (ENTRY,))
            yield _rows(back, run, tokens, (into.name,))

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield the norms, the activations and the gates."""
        yield adapted("adaptive_norm2", run.rows, self.image.hidden, (ENTRY,))
        for (mlp, tokens), prefix in zip(self._both(run), ("ff_", "ff_context_"), strict=True):
            step = mlp.activated(tokens * run.sequences)
            yield replace(step, name=f"{prefix}{step.name}")
        yield gated("ff_gate", run.rows, self.image.hidden, self.exits)


@dataclass(frozen=True, slots=True, kw_only=True)
class SingleBlock(Part):
    """Attention and an MLP side by side, with one matrix back of what both leave.

    ``attention`` and ``into``: heads, and the matrix into the MLP; ``out`` reads both; ``steer``
    is the name of the matrix that steers it, three vectors.
    """

    attention: Attention
    into: Matrix
    out: Matrix
    steer: str = "norm_linear"

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return (self.out.name,)

    @property
    def other_parameters(self) -> int:
        """Parameters of the norms of queries and keys."""
        return self.attention.other_parameters

    @property
    def rank(self) -> int:
        """Behind blocks of two streams."""
        return 1

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        steer = steered(self.steer, self.attention.hidden, 3)
        for matrix in (steer, *self.attention.inputs, self.into, self.out):
            yield matrix, 1

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        yield once(steered(self.steer, self.attention.hidden, 3), run)
        entry = (ENTRY, self.steer)
        mixes: list[str] = []
        for product in self.attention.products(run):
            if product.stage == "out":
                continue
            mixes += [product.gemm.name] if product.stage == "mix" else []
            yield replace(product, inputs=entry) if product.inputs == (ENTRY,) else product
        yield linear(self.into, run, entry)
        yield linear(self.out, run, (*mixes, self.into.name))

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield what steers, the norm, what attention asks for, the activation and the gate."""
        wide = self.attention.hidden
        yield from steering(self.steer, run.sequences, wide)
        yield adapted("adaptive_norm", run.rows, wide, (self.steer,))
        yield from (s for s in self.attention.vector_steps(run) if s.name != "kv_cache")
        inner = run.rows * self.into.outputs
        yield streamed("mlp_activation", "gelu", inner, inner, (self.into.name,))
        yield gated("single_gate", run.rows, wide, self.exits)
