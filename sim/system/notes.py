"""What to know about how a model lies on a system, a sentence each."""

from collections.abc import Iterator, Sequence

from ...arch.schema import Arch
from ...arch.system import Parallel
from ...workloads import Model, Transformer
from ...workloads.slices import shares
from ...workloads.transformer import Attention, CrossAttention, Experts, LatentAttention, Mlp
from .capacity import shortfall
from .run import ShareRun


def notes_of(
    arch: Arch, model: Model, parallel: Parallel, kinds: Sequence[ShareRun]
) -> Iterator[str]:
    """Yield what does not divide, is stored more than once, or does not fit.

    Parameters
    ----------
    arch : Arch
        The chip in this phase.
    model : Model
        The whole model.
    parallel : Parallel
    kinds : sequence of ShareRun
    """
    if isinstance(model.shape, Transformer):
        yield from dict.fromkeys(_divided(model.shape, parallel))
    if model.towers:
        yield "towers run by themselves and are not counted here: load them as models of their own."
    largest = max(kinds, key=lambda each: each.weight_bits + each.cache_bits)
    where = f"a chip of stage {largest.stage}" if parallel.pipeline > 1 else "a chip"
    short = shortfall(arch, largest.weight_bits, largest.cache_bits, where)
    if short is not None:
        yield short


def _divided(shape: Transformer, parallel: Parallel) -> Iterator[str]:
    tensor = parallel.tensor
    for part, _ in shape.parts():
        heads = part.heads if isinstance(part, CrossAttention) else part
        if isinstance(heads, Attention):
            if tensor > heads.kv_heads:
                yield _replicated(heads.kv_heads, tensor)
            else:
                yield from _uneven(heads.kv_heads, tensor, "K/V heads", "chips")
        if isinstance(part, LatentAttention):
            yield from _uneven(part.heads, tensor, "attention heads", "chips")
            if tensor > 1:
                yield f"latents of keys and values are stored on each of {tensor} chips."
        if isinstance(part, Mlp):
            yield from _uneven(part.inner, tensor, "inner elements of an MLP", "chips")
        if isinstance(part, Experts):
            yield from _uneven(part.expert.inner, tensor, "inner elements of an expert", "chips")
            yield from _uneven(part.total, parallel.expert, "experts", "chips")
    yield from _uneven(shape.vocabulary, tensor, "words", "chips")
    yield from _uneven(shape.depth, parallel.pipeline, "layers", "stages")


def _replicated(kv_heads: int, chips: int) -> str:
    few, more = divmod(chips, kv_heads)
    each = f"{few}" if not more else f"{few} to {few + 1}"
    heads = "the K/V head is" if kv_heads == 1 else f"each of {kv_heads} K/V heads is"
    return f"{heads} stored on {each} of {chips} chips, which share its query heads."


def _uneven(total: int, parts: int, what: str, who: str) -> Iterator[str]:
    if total % parts:
        sizes = shares(total, parts)
        yield (
            f"{total:,} {what} on {parts} {who}: {sizes[0]:,} at most, {sizes[-1]:,} at least; the "
            "largest share bounds the time."
        )
