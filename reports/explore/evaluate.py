"""Evaluate a point of a sweep with the simulator."""

import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...arch import Arch, load_arch, resolve
from ...datatypes.base.errors import BitlatheError
from ...sim import Run, simulate
from ...sim.chip import Chip
from ...workloads import Model, load_model
from .evaluator import Evaluator
from .identity import (
    arch_content,
    component_digests,
    model_digest,
    models_version,
    own_files,
    sha,
    texts_of,
)
from .iso import solve
from .nests import kept
from .points import Point
from .rows import chip_row, layer_table, macs_by_product, result_columns, result_row, roofline
from .spelling import place
from .store import LAYERS
from .sweepfile import Iso, canonical

KEPT = 512  # resolved chips and layer lists kept per process


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorEvaluator(Evaluator):
    """Runs points through `simulate`; carries its chips and models, so workers need no files."""

    archs: Mapping[str, Arch]
    models: Mapping[str, Model]

    @property
    def version(self) -> str:
        """Digest of the code that decides results and of all component tables."""
        return sha(models_version(), canonical(component_digests()))

    @property
    def content(self) -> str:
        """Digest of the chips and models carried."""
        archs = {name: arch_content(arch) for name, arch in self.archs.items()}
        models = [(name, model.content) for name, model in sorted(self.models.items())]
        return sha(canonical(archs), repr(models))

    def columns(self, fidelity: str) -> tuple[str, ...]:
        """Return the result columns of a rung, in the order of the tables."""
        return result_columns(fidelity)

    def described(self, settings: Collection[Any] = ()) -> dict[str, Any]:
        """Return what files of chips, models and formats say, for the store to keep.

        Chips whole, by name; of models and of formats in files of their own a digest.

        Parameters
        ----------
        settings : collection
            All values that the sweep sets, which may name formats.
        """
        chips = {name: arch.model_dump(mode="json") for name, arch in self.archs.items()}
        return {
            "chips": chips,
            "models": {name: model_digest(model) for name, model in self.models.items()},
            "formats": own_files(texts_of([chips, *settings])),
        }

    @property
    def chip_keys(self) -> set[str]:
        """The keys that at least one of the chips has."""
        return set().union(*(_leaves(_plain(arch)) for arch in self.archs.values()))

    def chip_values(self, point: Point, keys: Collection[str]) -> dict[str, Any]:
        """Return those of these keys that a point's chip has, before anything is solved for."""
        arch, model = self.archs[point.arch], self.models[point.model]
        values: dict[str, Any] = _chip_values(arch, point.phase, model.name)
        for key, value in point.settings:
            others = {k: v for k, v in values.items() if k != key and not k.startswith(f"{key}.")}
            values = others | _leaves(value, key)
        return {key: values[key] for key in keys if key in values}

    def key(self, point: Point) -> str:
        """Return the SHA-256 of the resolved configuration and of everything it uses."""
        base, used = _arch_identity(self.archs[point.arch])
        digests = component_digests()
        named = texts_of(
            [value for _, value in point.settings if not isinstance(value, int | float)]
        )
        model = self.models[point.model]
        content = {
            "chip": base,
            "components": {name: digests[name] for name in used | (named & digests.keys())},
            "settings": dict(point.settings),
            "formats": own_files(named),
            "products": _workload_identity(
                model, point.phase, point.context, point.batch, point.causal
            ),
            "workload": [model.name, point.phase, point.context, point.batch],
            "how": [point.fidelity, point.mapper, point.causal, point.fusion],
            "layers": point.layers,
            "iso": None if point.iso is None else point.iso.model_dump(),
            "code": models_version(),
        }
        return hashlib.sha256(canonical(content).encode()).hexdigest()

    def __call__(self, point: Point) -> dict[str, Any]:
        """Return the point's results as one flat row, and its layers under ``layers``."""
        base, model = self.archs[point.arch], self.models[point.model]
        settings = dict(point.settings)
        solved: dict[str, Any] = {}
        if point.iso is not None:
            solved = {point.iso.solve: _solved(base, model, point, point.iso)}
        text = canonical(settings | solved)
        arch = _chip(base, text, canonical(own_files(texts_of(settings))))
        run, chip = _simulated(arch, model, point)
        macs = _macs(model, point.phase, point.context, point.batch, point.causal, run.logits)
        layers = {"roofline": roofline(run, macs), **(layer_table(run) if point.layers else {})}
        if (nests := kept(run)) is not None:
            layers["mappings"] = nests
        return {**solved, **result_row(run, chip), LAYERS: layers}


def _simulated(arch: Arch, model: Model, point: Point) -> tuple[Run, Arch]:
    """Return a point's run and the chip as it is for the point's phase and model."""
    chip = _resolved(arch, point.phase, model.name)
    run = simulate(
        chip,
        model,
        point.phase,
        point.context,
        point.batch,
        fidelity=point.fidelity,
        mapper=point.mapper,
        causal=point.causal,
        fusion=point.fusion,
    )
    return run, chip


class _Kept:
    """A small cache by the identity of large values, which are slow to hash."""

    def __init__(self, make: Callable[..., Any]) -> None:
        self._make = make
        self._kept: dict[Any, tuple[Any, Any]] = {}

    def __call__(self, anchor: Any, *rest: Any) -> Any:
        """Return ``make(anchor, *rest)``, made once while it stays among the last ones."""
        slot = (id(anchor), *rest)
        found = self._kept.get(slot)
        if found is not None and found[0] is anchor:
            return found[1]
        made = self._make(anchor, *rest)
        if len(self._kept) >= KEPT:
            self._kept.pop(next(iter(self._kept)))
        self._kept[slot] = (anchor, made)
        return made


def _load_chip(base: Arch, settings_text: str, _formats: str) -> Arch:
    """Return a chip with settings; ``_formats`` tells apart what files of formats held."""
    settings = json.loads(settings_text)
    if not settings:
        return base
    try:
        return load_arch(base, settings)
    except BitlatheError as err:
        raise BitlatheError(plain_words(err)) from None


def plain_words(err: BitlatheError) -> str:
    """Return a chip's error without the command line's ``--set``: a sweep has columns for it."""
    text = re.sub(r"^with --set .*?: (?=--set: )", "", str(err))
    return re.sub(r"^--set:? ", "", text, flags=re.MULTILINE)


def _plain(arch: Arch) -> dict[str, Any]:
    return arch.plain()


def _leaves(value: Any, key: str = "") -> dict[str, Any]:
    """Return nested mappings as one with dotted keys; what has no value is left out."""
    if not isinstance(value, Mapping):
        return {} if value is None else {key: value}
    flat: dict[str, Any] = {}
    for name, inner in value.items():
        flat |= _leaves(inner, f"{key}.{name}" if key else name)
    return flat


def _read_chip(arch: Arch, phase: str, model: str) -> dict[str, Any]:
    return _leaves(_plain(resolve(arch, phase=phase, model=model)))


def _resolve(arch: Arch, phase: str, model: str) -> Arch:
    """Return a chip of one phase and model, in the silicon of the whole, its overrides applied."""
    chip = resolve(arch, phase=phase, model=model).model_copy(update={"overrides": []})
    return chip.resolved_from(arch)


def _count_macs(
    model: Model, phase: Any, context: int | None, batch: int, causal: bool, logits: Any
) -> dict[tuple[Any, ...], int]:
    gemms = model.gemms(phase=phase, context=context, batch=batch, causal=causal, logits=logits)
    return macs_by_product(gemms)


def _identify_arch(arch: Arch) -> tuple[str, frozenset[str]]:
    content = arch_content(arch)
    texts = texts_of(content)
    base = sha(canonical({"chip": content, "formats": own_files(texts)}))
    return base, frozenset(texts & component_digests().keys())


def _identify_workload(
    model: Model, phase: Any, context: int | None, batch: int, causal: bool
) -> str:
    try:
        return sha(repr(model.gemms(phase=phase, context=context, batch=batch, causal=causal)))
    except BitlatheError as err:  # the point will fail with the same words
        return sha(str(err))


_chip = _Kept(_load_chip)
_resolved = _Kept(_resolve)
_chip_values = _Kept(_read_chip)
_macs = _Kept(_count_macs)
_arch_identity = _Kept(_identify_arch)
_workload_identity = _Kept(_identify_workload)


# -- iso: the value of a key that keeps a resource ----------------------------------------------


def _solved(base: Arch, model: Model, point: Point, iso: Iso) -> int | float:
    """Return the value of the solved key that keeps the resource at its target.

    What the chip alone decides is solved for once a chip, whatever runs on it.
    """
    settings = dict(point.settings)
    if _amount(_base_row(base), iso.resource) is not None:
        value: int | float = _solved_chip(base, canonical(settings), iso)
        return value

    def resource(chip: Arch) -> float:
        found = _amount(result_row(*_simulated(chip, model, point)), iso.resource)
        assert found is not None
        return found

    return _solve(base, settings, iso, resource)


def _solve_chip(base: Arch, settings_text: str, iso: Iso) -> int | float:
    """Solve for a resource of the chip: the most of it in any phase and for any model."""

    def resource(chip: Arch) -> float:
        return max(_amount(_chip_alone(each), iso.resource) or 0.0 for each in _variants(chip))

    return _solve(base, json.loads(settings_text), iso, resource)


def _solve(
    base: Arch, settings: dict[str, Any], iso: Iso, resource: Callable[[Arch], float]
) -> int | float:
    """Solve for a resource as a function of the chip."""
    whole = _is_whole(base, iso.solve)

    def at(value: float) -> float:
        solved = {iso.solve: int(value) if whole else value}
        return resource(load_arch(base, settings | solved))

    value = solve(at, iso, whole=whole)
    return int(value) if whole else value


def _variants(chip: Arch) -> list[Arch]:
    """Return the chip as it is in each phase, for each model that it names and for any other."""
    named = [rule.when.model for rule in chip.overrides if rule.when.model is not None]
    models = {"", *(m for given in named for m in ([given] if isinstance(given, str) else given))}
    phases = ("prefill", "decode") if chip.overrides else ("prefill",)
    return [resolve(chip, phase=phase, model=model) for phase in phases for model in sorted(models)]


def _chip_alone(chip: Arch) -> dict[str, Any]:
    return chip_row(chip, Chip.of(chip).area_um2)


def _amount(row: Mapping[str, Any], resource: str) -> float | None:
    value = row.get(resource, row.get(f"{resource}.total"))
    return None if value is None else float(value)


def _is_whole(arch: Arch, key: str) -> bool:
    """Whether a key of a chip takes whole numbers, by what it holds."""
    return isinstance(_leaves(_plain(arch))[key], int)


_base_row = _Kept(_chip_alone)
_solved_chip = _Kept(_solve_chip)


def load_evaluator(archs: list[str], models: list[str], folder: Path) -> SimulatorEvaluator:
    """Load the chips and models of a sweep; a relative path is tried from the sweep's folder."""
    return SimulatorEvaluator(
        archs={name: load_arch(place(name, folder)) for name in archs},
        models={name: load_model(place(name, folder)) for name in models},
    )
