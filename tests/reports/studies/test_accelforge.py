"""The study beside AccelForge: chips and layers as published, optima that agree or say why not."""

import json

import pytest
from click.testing import CliRunner

from bitlathe.cli import main
from bitlathe.reports.studies.accelforge.study import GPT3, LAYERS, PRODUCTS, chip_of, of_case
from bitlathe.reports.studies.fused_gpt3.study import CHIP
from bitlathe.workloads import load_model

GEMMINI = [case for case in PRODUCTS if case.chip == "gemmini"]


def test_the_layer_is_gpt_3_s() -> None:
    macs = sum(
        gemm.macs for gemm in load_model(GPT3).gemms("prefill", 2048) if gemm.name != "lm_head"
    )
    assert macs == 2048 * (12 * 4096**2 + 2 * 2048 * 4096)
    (decode,) = LAYERS["decode"]
    chip = chip_of(decode)
    assert chip.array.rows * chip.array.columns == 64
    assert chip.pe.record.partial_sum_bits == 16


def test_where_tiles_divide_their_sizes_both_find_the_same_energy() -> None:
    """To the single-precision digits of AccelForge's sums."""
    for case in GEMMINI[:2]:
        here = of_case(case)
        assert here.joules == pytest.approx(case.theirs.joules, rel=1e-8)
        assert here.dram_joules == pytest.approx(case.theirs.dram_joules, rel=1e-8)
        assert case.theirs.milliseconds < here.milliseconds < 1.03 * case.theirs.milliseconds


def test_tiles_that_divide_nothing_are_better_still() -> None:
    """A buffer that five tiles fill better than eight: 832 of 4,096 inputs at a time."""
    (case,) = (case for case in GEMMINI if case.sizes == (256, 4096, 4096))
    here = of_case(case)
    assert 0.88 < here.joules / case.theirs.joules < 0.89


@pytest.mark.slow
def test_of_eyeriss_no_optimum_is_worse_than_one_per_cent() -> None:
    for case in PRODUCTS:
        if case.weights_first is not None:
            here = of_case(case).joules
            assert here < case.theirs.joules
            assert 0.995 < here / case.weights_first < 1.011


TPU_PJ = {"hbm": 353.83148544e6, "common": 165.758898e6, "local": 111.08195e6}
"""AccelForge 1.0.467's optimum of 1024x1024x1024 in 16 bits on its tpu_v4i, by memory."""


@pytest.mark.slow
def test_of_a_product_on_the_tpu_each_memory_takes_the_same() -> None:
    """With all four arrays at work, as AccelForge asks; accesses here are whole ones."""
    asked = (
        f"map --arch {CHIP} --set memories.common.bypass=[weight,input,output] --json "
        "--gemm 1024x1024x1024 --objective energy --constraint cores=m:4"
    )
    found = json.loads(CliRunner().invoke(main, asked.split()).output)["energy_pj"]
    for memory, theirs in TPU_PJ.items():
        assert theirs < found[memory] * (1 + 1e-6) < 1.004 * theirs
    assert found["total"] == pytest.approx(720.8666e6, rel=1e-3)
