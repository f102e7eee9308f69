"""The study of models: tables by hand, of a run that the sweep would make."""

from typing import Any

import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.studies.model_costs.study import FIGURES, tables
from bitlathe.sim import simulate


def row(chip: str, model: str, phase: str, seconds: float, batch: int = 1) -> dict[str, Any]:
    return {
        "arch": chip,
        "model": model,
        "phase": phase,
        "context": 512,
        "batch": batch,
        "cycles": seconds * 1e9,
        "seconds": seconds,
        "energy_pj.total": seconds * 4e12,
    }


def test_tables_by_hand() -> None:
    rows = [
        row("a", "gpt2", "prefill", 2.0),
        row("a", "gpt2", "decode", 0.5, batch=8),
        row("b", "gpt2", "decode", 0.25, batch=8),
    ]
    found = tables(rows)
    assert len(found) == len(FIGURES)
    shared = {"model": "gpt2", "10^9 parameters": pytest.approx(0.124439808)}
    at = "decode, 512 tokens, batch 8"
    assert found[f"{at}: tokens a second (1/s)"] == [{**shared, "a": 16.0, "b": 32.0}]
    assert found[f"{at}: energy of a token (mJ)"] == [
        {**shared, "a": pytest.approx(250), "b": pytest.approx(125)}
    ]
    assert found[f"{at}: clocks of a token (10^6)"] == [{**shared, "a": 500.0, "b": 250.0}]
    at = "prefill, 512 tokens, batch 1"
    assert found[f"{at}: energy (J)"] == [{**shared, "a": 8.0}]
    assert found[f"{at}: time to the first token (s)"] == [{**shared, "a": 2.0}]


def test_two_points_of_one_place_are_refused() -> None:
    with pytest.raises(BitlatheError, match="two points of 'gpt2' on 'a', decode"):
        tables([row("a", "gpt2", "decode", 1.0)] * 2)


def test_figures_are_those_of_a_run() -> None:
    run = simulate("bitmod", "smollm2-135m", "decode", 64, 3, "analytic", "whole-buffer")
    energy = run.energy_pj["total"]
    point = {**row("bitmod", "smollm2-135m", "decode", run.seconds, 3), "energy_pj.total": energy}
    values = {figure.words: figure.of(point) for figure in FIGURES if figure.phase == "decode"}
    assert values["tokens a second"] == pytest.approx(run.tokens_per_second)
    assert values["energy of a token"] == pytest.approx((run.energy_per_token_pj or 0) * 1e-9)
