"""Rebuild the BitMoD study's clocks, energies, headlines, and measure the objections to it."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ....arch import Arch, load_arch
from ....datatypes.base.yamlfile import read_yaml
from ....sim import Run, simulate
from ....workloads import load_model
from ..result import Progress, Result, unshown
from .as_published import published_chip, run_as_published

PHASES = ("prefill", "decode")
PJ_PER_UJ = 1e6

Key = tuple[str, str, str]  # accelerator, model, phase


@cache
def published() -> dict[str, Any]:
    """Return the published figures and settings."""
    data: dict[str, Any] = read_yaml(Path(__file__).parent / "published.yaml").data
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """A known flaw of the study and the change that takes it away.

    ``changes`` are chip settings by accelerator (``*`` = all); ``mapper`` and
    ``published_attention`` choose the traffic rule and the attention products.
    """

    title: str
    why: str
    changes: Mapping[str, Mapping[str, Any]] | None = None
    phase_changes: Mapping[tuple[str, str], Mapping[str, Any]] | None = None
    mapper: str = "whole-buffer"
    published_attention: bool = True

    def settings(self, accelerator: str, phase: str) -> dict[str, Any]:
        """Return the settings to change on one accelerator in one phase."""
        everywhere = self.changes or {}
        here = (self.phase_changes or {}).get((accelerator, phase), {})
        return {**everywhere.get("*", {}), **everywhere.get(accelerator, {}), **here}


OBJECTIONS = (
    Objection(
        title="Attention is over-counted",
        why="The figures count attention over all heads at once; counted per head, as it is "
        "computed, prefill has far fewer products.",
        published_attention=False,
    ),
    Objection(
        title="Prefill and decode use different precisions",
        why="BitMoD lossy runs prefill in 4 bits and decode in 3, and one bar adds both; here "
        "decode uses the 4-bit weights too.",
        phase_changes={("bitmod-lossy", "decode"): {"formats.linear.weight.bits": 4.0625}},
    ),
    Objection(
        title="Operands are fetched again without tiling K",
        why="Whole operands are read again when neither fits its buffer (the weights of "
        "Llama-2's down_proj eleven times); keeping a tile of partial sums on chip avoids it.",
        mapper="output-tiled",
    ),
    Objection(
        title="Serial arrays read SRAM at half cost",
        why="A chunk of weights and inputs is charged as one access of a port of half its width; "
        "here the whole chunk is read.",
        changes={"*": {"accounting.serial_port_fraction": 1.0}},
    ),
    Objection(
        title="Leakage is left out",
        why="The two buffers of high-performance cells leak about 0.67 W in the CACTI runs used.",
        changes={"*": {"accounting.leakage": True}},
    ),
    Objection(
        title="Idle PEs are charged",
        why="Every PE is charged in every clock, though decode fills a single column of the "
        "array; here PEs without work are clock-gated.",
        changes={"*": {"accounting.idle_pes": False}},
    ),
    Objection(
        title="Arrays are not of equal area",
        why="ANT's array is 13 % smaller than BitMoD's; here it has the 36 x 32 PEs (decode "
        "72 x 16) that OliVe's has, 1.6 % below BitMoD's area.",
        phase_changes={
            ("ant", "prefill"): {"array.rows": 36, "array.columns": 32},
            ("ant", "decode"): {"array.rows": 72, "array.columns": 16},
        },
    ),
    Objection(
        title="Selector bits are not counted",
        why="Each group of 128 weights needs 2 bits to name its special value, 1/64 bit a weight.",
        phase_changes={
            ("bitmod-lossy", "prefill"): {"formats.linear.weight.bits": 4.078125},
            ("bitmod-lossy", "decode"): {"formats.linear.weight.bits": 3.078125},
        },
    ),
)


def _published_keys() -> Iterable[Key]:
    study = published()
    return (
        (accelerator, model, phase)
        for accelerator in study["settings"]
        for phase in PHASES
        for model in study["models"]
    )


def _chip(key: Key) -> Arch:
    accelerator, model, phase = key
    study = published()
    bits = study["settings"][accelerator]["weight_bits"][phase][study["models"].index(model)]
    return published_chip(accelerator, bits, phase, load_model(model))


def run_published(key: Key, objection: Objection | None = None) -> Run:
    """Return the run behind one published bar, with one objection taken away if given."""
    accelerator, model, phase = key
    chip, context = _chip(key), published()["context"]
    if objection is None:
        return run_as_published(chip, load_model(model), phase, context)
    settings = objection.settings(accelerator, phase)
    return run_as_published(
        load_arch(chip, settings) if settings else chip,
        load_model(model),
        phase,
        context,
        published_attention=objection.published_attention,
        mapper=objection.mapper,
    )


def run_corrected(key: Key) -> Run:
    """Return the run of our corrected chip that stands beside a published one."""
    accelerator, model, phase = key
    study = published()
    return simulate(
        str(study["corrected"][accelerator]),
        model,
        phase,
        study["context"],
        fidelity="analytic",
        mapper="whole-buffer",
    )


def _as_printed(accelerator: str, phase: str) -> Callable[[float], int]:
    """Return how the study rounded an energy of one bar."""
    return math.floor if [accelerator, phase] in published()["floored"] else round


def _row(key: Key, run: Run, corrected: Run) -> dict[str, Any]:
    accelerator, model, phase = key
    study = published()
    column = study["models"].index(model)
    printed = _as_printed(accelerator, phase)
    row: dict[str, Any] = {
        "accelerator": accelerator,
        "model": model,
        "phase": phase,
        "published_cycles": study["cycles"][accelerator][phase][column],
        "cycles": run.cycles,
        "published_onchip_uj": study["onchip_uj"][accelerator][phase][column],
        "onchip_uj": run.onchip_pj / PJ_PER_UJ,
        "published_total_uj": study["total_uj"][accelerator][phase][column],
        "total_uj": run.energy_pj["total"] / PJ_PER_UJ,
    }
    row["agrees"] = (
        row["cycles"] == row["published_cycles"]
        and printed(row["onchip_uj"]) == row["published_onchip_uj"]
        and printed(row["total_uj"]) == row["published_total_uj"]
    )
    row["corrected_arch"] = corrected.arch
    row["corrected_cycles"] = corrected.cycles
    row["corrected_onchip_uj"] = corrected.onchip_pj / PJ_PER_UJ
    row["corrected_total_uj"] = corrected.energy_pj["total"] / PJ_PER_UJ
    return row


def _generative(rows: Mapping[Key, Mapping[str, Any]], key: str, acc: str, model: str) -> float:
    """Return prefill plus the study's decode steps of one quantity."""
    steps = published()["decode_steps"]
    return float(rows[acc, model, "prefill"][key] + steps * rows[acc, model, "decode"][key])


def workload_value(
    rows: Mapping[Key, Mapping[str, Any]], quantity: str, accelerator: str, model: str, work: str
) -> float:
    """Return a quantity of the ``prefill`` or the ``generative`` workload.

    Parameters
    ----------
    rows : mapping
        Figures by (accelerator, model, phase).
    quantity : str
        Which figure.
    accelerator, model : str
        Of which chip and model.
    work : {"prefill", "generative"}
        The study's workload.
    """
    if work == "prefill":
        return float(rows[accelerator, model, "prefill"][quantity])
    return _generative(rows, quantity, accelerator, model)


def headline(
    rows: Mapping[Key, Mapping[str, Any]], quantity: str, design: str, baseline: str, work: str
) -> float:
    """Return the arithmetic mean over the models of baseline / design.

    Parameters
    ----------
    rows, quantity
        As `workload_value` takes them.
    design, baseline : str
        The two chips.
    work : {"prefill", "generative", "both"}
        The study's workload; the mean of the two for both.
    """
    if work == "both":
        return (
            headline(rows, quantity, design, baseline, "prefill")
            + headline(rows, quantity, design, baseline, "generative")
        ) / 2
    models = published()["models"]
    return sum(
        workload_value(rows, quantity, baseline, m, work)
        / workload_value(rows, quantity, design, m, work)
        for m in models
    ) / len(models)


def _headlines(rows: Mapping[Key, Mapping[str, Any]]) -> list[dict[str, Any]]:
    quantity = {"speedup": "cycles", "energy": "total_uj"}
    return [
        {
            **line,
            "from_published_figures": headline(
                rows, f"published_{quantity[line['what']]}", *_who(line)
            ),
            "reproduced": headline(rows, quantity[line["what"]], *_who(line)),
            "corrected": headline(rows, f"corrected_{quantity[line['what']]}", *_who(line)),
        }
        for line in published()["headlines"]
    ]


def _who(line: Mapping[str, Any]) -> tuple[str, str, str]:
    return line["design"], line["baseline"], line["workload"]


def _effect(objection: Objection, base: Mapping[Key, Run]) -> dict[str, Any]:
    """Return what taking one objection away changes: mean ratios by accelerator and phase."""
    runs = {key: run_published(key, objection) for key in base}
    effects = []
    for accelerator in published()["settings"]:
        for phase in PHASES:
            keys = [k for k in base if k[0] == accelerator and k[2] == phase]

            def mean(of: Callable[[Run], float], keys: list[Key] = keys) -> float:
                return sum(of(runs[k]) / of(base[k]) for k in keys) / len(keys)

            effect = {
                "accelerator": accelerator,
                "phase": phase,
                "cycles_ratio": mean(lambda r: r.cycles),
                "onchip_ratio": mean(lambda r: r.onchip_pj),
                "total_ratio": mean(lambda r: r.energy_pj["total"]),
            }
            if any(effect[k] != 1.0 for k in ("cycles_ratio", "onchip_ratio", "total_ratio")):
                effects.append(effect)
    values = {
        k: {"cycles": r.cycles, "total_uj": r.energy_pj["total"] / PJ_PER_UJ}
        for k, r in runs.items()
    }
    return {
        "title": objection.title,
        "why": objection.why,
        "effects": effects,
        "speedup_over_ant": headline(values, "cycles", "bitmod-lossy", "ant", "both"),
        "energy_gain_over_ant": headline(values, "total_uj", "bitmod-lossy", "ant", "both"),
    }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Reproduction(Result):
    """A published study rebuilt: rows, headline ratios, objections with their effects."""

    rows: list[dict[str, Any]]
    headlines: list[dict[str, Any]]
    objections: list[dict[str, Any]]

    def plain(self) -> list[dict[str, Any]]:
        """Return plain data for JSON: the rows."""
        return self.rows

    def by_key(self) -> dict[Key, dict[str, Any]]:
        """Return the rows by accelerator, model and phase."""
        return {(r["accelerator"], r["model"], r["phase"]): r for r in self.rows}


def reproduce(progress: Progress = unshown) -> Reproduction:
    """Rebuild the study.

    Parameters
    ----------
    progress : callable, optional
        ``progress(iterable, label)`` wraps the long loops.

    Returns
    -------
    Reproduction
        60 rows, the headline ratios, the effect of each objection.
    """
    base: dict[Key, Run] = {}
    rows = {}
    for key in progress(list(_published_keys()), "accelerators x models x phases"):
        base[key] = run_published(key)
        rows[key] = _row(key, base[key], run_corrected(key))
    objections = [_effect(o, base) for o in progress(OBJECTIONS, "objections")]
    return Reproduction(rows=list(rows.values()), headlines=_headlines(rows), objections=objections)
