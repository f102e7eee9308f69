"""What stands beside attention and MLP in a layer, and what it needs ahead of the layers."""

from dataclasses import dataclass
from typing import Any

from ..config import Config
from ..families.facts import AttentionFacts
from ..families.family import Family
from ..transformer import AltUp, Head, LayerInput, LowRank, Matrix, Part, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Parts ahead of the mixer and behind the MLP of each layer."""

    ahead: tuple[Part, ...] = ()
    behind: tuple[Part, ...] = ()

    @property
    def norms(self) -> int:
        """Norms of the hidden width that the parts bring along."""
        return sum(isinstance(part, LowRank | LayerInput) for part in (*self.ahead, *self.behind))


def read_beside(config: Config, family: Family, hidden: int) -> Beside:
    """Read the parts beside attention and MLP."""
    ahead: tuple[Part, ...] = ()
    behind: tuple[Part, ...] = ()
    if family.streams:
        many = config.count("altup_num_inputs")
        ahead = (
            AltUp(hidden=hidden, streams=many, half="predict", vectors=2 * hidden),
            LowRank(hidden=hidden, inner=config.integer("laurel_rank")),
        )
        behind = (AltUp(hidden=hidden, streams=many, half="correct"),)
    if width := _input_width(config, family):
        behind = (*behind, LayerInput(hidden=hidden, inner=width))
    return Beside(ahead=ahead, behind=behind)


def _input_width(config: Config, family: Family) -> int:
    """Return the width of a token's vector for each layer; 0 if it has none."""
    if not family.layer_inputs:
        return 0
    return config.integer("hidden_size_per_layer_input", default=0, least=0)


def around_layers(config: Config, family: Family, hidden: int, depth: int) -> dict[str, Any]:
    """Return the tables, matrices, heads and vectors outside the layers that they need.

    Parameters
    ----------
    config, family
        The configuration, and the rules that it is read by.
    hidden : int
        Width of a stream.
    depth : int
        Number of layers.
    """
    tables: list[Table] = []
    ahead: list[Matrix] = []
    heads: list[Head] = []
    width = _input_width(config, family)
    if width:
        rows = config.integer("vocab_size_per_layer_input")
        tables.append(Table(name="layer_words", rows=rows, width=depth * width))
        ahead.append(_square("per_layer_model_projection", depth * width, hidden))
    if family.streams:
        for i in range(1, config.integer("altup_num_inputs")):
            ahead.append(_square(f"altup_projection_{i}", hidden, hidden))
            last = _square(f"altup_unembed_{i}", hidden, hidden, "head")
            heads.append(Head(matrix=last, tokens="all"))
    vectors = width
    if family.connected:
        many = config.count("hc_mult")
        heads.append(Head(matrix=_square("hc_head", many, many * hidden, "head"), tokens="all"))
        vectors += many + 1
    return {
        "tables": tuple(tables),
        "ahead": tuple(ahead),
        "heads": tuple(heads),
        "vectors": vectors,
    }


def _square(name: str, outputs: int, inputs: int, stage: str = "embed") -> Matrix:
    return Matrix(stage=stage, name=name, outputs=outputs, inputs=inputs)


def layers_that_share(config: Config, facts: AttentionFacts, seen: list[int | None]) -> list[bool]:
    """Return which layers take keys and values of an earlier one with the same window.

    Parameters
    ----------
    config, facts
        The configuration, and the rules that it is read by.
    seen : list of int or None
        The window of each layer.

    Raises
    ------
    BitlatheError
        If no layer before them has such a window.
    """
    key, depth = facts.kept_key, len(seen)
    sharing = 0 if key is None else config.integer(key, default=0, least=0)
    first = depth - sharing
    if sharing and (first <= 0 or set(seen[:first]) != set(seen)):
        raise config.error(
            f"{key!r} is {sharing} of {depth} layers; those before must be of all the kinds that "
            "share keys and values with them.",
            key,
        )
    return [i >= first for i in range(depth)]
