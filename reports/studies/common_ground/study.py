"""Run the chips of three studies on the same models, and set headlines beside the results."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from statistics import geometric_mean
from typing import Any

from ....arch import Arch, load_arch
from ....arch.silicon import DECODERS, PE_ARRAY
from ....datatypes.base.yamlfile import read_yaml
from ....sim import simulate
from .. import ant_micro22, bitfusion_isca18, bitmod_hpca25
from ..result import Progress, Result, unshown

HERE = Path(__file__).parent
Point = tuple[str, str, str]  # chip, model, phase


@cache
def ground() -> dict[str, Any]:
    """Return chips, models, headlines and what each study assumed."""
    data: dict[str, Any] = read_yaml(HERE / "ground.yaml").data
    return data


def points() -> Iterator[Point]:
    """Yield all runs: networks once, language models in both phases."""
    for chip in ground()["chips"]:
        for model in ground()["models"]["image"]:
            yield chip, model, "prefill"
        for model in ground()["models"]["language"]:
            yield from ((chip, model, phase) for phase in ("prefill", "decode"))


def chip_of(name: str) -> Arch:
    """Return a chip, without its vector unit: products alone."""
    of = ground()["chips"][name]
    path = HERE / of["arch"]
    settings = {"vector.lanes": 0, **of.get("settings", {})}
    return load_arch(path if path.suffix else of["arch"], settings)


def run(point: Point) -> dict[str, Any]:
    """Return clocks, energy and area of a model on a chip.

    Parameters
    ----------
    point : (str, str, str)
        Chip, model and phase.
    """
    name, model, phase = point
    settings = ground()
    language = model in settings["models"]["language"]
    found = simulate(
        chip_of(name),
        model,
        phase,
        settings["context"] if language else None,
        settings["batch"][phase if language else "image"],
        fidelity="analytic",
        mapper=settings["mapper"],
        fusion=False,
    )
    area = found.area_um2[PE_ARRAY] + found.area_um2.get(DECODERS, 0.0)
    return {
        "chip": name,
        "model": model,
        "phase": phase if language else "image",
        "cycles": found.cycles,
        "energy_uj": found.energy_pj["total"] / 1e6,
        "dram_uj": found.energy_pj["dram"] / 1e6,
        "leakage_uj": found.energy_pj["leakage"] / 1e6,
        "pe_area_mm2": area / 1e6,
    }


def ratio(
    rows: Iterable[Mapping[str, Any]], chip: str, over: str, figure: str, phases: Iterable[str]
) -> float:
    """Return the geometric mean over the models of how much less a chip takes than another.

    Parameters
    ----------
    rows : iterable of mapping
        As `run` makes them.
    chip, over : str
        The design, and what it is compared with.
    figure : {"speed", "energy"}
    phases : iterable of str
        Of ``image``, ``prefill`` and ``decode``.
    """
    key = {"speed": "cycles", "energy": "energy_uj"}[figure]
    found = {(row["chip"], row["model"], row["phase"]): row[key] for row in rows}
    return geometric_mean(
        [
            found[over, model, phase] / value
            for (name, model, phase), value in found.items()
            if name == chip and phase in tuple(phases)
        ]
    )


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return speed and energy over the baseline by chip and kind of work, geometric means."""
    over = ground()["baseline"]
    return [
        {
            "chip": chip,
            "pe_area_mm2": max(row["pe_area_mm2"] for row in rows if row["chip"] == chip),
            **{
                f"{phase}_{figure}": ratio(rows, chip, over, figure, (phase,))
                for figure in ("speed", "energy")
                for phase in ("image", "prefill", "decode")
            },
        }
        for chip in ground()["chips"]
    ]


def _of_studies() -> dict[str, tuple[float, float]]:
    """Return headlines as the rebuilt studies have them: reproduced, corrected."""
    fusion = bitfusion_isca18.reproduce().means
    found = {
        f"bitfusion_{key}": (fusion["reproduced"][key], fusion["corrected"][key])
        for key in ("speed", "energy")
    }
    ant = ant_micro22.reproduce()
    printed, fixed = (
        {line["chip"]: line for line in lines} for lines in (ant.means, ant.corrected_means)
    )
    for key, parts in (("speed", ("time",)), ("energy", ("static", "dram", "buffer", "core"))):
        sums = [
            {chip: sum(lines[chip][part] for part in parts) for chip in ("ANT-OS", "BitFusion")}
            for lines in (printed, fixed)
        ]
        found[f"ant_{key}"] = tuple(each["BitFusion"] / each["ANT-OS"] for each in sums)
    names = {"speedup": "speed", "energy": "energy"}
    for line in bitmod_hpca25.reproduce().headlines:
        if line["design"] == "bitmod-lossy" and line["workload"] == "both":
            key = f"bitmod_{line['baseline']}_{names[line['what']]}"
            found[key] = (line["reproduced"], line["corrected"])
    return found


def headlines(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each headline as published, reproduced, corrected, and on common ground."""
    rebuilt, lines = _of_studies(), []
    groups = {"image": ("image",), "language": ("prefill", "decode")}
    for line in ground()["headlines"]:
        reproduced, corrected = rebuilt[line["key"]]
        here = None
        if "design" in line:
            pair = (line["design"], line["over"], line["figure"])
            here = ratio(rows, *pair, groups[line["group"]])
        lines.append(
            {
                **{key: line[key] for key in ("study", "claim", "published")},
                "reproduced": reproduced,
                "corrected": corrected,
                "common_ground": here,
            }
        )
    return lines


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Reproduction(Result):
    """Runs of all chips on all models, their means, the headlines, what each study assumed."""

    rows: list[dict[str, Any]]
    summary: list[dict[str, Any]]
    headlines: list[dict[str, Any]]
    assumptions: list[dict[str, Any]]


def reproduce(progress: Progress = unshown) -> Reproduction:
    """Run everything; mappings that were found before are looked up.

    Parameters
    ----------
    progress : callable, optional
        ``progress(iterable, label)`` wraps the long loops.
    """
    rows = [run(point) for point in progress(list(points()), "chips x models x phases")]
    return Reproduction(
        rows=rows,
        summary=summary(rows),
        headlines=headlines(rows),
        assumptions=ground()["assumptions"],
    )
