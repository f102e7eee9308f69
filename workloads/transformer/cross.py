"""Attention of a decoder to its source: keys and values are made once of what an encoder leaves.

Or of what a tower leaves of an image, in some layers of a decoder.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from ...datatypes.base.errors import BitlatheError
from ..gemm import Gemm
from ..vector_step import VectorStep
from .attention import Attention
from .forward import Forward, Group
from .matrix import SOURCE, Matrix, Product
from .network import Transformer
from .part import Part, into_cache, linear, softmax, streamed


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossAttention(Part):
    """Attention whose keys and values are those of the source, kept for all tokens.

    Attributes
    ----------
    heads : Attention
        Its sizes and projections; queries, keys and values have a matrix each.
    """

    heads: Attention

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return self.heads.exits

    @property
    def other_parameters(self) -> int:
        """Parameters of norms."""
        return self.heads.other_parameters

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        yield from self.heads.matrices()

    def source_elements(self, source: int) -> int:
        """Return the keys and values kept of a sequence's source."""
        return self.heads.cache_elements(source)

    def seen(self, run: Forward) -> tuple[int, int]:
        """Return the tokens of a source, and the sources that are read in a pass."""
        return run.source, run.sources

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass; keys and values where sources are read."""
        query, key, value = self.heads.inputs
        yield linear(query, run)
        source, sources = self.seen(run)
        if sources:
            for matrix in (key, value):
                gemm = matrix.gemm(sources * source, sources)
                yield Product(stage=f"source_{matrix.stage}", gemm=gemm, inputs=(SOURCE,))
        for group in run.groups:
            scores = self._scores(group, source)
            yield Product(stage="scores", gemm=scores, inputs=(query.name,), weights=(key.name,))
            mix = replace(
                scores,
                name="attention_av_cross",
                n=self.heads.head_dim,
                k=source,
                kind="attention_av",
            )
            yield Product(
                stage="mix",
                gemm=mix,
                inputs=(scores.name,),
                weights=(value.name,),
                parts=len(run.groups),
            )
        yield linear(self.heads.out, run, ("attention_av_cross",))

    def _scores(self, group: Group, source: int) -> Gemm:
        """Return queries times all keys of the source, per key/value head."""
        shared = self.heads.heads // self.heads.kv_heads
        return Gemm(
            name="attention_qk_cross",
            m=shared * group.new,
            n=source,
            k=self.heads.head_dim,
            batch=group.sequences * self.heads.kv_heads,
            kind="attention_qk",
            stationary="kv_cache",
            rows_per_token=shared,
        )

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield norms of queries and keys, the writing of the source's, and the softmax."""
        heads, (source, sources) = self.heads, self.seen(run)
        query, key, value = (matrix.name for matrix in heads.inputs)
        kept = sources * source * heads.kv_heads
        if heads.qk_norm is not None:
            for name, rows in ((query, run.rows * heads.heads), (key, kept)):
                if rows:
                    elements = rows * heads.head_dim
                    held = heads.vectors // 2
                    yield streamed(
                        f"{name}_norm", heads.qk_norm, elements, rows, (name,), learned=held
                    )
        if sources:
            yield into_cache(2 * kept * heads.head_dim, 2 * kept, (key, value))
        for group in run.groups:
            yield softmax(self._scores(group, source), "_cross")


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageAttention(CrossAttention):
    """Attention of all tokens to an image's ``tokens``, whose keys and values a prompt makes.

    The layer lets in what two gates, numbers, say: of the attention and of its MLP.
    """

    tokens: int

    @property
    def other_parameters(self) -> int:
        """Parameters of norms, and the gates."""
        return self.heads.other_parameters + 2

    @property
    def rank(self) -> int:
        """Behind attention of the tokens to each other."""
        return 1

    @property
    def state_elements(self) -> int:
        """Keys and values of the image."""
        return self.heads.cache_elements(self.tokens)

    def source_elements(self, source: int) -> int:
        """Return nothing: there is no encoder of a source."""
        return 0

    def seen(self, run: Forward) -> tuple[int, int]:
        """Return the tokens of an image, and the prompts that begin, each with one."""
        return self.tokens, sum(group.sequences for group in run.groups if not group.cached)


def sees_images(shape: Transformer) -> bool:
    """Return whether layers of a text model attend to an image."""
    return any(isinstance(part, ImageAttention) for part, _ in shape.parts())


def without_images(shape: Transformer) -> Transformer:
    """Return a text model as it runs where no image is given: the layers that see one are skipped.

    The others keep their numbers.

    Raises
    ------
    BitlatheError
        If no layer is left.
    """
    left = tuple(
        layers
        for layers in shape.layers
        if not any(isinstance(part, ImageAttention) for part in layers.parts)
    )
    if not left:
        raise BitlatheError("all its layers attend to an image: nothing runs without one.")
    return replace(shape, layers=left)
