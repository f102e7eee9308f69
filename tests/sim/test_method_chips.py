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
from bitlathe.sim.policy import layer_bits
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
def test_the_vector_unit_scales_inputs_of_columns_with_scales(name: str) -> None:
    """Of AdaDim's groups along outputs: 24 x 128 products a block of the array's 32 outputs."""
    layer = Gemm(name="up", m=24, n=160, k=128)
    energies, clocks = {}, {}
    for scheme in ("int3@channel", "int3@b64x1", "int3@input"):
        given = {"formats.linear.weight": {"scheme": scheme, "bits": 4}, "dram.gb_per_s": 1e4}
        for lanes in (64, 4):
            chip = load_arch(name, {**given, "vector.lanes": lanes})
            for ways in (("analytic", "whole-buffer"), ("cycle", "whole-buffer"),
                         ("analytic", "search")):  # fmt: skip
                run = simulate(chip, [layer], fidelity=ways[0], mapper=ways[1])
                energies[scheme, ways] = run.energy_pj["pe"]
                clocks[scheme, lanes, ways] = run.cycles
    assert chip.vector_lane is not None
    work = 24 * 128 * 5
    for (scheme, ways), found in energies.items():
        more = 0 if scheme == "int3@channel" else 1.5 * work * chip.vector_lane.multiply_pj
        assert found - energies["int3@channel", ways] == pytest.approx(more, rel=1e-9)
    for (scheme, lanes, ways), found in clocks.items():
        plain = clocks["int3@channel", lanes, ways]
        if scheme == "int3@channel" or lanes == 64:  # scaled beside the array
            assert found == plain
        elif ways == ("analytic", "whole-buffer"):
            assert found == max(plain, work // lanes)
        else:
            assert found >= work // lanes
    weight = load_arch("codebook", {"formats.linear.weight": "int3@b48x1"}).formats.linear.weight
    assert not load_arch("codebook").scales_inputs(weight)  # its decoders scale weights
    assert load_arch("codebook", {"pe.decoder": None}).scales_inputs(weight)
    assert not load_arch("fp16").scales_inputs(weight)  # 32 rows, of two blocks


# of 24 x 64 sums of 128 products: products and additions of the vector unit by hand, for the scales
# that nothing else of the chip applies; sums of 24 x 128 inputs where groups have minima
SUM, ALL = 24 * 64, 24 * 128
UNIT_SCALES = {
    "fp16 int8@channel": (0, 0),
    "fp16 int4@g32": (4 * SUM, 4 * SUM),
    "fp16 mxfp4": (4 * SUM, 4 * SUM),  # an FP16 multiply-add takes no exponents apart
    "fp16 q4_k": (8 * SUM, 8 * SUM + ALL),  # a scale and a minimum; of 256, all of K
    "fp16 uint4@g16/uint6@g64/fp16": ((8 + 2) * SUM, (8 + 2) * SUM),
    "bitmod bitmod_fp4@g32/int8": (0, 0),  # its rescale unit
    "bitmod int4@g32": (4 * SUM, 4 * SUM),
    "bitmod nvfp4": (8 * SUM, 8 * SUM),
    "ant ant4@g64": (2 * SUM, 2 * SUM),
    "ant int3@input": (128 * SUM, 128 * SUM),  # no floating inputs: each product by itself
    "nvfp4 nvfp4": (0, 0),
    "nvfp4 mxfp4": (0, 0),
    "mxfp4 mxfp4": (0, 0),
    "mxfp4 nvfp4": (8 * SUM, 8 * SUM),  # adders of exponents multiply by none of four bits
    "hif4 hif4": (0, 0),
    "hif4 int4@g32": (4 * SUM, 4 * SUM),
    "fp8 fp4_e2m1@g32/m2": (0, 0),
    "fp8 int4@g32": (4 * SUM, 4 * SUM),
    "codebook int4@g32": (0, 0),
    # two products of a scale and the one above it, for each 32 of 128 x 64 and two blocks of tokens
    "codebook uint4@g32/uint6@g64/fp16": (2 * 4 * 64, 0),
    "shiftadd bcq3@g32/pot3": (0, 0),
    "edge-npu int8@g64": (2 * SUM, 2 * SUM),
    "dgq dgq4@g32": (0, 0),
    "dgq int4@g32/int3": (0, 0),  # products of 4 and 3 bits fit its ports
}


@pytest.mark.parametrize("case", UNIT_SCALES)
def test_scales_that_no_pe_or_decoder_applies_are_work_of_the_vector_unit(case: str) -> None:
    name, scheme = case.split()
    chip = load_arch(name, {"formats.linear.weight": scheme})
    products, additions = UNIT_SCALES[case]
    bits = layer_bits(chip, LAYER)
    assert bits.unit_work.multiplies * LAYER.macs == products
    assert bits.unit_work.adds * LAYER.macs == additions
    lane = chip.vector_lane
    assert lane is not None
    free = {f"vector.{key}": getattr(lane, key) for key in lane._fields}
    cost = {"add_pj": 0.0, "multiply_pj": 0.0}
    bare = load_arch(
        name,
        {"formats.linear.weight": scheme, **free, **{f"vector.{k}": v for k, v in cost.items()}},
    )
    mappers = {"edge-npu": ("search",), "ant": ("whole-buffer", "search")}
    for mapper in mappers.get(name, ("whole-buffer",)):
        one, other = (
            simulate(each, [LAYER], fidelity="analytic", mapper=mapper) for each in (chip, bare)
        )
        work = additions * lane.add_pj + products * lane.multiply_pj
        factor = chip.accounting.layout_factor
        assert one.energy_pj["pe"] - other.energy_pj["pe"] == pytest.approx(factor * work, abs=1e-3)
        least = -(-(products + additions) // chip.vector_unit.lanes) if chip.vector_unit else 0
        assert one.cycles == other.cycles >= least


@pytest.mark.parametrize(
    ("name", "scheme", "products", "additions"),
    [
        ("fp16", "int8@channel", 0, 0),  # a scale a result
        ("fp16", "int4@g32", 4 * SUM, 4 * SUM),
        ("fp16", "int4@input", 2 * ALL, 0),  # 64 outputs, 32 at once
        ("fp16", "int4@b32x1", 2 * ALL, 0),
        ("fp16", "int4@b48x1", 3 * ALL, 0),  # the second 32 lie in both blocks of 48
        ("ant", "int8@input", 2 * ALL, 2 * ALL),  # 40 at once; integers are rounded again
        ("fp8", "fp8_e4m3@b64x1", 3 * ALL, 0),
    ],
)
def test_queries_and_probabilities_take_scales_on_their_way(
    name: str, scheme: str, products: int, additions: int
) -> None:
    """Of keys by channel, and values by token: once for each block of outputs of the array."""
    attends = Gemm(
        name="attention_qk", m=24, n=64, k=128, kind="attention_qk", stationary="kv_cache"
    )
    chip = load_arch(name, {"formats.attention.weight": {"scheme": scheme, "calibrated": True}})
    work = layer_bits(chip, attends).unit_work
    assert (work.multiplies * attends.macs, work.adds * attends.macs) == (products, additions)


def test_few_lanes_hold_up_the_array() -> None:
    """4 x 24 x 64 sums, a product and an addition each, on 8 lanes; no lanes: said, not counted."""
    settings = {"formats.linear.weight": "int4@g32", "dram.gb_per_s": 1e4}
    asked = 2 * 4 * SUM // 8
    for mapper, fidelity in (("whole-buffer", "analytic"), ("whole-buffer", "cycle"),
                             ("search", "analytic"), ("search", "cycle")):  # fmt: skip
        few, none = (
            simulate(load_arch("fp16", {**settings, "vector.lanes": lanes}), [LAYER],
                     fidelity=fidelity, mapper=mapper)
            for lanes in (8, 0)
        )  # fmt: skip
        assert few.cycles >= asked > none.cycles
        assert mapper == "search" or few.cycles == asked
        assert fidelity == "analytic" or mapper == "search" or few.stalls["vector"] > 0
        assert (few.uncounted, none.uncounted) == ((), ("linear_scales",))
        assert (few.layers[0].scale_cycles, none.layers[0].scale_cycles) == (asked, None)
        if fidelity == "cycle":
            layer = few.layers[0]
            assert layer.stalls is not None
            assert layer.cycles == layer.compute_cycles + sum(layer.stalls.values())
    mapped = product_on(load_arch("fp16", {**settings, "vector.lanes": 8}), 24, 64, 128).best("edp")
    assert mapped.cost.cycles >= asked  # as `bitlathe map` shows it


@pytest.mark.parametrize(
    ("name", "scheme", "results", "said"),
    [
        ("fp16", "fp16", 0, ()),
        ("fp16", "int8@channel", 1, ("turning int8@channel into fp16 is not counted",)),
        ("fp16", "nf4@g64", 0, ("turning nf4@g64 into fp16 is not counted",)),
        ("fp8", "fp8_e4m3@channel", 2, ()),  # of inputs and of weights: decoders have powers of two
        ("bitmod", "int8@channel", 1, ()),
        ("bitmod", "bitmod_fp4@g64/int8", 1, ()),  # of the row, above those of groups
        ("bitmod", "int4_asym@g64", 0, ("taking zero points off (int4_asym@g64) is not counted",)),
        ("bitmod", "int4@g32", 0, ("products by scales take 2.0 x the clocks of the array",)),
        ("ant", "int8@channel", 2, ("energy of decoders is not counted",)),
        ("ant", "int3@b64x1", 1, ("energy of decoders is", "each product takes a scale")),
        ("nvfp4", "nvfp4", 2, ()),  # FP32 of both tensors
        ("hif4", "hif4", 0, ()),
        ("codebook", "nf4@channel", 1, ()),  # decoders have FP16, NF4 scales of FP32
        ("hpca25/bitmod-lossy", "int8@channel", 0, ()),  # a study counts as it does
    ],
)  # fmt: skip
def test_runs_say_what_is_not_counted_of_scales_and_codes(
    name: str, scheme: str, results: int, said: tuple[str, ...]
) -> None:
    chip = load_arch(name, {"formats.linear.weight": scheme})
    layer = Gemm(name="up", m=100, n=320, k=2048, count=3)
    run = simulate(chip, [layer], fidelity="analytic", mapper="whole-buffer")
    products = [each for each in run.remarks if "scales of results" in each]
    assert bool(products) == bool(results)
    if results:
        assert f": {results * 3 * 100 * 320:,} products" in products[0]
        assert f"{chip.unit_pj(0, results * 96_000) / 1e6:.3g} uJ" in products[0]
    others = [each for each in run.remarks if each not in products]
    assert len(others) == len(said)
    for each in said:
        assert any(other.startswith(f"up: {each}") for other in others)
    assert run.to_dict().get("remarks", []) == list(run.remarks)


def test_what_adds_up_groups_before_a_scale_is_refused() -> None:
    layers = {
        "dgq": "int4@g64", "int8-outlier": "int8@g32", "gemmini-like": "int8@input",
        "tpu-like": "int8@g16",
    }  # fmt: skip
    for name, scheme in layers.items():
        chip = load_arch(name, {"formats.linear.weight": scheme})
        with pytest.raises(BitlatheError) as refused:
            simulate(chip, [LAYER], fidelity="analytic")
        said = str(refused.value)
        assert all(each in said for each in (name, scheme, "int4@channel"))
        assert said.endswith("scale.")
    own = {"formats.linear.weight": "int4@g64", "pe.operators.group": {"fp16_multiply": 1}}
    assert simulate(load_arch("dgq", own), [LAYER], fidelity="analytic").cycles


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
NO_DECODER = {"pe.decoder": {"operators": {"int8_add": 0}}}
NO_SCALES = {"pe.operators.group": {"int8_add": 0}}
TAKES = {
    "dgq": (NO_DECODER, ENTER * (0.03 + 0.2), 101 * (36 + 282)),
    "fp8": (NO_DECODER, ENTER * 0.03, 56 * 36),
    "codebook": (NO_DECODER, ENTER * (0.37 + 1.1 + 0.4), 48 * (787 + 1640 + 1360)),
    "shiftadd": (  # three powers of two a plane and group of 128
        {**NO_SCALES, "pe.operators.reused": {}},
        SUMS / 128 * 3 * 3 * (0.03 + 0.9),
        24 * 34 * 36,
    ),
    "nvfp4": (
        NO_SCALES,
        SUMS / 16 * (0.2 + 0.03 + 3.1),
        15 * 23 * (282 + 36 + 3495),
    ),
    "mxfp4": (NO_SCALES, SUMS / 32 * 2 * 0.03, 17 * 20 * 2 * 36),
    "hif4": (
        NO_SCALES,
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
