"""The study of term skipping: gains by hand, the picture, and dense points that are missing."""

from pathlib import Path
from shutil import copytree

import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.explore import read_results, run_sweep
from bitlathe.reports.studies.term_skipping.study import draw, gains

STUDY = Path(__file__).parents[3] / "reports" / "studies" / "term_skipping" / "sweep.yaml"


def row(model: str, cycles: int, sync: str | None = None, weights: str = "gaussian") -> dict:
    return {
        "phase": "prefill",
        "scheme.linear": "int8",
        "model": model,
        "pe.skip_zero_terms": sync is not None,
        "pe.skip_sync": sync or "array",
        "pe.skip_weights": weights,
        "cycles": cycles,
    }


def test_gains_are_geometric_means_over_models() -> None:
    rows = [row("a", 100, "lane"), row("b", 200, "lane"), row("a", 400), row("b", 200)]
    found = gains([*rows, row("a", 200, "row", "student_t")])
    assert found == pytest.approx(
        {
            ("prefill", "int8", "lane", "gaussian"): 2.0,
            ("prefill", "int8", "row", "student_t"): 2.0,
        }
    )


def test_a_missing_dense_point_is_named() -> None:
    with pytest.raises(BitlatheError, match="no dense point for prefill, int8, b"):
        gains([row("a", 100), row("b", 100, "lane")])


def test_a_small_part_of_the_study(tmp_path: Path) -> None:
    """Looser steps are never slower, and skipping never slower than not skipping."""
    text = STUDY.read_text(encoding="utf-8")
    start, end = text.index("  linear:\n"), text.index("constraints:")
    text = f"{text[:start]}  linear: [int8@channel, bitmod_fp3@g128/int8]\n{text[end:]}"
    text = text.replace("[opt-1.3b, llama-2-7b, llama-3-8b]", "opt-1.3b")
    copytree(STUDY.parent / "chips", tmp_path / "chips")
    (tmp_path / "sweep.yaml").write_text(text.replace("[gaussian, student_t]", "gaussian"))
    done = run_sweep(tmp_path / "sweep.yaml", tmp_path / "out", jobs=1)
    assert (done.rows, done.failures) == (16, 0)
    rows = list(read_results(tmp_path / "out"))
    for figure in ("cycles", "compute_cycles", "energy_pj.pe"):
        found = gains(rows, figure)
        for phase in ("prefill", "decode"):
            for scheme in ("int8@channel", "bitmod_fp3@g128/int8"):
                lane, per_row, array = (
                    found[phase, scheme, sync, "gaussian"] for sync in ("lane", "row", "array")
                )
                assert lane >= per_row >= array >= 1
    assert found["prefill", "bitmod_fp3@g128/int8", "lane", "gaussian"] > 1.3
    draw(gains(rows), tmp_path / "gains.png")
    assert (tmp_path / "gains.png").stat().st_size > 10_000
