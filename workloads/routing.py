"""Routing of one's own: a model whose tokens visit some experts more than others."""

from collections.abc import Sequence
from dataclasses import replace

from ..datatypes.base.errors import BitlatheError
from .sizes import check_size
from .transformer import Experts, Transformer


def routed(shape: Transformer, loads: Sequence[int]) -> Transformer:
    """Return a model whose mixtures take these loads of their experts.

    Raises
    ------
    BitlatheError
        If it has no mixture, or the loads do not fit one.
    """
    mixtures = {part for part, _ in shape.parts() if isinstance(part, Experts)}
    if not mixtures:
        raise BitlatheError("routing is of mixtures of experts; this model has none.")
    given = tuple(check_size(f"routing[{i}]", load, least=0) for i, load in enumerate(loads))
    for part in mixtures:
        experts = part.total + part.idle
        if len(given) != experts:
            raise BitlatheError(
                f"routing gives {len(given)} loads, but there are {experts} experts; give one "
                "for each."
            )
        if sum(load > 0 for load in given) < part.active:
            raise BitlatheError(
                f"routing: a token visits {part.active} experts, but fewer have a load above 0."
            )
    layers = tuple(
        replace(
            each,
            parts=tuple(
                replace(part, loads=given) if isinstance(part, Experts) else part
                for part in each.parts
            ),
        )
        for each in shape.layers
    )
    return replace(shape, layers=layers)
