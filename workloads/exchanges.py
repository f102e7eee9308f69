"""What chips that share a model send each other in a pass: which collectives, of how many elements.

One all-reduce behind each part of a layer that chips divide (arXiv 1909.08053, figure 3), none
between the parts of layers whose parts run side by side; all-to-alls to and from experts of other
chips (arXiv 2006.16668, section 3.2), whose results are summed where the token is, then reduced.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from .products import Products
from .sharding import ON_EACH_CHIP, Place
from .transformer import Attention, CrossAttention, Forward, Layers, Part, Recurrent, Transformer
from .transformer.expert_share import ExpertShare
from .transformer.shared_block import SharedBlock

Kind = Literal["all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send"]
Way = Literal["tensor", "expert", "pipeline"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A collective of the chips that divide a model in one ``way``, in ``count`` equal layers.

    Attributes
    ----------
    name : str
        What it follows, and what it does.
    kind : {"all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send"}
    way : {"tensor", "expert", "pipeline"}
    elements : int
        Of the vector that each chip ends with (all_reduce, all_gather), starts with
        (reduce_scatter, all_to_all) or sends on.
    width : int
        Elements of a row of it.
    count : int
    """

    name: str
    kind: Kind
    way: Way
    elements: int
    width: int
    count: int = 1


def exchanges(
    shape: Transformer, own: Transformer, place: Place, run: Forward
) -> Iterator[Exchange]:
    """Yield what a chip takes part in, in a pass, in the order of execution.

    Parameters
    ----------
    shape : Transformer
        The whole model.
    own : Transformer
        The chip's share (`sharding.shard`).
    place : Place
        Which share that is.
    run : Forward
        The pass of the chip's own tokens.
    """
    if own.encoder is not None and shape.encoder is not None and run.sources:
        yield from exchanges(shape.encoder, own.encoder, place, run.of_encoder())
    tensor, stage, stream = place.tensor.parts, place.stage, run.rows * shape.hidden
    if tensor > 1 and own.vocabulary:
        yield _reduce("embedding", stream, shape.hidden)
    for layers in own.layers:
        for each in _of_layer(layers, run, shape.hidden, tensor):
            yield replace(each, count=each.count * layers.count)
    for head in own.heads:
        if tensor > 1 and head.words:
            words = sum(each.matrix.outputs for each in shape.heads if each.words)
            name, rows = f"{head.matrix.name}_gather", head.rows(run)
            yield Exchange(
                name=name, kind="all_gather", way="tensor", elements=rows * words, width=words
            )
    if stage.index < stage.parts - 1:
        yield Exchange(
            name="stage_send", kind="send", way="pipeline", elements=stream, width=shape.hidden
        )


def exchanges_of_list(own: Products, inputs: int) -> Iterator[Exchange]:
    """Yield what a chip takes part in that has a share of a list of products.

    Parameters
    ----------
    own : Products
        The chip's share (`sharding.shard`).
    inputs : int
        Of the model, at once.
    """
    for joint in own.joints:
        yield Exchange(
            name=joint.name,
            kind=joint.kind,
            way="tensor",
            elements=inputs * joint.elements,
            width=joint.width,
            count=joint.count,
        )


def _of_layer(layers: Layers, run: Forward, hidden: int, tensor: int) -> Iterator[Exchange]:
    """Yield the exchanges of one layer; parts side by side are summed once, behind the last."""
    last = [i == len(turn) - 1 for turn in layers.turns for i in range(len(turn))]
    for part, summed in zip(layers.parts, last, strict=True):
        if tensor > 1:
            yield from _within(part, run)
        if isinstance(part, ExpertShare):
            visits = run.rows * part.mixture.active * hidden
            for name in ("expert_dispatch", "expert_combine"):
                yield Exchange(
                    name=name, kind="all_to_all", way="expert", elements=visits, width=hidden
                )
        if tensor > 1 and summed and not isinstance(part, ON_EACH_CHIP):
            yield _reduce(part.exits[-1], run.rows * hidden, hidden)


def _within(part: Part, run: Forward) -> Iterator[Exchange]:
    """Yield the exchange of a norm over all heads: a sum of squares a row, of queries and keys."""
    if isinstance(part, Recurrent):
        yield from _within_state(part, run)
    if isinstance(part, SharedBlock):  # the MLP reads all of what attention leaves
        left = part.attention.out.outputs
        yield _reduce(part.attention.output, run.rows * left, left)
    heads = part.heads if isinstance(part, CrossAttention) else part
    if not isinstance(heads, Attention) or heads.qk_norm is None:
        return
    if heads.qk_norm_width != heads.head_dim:
        yield _reduce("qk_norm", 2 * run.rows, 1)


def _within_state(part: Recurrent, run: Forward) -> Iterator[Exchange]:
    """Yield what chips sum that share a state's channels.

    Step sizes, B and C of Mamba are made of all channels; the norm of Mamba-2's gated results
    needs a sum of squares a row.
    """
    if part.rule == "selective_scan":
        steps = part.behind[0][0]
        yield _reduce(steps.name, run.rows * steps.outputs, steps.outputs)
    if part.rule == "state_space" and part.gate_norm:
        yield _reduce("gate_norm", run.rows, 1)


def _reduce(after: str, elements: int, width: int) -> Exchange:
    return Exchange(
        name=f"{after}_reduce", kind="all_reduce", way="tensor", elements=elements, width=width
    )
