"""Rebuild the ANT study's times and energies, and measure the objections to it.

Every count is that of `mapping.bitfusion`; what is added here are the study's layers, the way in
which it normalizes, and its means.
"""

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path
from statistics import fmean, geometric_mean
from typing import Any

from ....arch import Arch, load_arch
from ....datatypes.base.yamlfile import read_yaml
from ....mapping.bitfusion import RULES, Costs, Machine, SquareLayer, best_schedule
from ..result import Progress, Result, unshown

HERE = Path(__file__).parent
ENERGIES = {
    "static": ("dram_background",),
    "dram": ("dram",),
    "buffer": ("sram_read", "sram_write"),
    "core": ("work", "pe_leakage"),
}
"""The study's parts of the energy, and what they are of a schedule's."""
FIGURES = ("time", *ENERGIES)
Key = tuple[str, str]  # network, chip
Figures = Mapping[Key, Mapping[str, float]]
_schedule = lru_cache(maxsize=8192)(best_schedule)


@cache
def published() -> dict[str, Any]:
    """Return the published figures and settings."""
    data: dict[str, Any] = read_yaml(HERE / "published.yaml").data
    return data


def _layer(row: Mapping[str, str], *, true_kernels: bool) -> SquareLayer:
    """Return a layer of the data; equal ones are equal, whatever network they stand in."""
    sides = row["kernel"], row["kernel_width"] if true_kernels else row["kernel"]
    return SquareLayer(
        name=f"{row['kind']} {' x '.join(sides)}, {row['input_channels']} inputs",
        kernel=int(sides[0]),
        kernel_width=int(sides[1]),
        output_size=int(row["output_size"]),
        stride=int(row["stride"]),
        in_channels=int(row["input_channels"]),
        out_channels=int(row["output_channels"]),
        images=published()["batch"] * int(row["rows_per_image"]),
        input_bits=int(row["bits"]),
        weight_bits=int(row["bits"]),
    )


@cache
def layers(*, true_kernels: bool = False) -> dict[Key, list[SquareLayer]]:
    """Return the layers by network and by whose bits they have (``chip`` of the data).

    Parameters
    ----------
    true_kernels : bool
        Kernels with both of their sides; the study takes the first for both.
    """
    found: dict[Key, list[SquareLayer]] = {}
    with (HERE / "layers.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            layer = _layer(row, true_kernels=true_kernels)
            found.setdefault((row["network"], row["chip"]), []).append(layer)
    return found


def networks() -> tuple[str, ...]:
    """Return the names of the networks, in the order of the data."""
    return tuple(dict.fromkeys(network for network, _ in layers()))


def choice_costs(chip: Arch) -> Costs:
    """Return the costs by which the study chooses among equally fast schedules of a chip."""
    given = {key: Fraction(str(value)) for key, value in published()["choice"].items()}
    clock = Fraction(str(chip.technology.clock_ghz))
    return replace(
        Costs.of(chip),
        dram_read=1000 * given["dram_read_nj"] / given["access_bits"],
        dram_write=1000 * given["dram_write_nj"] / given["access_bits"],
        dram_background=given["dram_background_mw"] / clock,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """A known flaw of the study and what takes it away.

    Attributes
    ----------
    title, why : str
    true_kernels : bool
        Take both sides of the kernels.
    switches : mapping
        Of the rule.
    energies : mapping
        What the parts of the energy hold, where they hold more.
    bits_of : mapping
        By chip, whose bits it runs with instead of its own.
    """

    title: str
    why: str
    true_kernels: bool = False
    switches: Mapping[str, Any] = field(default_factory=dict)
    energies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    bits_of: Mapping[str, str] = field(default_factory=dict)


AS_PUBLISHED = Objection(title="as published", why="")
_LEAKAGE = {"buffer": ("sram_read", "sram_write", "sram_leakage")}
OBJECTIONS = (
    Objection(
        title="A 7 x 1 kernel counts as 7 x 7, a 1 x 7 one as 1 x 1",
        why="Only one side of a kernel is read; InceptionV3 has both kinds. Here both sides are.",
        true_kernels=True,
    ),
    Objection(
        title="Leakage of the SRAMs is left out",
        why="It decides between schedules and is in no part of the energy; here it is in Buffer.",
        energies=_LEAKAGE,
    ),
    Objection(
        title="Partial sums are never read back",
        why="DRAM writes them and reads none, and no tile of outputs is too large for its SRAM; "
        "here they are read as often as written, as BitFusion's model does, and tiles must fit.",
        switches={"sums_read_back": True},
    ),
    Objection(
        title="The last store takes no time",
        why="Its size is copied from the sums read back, which are 0; here it is that of the "
        "results.",
        switches={"last_store_copied": False},
    ),
    Objection(
        title="BitFusion runs most layers in 8 bits",
        why="ANT runs 8 % of all layers in 8 bits, BitFusion, which has integers only, 75 %; its "
        "ViT has a layer more. The two arrays are alike: with the same layers they are equal.",
        bits_of={"BitFusion": "ant"},
    ),
)


def figures(objection: Objection = AS_PUBLISHED) -> dict[Key, dict[str, float]]:
    """Return clocks and energies (nJ) of all networks on all chips, under a change.

    Energies by the study's parts; ``energy`` is their sum.
    """
    found: dict[Key, dict[str, float]] = {}
    for name, of in published()["chips"].items():
        chip = load_arch(f"micro22/{of['arch']}")
        machine, costs, choice = Machine.of(chip), Costs.of(chip), choice_costs(chip)
        rule = replace(RULES[str(chip.mapper)], **objection.switches)
        bits = objection.bits_of.get(name, of["layers"])
        for network in networks():
            listed = Counter(layers(true_kernels=objection.true_kernels)[network, bits])
            schedules = {layer: _schedule(layer, machine, rule, choice) for layer in listed}
            spent = [(schedules[layer].energy_pj(costs), times) for layer, times in listed.items()]
            parts = {
                part: float(sum(times * each[key] for each, times in spent for key in keys) / 1000)
                for part, keys in {**ENERGIES, **objection.energies}.items()
            }
            found[network, name] = {
                **{
                    key: sum(getattr(schedules[layer], key) * n for layer, n in listed.items())
                    for key in ("cycles", "stall_cycles")
                },
                **parts,
                "energy": sum(parts.values()),
            }
    return found


def normalized(found: Figures) -> dict[Key, dict[str, float]]:
    """Return times and energies over the baseline's time and total energy of the network."""
    return {
        (network, chip): {
            "time": of["cycles"] / found[network, published()["baseline"]]["cycles"],
            **{
                part: of[part] / found[network, published()["baseline"]]["energy"]
                for part in (*ENERGIES, "energy")
            },
        }
        for (network, chip), of in found.items()
    }


def printed_means(found: Figures) -> list[dict[str, Any]]:
    """Return the means as the study prints them: arithmetic, with its two slips."""
    slips, lines = published()["means"], []
    for chip in published()["chips"]:
        over = {part: slips["energies_over"].get(chip, networks()) for part in ENERGIES}
        line = {
            part: fmean(found[network, chip][part] for network in over.get(part, networks()))
            for part in FIGURES
        }
        if chip in slips["sum_kept"]:
            first, second = slips["sum_kept"][chip]
            line[second] += line[first] / len(networks())
        lines.append({"chip": chip, **line})
    return lines


def mean(found: Figures, chip: str, figure: str, over: Iterable[str] = ()) -> float:
    """Return the geometric mean of a figure of a chip.

    Parameters
    ----------
    found : mapping
        Figures by network and chip.
    chip, figure : str
    over : iterable of str
        Networks; all by default.
    """
    return geometric_mean([found[network, chip][figure] for network in over or networks()])


def _effects(objection: Objection, base: Figures) -> list[dict[str, Any]]:
    """Return the chips whose means a change moves: after it, and over those as published."""
    changed, lines = normalized(figures(objection)), []
    for chip in published()["chips"]:
        line: dict[str, Any] = {"title": objection.title, "why": objection.why, "chip": chip}
        for key in ("time", "energy"):
            line[key] = mean(changed, chip, key)
            line[f"{key}_ratio"] = line[key] / mean(base, chip, key)
        if any(abs(line[f"{key}_ratio"] - 1) > 1e-12 for key in ("time", "energy")):
            lines.append(line)
    return lines


def _of_means(base: Figures, printed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the objections to the column of means: what it prints, and the mean as it is named."""
    slips = {line["chip"]: line for line in printed}
    kept, once = published()["means"]["sum_kept"], published()["one_of_bert"]
    apart = [network for network in networks() if network not in once]
    lines = []

    def line(title: str, chip: str, figure: str, value: float, by: float) -> None:
        lines.append(
            {"title": title, "chip": chip, "figure": figure, "printed": value, "instead": by}
        )

    for chip in slips:
        line("Geomean is arithmetic", chip, "time", slips[chip]["time"], mean(base, chip, "time"))
    for chip, (_, second) in kept.items():
        plain = fmean(base[network, chip][second] for network in networks())
        line("A sum is not reset", chip, second, slips[chip][second], plain)
    for chip in published()["means"]["energies_over"]:
        for part in ENERGIES:
            plain = fmean(base[network, chip][part] for network in networks())
            line("Energies are over two networks", chip, part, slips[chip][part], plain)
    for chip in slips:
        six = mean(base, chip, "time", apart)
        line("Three BERT tasks are one", chip, "time", mean(base, chip, "time"), six)
    return lines


def _row(key: Key, found: Figures, normal: Figures, repaired: Figures) -> dict[str, Any]:
    """Return a row: figures beside what is printed of it, and corrected."""
    (network, chip), of, over, corrected = key, found[key], normal[key], repaired[key]
    printed = published()["printed"].get(network, {}).get(chip, {})
    return {
        "network": network,
        "chip": chip,
        "cycles": of["cycles"],
        "stall_cycles": of["stall_cycles"],
        **{figure: over[figure] for figure in FIGURES},
        **{f"published_{figure}": printed.get(figure) for figure in ("cycles", *FIGURES)},
        **{f"corrected_{figure}": corrected[figure] for figure in FIGURES},
        "agrees": _agrees(printed, of["cycles"], over) if printed else None,
    }


def _agrees(printed: Mapping[str, Any], cycles: float, over: Mapping[str, float]) -> bool:
    """Return whether all that is printed of a row is what its figures are printed as."""
    return printed.get("cycles", cycles) == cycles and all(
        round(over[figure], 2) == printed[figure] for figure in FIGURES if figure in printed
    )


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Reproduction(Result):
    """The study rebuilt: rows, means as printed and by their name, objections.

    ``means`` are those that the study prints; ``corrected_means`` are geometric, over eight
    networks with true kernels and the leakage of the SRAMs.
    """

    rows: list[dict[str, Any]]
    means: list[dict[str, Any]]
    corrected_means: list[dict[str, Any]]
    objections: list[dict[str, Any]]
    mean_objections: list[dict[str, Any]]


def reproduce(progress: Progress = unshown) -> Reproduction:
    """Rebuild the study.

    Parameters
    ----------
    progress : callable, optional
        ``progress(iterable, label)`` wraps the long loops.

    Returns
    -------
    Reproduction
        48 rows of eight networks on six chips, the means, the effect of each objection.
    """
    found = figures()
    over = normalized(found)
    repaired = Objection(title="corrected", why="", true_kernels=True, energies=_LEAKAGE)
    corrected = normalized(figures(repaired))
    means = printed_means(over)
    return Reproduction(
        rows=[
            _row((network, chip), found, over, corrected)
            for network in networks()
            for chip in published()["chips"]
        ],
        means=means,
        corrected_means=[
            {"chip": chip, **{figure: mean(corrected, chip, figure) for figure in FIGURES}}
            for chip in published()["chips"]
        ],
        objections=[
            line for each in progress(OBJECTIONS, "objections") for line in _effects(each, over)
        ],
        mean_objections=_of_means(over, means),
    )
