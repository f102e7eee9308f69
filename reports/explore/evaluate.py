"""Evaluate a point of a sweep with the simulator, and name what its result depends on."""

import csv
import hashlib
import json
import math
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ...arch import Arch, load_arch, resolve
from ...arch.components import FOLDER
from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.sources import PACKAGE, digest_of, files_of
from ...datatypes.base.yamlfile import read_yaml
from ...datatypes.schemes.scheme import Scheme
from ...sim import Run, simulate
from ...sim.chip import Chip
from ...sim.policy import format_labels
from ...sim.run import ENERGY_COMPONENTS, STALL_CAUSES
from ...workloads import Model, load_model
from .iso import solve
from .space import KINDS, Iso, Point, canonical
from .spelling import place
from .store import LAYERS

# rooms whose code decides results
MODEL_ROOMS = ("datatypes", "workloads", "arch", "mapping", "sim")
HERE = (
    Path(__file__).resolve(),
    Path(__file__).resolve().with_name("iso.py"),
)  # what makes rows of runs
KEPT = 512  # resolved chips and layer lists kept per process

# the weight format of each kind of layer, as it was resolved
FORMAT_COLUMNS = tuple(f"scheme.{kind}" for kind in KINDS)
# result columns in the order of the tables; energies in pJ, areas in um2, DRAM traffic in bits
_ENERGY = ("total", *ENERGY_COMPONENTS)
_AREA = ("total", "pe_array", "weight_buffer", "io_buffer")
RESULT_COLUMNS = (
    "cycles",
    "seconds",
    "compute_cycles",
    "dram_cycles",
    "stall_cycles",
    "utilization",
    "peak_macs_per_cycle",
    *(f"energy_pj.{part}" for part in _ENERGY),
    "power_w",
    "edp_pj_s",
    *(f"area_um2.{part}" for part in _AREA),
    "dram_bits.total",
    "dram_bits.weight",
    "dram_bits.input",
    "dram_bits.output",
    "dram_gb_per_s",
    "weight_bits",
)
STALL_COLUMNS = tuple(f"stall_{cause}_cycles" for cause in STALL_CAUSES)


def result_columns(fidelity: str) -> tuple[str, ...]:
    """Return the result columns of a rung, in the order of the tables."""
    if fidelity == "analytic":  # it bounds the stalls and does not tell their causes
        return (*FORMAT_COLUMNS, *RESULT_COLUMNS)
    after = RESULT_COLUMNS.index("stall_cycles") + 1
    return (*FORMAT_COLUMNS, *RESULT_COLUMNS[:after], *STALL_COLUMNS, *RESULT_COLUMNS[after:])


def result_row(run: Run, chip: Arch) -> dict[str, Any]:
    """Return a run as flat columns (`result_columns`, the run's context and its formats).

    ``scheme.KIND`` is the weight format of each kind of layer that the model has, as resolved, and
    of linear layers in any case.
    ``dram_gb_per_s`` is the peak bandwidth of the chip's DRAM, ``weight_bits`` the stored bits of
    one weight of a linear layer of 4,096 inputs, ``edp_pj_s`` energy times time.
    """
    layers = run.layers
    seconds, energy = run.seconds, run.energy_pj
    dram = {
        part: sum(layer.dram_bits[part] * layer.count for layer in layers)
        for part in ("weight", "input", "output")
    }
    busy = math.fsum(layer.utilization * layer.cycles * layer.count for layer in layers)
    formats = {"linear": format_labels(chip, "linear"), **run.formats}
    return {
        **{f"scheme.{kind}": operands["weight"] for kind, operands in formats.items()},
        "context": run.context,
        "cycles": run.cycles,
        "seconds": seconds,
        "compute_cycles": sum(layer.compute_cycles * layer.count for layer in layers),
        "dram_cycles": sum(layer.dram_cycles * layer.count for layer in layers),
        "stall_cycles": sum(layer.stall_cycles * layer.count for layer in layers),
        **_stalls(run.stalls),
        "utilization": busy / run.cycles if run.cycles else 0.0,
        **{f"energy_pj.{part}": value for part, value in energy.items()},
        "power_w": energy["total"] * 1e-12 / seconds if run.cycles else 0.0,
        "edp_pj_s": energy["total"] * seconds,
        "dram_bits.total": sum(dram.values()),
        **{f"dram_bits.{part}": value for part, value in dram.items()},
        **chip_row(chip, run.area_um2),
    }


def _stalls(stalls: Mapping[str, int]) -> dict[str, int]:
    return {f"stall_{cause}_cycles": clocks for cause, clocks in stalls.items()}


def layer_table(run: Run) -> dict[str, Any]:
    """Return a run's layers as ``columns`` and ``rows``; figures of one instance of ``count``."""
    flat = []
    for layer in run.layers:
        row: dict[str, Any] = {}
        for name, value in layer.to_dict().items():
            if name == "total":  # of all instances: `count` times the others
                continue
            if name == "stalls":
                row |= _stalls(value)
            elif isinstance(value, Mapping):
                row |= {f"{name}.{part}": figure for part, figure in value.items()}
            else:
                row["layer" if name == "name" else name] = value
        flat.append(row)
    columns = list(dict.fromkeys(name for row in flat for name in row))
    return {"columns": columns, "rows": [[row.get(name) for name in columns] for row in flat]}


def chip_row(chip: Arch, area: Mapping[str, float]) -> dict[str, Any]:
    """Return the columns that the chip alone decides, whatever runs on it."""
    return {
        "peak_macs_per_cycle": chip.array.rows * chip.array.columns * chip.pe.lanes,
        **{f"area_um2.{part}": value for part, value in area.items()},
        "dram_gb_per_s": float(chip.dram_bits_per_clock) * chip.technology.clock_ghz / 8,
        "weight_bits": float(chip.formats.linear.weight.bits_per_element(4096)),
    }


# -- what a result depends on ------------------------------------------------------------------


def _sha(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "big") + data)
    return digest.hexdigest()


@cache
def models_version() -> str:
    """Return the digest of all code and format files that decide results.

    Component tables and model files are left out: a point's key holds those it uses.
    """

    def counts(path: Path) -> bool:
        code = path.suffix == ".py" and "cuda" not in path.parts
        return code or (path.parts[0] == "datatypes" and path.suffix == ".yaml")

    return digest_of([*HERE, *files_of(PACKAGE, MODEL_ROOMS, counts)], PACKAGE)


@cache
def component_digests() -> dict[str, str]:
    """Return the digest of every entry of the component tables, by its name."""
    digests: dict[str, str] = {}
    for kind in ("pe", "dram", "sram"):
        for name, entry in read_yaml(FOLDER / f"{kind}.yaml").data.items():
            values = {k: v for k, v in entry.items() if k != "source"}
            extra = ""
            if kind == "sram":
                with (FOLDER / entry["file"]).open(encoding="utf-8", newline="") as file:
                    extra = canonical(list(csv.reader(file)))
            digests[name] = _sha(digests.get(name, ""), kind, canonical(values), extra)
    return digests


def _texts(value: Any) -> set[str]:
    """Return every string in nested plain data."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, Mapping):
        return set().union(*(_texts(v) for v in value.values()))
    if isinstance(value, list | tuple):
        return set().union(*(_texts(v) for v in value))
    return set()


def own_formats(texts: Collection[str]) -> dict[str, str]:
    """Return a digest of the values of formats that stand in files of their own, by scheme."""
    found = {}
    for text in texts:
        if re.search(r"\.ya?ml", text, re.IGNORECASE):
            with suppress(BitlatheError):  # no scheme, or one that the point will fail with
                formats = Scheme.parse(text).formats
                found[text] = _sha(repr([(f.bits, f.values.tolist()) for f in formats]))
    return found


def model_digest(model: Model) -> str:
    """Return the digest of what decides a model's results: its sizes, not its name."""
    return _sha(model.family, repr(model.shape))


def arch_content(arch: Arch) -> dict[str, Any]:
    """Return what of a chip decides results: all but its names and descriptions."""
    return arch.model_dump(mode="json", exclude={"name", "title", "description"})


# -- the evaluator -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorEvaluator:
    """Runs points through `simulate`; carries its chips and models, so workers need no files."""

    archs: Mapping[str, Arch]
    models: Mapping[str, Model]

    @property
    def version(self) -> str:
        """Digest of the code that decides results and of all component tables."""
        return _sha(models_version(), canonical(component_digests()))

    @property
    def content(self) -> str:
        """Digest of the chips and models carried."""
        archs = {name: arch_content(arch) for name, arch in self.archs.items()}
        return _sha(canonical(archs), repr(sorted(self.models.items())))

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
            "formats": own_formats(_texts([chips, *settings])),
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
        named = _texts([value for _, value in point.settings if not isinstance(value, int | float)])
        model = self.models[point.model]
        content = {
            "chip": base,
            "components": {name: digests[name] for name in used | (named & digests.keys())},
            "settings": dict(point.settings),
            "formats": own_formats(named),
            "products": _workload_identity(
                model, point.phase, point.context, point.batch, point.causal
            ),
            "workload": [model.name, point.phase, point.context, point.batch],
            "how": [point.fidelity, point.mapper, point.causal],
            "layers": point.layers,
            "iso": None if point.iso is None else point.iso.model_dump(),
            "code": models_version(),
        }
        return hashlib.sha256(canonical(content).encode()).hexdigest()

    def __call__(self, point: Point) -> dict[str, Any]:
        """Return the point's results as one flat row, with ``layers`` if it keeps them."""
        base, model = self.archs[point.arch], self.models[point.model]
        settings = dict(point.settings)
        solved: dict[str, Any] = {}
        if point.iso is not None:
            solved = {point.iso.solve: _solved(base, model, point, point.iso)}
        text = canonical(settings | solved)
        arch = _chip(base, text, canonical(own_formats(_texts(settings))))
        run, chip = _simulated(arch, model, point)
        row = {**solved, **result_row(run, chip)}
        return row | {LAYERS: layer_table(run)} if point.layers else row


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


def _identify_arch(arch: Arch) -> tuple[str, frozenset[str]]:
    content = arch_content(arch)
    texts = _texts(content)
    base = _sha(canonical({"chip": content, "formats": own_formats(texts)}))
    return base, frozenset(texts & component_digests().keys())


def _identify_workload(
    model: Model, phase: Any, context: int | None, batch: int, causal: bool
) -> str:
    try:
        return _sha(repr(model.gemms(phase=phase, context=context, batch=batch, causal=causal)))
    except BitlatheError as err:  # the point will fail with the same words
        return _sha(str(err))


_chip = _Kept(_load_chip)
_resolved = _Kept(_resolve)
_chip_values = _Kept(_read_chip)
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
