"""Certificates of mapped layers: written beside what the cycle rung takes, and checked."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from ..datatypes.base.errors import BitlatheError
from ..mapping.best import Objective
from ..mapping.certify import BUDGET, about_data, certificate
from ..mapping.mapped import Asked, Mapped
from ..mapping.proof.check import Verdict
from ..mapping.proof.record import ProofError
from ..mapping.proof.verify import check
from .map_group import AskedGroup, MappedGroup
from .map_strips import AskedStrips, MappedStrips

Fused = AskedGroup | AskedStrips


class Written(NamedTuple):
    """A certificate that was written: what checking the file gives, and its clocks on two rungs."""

    verdict: Verdict
    cycles: int
    rung_cycles: int

    def __str__(self) -> str:
        return (
            f"{self.verdict}; clocks: {self.cycles:,} of the analytic rung, {self.rung_cycles:,} "
            "of the cycle rung, about which nothing is proven"
        )


def write_certificate(
    path: Path, asked: Asked, found: Mapped, objective: Objective, budget: int | None = None
) -> Written:
    """Write the certificate of a mapping, check the file, and play the mapping.

    Parameters
    ----------
    path : Path
    asked : Asked
        The layer on the chip, with all its dataflows.
    found : Mapped
        Its mapping.
    objective : {"cycles", "energy", "edp"}
    budget : int, optional
        Parts of the space to bound at most; `certify.BUDGET` if left out.

    Raises
    ------
    BitlatheError
        The layer is neither a product nor a convolution, or the file cannot be written.
    """
    _check_budget(budget)
    from .cycle.nest.run import run_nest  # compiled: checking does without

    of = asked.layer, asked.bits
    data = certificate(
        *of, asked.hierarchies, found.mapping, found.hierarchy,
        objective=objective, budget=BUDGET if budget is None else budget,
    )  # fmt: skip
    verdict = _written(path, data)
    rung = run_nest(*of, found.mapping, found.hierarchy).cycles
    return Written(verdict, data["cost"]["cycles"], rung)


def write_group_certificate(
    path: Path, found: MappedGroup | MappedStrips, budget: int | None = None
) -> Written:
    """Write the certificate of fused layers, check the file, and play their schedule.

    Parameters
    ----------
    path : Path
    found : MappedGroup or MappedStrips
    budget : int, optional
        Parts to bound at most, each time a product of blocks is proven.

    Raises
    ------
    BitlatheError
        The chip has what certificates do not count, or the file cannot be written.
    """
    _check_budget(budget)
    data = found.certificate(budget)
    return Written(_written(path, data), data["cost"]["cycles"], found.rung_cycles())


def _check_budget(budget: int | None) -> None:
    if budget is not None and budget < 1:
        raise BitlatheError(f"--parts is {budget}; give a whole number of at least 1.")


def _written(path: Path, data: dict[str, Any]) -> Verdict:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    except OSError as err:
        raise BitlatheError(f"{path}: {err.strerror}; name a file that can be written.") from None
    return check_certificate(path)


def check_certificate(path: Path, asked: Asked | Fused | None = None) -> Verdict:
    """Check the certificate of a mapping, and whether it is about a layer on a chip.

    Parameters
    ----------
    path : Path
    asked : Asked, AskedGroup or AskedStrips, optional
        The layer on the chip, or the fused ones, that it must be about.

    Raises
    ------
    BitlatheError
        The file cannot be read, or something in it does not hold.
    """
    try:
        content = path.read_text(encoding="utf-8")
        verdict = check(content)
    except OSError as err:
        raise BitlatheError(f"{path}: {err.strerror}; give a certificate.") from None
    except UnicodeDecodeError:
        raise BitlatheError(f"{path} is not text; give a certificate, a JSON file.") from None
    except ProofError as err:
        raise BitlatheError(f"{path}: {err}") from None
    if asked is not None:
        said = json.loads(content)
        if isinstance(asked, Fused):  # of other dataflows what they are about, without proofs
            said["others"] = [
                {key: each[key] for key in ("chain", "chip")} for each in said["others"]
            ]
        others = [[name for name in each if said.get(name) != each[name]] for each in _about(asked)]
        if all(others):
            raise BitlatheError(
                f"{path}: {others[0][0]} is not that of --arch and the layer asked for; the "
                "certificate holds for another one."
            )
    return verdict


def _about(asked: Asked | Fused) -> list[dict[str, Any]]:
    """Return what a certificate may say that is about some layers: of fused ones by dataflow."""
    if isinstance(asked, Fused):
        return asked.about()
    return [about_data(asked.layer, asked.bits, asked.hierarchies)]
