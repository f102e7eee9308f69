"""What stands between the products of a transformer: norms, residual sums, embeddings."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from ..vector_step import Tensor, VectorStep
from .forward import Forward
from .network import Layers, Transformer

_LOOKED_UP = {"words": "embedding", "layer_words": "layer_embedding"}


def vector_steps(shape: Transformer, run: Forward) -> tuple[VectorStep, ...]:
    """Return the steps of a vector unit in a forward pass, those that layers share once."""
    found = [*_embedding(shape, run)]
    for layers in shape.layers:
        found += (
            replace(step, count=step.count * layers.count)
            for step in _of_layer(layers, run, shape.hidden)
        )
    found += _final_norms(shape, run)
    return tuple(_merged(found))


def _merged(steps: Iterable[VectorStep]) -> list[VectorStep]:
    count: dict[VectorStep, int] = {}
    for step in steps:
        alone = replace(step, count=1)
        count[alone] = count.get(alone, 0) + step.count
    return [replace(step, count=n) for step, n in count.items()]


def _embedding(shape: Transformer, run: Forward) -> Iterator[VectorStep]:
    """Yield the look-ups of words: a row of each of their tables for each token."""
    for table in shape.tables:
        if table.name not in _LOOKED_UP:
            continue
        width = shape.hidden if table.name == "words" else table.width
        rows = Tensor(run.rows * width, width)
        yield VectorStep(
            name=_LOOKED_UP[table.name],
            operations=(),
            rows=run.rows,
            elements=rows.elements,
            after=(),
            reads=(rows,),
            writes=(rows,),
        )


def _final_norms(shape: Transformer, run: Forward) -> Iterator[VectorStep]:
    """Yield the norms behind the last layer, of the tokens that the output head works on."""
    if shape.final_norms:
        width, rows = shape.hidden, run.logits
        if shape.normed_tokens is not None:
            rows = run.sequences * shape.normed_tokens
        elif any(head.rows_each for head in shape.heads):  # a tower leaves all its tokens
            rows = run.rows
        yield VectorStep(
            name="final_norm",
            operations=(shape.norm,) * shape.final_norms,
            rows=rows,
            elements=rows * width,
            after=shape.layers[-1].parts[-1].exits,
            reads=(Tensor(rows * width, width, "norm", "input"),),
            writes=(Tensor(rows * width, width, "lm_head", "input"),),
            learned=shape.final_norms * _held(shape.layers[-1], shape.norm, width),
        )


def _held(layers: Layers, norm: str, width: int) -> int:
    """Return the numbers that a norm behind some layers holds: as many as one of theirs."""
    if layers.norm_count:
        return layers.norm_parameters // layers.norm_count
    return width * (2 if norm == "layer_norm" else 1)


def _of_layer(layers: Layers, run: Forward, width: int) -> Iterator[VectorStep]:
    """Yield the steps of one layer: of parts in turn their own, then residual sums and norms.

    A layer's first norm stands behind its last part, which feeds the next layer's.
    """
    turns = layers.turns
    for i, turn in enumerate(turns):
        for part in turn:
            yield from part.vector_steps(run)
        norms = _share(layers.norm_count, len(turns), i)
        after = turn[-1].exits[-1]
        yield from _sums_and_norms(layers, norms, len(turn), run.rows, width, after)


def _sums_and_norms(
    layers: Layers, norms: int, sums: int, rows: int, width: int, after: str
) -> Iterator[VectorStep]:
    """Yield the residual sum and the norms behind a part.

    Parameters
    ----------
    layers : Layers
        Which kind of norm.
    norms, sums : int
        How many: with two norms the first is that of the part's result, ahead of the sum.
    rows, width : int
        Tokens, and their elements.
    after : str
        The product that the part ends with.
    """
    stream, result = Tensor(rows * width, width, "norm", "input"), Tensor(rows * width, width)
    alone = VectorStep(
        name=f"{after}_residual",
        operations=("add",) * sums,
        rows=rows,
        elements=stream.elements,
        after=(after,),
        streams=True,
        pieces=stream.elements,
        reads=(stream,) * sums,
        makes=(stream,),
    )
    if norms < 2:
        yield alone
    if norms:
        both = norms > 1
        yield replace(
            alone,
            name=f"{after}_norm{'s' if both else ''}",
            operations=(*(alone.operations if both else ()), *(layers.norm,) * norms),
            streams=False,
            pieces=1,
            reads=(*((result,) if both else ()), *(stream,) * (sums if both else 1)),
            writes=(*((stream,) if both else ()), result._replace(operand="input")),
            makes=(),
            learned=layers.norm_parameters * norms // layers.norm_count,
        )


def _share(norms: int, parts: int, i: int) -> int:
    """Return the norms behind the ``i``-th part; the last parts have more.

    Examples
    --------
    >>> [_share(3, 2, i) for i in range(2)], [_share(1, 1, 0)]
    ([1, 2], [1])
    """
    if parts == 1:
        return norms
    return norms // parts + (i >= parts - norms % parts)
