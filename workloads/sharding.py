"""A chip's share of a model that several chips run: heads, columns, experts, layers.

Each layer is divided as in Megatron-LM (Shoeybi et al., arXiv 1909.08053, section 3): the matrices
into attention and an MLP by columns, those back by rows, so that one sum over the chips ends each;
the table of words and the output head by words. Experts are divided as in GShard (Lepikhin et al.,
arXiv 2006.16668): each chip has some of them, and its own tokens for all else. What cannot be
divided (norms, routers, latents of keys and values, embeddings of positions) is on every chip.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import singledispatch

from ..datatypes.base.errors import BitlatheError
from .model import Model
from .products import Products
from .recurrent_share import share_of
from .slices import WHOLE, Slice, check_enough
from .transformer import (
    Attention,
    CrossAttention,
    Experts,
    Head,
    JointAttention,
    JointMlp,
    LatentAttention,
    Layers,
    Mlp,
    Part,
    Recurrent,
    SingleBlock,
    Transformer,
)
from .transformer.compressed import CompressedAttention, HyperConnection
from .transformer.expert_share import ExpertShare
from .transformer.pooling import Pooling
from .transformer.rwkv import ChannelMix, TimeMix
from .transformer.shared_block import SharedBlock
from .transformer.steered import Steered, TextAttention
from .transformer.streams import AltUp, LayerInput, LowRank

_NO_MIXTURE = "mixtures of experts (the model has none)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Which share of a model a chip has.

    Attributes
    ----------
    tensor, stage, expert : Slice
        Of each layer, of the layers, of the experts.
    group_rows : Fraction
        Tokens of all chips that share its experts, for one of its own.
    """

    tensor: Slice = WHOLE
    stage: Slice = WHOLE
    expert: Slice = WHOLE
    group_rows: Fraction = Fraction(1)

    @property
    def whole(self) -> bool:
        """Whether it has all of the model."""
        return (self.tensor.parts, self.stage.parts, self.expert.parts) == (1, 1, 1)


def shard(model: Model, place: Place) -> Model:
    """Return a chip's share of a model, as a model of its own under the same name.

    Towers, which run by themselves, are not divided and not among the shares.

    Parameters
    ----------
    model : Model
    place : Place

    Raises
    ------
    BitlatheError
        Of a model or a part of one that cannot be divided into so many.

    Examples
    --------
    >>> from bitlathe.workloads import load_model
    >>> place = Place(tensor=Slice(index=0, parts=4))
    >>> shard(load_model("llama-2-7b"), place).gemms("decode", 16)[0].n
    1024
    """
    if place.whole:
        return model
    shape = model.shape
    divided = shape.divided if isinstance(shape, Products) else None
    if divided is None and not isinstance(shape, Transformer):
        raise BitlatheError(
            f"{model.name} is no transformer, whose layers are not divided among chips; give "
            "tensor, pipeline and expert 1, and data as many chips as there are."
        )
    try:
        if isinstance(shape, Transformer):
            return replace(model, shape=_shard(shape, place), towers=())
        assert divided is not None
        _of_tensor_only(place)
        return replace(model, shape=divided(place.tensor))
    except BitlatheError as error:
        raise BitlatheError(f"{model.name}: {error}") from None


def _of_tensor_only(place: Place) -> None:
    """Raise unless a model that is a list of products is divided by tensor only.

    Raises
    ------
    BitlatheError
        If stages or experts are asked for.
    """
    if place.stage.parts > 1:
        raise BitlatheError(
            f"pipeline is {place.stage.parts}, but this model is divided by tensor only, not into "
            "stages; use 1."
        )
    check_enough("expert", place.expert.parts, 1, _NO_MIXTURE, 0)


def _shard(shape: Transformer, place: Place) -> Transformer:
    stage, tensor = place.stage, place.tensor
    if stage.parts > 1 and shape.encoder is not None:
        raise BitlatheError(
            f"pipeline is {stage.parts}, but a model with an encoder is not divided into stages; "
            "use 1."
        )
    check_enough("pipeline", stage.parts, shape.depth, "layers")
    if not any(isinstance(part, Experts) for part, _ in shape.parts()):
        check_enough("expert", place.expert.parts, 1, _NO_MIXTURE, 0)
    first, last = stage.index == 0, stage.index == stage.parts - 1
    heads = tuple(_head(head, tensor) for head in shape.heads) if last else ()
    tables = tuple(
        replace(table, rows=_of(tensor, table.rows, "words")) if table.name == "words" else table
        for table in shape.tables
    )
    whole = stage.parts == 1
    return replace(
        shape,
        layers=tuple(_layers(shape, place)),
        ahead=shape.ahead if first else (),
        stems=shape.stems if first else (),
        encoder=None if shape.encoder is None else _shard(shape.encoder, place),
        heads=heads,
        tables=tables if first else (),
        tied=shape.tied and whole,
        final_norms=shape.final_norms if last else 0,
        vectors=shape.vectors if last else 0,
        image=shape.image if first else None,
        sound_tokens=shape.sound_tokens if first else shape.fixed_tokens,
    )


def _layers(shape: Transformer, place: Place) -> Iterator[Layers]:
    """Yield the layers of a stage, so many in a row.

    Where their numbers are not known, layers that are alike count as standing together.
    """
    start, size = place.stage.start(shape.depth), place.stage.of(shape.depth)
    mine, before = range(start, start + size), 0
    # numbers may have gaps, where layers are skipped that see images
    places = {n: i for i, n in enumerate(sorted(n for each in shape.layers for n in each.numbers))}
    for layers in shape.layers:
        known = len(layers.numbers) == layers.count
        numbers = layers.numbers if known else range(before, before + layers.count)
        before += layers.count
        here = tuple(n for n in numbers if (places[n] if known else n) in mine)
        if here:
            yield replace(
                layers,
                count=len(here),
                parts=tuple(share(part, place) for part in layers.parts),
                stored=None if layers.stored is None else min(layers.stored, len(here)),
                numbers=here if known else (),
            )


def _head(head: Head, tensor: Slice) -> Head:
    if not head.words:
        return head
    outputs = _of(tensor, head.matrix.outputs, "words")
    return replace(head, matrix=replace(head.matrix, outputs=outputs))


@singledispatch
def share(part: Part, place: Place) -> Part:
    """Return a chip's share of a part of a layer.

    Raises
    ------
    BitlatheError
        Of a kind of part of which it is not said how chips share it, or one divided into too many.
    """
    if place.tensor.parts == 1:
        return part
    raise BitlatheError(
        f"tensor is {place.tensor.parts}, but it is not known how chips share the layers' "
        f"{type(part).__name__}; use tensor 1."
    )


@share.register
def _of_attention(part: Attention, place: Place) -> Attention:
    """Return whole groups of heads; where chips are more than K/V heads, heads of one group.

    Of c chips and v < c key/value heads, each head has floor(c / v) chips, or one more, which
    share its query heads; those whose head has fewer chips come first.
    """
    chips, index = place.tensor.parts, place.tensor.index
    check_enough("tensor", chips, part.heads, "attention heads")
    group = part.heads // part.kv_heads
    if chips <= part.kv_heads:
        kv_heads = place.tensor.of(part.kv_heads)
        return replace(part, heads=kv_heads * group, kv_heads=kv_heads)
    return replace(part, heads=_heads_at(chips, index, part.kv_heads, group), kv_heads=1)


def _heads_at(chips: int, index: int, kv_heads: int, group: int) -> int:
    """Return the query heads of a chip where each key/value head has several chips."""
    each, more = divmod(chips, kv_heads)
    few = (kv_heads - more) * each  # chips of heads that have fewer
    sharing = each if index < few else each + 1
    rank = (index if index < few else index - few) % sharing
    return Slice(index=rank, parts=sharing).of(group)


@share.register
def _of_cross_attention(part: CrossAttention, place: Place) -> CrossAttention:
    return replace(part, heads=_of_attention(part.heads, place))


@share.register
def _of_latent_attention(part: LatentAttention, place: Place) -> LatentAttention:
    """Return some heads; latents, and the indexer that chooses tokens, are on every chip."""
    return replace(part, heads=_of(place.tensor, part.heads, "attention heads"))


@share.register
def _of_mlp(part: Mlp, place: Place) -> Mlp:
    return replace(part, inner=_of(place.tensor, part.inner, "inner elements of an MLP"))


@share.register
def _of_experts(part: Experts, place: Place) -> Part:
    """Return experts of some inner elements each; some of them where chips share experts."""
    shared = None if part.shared is None else _of_mlp(part.shared, place)
    mixture = replace(part, expert=_of_mlp(part.expert, place), shared=shared)
    if place.expert.parts == 1:
        return mixture
    check_enough("expert", place.expert.parts, part.total, "experts")
    return ExpertShare(mixture=mixture, own=place.expert, group_rows=place.group_rows)


@share.register
def _of_recurrent(part: Recurrent, place: Place) -> Recurrent:
    return part if place.tensor.parts == 1 else share_of(part, place.tensor)


@share.register
def _of_compressed_attention(part: CompressedAttention, place: Place) -> CompressedAttention:
    """Return some groups of heads; keys, entries and the indexer are on every chip.

    Raises
    ------
    BitlatheError
        If a group ends within a head.
    """
    if place.tensor.parts == 1:
        return part
    if part.heads % part.groups:
        raise BitlatheError(
            f"tensor is {place.tensor.parts}, but a group of this model ends within a head: it has "
            f"{part.heads} heads in {part.groups} groups; use 1."
        )
    groups = _of(place.tensor, part.groups, "groups of heads")
    return replace(part, groups=groups, heads=part.heads // part.groups * groups)


@share.register
def _of_joint_attention(part: JointAttention, place: Place) -> JointAttention:
    return replace(part, image=_of_attention(part.image, place))


@share.register
def _of_joint_mlp(part: JointMlp, place: Place) -> JointMlp:
    return replace(part, image=_of_mlp(part.image, place))


@share.register
def _of_single_block(part: SingleBlock, place: Place) -> SingleBlock:
    """Return some heads and inner elements; the matrix back takes both by rows."""
    attention = _of_attention(part.attention, place)
    inner = _of(place.tensor, part.into.outputs, "inner elements of an MLP")
    return replace(
        part,
        attention=attention,
        into=replace(part.into, outputs=inner),
        out=replace(part.out, inputs=attention.out.inputs + inner),
    )


@share.register
def _of_steered(part: Steered, place: Place) -> Steered:
    """Return a share of the part within; what steers it is on every chip."""
    return replace(part, inner=share(part.inner, place))


@share.register
def _of_text_attention(part: TextAttention, place: Place) -> TextAttention:
    return replace(part, heads=_of_attention(part.heads, place))


@share.register
def _of_time_mix(part: TimeMix, place: Place) -> TimeMix:
    return replace(part, inner=_of(place.tensor, part.inner, "channels of a state"))


@share.register
def _of_channel_mix(part: ChannelMix, place: Place) -> ChannelMix:
    """Return some inner elements; the gate of the results is on every chip."""
    return replace(part, inner=_of(place.tensor, part.inner, "inner elements of an MLP"))


@share.register
def _of_shared_block(part: SharedBlock, place: Place) -> SharedBlock:
    """Return heads and inner elements; adapters follow, the narrow half and the matrix back whole.

    The matrix back works on each chip's own part of the sum.
    """
    attention, mlp = _of_attention(part.attention, place), _of_mlp(part.mlp, place)
    wide = {m.name: m.outputs for each in (attention, mlp) for m, _ in each.matrices()}
    pairs = tuple(
        (name, left, replace(right, outputs=wide[name])) for name, left, right in part.own.pairs
    )
    return replace(part, attention=attention, mlp=mlp, own=replace(part.own, pairs=pairs))


def _of(part: Slice, total: int, what: str) -> int:
    check_enough("tensor", part.parts, total, what)
    return part.of(total)


ON_EACH_CHIP = (AltUp, HyperConnection, LayerInput, LowRank, Pooling)
"""Small parts that tensor parallelism leaves whole: each chip has them, and all that they read."""


def _on_each_chip(part: Part, place: Place) -> Part:
    return part


for _kind in ON_EACH_CHIP:
    share.register(_kind, _on_each_chip)


def held(shape: Transformer) -> Counter[str]:
    """Return the parameters that a model, or a share of one, stores, by the name of the matrix.

    What is neither matrix nor embedding (norms, sinks) is under ``vectors``; a tied head under
    ``words``.
    """
    found: Counter[str] = Counter()
    for part, copies in shape.stored_parts():
        for matrix, count in part.matrices():
            found[matrix.name] += matrix.parameters * count * copies
        found["vectors"] += part.other_parameters * copies
    for layers in shape.layers:
        found["vectors"] += layers.norm_parameters * layers.copies
    for table in shape.tables:
        found[table.name] += table.elements
    for head in shape.heads:
        kept = head.matrix.parameters - (head.matrix.elements if _is_table(shape, head) else 0)
        found[head.matrix.name] += kept
        found["vectors"] += head.norm
    for matrix in shape.matrices_ahead():
        found[matrix.name] += matrix.parameters
    found["vectors"] += shape.vectors
    if shape.encoder is not None:
        found += Counter({f"encoder.{name}": n for name, n in held(shape.encoder).items()})
    return +found


def _is_table(shape: Transformer, head: Head) -> bool:
    return shape.tied and head.words
