"""The table of the PE's errors: what the page shows is what the command prints."""

from pathlib import Path

import numpy as np
import pytest

from bitlathe.reports.studies.pe_errors import study as pe_errors

PAGE = Path(__file__).parents[3] / "docs" / "pe.md"


def test_the_page_holds_the_printed_table(capsys: pytest.CaptureFixture[str]) -> None:
    pe_errors.main()
    assert capsys.readouterr().out in PAGE.read_text()


def test_a_massive_activation_without_a_weight_costs_nothing_once_gated() -> None:
    """The same groups, but for the first weight: the rms differs by less than a tenth."""
    rms = {
        (numerics, activations): float(
            np.sqrt(
                np.mean(pe_errors.errors(pe_errors.NUMERICS[numerics], "int8", activations) ** 2)
            )
        )
        for numerics in ("aligned", "aligned, zero terms not gated")
        for activations in ("Gaussian", "massive, its weight 0")
    }
    gated = rms["aligned", "massive, its weight 0"]
    assert gated == pytest.approx(rms["aligned", "Gaussian"], rel=0.1)
    assert rms["aligned, zero terms not gated", "massive, its weight 0"] > 30 * gated


def test_the_distributions_are_what_the_page_says() -> None:
    rng = np.random.default_rng(pe_errors.SEED)
    activations = pe_errors.massive(rng)
    assert activations.shape == (4000, 128)
    first = np.abs(activations[:, 0])
    assert (first.min() >= 1000, first.max() <= 4000) == (True, True)
    assert np.abs(activations[:, 1:]).max() < 7
    assert set(np.unique(np.abs(pe_errors.weights_of("fp4", rng)))) == {
        0, 1, 2, 3, 4, 6, 8, 10, 12, 16,
    }  # fmt: skip
    assert np.abs(pe_errors.weights_of("int8", rng)).max(1).tolist() == [127] * 4000
