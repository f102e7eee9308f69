"""The study beside AccelForge: its layer as published, its rows sums of the layers that count."""

import math

import pytest

from bitlathe.arch import load_arch
from bitlathe.reports.studies.fused_gpt3.study import (
    ACCELFORGE,
    CHIP,
    GPT3,
    MAPPERS,
    is_there,
    of_run,
    rows,
)
from bitlathe.sim import simulate
from bitlathe.workloads import load_model

SMALL = GPT3 | {
    "hidden_size": 8, "word_embed_proj_dim": 8, "num_attention_heads": 2, "ffn_dim": 16,
}  # fmt: skip


def test_the_layer_is_gpt_3_s() -> None:
    macs = sum(
        gemm.macs for gemm in load_model(GPT3).gemms("prefill", 2048) if gemm.name != "lm_head"
    )
    assert macs == 2048 * (12 * 12288**2 + 2 * 2048 * 12288)
    chip = load_arch(CHIP)
    assert chip.array.rows * chip.array.columns * 4 == 65536


@pytest.mark.parametrize("phase", MAPPERS)
def test_rows_are_the_sums_of_the_layers_that_count(phase: str) -> None:
    model = load_model(SMALL)
    found = rows(phase, model=model, context=3)
    assert [row["layers"] for row in found] == ["apart", "fused"]
    for row, fusion in zip(found, (False, True), strict=True):
        run = simulate(
            CHIP, model, phase=phase, context=3, fidelity="analytic", mapper=MAPPERS[phase],
            fusion=fusion,
        )  # fmt: skip
        kept = [layer for layer in run.layers if is_there(layer)]
        assert {layer.name for layer in run.layers} - {layer.name for layer in kept} == {
            "embedding", "kv_cache", "out_proj_residual", "out_proj_norm", "fc2_residual",
            "fc2_norm", "final_norm", "lm_head",
        }  # fmt: skip
        assert math.isclose(row["J"], sum(each.energy_pj["total"] for each in kept) * 1e-12)
        assert math.isclose(row["ms"], sum(each.cycles for each in kept) / 1.05e6)
        known = ACCELFORGE.get((phase, fusion))
        assert row["J, AccelForge"] == (known and known.joules)
        assert of_run(run).dram_joules == row["DRAM J"]
