"""Rebuild ShiftAddLLM's energies, and switch off what can be said against them one by one."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from ....arch import load_arch
from ....datatypes.base.yamlfile import read_yaml
from ....sim import simulate
from ....workloads.gemm import Gemm
from ..result import Progress, Result, unshown
from .as_published import CHANGES, CHIP, PJ_PER_MJ, Machine, shapes_of, token_mj

WITHIN: Final = 0.0025
"""Relative difference at most, as most figures are printed with three digits."""


@cache
def published() -> dict[str, Any]:
    """Return the published figures, methods and sizes of models."""
    data: dict[str, Any] = read_yaml(Path(__file__).parent / "published.yaml").data
    return data


@dataclass(frozen=True, slots=True, kw_only=True)
class Objection:
    """What can be said against the count, and its change (`as_published.CHANGES`)."""

    title: str
    why: str
    change: str


OBJECTIONS: Final = (
    Objection(
        title="Planes are not read",
        why="The bits by which tables are looked up are taken from nowhere; here each is read from "
        "DRAM once.",
        change="planes",
    ),
    Objection(
        title="Looked-up sums come from DRAM",
        why="What is looked up and then scaled is read from DRAM and written back; here it stays.",
        change="sums",
    ),
    Objection(
        title="Scales are not read",
        why="Scales and zero points of groups of 128 are read from nowhere; here from DRAM, once.",
        change="scales",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Reproduction(Result):
    """The study.

    Attributes
    ----------
    rows : list of dict
        ``model``, ``method``; ``published_mj``, ``reproduced_mj``, ``corrected_mj`` of a token;
        ``agrees``: reproduced within 0.25 % of published; None where nothing is published.
    objections : list of dict
        ``saving``: FP16 over ShiftAddLLM at 3 bits, of Llama-2-7B, and ``over_optq``.
    simulated : list of dict
        FP16 on the same array by this project's search of mappings, beside the reproduced.
    """

    rows: list[dict[str, Any]]
    objections: list[dict[str, Any]]
    simulated: list[dict[str, Any]]

    def plain(self) -> dict[str, Any]:
        """Return the study as ``--json`` prints it."""
        return asdict(self)


def reproduce(progress: Progress = unshown) -> Reproduction:
    """Rebuild the study; a model's matrices are looked at once for each method."""
    study, machine = published(), Machine.of(load_arch(CHIP))
    pairs = [(model, method) for model in study["models"] for method in study["methods"]]
    return Reproduction(
        rows=[_row(a, b, machine) for a, b in progress(pairs, "energies")],
        objections=_objections(machine),
        simulated=[_simulated("opt-125m", machine)],
    )


def _row(model: str, method: str, machine: Machine) -> dict[str, Any]:
    study = published()
    how, sizes = study["methods"][method], study["models"][model]
    printed, found = study["energy_mj"][model].get(method), token_mj(how, sizes, machine)
    return {
        "model": model,
        "method": method,
        "published_mj": printed,
        "reproduced_mj": found,
        "corrected_mj": token_mj(how, sizes, machine, tuple(CHANGES)),
        "agrees": None if printed is None else abs(found / printed - 1) <= WITHIN,
    }


def _objections(machine: Machine) -> list[dict[str, Any]]:
    rows = [{"title": "as published", "why": "", **_ratios((), machine)}]
    for each in OBJECTIONS:
        ratios = _ratios((each.change,), machine)
        rows.append({"title": each.title, "why": each.why, **ratios})
    return [*rows, {"title": "all of them", "why": "", **_ratios(tuple(CHANGES), machine)}]


def _ratios(changes: Sequence[str], machine: Machine) -> dict[str, float]:
    """Return energies of Llama-2-7B over those of ShiftAddLLM at 3 bits."""
    study = published()
    of = {
        name: token_mj(study["methods"][name], study["models"]["llama-2-7b"], machine, changes)
        for name in ("fp16", "optq3", "lut_gemm3", "shiftadd3")
    }
    return {f"{name}_ratio": energy / of["shiftadd3"] for name, energy in of.items()}


def _simulated(model: str, machine: Machine) -> dict[str, Any]:
    """Return FP16 on the array's chip file, mapped by this project's search."""
    study = published()
    sizes = study["models"][model]
    shapes = {shape: sizes["layers"] * shapes_of(sizes).count(shape) for shape in shapes_of(sizes)}
    shapes[sizes["vocabulary"], sizes["hidden"]] = 1
    layers = [
        Gemm(name=f"{n} x {k}", m=1, n=n, k=k, count=count) for (n, k), count in shapes.items()
    ]
    run = simulate(load_arch(CHIP), layers, fidelity="analytic")
    return {
        "model": model,
        "simulated_mj": run.energy_pj["total"] / PJ_PER_MJ,
        "reproduced_mj": token_mj(study["methods"]["fp16"], sizes, machine),
    }
