"""Checks of a sweep file against its chips, its models and the simulator."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...arch import Arch, load_arch
from ...datatypes.base.errors import BitlatheError, unknown_name
from ...sim.mappers import MAPPERS, mapper_for
from ...sim.simulation import FIDELITIES
from ...workloads import Model
from .evaluate import SimulatorEvaluator, load_evaluator, plain_words
from .space import Space
from .sweepfile import axis_keys

CHECKED_VALUES = 1000


def simulator(space: Space, folder: Path) -> SimulatorEvaluator:
    """Load the sweep's chips and models; errors get the place in the sweep file.

    Raises
    ------
    BitlatheError
        If a name is unknown, a file cannot be read, a context or a mapper is given twice.
    """
    file, document = space.file, space.document
    if file.fidelity not in FIDELITIES:
        problem = unknown_name("fidelity", file.fidelity, FIDELITIES)
        raise BitlatheError(f"{document.where(('fidelity',))}: {problem}")
    for i, name in enumerate(file.mapper):
        if name not in MAPPERS:
            problem = unknown_name("mapper", name, MAPPERS)
            raise BitlatheError(f"{document.where(('mapper', i))}: {problem}")
    archs: dict[str, Arch] = {}
    models: dict[str, Model] = {}
    for i, name in enumerate(file.arch):
        with _at(space, ("arch", i)):
            archs |= load_evaluator([name], [], folder).archs
    for i, name in enumerate(file.models):
        with _at(space, ("models", i)):
            models |= load_evaluator([], [name], folder).models
    _check_contexts(space, models)
    _check_mappers(space, archs)
    _check_settings(space, list(archs.values()))
    return SimulatorEvaluator(archs=archs, models=models)


def _check_contexts(space: Space, models: Mapping[str, Model]) -> None:
    """Refuse a context that a model has twice: as a number, and as null, its default."""
    contexts = space.file.contexts
    for name, model in models.items():
        default = model.context_of(None)
        takes_any = default is not None and model.context_of(default + 1) != default
        if takes_any and None in contexts and default in contexts:
            where = space.document.where(("contexts", contexts.index(None)))
            raise BitlatheError(
                f"{where}: contexts: null is {default} tokens for {name}, which stand in the list "
                "as well; every value once. Null alone does for models of images too."
            )


def _check_mappers(space: Space, archs: Mapping[str, Arch]) -> None:
    """Refuse two mappers that are the same one on a chip, as ``auto`` and what it stands for."""
    mappers = space.file.mapper
    for name, arch in archs.items():
        seen: dict[str, str] = {}
        for i, mapper in enumerate(mappers):
            try:
                known = mapper_for(arch, mapper)
            except BitlatheError:  # its points will say so
                continue
            if known in seen:
                raise BitlatheError(
                    f"{space.document.where(('mapper', i))}: mapper: {mapper!r} is {known!r} on "
                    f"chip {name!r}, as is {seen[known]!r}; every value once."
                )
            seen[known] = mapper


class _at:  # noqa: N801 - reads as a word
    """Put the place in the sweep file before an error."""

    def __init__(self, space: Space, loc: tuple[str | int, ...]) -> None:
        self._where = space.document.where(loc)

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, err: BaseException | None, trace: Any) -> None:
        if isinstance(err, BitlatheError):
            raise BitlatheError(f"{self._where}: {err}") from None


def _check_settings(space: Space, archs: list[Arch]) -> None:
    """Try every value of every axis alone: unknown keys and values no chip takes are errors.

    A value that only some chips take, or that is only impossible together with others, is left to
    its points.
    """
    file = space.file
    columns: list[tuple[tuple[str | int, ...], str, list[Any]]] = []
    for name, values in file.axes.items():
        keys = axis_keys(name)
        for i, key in enumerate(keys):
            alone = [value[i] for value in values] if len(keys) > 1 else values
            columns.append((("axes", name), key, alone))
    for kind, schemes in file.schemes.items():
        columns.append((("schemes", kind), f"formats.{kind}.weight", list(schemes)))
    if file.iso is not None:
        columns.append((("iso", "solve"), file.iso.solve, []))
        for arch in archs:
            _check_solvable(space, arch, file.iso.solve)
    for loc, key, values in columns:
        for i, value in enumerate(values[:CHECKED_VALUES]):
            refusals = [_refusal(arch, key, value) for arch in archs]
            missing = next((text for text in refusals if "no such key" in text), "")
            if missing:
                raise BitlatheError(f"{space.document.where(loc)}: {missing}")
            if all(refusals):
                raise BitlatheError(f"{space.document.where((*loc, i))}: {refusals[0]}")


def _refusal(arch: Arch, key: str, value: Any) -> str:
    """Return why a chip does not take a key or a value by itself; empty where it does."""
    try:
        load_arch(arch, {key: value})
    except BitlatheError as err:
        text = plain_words(err)
        named = re.search(rf"(?:^|[ '\n]){re.escape(key)}[:.']", text)
        return text if named or "no such key" in text else ""
    return ""


def _check_solvable(space: Space, arch: Arch, key: str) -> None:
    value: Any = arch.plain()
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BitlatheError(
            f"{space.document.where(('iso', 'solve'))}: iso.solve: {key!r} is no number of chip "
            f"{arch.name!r}; name a key such as array.rows, dram.bits_per_clock or "
            "buffers.weight.size_kib."
        )
