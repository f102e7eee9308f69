"""Layers of a single part each: from the keys of a config.json to which part it is."""

from collections.abc import Callable, Mapping

from ..config import MOST_LISTED, Config
from ..families.facts import AttentionFacts
from ..families.family import Family
from ..transformer import Layers, Part
from .attention import read_attention
from .feeds import read_experts, read_mlp
from .recurrent import read_recurrent
from .values import chosen, norm_vectors

_LETTERS = {"M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe"}
_SPELLED = {"mamba": "linear_attention", "attention": "full_attention"}


def read_blocks(config: Config, family: Family, hidden: int) -> tuple[Layers, ...]:
    """Read layers of one part and one norm each, those alike once with their number.

    Raises
    ------
    BitlatheError
        If no key says which part a layer is, or a kind is unknown; file, line and key are named.
    """
    alike: dict[str, list[int]] = {}
    for number, kind in enumerate(_kinds(config)):
        alike.setdefault(kind, []).append(number)
    return tuple(
        Layers(
            count=len(numbers),
            parts=(_READ[kind](config, family, hidden),),
            norm=family.norm,
            norm_count=1,
            norm_parameters=norm_vectors(config, family) * hidden,
            numbers=tuple(numbers),
        )
        for kind, numbers in alike.items()
    )


def _kinds(config: Config) -> list[str]:
    """Return the kind of each layer: from a list, or from a pattern of letters."""
    key = chosen(config, ("layers_block_type", "layer_types", "hybrid_override_pattern"))
    given = config.get(key)
    if given is None:
        raise config.missing(key)
    if key == "hybrid_override_pattern":
        kinds = [_LETTERS.get(letter, letter) for letter in config.string(key)]
    else:
        kinds = [_SPELLED.get(kind, kind) for kind in map(str, config.items(key))]
    known = [*_LETTERS] if key == "hybrid_override_pattern" else [*_READ, *_SPELLED]
    for kind in kinds:
        if kind not in _READ:
            raise config.error(
                f"{key!r} names {kind!r}; it must be one of {', '.join(map(repr, known))}.", key
            )
    if not 0 < len(kinds) <= MOST_LISTED:
        raise config.error(f"{key!r} names {len(kinds)} layers; give 1 to {MOST_LISTED}.", key)
    return kinds


def _attention(config: Config, family: Family, hidden: int) -> Part:
    assert isinstance(family.attention, AttentionFacts)
    return read_attention(config, family, family.attention, hidden)


def _state(config: Config, family: Family, hidden: int) -> Part:
    assert family.recurrent is not None
    return read_recurrent(config, family.recurrent, hidden)


_READ: Mapping[str, Callable[[Config, Family, int], Part]] = {
    "linear_attention": _state,
    "full_attention": _attention,
    "mlp": read_mlp,
    "moe": read_experts,
}
