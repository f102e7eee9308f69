"""Layers of RWKV and Zamba2: from the keys of a config.json to time mixes and shared blocks."""

from dataclasses import replace

from ..config import Config
from ..families.facts import AttentionFacts, MlpFacts
from ..families.family import Family
from ..families.recurrent import StateFacts
from ..transformer import Layers, Matrix, Part
from ..transformer.rwkv import ChannelMix, TimeMix
from ..transformer.shared_block import Adapters, SharedBlock
from .attention import read_attention
from .feeds import read_mlp
from .recurrent import read_recurrent
from .values import norm_vectors, one_a_layer

_ALONE, _HYBRID = ("mamba", "linear_attention"), "hybrid"


def read_time_mixes(config: Config, family: Family, hidden: int, depth: int) -> tuple[Layers, ...]:
    """Read layers of a time mix and a channel mix (RWKV).

    Parameters
    ----------
    config, family
        The configuration, and the rules that it is read by.
    hidden, depth : int
        Width, and number of layers.
    """
    mixes = (
        TimeMix(hidden=hidden, inner=config.integer("attention_hidden_size", default=hidden)),
        ChannelMix(hidden=hidden, inner=config.integer("intermediate_size", default=4 * hidden)),
    )
    return (_layers(config, family, hidden, mixes, tuple(range(depth)), norms=2),)


def read_shared_blocks(
    config: Config, family: Family, hidden: int, depth: int
) -> tuple[Layers, ...]:
    """Read state spaces, of which some follow a block that they share (Zamba2).

    Parameters
    ----------
    config, family
        The configuration, and the rules that it is read by.
    hidden, depth : int
        Width, and number of layers.

    Raises
    ------
    BitlatheError
        If kinds of layers are missing or unknown.
    """
    key = "layers_block_type"
    kinds = one_a_layer(config, key, depth) or one_a_layer(config, "layer_types", depth)
    if not kinds:
        raise config.missing(key)
    for kind in kinds:
        if kind not in (*_ALONE, _HYBRID):
            raise config.error(
                f"{key!r} names {kind!r}; it must be one of "
                f"{', '.join(map(repr, (*_ALONE, _HYBRID)))}.",
                key,
            )
    assert isinstance(family.recurrent, StateFacts)
    state = read_recurrent(config, family.recurrent, hidden)
    found = []
    for hybrid in (False, True):
        numbers = tuple(i for i, kind in enumerate(kinds) if (kind == _HYBRID) == hybrid)
        if numbers:
            ahead = (_shared_block(config, family, hidden),) if hybrid else ()
            found.append(_layers(config, family, hidden, (*ahead, state), numbers, norms=1))
    return tuple(found)


def _layers(
    config: Config,
    family: Family,
    hidden: int,
    parts: tuple[Part, ...],
    numbers: tuple[int, ...],
    *,
    norms: int,
) -> Layers:
    """Return layers that are alike.

    Parameters
    ----------
    config, family, hidden
        As above.
    parts : tuple of Part
    numbers : tuple of int
        Which layers they are.
    norms : int
        Norms of the hidden width in each.
    """
    return Layers(
        count=len(numbers),
        parts=parts,
        norm=family.norm,
        norm_count=norms,
        norm_parameters=norms * norm_vectors(config, family) * hidden,
        numbers=numbers,
    )


def _shared_block(config: Config, family: Family, hidden: int) -> SharedBlock:
    assert isinstance(family.attention, AttentionFacts)
    assert isinstance(family.mlp, MlpFacts)
    attention = read_attention(config, family, family.attention, 2 * hidden)
    mlp = read_mlp(config, family, hidden)
    rank = config.integer("adapter_rank")
    wide = config.integer("attention_hidden_size", default=2 * hidden)
    if wide != 2 * hidden:
        raise config.error(
            f"'attention_hidden_size' is {wide}; attention reads a layer's input beside the words, "
            f"{2 * hidden} elements.",
            "attention_hidden_size",
        )
    adapted: list[tuple[str, int, int]] = []
    if config.flag("use_shared_attention_adapter", default=False):
        adapted += [(name, 2 * hidden, 2 * hidden) for name in attention.projections]
    adapted.append((mlp.names[0], hidden, 2 * mlp.inner))
    pairs = tuple(
        (
            name,
            Matrix(stage="adapter", name=f"{name}_adapter_left", outputs=rank, inputs=inputs),
            Matrix(stage="adapter", name=f"{name}_adapter_right", outputs=outputs, inputs=rank),
        )
        for name, inputs, outputs in adapted
    )
    back = Matrix(stage="back", name="linear", outputs=hidden, inputs=hidden)
    return SharedBlock(
        attention=replace(attention, left=hidden),
        mlp=mlp,
        own=Adapters(pairs=pairs, back=back),
        blocks=config.integer("num_mem_blocks"),
        vectors=norm_vectors(config, family) * 3 * hidden,
    )
