"""Both tables of the study as docs/seeds.md has them."""

from collections.abc import Sequence
from typing import Any, Final

from .study import Row, Seeds, kept

METHODS: Final = (
    "| at | method | scheme | inputs | bits | bits at 4,096 | weight error | output error | "
    "perplexity | chip | 10^6 clocks | mJ | mm2 |"
)
FORMATS: Final = METHODS.replace(" at | method | scheme | inputs |", " scheme |")


def markdown(found: Seeds) -> str:
    """Return both tables, what stands under them, and the date and tokens of each perplexity."""
    parts = [
        _table(METHODS, [_cells(row, method=True) for row in found.methods]),
        _table(FORMATS, [_cells(row, method=False) for row in found.formats]),
        "\n".join(f"* {key}: {rule['why']}" for key, rule in kept()["reasons"].items()),
    ]
    return "\n\n".join(parts) + "\n"


def perplexity(row: Row) -> str:
    """Return a row's perplexity, marked where few tokens served; or, in brackets, why none.

    ``kept()["marks"]`` are the marks; the reason is a letter.
    """
    value = row.get("perplexity")
    if value is None:
        why = row.get("no_perplexity")
        return f"({why})" if why else ""
    mark: str = kept()["marks"].get(str(row.get("calibrated_on")), "")
    return _significant(value) + mark


def _cells(row: Row, *, method: bool) -> list[str]:
    own, fp16 = row["scheme"] == "its own", row["inputs"] == "fp16"
    scheme = row["scheme"] if own else f"`{row['scheme']}`"
    inputs = "" if fp16 else f"`{row['inputs']}`"
    first = [str(row["bits"]), row["method"], scheme, inputs] if method else [scheme]
    return [
        *first,
        f"{row['bits_per_weight']:.3f}",
        f"{row['bits_per_weight_4096']:.3f}",
        f"{row['weight_error']:.4g}",
        f"{row['output_error']:.4g}",
        perplexity(row),
        f"`{row['chip']}`",
        f"{row['clocks_m']:.1f}",
        f"{row['energy_mj']:.0f}",
        f"{row['array_mm2']:.2f}",
    ]


def _significant(value: float) -> str:
    """Return four digits, zeros at the end kept: ``21.00``, but ``3.209e+06``."""
    return f"{value:#.4g}".rstrip(".")


def _table(head: str, rows: Sequence[Sequence[Any]]) -> str:
    rule = "|" + "---|" * (head.count("|") - 1)
    return "\n".join([head, rule, *("| " + " | ".join(row) + " |" for row in rows)])
