"""Rebuild the BitFusion study's clocks, traffic, power and means, and measure the objections.

Every count of a row is that of `mapping.bitfusion`; what is added here are the study's units, its
networks and the Eyeriss figures that it is compared with.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from ....arch import load_arch
from ....datatypes.base.yamlfile import read_yaml
from ....mapping.bitfusion import RULES, Costs, Machine, Rule, Schedule, SquareLayer, best_schedule
from ..result import Progress, Result, unshown

Networks = Mapping[str, Sequence[SquareLayer]]
HERE = Path(__file__).parent
COLUMNS = {"wbuf": "weight", "ibuf": "input", "obuf": "output", "dram": "dram"}


@cache
def published() -> dict[str, Any]:
    """Return the published figures and settings."""
    data: dict[str, Any] = read_yaml(HERE / "published.yaml").data
    return data


@cache
def networks() -> Networks:
    """Return the study's networks, layer by layer, at its batch."""
    data = read_yaml(HERE / "networks.yaml").data
    batch = published()["batch"]
    return {
        name: [SquareLayer(images=batch, **layer) for layer in layers]
        for name, layers in data.items()
    }


def plain_networks() -> Networks:
    """Return the networks with those of double width as wide as the ones that Eyeriss runs."""
    kept = published()["kept_channels"]

    def half(layer: SquareLayer) -> SquareLayer:
        ins, outs = layer.in_channels, layer.out_channels
        return replace(
            layer,
            in_channels=ins if ins == kept["in"] else ins // 2,
            out_channels=outs if outs == kept["out"] else outs // 2,
        )

    doubled = published()["double_width"]
    return {
        name: [half(layer) for layer in layers] if name in doubled else layers
        for name, layers in networks().items()
    }


@cache
def choice_costs() -> Costs:
    """Return the rounded costs by which the study chooses among equally fast schedules."""
    return Costs(**{key: Fraction(str(pj)) for key, pj in published()["choice"].items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """A known flaw of the study and what takes it away: networks, or switches of the rule."""

    title: str
    why: str
    networks: Callable[[], Networks] = networks
    switches: Mapping[str, Any] | None = None

    @property
    def rule(self) -> Rule:
        """The rule with the switches set."""
        return replace(RULES["bitfusion"], **(self.switches or {}))


OBJECTIONS = (
    Objection(
        title="AlexNet and RESNET-18 are not the nets that Eyeriss runs",
        why="Bit Fusion runs the nets of double width (96 outputs a group in conv1), the rows of "
        "Eyeriss are those of the plain ones (48); here both run the plain ones.",
        networks=plain_networks,
    ),
    Objection(
        title="The input's halo counts in one half of the layers only",
        why="First layers are laid out by im2col, which stores a pixel once a tap and no halo; the "
        "others store a tile with its halo once. Here all are laid out by im2col.",
        switches={"im2col": "always"},
    ),
    Objection(
        title="Sums are read from DRAM before there are any",
        why="Each output is read from DRAM as often as it is written, the first time too; here "
        "partial sums are never read back, which is the least that any count could give.",
        switches={"sums_read_back": False, "last_store_copied": False},
    ),
    Objection(
        title="The last store is that of the sums read back",
        why="What is remembered of the results is copied from the other direction; both are equal "
        "here, so nothing changes (in ANT, which reads none back, it is 0).",
        switches={"last_store_copied": False},
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """Clocks and nanojoules of a network, the whole batch."""

    cycles: int
    nanojoules: float

    @property
    def milliwatts(self) -> float:
        """The power as the study prints it."""
        chip = load_arch(f"isca18/{published()['reported']}")
        per_image_ms = self.cycles / (chip.technology.clock_ghz * 1e6) / published()["batch"]
        factor: float = published()["milliwatt_factor"]
        return float(self.nanojoules / per_image_ms * factor)


def schedules(chip: str, nets: Networks, rule: Rule) -> dict[str, list[Schedule]]:
    """Return the schedules of all layers on a chip of ``isca18/``, by network."""
    machine, costs = Machine.of(load_arch(f"isca18/{chip}")), choice_costs()
    return {
        name: [best_schedule(layer, machine, rule, costs) for layer in layers]
        for name, layers in nets.items()
    }


def total(chip: str, found: Iterable[Schedule]) -> Total:
    """Return clocks and energy of a network's schedules at the costs of a chip."""
    costs, found = Costs.of(load_arch(f"isca18/{chip}")), list(found)
    picojoules = sum((sum(each.energy_pj(costs).values()) for each in found), Fraction(0))
    return Total(cycles=sum(each.cycles for each in found), nanojoules=float(picojoules / 1000))


def _rows(chip: str, found: Mapping[str, Sequence[Schedule]]) -> list[dict[str, Any]]:
    """Return a row for each layer on a chip, in the columns of the published sweep."""
    machine = Machine.of(load_arch(f"isca18/{chip}"))
    where = {key: getattr(machine, key) for key in ("rows", "columns", "port_bits")}
    return [
        {
            **where,
            "network": name,
            "layer": layer.name,
            "cycles": schedule.cycles,
            "stall_cycles": schedule.stall_cycles,
            **{
                f"{column}_{way}": getattr(schedule, f"{memory}_{way}")
                for column, memory in COLUMNS.items()
                for way in ("read", "write")
            },
        }
        for name, layers in networks().items()
        for layer, schedule in zip(layers, found[name], strict=True)
    ]


def _compared(name: str, of: Total) -> dict[str, Any]:
    """Return a network's totals beside those of Eyeriss."""
    line = published()["networks"][name]
    speed = line["eyeriss_cycles"] / of.cycles
    return {
        "network": name,
        "cycles": of.cycles,
        "milliwatts": of.milliwatts,
        "eyeriss_cycles": line["eyeriss_cycles"],
        "eyeriss_milliwatts": line["eyeriss_milliwatts"],
        "speed": speed,
        "energy": speed * line["eyeriss_milliwatts"] / of.milliwatts,
    }


def _means(lines: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Return the geometric means of the ratios to Eyeriss."""
    lines = list(lines)
    return {key: geometric_mean([line[key] for line in lines]) for key in ("speed", "energy")}


def _network(line: Mapping[str, Any], plain: Mapping[str, Any]) -> dict[str, Any]:
    """Return a network's line with what was published of it, and on equal networks."""
    printed = published()["networks"][line["network"]]
    return {
        **line,
        **{f"published_{key}": printed[key] for key in ("cycles", "milliwatts", "speed", "energy")},
        **{f"corrected_{key}": plain[key] for key in ("cycles", "speed", "energy")},
        "agrees": line["cycles"] == printed["cycles"]
        and round(line["milliwatts"], 4) == printed["milliwatts"]
        and all(round(line[key], 3) == printed[key] for key in ("speed", "energy")),
    }


def _effect(objection: Objection, base: Mapping[str, float]) -> dict[str, Any]:
    """Return the means without an objection, and over those of the published form."""
    chip = published()["reported"]
    found = schedules(chip, objection.networks(), objection.rule)
    means = _means(_compared(name, total(chip, each)) for name, each in found.items())
    ratios = {f"{key}_ratio": means[key] / base[key] for key in means}
    return {"title": objection.title, "why": objection.why, **means, **ratios}


def _stated(means: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return the objections that need no run: to areas and units."""
    area = published()["area_mm2"]
    ratio = area["eyeriss"] / area["bitfusion"]
    units = 1e-3 / published()["batch"] / published()["milliwatt_factor"]
    return [
        {
            "title": "Areas are not equal",
            "why": f"The notebook adds {area['bitfusion']} mm2 for Bit Fusion beside "
            f"{area['eyeriss']} mm2 of Eyeriss; here speed is that of a mm2. It favors Bit Fusion.",
            "speed": means["speed"] * ratio,
            "energy": means["energy"],
            "speed_ratio": ratio,
            "energy_ratio": 1.0,
        },
        {
            "title": "The printed power is not in milliwatts",
            "why": "The printed power divides the energy of a batch by the time of an image, in a "
            f"unit of its own: in milliwatts it is {units:.2f} times as much, on both sides, so "
            "the ratios stand.",
            **means,
            "speed_ratio": 1.0,
            "energy_ratio": 1.0,
        },
    ]


def by_chip(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the clocks of each network on each chip: more hardware is not always faster."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        chip = f"{row['rows']}x{row['columns']}, {row['port_bits']} bits"
        line = found.setdefault(row["network"], {"network": row["network"]})
        line[chip] = line.get(chip, 0) + row["cycles"]
    for line in found.values():
        wide = [count for key, count in line.items() if key.endswith(" 4096 bits")]
        line["always_faster"] = wide == sorted(wide, reverse=True)
    return list(found.values())


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Reproduction(Result):
    """The study rebuilt: rows of all chips, networks beside Eyeriss, means, objections."""

    rows: list[dict[str, Any]]
    networks: list[dict[str, Any]]
    means: dict[str, dict[str, float]]
    objections: list[dict[str, Any]]


def reproduce(progress: Progress = unshown) -> Reproduction:
    """Rebuild the study.

    Parameters
    ----------
    progress : callable, optional
        ``progress(iterable, label)`` wraps the long loops.

    Returns
    -------
    Reproduction
        305 rows, the networks, both means, the effect of each objection.
    """
    chip, rule = published()["reported"], RULES["bitfusion"]
    rows, lines = [], {}
    for each in progress(published()["chips"], "chips"):
        found = schedules(each, networks(), rule)
        rows += _rows(each, found)
        if each == chip:
            lines = {name: _compared(name, total(chip, of)) for name, of in found.items()}
    plain = {
        name: _compared(name, total(chip, of))
        for name, of in schedules(chip, plain_networks(), rule).items()
    }
    means = _means(lines.values())
    effects = [_effect(each, means) for each in progress(OBJECTIONS, "objections")]
    return Reproduction(
        rows=rows,
        networks=[_network(line, plain[name]) for name, line in lines.items()],
        means={
            "published": published()["means"],
            "reproduced": means,
            "corrected": _means(plain.values()),
        },
        objections=[*effects, *_stated(means)],
    )
