"""Formats of a checkpoint on a chip: what its PEs cannot take is run in the chip's own."""

from collections.abc import Mapping
from typing import Any

from ..datatypes.schemes.scheme import Scheme
from .formats import Operand
from .schema import Arch
from .supports import refusal


def runnable(
    arch: Arch, settings: Mapping[str, Any], plain: str = "fp16"
) -> tuple[dict[str, Any], list[str]]:
    """Return keys of a chip that store a model as its checkpoint does, as far as its PEs can.

    Parameters
    ----------
    arch : Arch
        The chip in its own formats.
    settings : mapping
        Keys of a chip (`workloads.model.Model.stored_formats`).
    plain : str
        The format of what a checkpoint leaves unquantized.

    Returns
    -------
    settings : dict
        Where a rule keeps an operand in ``plain``, which the PEs cannot take, it has the chip's own
        format of linear layers.
    notes : list of str
        A sentence for each format that takes the place of another.
    """
    scheme = Scheme.parse(plain)
    rules: list[dict[str, Any]] = []
    moved: dict[tuple[str, str], list[str]] = {}
    for rule in settings.get("formats.rules", ()):
        mine = dict(rule)
        for operand in ("weight", "input"):
            if rule.get(operand) == plain and refusal(arch.pe.record, operand, scheme):
                own: Operand = getattr(arch.formats.linear, operand)
                mine[operand] = own.model_dump(exclude_defaults=True)
                about = [rule["kind"]] if "kind" in rule else rule.get("names", ["others"])
                moved.setdefault((operand, own.label), []).extend(about)
        rules.append(mine)
    notes = [
        f"{', '.join(name for name in names if name != 'conv')}: the checkpoint keeps {operand}s "
        f"in {plain}, which the PEs of {arch.name} cannot take; run in the chip's own {label}. "
        "--set formats.rules=[...] says otherwise."
        for (operand, label), names in moved.items()
        if set(names) != {"conv"}
    ]
    return ({**settings, "formats.rules": rules} if moved else dict(settings)), notes
