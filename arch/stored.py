"""Formats of a checkpoint on a chip: what its PEs cannot take is run in the chip's own."""

from collections.abc import Iterator, Mapping
from typing import Any

from ..datatypes.base.errors import BitlatheError
from ..datatypes.schemes.scheme import Scheme
from .formats import Operand
from .loader import arch_names, load_arch
from .schema import Arch
from .supports import lacks


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

    Raises
    ------
    BitlatheError
        Raised if the PEs cannot take what the checkpoint stores; shipped chips that can are named.
    """
    if why := _lacking(arch, settings, plain):
        able = ", ".join(_able(settings, plain)) or "none; set the formats of what it lacks"
        raise BitlatheError(f"{arch.name}: {why}; shipped chips that can: {able}")
    scheme = Scheme.parse(plain)
    rules: list[dict[str, Any]] = []
    moved: dict[tuple[str, str], list[str]] = {}
    for rule in settings.get("formats.rules", ()):
        mine = dict(rule)
        for operand in ("weight", "input"):
            if rule.get(operand) == plain and lacks(arch.pe.record, operand, scheme):
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


def _lacking(arch: Arch, settings: Mapping[str, Any], plain: str) -> str | None:
    """Return what of a checkpoint's linear layers the PEs cannot take; None if they can."""
    told = [
        (operand, given)
        for operand in ("weight", "input")
        for given in (
            settings.get(f"formats.linear.{operand}"),
            *(rule.get(operand) for rule in settings.get("formats.rules", ())),
        )
    ]
    for operand, given in told:
        if given == plain:  # what it leaves unquantized: see `runnable`
            continue
        text = given.get("scheme") if isinstance(given, Mapping) else given
        found = None if text is None else lacks(arch.pe.record, operand, Scheme.parse(text))
        if found:
            through = ", which a decoder makes of its codes" if "pe.decoder" in settings else ""
            return f"{found}, as the checkpoint stores them{through}"
    return None


def _able(settings: Mapping[str, Any], plain: str) -> Iterator[str]:
    """Yield the names of shipped chips that run a checkpoint in its own formats."""
    for name in (each for each in arch_names() if "/" not in each):  # no chips of studies
        try:
            chip = load_arch(name)
            if not _lacking(chip, settings, plain):
                load_arch(name, runnable(chip, settings, plain)[0])
                yield name
        except BitlatheError:
            continue
