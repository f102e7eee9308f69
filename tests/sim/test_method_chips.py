"""Chips that run the methods: arithmetic of their PEs, operators they are priced in, scales."""

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.arch import load_arch
from bitlathe.arch.beside import Beside
from bitlathe.arch.operators import Operators
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.methods.beside import beside_of
from bitlathe.datatypes.methods.table import METHODS
from bitlathe.datatypes.tensors.tensor import QuantizedTensor
from bitlathe.sim import simulate
from bitlathe.sim.beside import beside_steps
from bitlathe.sim.chip import Chip
from bitlathe.sim.map_layer import product_on
from bitlathe.sim.pe.mac import fp_mac_dot, int_mac_dot
from bitlathe.workloads.gemm import Gemm
from bitlathe.workloads.lm.stored import stored_facts

CHIPS = ("nvfp4", "mxfp4", "hif4", "fp8", "dgq", "shiftadd", "int8-outlier", "codebook",
         "shiftadd-columns")  # fmt: skip


def fractions(values: Any) -> list[Fraction]:
    return [Fraction(float(v)) for v in values]


def exact_dot(a: Any, b: Any) -> Fraction:
    return sum((x * y for x, y in zip(fractions(a), fractions(b), strict=True)), Fraction(0))


@pytest.mark.parametrize("name", CHIPS)
def test_arrays_are_as_large_as_those_of_the_other_chips(name: str) -> None:
    area = Chip.of(load_arch(name)).area_um2
    assert 1.56e6 < area["pe_array"] + area.get("decoders", 0.0) < 1.6e6


@pytest.mark.parametrize("name", CHIPS)
def test_they_run_under_their_own_mapper(name: str) -> None:
    layer = Gemm(name="up", m=4, n=16, k=128)
    assert simulate(name, [layer], fidelity="analytic").cycles > 0


# NVFP4 without its tensor scale, by which dequantized values are rounded to float32
BLOCKS = {"nvfp4": ("fp4_e2m1@g16/ue4m3fn", 16), "mxfp4": ("mxfp4", 32), "hif4": ("hif4", 4)}


@pytest.mark.parametrize("name", BLOCKS)
@given(seed=st.integers(0, 2**32 - 1))
def test_blocks_are_multiplied_exactly(name: str, seed: int) -> None:
    """Sums of blocks from the chip's PE, times the scales of both sides, are the exact product."""
    rng = np.random.default_rng(seed)
    record, (scheme, group) = load_arch(name).pe.record, BLOCKS[name]
    sides = [bl.quantize(rng.normal(size=(1, 2 * group)).astype("f4"), scheme) for _ in "wx"]
    whole = [side.dequantize()[0] for side in sides]
    total = Fraction(0)
    for first in range(0, 2 * group, group):
        units, scale = [], Fraction(1)
        for side, values in zip(sides, whole, strict=True):
            step = Fraction(float(np.ravel(side.scales)[first // group]))
            step *= Fraction(float(side.outer_scales[0])) if side.outer_scales.size else 1
            step /= 4 if name == "hif4" else 1  # elements in quarters, here whole numbers
            block = [v / step if step else Fraction(0) for v in fractions(values[first:][:group])]
            assert all(v * 2 == int(v * 2) for v in block)
            units.append([float(v) for v in block])
            scale *= step
        if name == "hif4":
            found = int_mac_dot(*(np.array(u, np.int64) for u in units), record)
        else:
            found = fp_mac_dot(*units, record)
        total += Fraction(float(found)) * scale
    assert total == exact_dot(*whole)


def test_dual_grain_needs_no_scale_within_a_dot_product() -> None:
    rng = np.random.default_rng(3)
    q = bl.quantize(rng.normal(size=(4, 256)).astype("f4"), "dgq4@g128")
    x = rng.integers(-127, 128, 256)
    for row in range(4):
        channel = Fraction(float(q.outer_scales[row]))
        whole = [v / channel for v in fractions(q.dequantize()[row])]
        assert all(v.denominator == 1 and abs(v) <= 127 for v in whole)
        found = int_mac_dot(x, np.array([int(v) for v in whole]), load_arch("dgq").pe.record)
        assert int(found) * channel == exact_dot(q.dequantize()[row], x)


def test_weights_with_powers_of_two_apart_are_values_of_e4m3() -> None:
    """The FP8 port takes FP4 times the power of its group: adding to the exponent is exact."""
    q = bl.quantize(np.random.default_rng(4).normal(size=(2, 256)).astype("f4"), "fp4_e2m1@g128/m2")
    record = load_arch("fp8").pe.record
    for row in range(2):
        largest = Fraction(float(q.outer_scales[row]))
        shifted = [float(v / largest) for v in fractions(q.dequantize()[row])]
        assert fp_mac_dot(np.ones(256), shifted, record) == float(exact_dot(shifted, np.ones(256)))


def test_costs_are_sums_over_operators() -> None:
    """Energies follow the node, areas its square; what is reused has no area of its own."""
    counts = Operators(
        node_nm=15, clock={"fp16_add": 2, "int8_add": 3}, group={"fp32_add": 1},
        reused={"int8_add": 5},
    )  # fmt: skip
    third = Fraction(15, 45)
    clock = (2 * Fraction("0.4") + 3 * Fraction("0.03")) * third
    assert counts.clock_pj == pytest.approx(float(clock), rel=1e-12)
    group = (Fraction("0.9") + 5 * Fraction("0.03")) * third
    assert counts.group_pj == pytest.approx(float(group), rel=1e-12)
    area = (2 * 1360 + 3 * 36 + 4184) * third**2
    assert counts.area_um2 == pytest.approx(float(area), rel=1e-12)


LAYER = Gemm(name="linear", m=24, n=64, k=128)


def _chip(weight: str, **group: float) -> Any:
    return load_arch("dgq", {
        "pe": {"kind": "int_mac",
               "operators": {"node_nm": 28, "clock": {"int8_multiply": 1}, "group": group}},
        "array": {"kind": "tile", "rows": 8, "columns": 6}, "formats.linear.weight": weight,
        "buffers.accumulator": None, "vector.lanes": 0,
    })  # fmt: skip


@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
@pytest.mark.parametrize("mapper", ["whole-buffer", "search"])
def test_each_group_s_sum_costs_its_scale(mapper: str, fidelity: str) -> None:
    """M x N x K / g sums; the layout factor is 1.5; clocks stay as they are."""

    def run(weight: str, **group: float) -> Any:
        return simulate(_chip(weight, **group), [LAYER], fidelity=fidelity, mapper=mapper)

    for weight, groups in (("int8@g32", 4), ("int8@channel", 1)):
        without, scaled = run(weight), run(weight, int32_multiply=2)
        more = scaled.energy_pj["pe"] - without.energy_pj["pe"]
        assert more == pytest.approx(1.5 * 24 * 64 * groups * 2 * 3.1 * 28 / 45, rel=1e-9)
        assert scaled.cycles == without.cycles


@pytest.mark.parametrize("planes", [2, 4])
def test_a_look_up_pe_scales_each_plane(planes: int) -> None:
    """Without what look-ups and tables cost: three powers of two a plane, 1.5 for the layout."""
    free = {"pe.operators.clock": {"lut8_query": 0}, "pe.table_addition_pj": 0, "vector.lanes": 0}
    chip = load_arch("shiftadd", {**free, "formats.linear.weight": f"bcq{planes}@g128/pot3"})
    run = simulate(chip, [LAYER], fidelity="analytic", mapper="whole-buffer")
    expected = 1.5 * 24 * 64 * planes * (3 * 0.03 + 3 * 0.9) * 28 / 45
    assert run.energy_pj["pe"] == pytest.approx(expected)


def test_inputs_take_the_scales_of_columns() -> None:
    """16 chunks of 3 planes in 2 blocks of 32 outputs: a table of 304 + 8 x 3 additions a plane."""
    scheme = {"scheme": "bcq3@b64x1/pot3", "bits": 4}
    chip = load_arch("shiftadd-columns", {"formats.linear.weight": scheme, "vector.lanes": 0})
    for mapper in ("whole-buffer", "search"):
        layer = simulate(chip, [LAYER], fidelity="analytic", mapper=mapper).layers[0]
        additions = 24 * 16 * 2 * 3 * (304 + 8 * 3)
        assert layer.energy_pj["pe"] == pytest.approx(
            1.5 * (additions * 0.24889 + 24 * 64 * 16 * 3 * (0.37 + 0.9) * 28 / 45), rel=1e-9
        )
    fast = {"vector.lanes": 0, "dram.gb_per_s": 1e4, "formats.linear.weight": scheme}
    runs = [
        simulate(load_arch(name, fast), [LAYER], fidelity="analytic", mapper="whole-buffer")
        for name in ("shiftadd-columns", "shiftadd")
    ]
    clocks = 2 * 16 * (3 + -(-3 * 328 // 32))  # one block of 25 tokens
    assert runs[0].cycles == clocks
    assert runs[1].cycles > runs[0].cycles  # where a look-up finds one weight
    with pytest.raises(BitlatheError, match=r"array\.rows: a divisor of 64"):
        load_arch("shiftadd-columns", {"formats.linear.weight": scheme, "array.rows": 24})


@pytest.mark.parametrize("name", ["bitmod", "fp16"])
@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
def test_the_vector_unit_scales_inputs_of_columns_with_scales(name: str, fidelity: str) -> None:
    """Of AdaDim's groups along outputs: 24 x 128 products a block of outputs, then whole chunks."""
    layer = Gemm(name="up", m=24, n=160, k=128)
    clocks = {}
    for scheme, blocks in (("int3@channel", 0), ("int3@b64x1", 3), ("int3@input", 1)):
        given = {"formats.linear.weight": {"scheme": scheme, "bits": 4}, "vector.lanes": 16}
        chip = load_arch(name, given)
        run = simulate(chip, [layer], fidelity=fidelity, mapper="whole-buffer")
        assert chip.vector_lane is not None
        work = 1.5 * 24 * 128 * blocks * chip.vector_lane.multiply_pj
        assert run.energy_pj.get("vector", 0) == pytest.approx(work, rel=1e-9)
        clocks[blocks] = run.cycles, run.energy_pj["pe"]
    for blocks in (1, 3):
        assert clocks[blocks] == (clocks[0][0] + 24 * 128 * blocks // 16, clocks[0][1])
    weight = load_arch("codebook", {"formats.linear.weight": "int3@b48x1"}).formats.linear.weight
    assert not load_arch("codebook").scales_inputs(weight)  # its decoders scale weights
    assert load_arch("codebook", {"pe.decoder": None}).scales_inputs(weight)
    assert not load_arch("fp16").scales_inputs(weight)  # 32 rows, of two blocks


def test_the_page_says_what_each_method_takes_beside_its_scheme() -> None:
    """Layers with an input far above the others, against the table's last column."""
    page = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
    table = page.partition("| method | beside its scheme | counted |")[2].partition("\n\n")[0]
    cells = [[cell.strip() for cell in line.split("|")] for line in table.splitlines()[2:]]
    told = {row[1].strip("`"): set(re.findall(r"`([a-z_.]+)`", row[3])) for row in cells}
    random = np.random.default_rng(1)
    x = random.normal(size=(48, 32)) @ random.normal(size=(32, 32)) / 6
    x[:, 5] *= 40
    w = random.standard_t(4, size=(8, 32)).astype(np.float32)
    few: dict[str, dict[str, Any]] = {
        "dgq": {"share": 0.1}, "llm_fp4": {"rounds": 1}, "vptq": {"entries": 8},
        "jlcm": {"books": 2}, "lq_lora": {"rank": 2}, "zeroquant_fp": {"rank": 2},
    }  # fmt: skip
    found = {}
    for method in METHODS:
        layer = bl.calibrate(w, x, method, **few.get(method, {}))
        beside = beside_of([layer]).items()
        keys = {f"beside.{key}" for key, value in beside if value not in (0, "none")}
        keys |= {"beside.divisors"} if layer.divisors is not None else set()
        facts, weights = stored_facts(layer), layer.weights
        keys |= {"pe.decoder"} if facts["scheme"] is None else set()
        if isinstance(weights, QuantizedTensor) and weights.scheme.granularity.columns == 1:
            keys.add("vector")
        found[method] = keys
    assert found == told


# table of the decoders, and the clocks in which it is loaded: 8 x 4 blocks of outputs and tokens
TABLES = [({}, 0), ({"entries": 16, "table_of": "output"}, 32 * 16), ({"entries": 256}, 256)]


@pytest.mark.parametrize(("table", "clocks"), TABLES)
def test_weights_that_enter_pass_a_decoder(table: dict[str, Any], clocks: int) -> None:
    """Each of 64 x 128 weights once for each block of 6 tokens; attention's as they are."""
    size = {"array.rows": 8, "array.columns": 6, "vector.lanes": 0, "dram.gb_per_s": 1e4}
    given = {"operators": {"lut8_query": 1, "fp16_multiply": 2}, **table}
    plain = load_arch("fp16", size)
    chip = load_arch("fp16", {**size, "pe.decoder": given})
    scale = Fraction(28, 45)
    assert chip.decoder_area_um2 == pytest.approx(8 * (787 + 2 * 1640) * float(scale**2))
    layers = [LAYER, Gemm(name="qk", m=24, n=60, k=64, kind="attention_qk")]
    for mapper, fidelity in (("whole-buffer", "analytic"), ("whole-buffer", "cycle"),
                             ("search", "analytic")):  # fmt: skip
        without, run = (
            simulate(each, layers, fidelity=fidelity, mapper=mapper) for each in (plain, chip)
        )
        more = run.energy_pj["pe"] - without.energy_pj["pe"]
        assert more == pytest.approx(1.5 * 64 * 128 * 4 * (0.37 + 2.2) * float(scale), rel=1e-9)
        assert run.layers[1].cycles == without.layers[1].cycles
        if mapper == "search":  # `map` lists what decoders take, of four blocks of tokens too
            asked, apart = (product_on(each, 24, 64, 128) for each in (chip, plain))
            for mapped in (best := asked.best("edp"), asked.under(best.mapping)):
                found = mapped.energy_pj
                assert found["decoders"] == pytest.approx(more)
                parts = [pj for name, pj in found.items() if name != "total"]
                assert found["total"] == pytest.approx(sum(parts), rel=1e-12)
            assert "decoders" not in apart.best("edp").energy_pj
        waited = run.cycles - without.cycles
        if (mapper, fidelity) == ("whole-buffer", "analytic"):  # the array is what binds
            assert waited == clocks
            bound = run.cycles
        else:  # beside what DRAM fetches first; under a mapping with fewer blocks
            assert 0 <= waited <= clocks
        assert mapper == "search" or run.cycles >= bound


# of 16 tokens, 128 outputs, 256 inputs on the shipped chip: what is left out; energies of operators
# (pJ at 45 nm) times how often they work, each weight entering once and each group's sum scaled
# once; their areas (um2 at 45 nm) times how many there are
ENTER, SUMS = 128 * 256, 16 * 128 * 256
TAKES = {
    "dgq": ({"pe.decoder": None}, ENTER * (0.03 + 0.2), 101 * (36 + 282)),
    "fp8": ({"pe.decoder": None}, ENTER * 0.03, 56 * 36),
    "codebook": ({"pe.decoder": None}, ENTER * (0.37 + 1.1 + 0.4), 48 * (787 + 1640 + 1360)),
    "shiftadd": (  # three powers of two a plane and group of 128
        {"pe.operators.group": {}, "pe.operators.reused": {}},
        SUMS / 128 * 3 * 3 * (0.03 + 0.9),
        24 * 34 * 36,
    ),
    "nvfp4": (
        {"pe.operators.group": {}},
        SUMS / 16 * (0.2 + 0.03 + 3.1),
        15 * 23 * (282 + 36 + 3495),
    ),
    "mxfp4": ({"pe.operators.group": {}}, SUMS / 32 * 2 * 0.03, 17 * 20 * 2 * 36),
    "hif4": (
        {"pe.operators.group": {}},
        SUMS / 4 * (0.057 + 0.13 + (0.2 + 0.03 + 3.1 + 0.9) / 16),
        32 * 53 * (73 + 157 + (282 + 36 + 3495 + 4184) / 16),
    ),
}


@pytest.mark.parametrize("name", TAKES)
def test_what_a_format_takes_of_its_chip_is_that_of_its_operators(name: str) -> None:
    """Energy of a layer and area of the array, with it and without; 1.5 for the layout."""
    without, picojoules, square = TAKES[name]
    layer = Gemm(name="up", m=16, n=128, k=256)
    runs = [
        simulate(load_arch(name, each), [layer], fidelity="analytic", mapper="whole-buffer")
        for each in ({}, without)
    ]
    more = runs[0].energy_pj["pe"] - runs[1].energy_pj["pe"]
    assert more == pytest.approx(1.5 * picojoules * 28 / 45, rel=1e-9)
    areas = [run.area_um2["pe_array"] + run.area_um2.get("decoders", 0) for run in runs]
    assert areas[0] - areas[1] == pytest.approx(square * (28 / 45) ** 2, rel=1e-9)


def test_tables_of_sums_are_filled_for_each_block_of_outputs() -> None:
    """128 outputs on 24 rows are six blocks; 304 additions for each eight of 256 inputs.

    A column's rows fill its table, an addition a clock each, beside three planes' look-ups.
    """
    fast = {"dram.gb_per_s": 1e4}
    chip = load_arch("shiftadd", fast)
    free = load_arch("shiftadd", {**fast, "pe.table_addition_pj": 0})
    layer = Gemm(name="up", m=16, n=128, k=256)
    runs = [
        simulate(each, [layer], fidelity="analytic", mapper="whole-buffer") for each in (chip, free)
    ]
    more = runs[0].energy_pj["pe"] - runs[1].energy_pj["pe"]
    assert runs[0].layers[0].cycles == 6 * 32 * (3 + -(-304 // 24))
    assert more == pytest.approx(1.5 * 16 * 32 * 6 * 304 * 0.24889, rel=1e-9)


BESIDE = {
    "outlier_fraction": 0.02,
    "sparse_fraction": 0.01,
    "rank": 4,
    "rotation": "hadamard",
    "divisors": True,
}
# of LAYER, by hand: 3 of 128 inputs gathered, 3 x 64 products; 82 weights; 4 x 192; 7 x 128; 128
ADDS = {
    "outlier_fraction": 3 + 192,
    "sparse_fraction": 82 + 82,
    "rank": 768,
    "rotation": 7 * 128,
    "divisors": 0,
}
PRODUCTS = {
    "outlier_fraction": 192,
    "sparse_fraction": 82,
    "rank": 768,
    "rotation": 128,
    "divisors": 128,
}


@pytest.mark.parametrize("asked", [[name] for name in BESIDE] + [list(BESIDE)])
@pytest.mark.parametrize("fidelity", ["analytic", "cycle"])
def test_what_stands_beside_products_is_work_of_the_vector_unit(
    asked: list[str], fidelity: str
) -> None:
    given = {f"beside.{name}": BESIDE[name] for name in asked}
    chips = [load_arch("dgq", {"vector.lanes": 16, **more}) for more in ({}, given)]
    head = Gemm(name="lm_head", m=24, n=99, k=128)
    plain, more = (
        simulate(chip, [LAYER, head], fidelity=fidelity, mapper="whole-buffer") for chip in chips
    )
    adds = sum(ADDS[name] for name in asked)
    products = sum(PRODUCTS[name] for name in asked)
    if {"rotation", "divisors"} <= set(asked):
        products -= 128  # one factor an input does both
    lane = chips[0].vector_lane
    assert lane is not None
    work = 24 * (adds * lane.add_pj + products * lane.multiply_pj)
    found = more.energy_pj.get("vector", 0) - plain.energy_pj.get("vector", 0)
    assert found == pytest.approx(1.5 * work, rel=1e-9)
    clocks = 24 * (adds + products) / 16
    before = {"rotation", "divisors"} & set(asked)
    waited = 24 * (7 * 128 * ("rotation" in asked) + 128) / 16 if before else 0
    assert waited <= more.cycles - plain.cycles <= clocks + 8
    assert more.dram_bits == plain.dram_bits


def test_attention_is_fused_beside_what_linear_layers_compute_next_to_their_products() -> None:
    """MLPs stay apart: the unit works on inputs of each of their layers."""
    model = {
        "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "vocab_size": 100,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    }  # fmt: skip
    chip = load_arch("int8-outlier")
    apart, fused = (
        simulate(chip, model, context=64, fidelity="analytic", mapper="search", fusion=each)
        for each in (False, True)
    )
    assert [layer.name for layer in fused.layers if layer.fused] == ["attention_qk+av"]
    assert fused.cycles * fused.energy_pj["total"] < apart.cycles * apart.energy_pj["total"]
    own = [{layer.name for layer in run.layers if layer.unit} for run in (apart, fused)]
    assert own[0] - own[1] == {"softmax"}
    assert {"q_proj_outliers", "gate_proj_outliers"} <= own[1]


@pytest.mark.parametrize(("share", "columns"), [(0.07, 7), (0.071, 8), (22 / 100, 22), (1, 100)])
def test_shares_of_inputs_are_rounded_up(share: float, columns: int) -> None:
    """0.07 x 100 is more than 7 in floats."""
    layer = Gemm(name="up", m=1, n=8, k=100)
    gathered = next(iter(beside_steps(Beside(outlier_fraction=share), [layer])))
    assert gathered.elements == columns


def test_what_is_refused() -> None:
    with pytest.raises(
        BitlatheError, match=r"beside\.outlier_fraction: .* less than or equal to 1"
    ):
        load_arch("dgq", {"beside.outlier_fraction": 2})
    with pytest.raises(BitlatheError, match="beside: it is work of the vector unit"):
        load_arch("dgq", {"beside.rank": 1, "vector.lanes": 0})
    with pytest.raises(BitlatheError, match=r"beside: not counted with execution\.keep_outputs"):
        load_arch("dgq", {"beside.rank": 1, "execution.keep_outputs": True})
    pe = {"kind": "int_mac", "operators": {"node_nm": 28, "clock": {"int9_add": 1}}}
    with pytest.raises(BitlatheError, match="int8_add"):
        load_arch("dgq", {"pe": pe})
    with pytest.raises(BitlatheError, match="operators: they stand for energy_pj"):
        load_arch("dgq", {"pe.energy_pj": 1.0})
    with pytest.raises(BitlatheError, match=r"45 nm, and technology\.node_nm is 28"):
        load_arch("dgq", {"pe.operators.node_nm": 45})
    with pytest.raises(BitlatheError, match=r"operators\.clock"):
        load_arch("dgq", {"pe.operators.clock": {"int8_add": -1}})
    for settings, wrong in (
        ({"pe.decoder": {"operators": {"lut9_query": 1}}}, "lut8_query"),
        ({"pe.decoder_um2": 1.0}, "leave that out"),
        ({"pe.decoder.entries": 2, "pe.decoder.table_of": "output"}, "arrays of kind 'tile'"),
        ({"mapper": "bitfusion"}, r"pe\.decoder: the chip's study or rule"),
    ):
        with pytest.raises(BitlatheError, match=wrong):
            load_arch("dgq", settings)
    with pytest.raises(BitlatheError, match="a buffer of weights alone"):
        load_arch("gemmini-like", {"pe.decoder": {"operators": {"int8_add": 1}}})
