"""The table of what term skipping gains: sums over matrices, not means of ratios."""

import numpy as np
import pytest

from bitlathe.datatypes.quantize import quantize
from bitlathe.reports.studies.skipping_gain.study import GAINS, pooled, sources
from bitlathe.sim.array.tile.model import TileArray
from bitlathe.sim.array.tile.skipping import pe_integers, skipping_gain


def test_pooled_gains_are_total_clocks_over_total_clocks() -> None:
    array = TileArray(rows=4, cols=4, lanes=2, group_size=16)
    rng = np.random.default_rng(0)
    matrices = [rng.standard_t(4, shape).astype(np.float32) for shape in ((8, 32), (4, 64))]
    tensors = [quantize(w, "int6@g16") for w in matrices]
    row = pooled([skipping_gain(q, array) for q in tensors], [w.size for w in matrices])
    kept = 0
    for q in tensors:
        integers, decoder = pe_integers(q)
        kept += np.count_nonzero(decoder.man[decoder.rows(integers)])
    total = sum(w.size for w in matrices)
    assert row["terms"] == 3
    assert row["nonzero_terms"] == round(kept / total, 3)
    assert row["ideal"] == round(3 * total / kept, 3)
    ideal, lane, row_gain, whole = (row[name] for name in GAINS)
    assert ideal >= lane >= row_gain >= whole >= 1


def test_stand_ins_are_seeded_and_heavy_tails_have_fewer_terms() -> None:
    first, again = dict(sources()), dict(sources())
    np.testing.assert_array_equal(first["gaussian"][0], again["gaussian"][0])
    array = TileArray(rows=32, cols=32)
    gains = {
        name: skipping_gain(quantize(first[name][0][:64], "int4@g128"), array)
        for name in ("gaussian", "student_t")
    }
    assert gains["student_t"].zero_terms > gains["gaussian"].zero_terms
    assert gains["student_t"].ideal == pytest.approx(1 / (1 - gains["student_t"].zero_terms))
