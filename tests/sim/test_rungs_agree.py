"""The rungs on tile arrays: analytic, cycle without memory, closed form and clock by clock."""

import random
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.arch import Arch, load_arch, resolve
from bitlathe.sim.analytic import run_layer
from bitlathe.sim.array.tile.clock import simulate_tile_array
from bitlathe.sim.array.tile.model import SCOPES, TileArray, tile_count
from bitlathe.sim.array.tile.term_clocks import CountedClocks, skipping_array
from bitlathe.sim.cycle.layer import run_layer_cycle
from bitlathe.sim.cycle.options import CycleOptions
from bitlathe.sim.layer_bits import LayerBits
from bitlathe.sim.layout import lay_out
from bitlathe.sim.policy import layer_bits
from bitlathe.sim.run import LayerRun
from bitlathe.sim.work import layer_work
from bitlathe.workloads import Gemm, load_model
from cycle_cases import built, naive_layer
from naive import layout_naive, tile_naive
from naive.layout_naive import pieces

simulate = partial(bl.simulate, mapper="whole-buffer")  # the rule, not a search

NO_MEMORY = CycleOptions(memory=False)
COST = {"energy_pj": 0.2, "area_um2": 400.0}
SERIAL = ("int8@{}", "int6@{}/int8", "int4@{}/int4", "int3_asym@{}/int8", "fp4_e2m1@{}/bf16")
PARALLEL = ("int8@{}", "int4@{}/int8", "int4@{}/e8m0")


def chip_of(pe: dict, rows: int, columns: int, lanes: int, scheme: str, kib: float) -> Arch:
    """A tile array of any size, whose ports the SRAM tables would not hold."""
    stored = "fp16" if pe["kind"] == "bit_serial" else "int8@channel"
    formats = {"weight": scheme, "input": stored, "output": stored}
    arch = load_arch(
        "bitmod" if pe["kind"] == "bit_serial" else "fp16",
        {"pe": COST | pe, "formats.linear": formats, "formats.attention": formats},
    )
    array = arch.array.model_copy(update={"rows": rows, "columns": columns})
    small = {
        "weight": arch.buffers.weight.model_copy(update={"size_kib": kib}),
        "io": arch.buffers.io.model_copy(update={"size_kib": kib}),
    }
    return arch.model_copy(
        update={
            "array": array,
            "pe": arch.pe.model_copy(update={"lanes": lanes}),
            "buffers": arch.buffers.model_copy(update=small),
        }
    )


def random_case(rng: random.Random) -> tuple[Arch, Gemm, TileArray]:
    """Any chip with a tile array, a layer, and the array as the closed form takes it."""
    serial = rng.random() < 0.75
    group = rng.choice((0, 0, rng.randint(1, 20), rng.randint(1, 20), 64))
    scheme = rng.choice(SERIAL if serial else PARALLEL).format(f"g{group}" if group else "channel")
    rows, columns, lanes = rng.randint(1, 9), rng.randint(1, 5), rng.randint(1, 16)
    pe = {"kind": "bit_serial" if serial else "int_mac"}
    gap = rng.choice((0, 0, 1, 9)) if serial else 0
    if serial:
        pe |= {"group_gap": gap}
    kib = rng.choice((0.5, 1, 64))
    arch = chip_of(pe, rows, columns, lanes, scheme, kib)
    causal = rng.choice((None, None, None, "n", "k"))
    gemm = Gemm(
        name="x", m=rng.randint(1, 14), n=rng.randint(1, 24), k=rng.choice((1, rng.randint(1, 70))),
        batch=rng.choice((1, 1, 3)), kind="linear" if causal is None else "attention_qk",
        causal=causal, rows_per_token=rng.randint(1, 3), visible_before=rng.choice((0, 5)),
    )  # fmt: skip
    bits = {"int8": 8, "int4": 4}.get(scheme.partition("/")[2], 0) if serial else 0
    array = TileArray(
        rows=rows, cols=columns, lanes=lanes, group_size=group or None, rescale_cycles=bits,
        pipeline_cycles=6 if serial else 1, group_gap=gap,
    )  # fmt: skip
    return arch, gemm, array


def plain_chip_of(arch: Arch, bits: LayerBits) -> dict:
    """What the twin needs to know to lay a layer out."""
    held = {"w": "weight", "io": "io"}
    return {
        "flow": "tile", "timing": "physical", "rows": arch.array.rows, "cols": arch.array.columns,
        "lanes": arch.pe.lanes, "group": bits.group, "bw": bits.weight, "bi": bits.input,
        "bo": bits.output, "sum_bits": arch.pe.record.partial_sum_bits, "accumulator": 0,
        "buffers": ("w", "io"), "single": "", "one_port": (),
        "bytes": {x: arch.buffers.named(name).size_bytes for x, name in held.items()},
    }  # fmt: skip


def tiles_in_order(arch: Arch, gemm: Gemm, bits: LayerBits) -> list[tuple[int, int, int]]:
    """(first output, outputs, inputs) of every tile, in the order of the mapper's reads."""
    rows, columns = arch.array.rows, arch.array.columns
    lay = layout_naive.lay_out(plain_chip_of(arch, bits), naive_layer(gemm))
    tiles, start = [], 0
    for part in layout_naive.parts_of(lay):
        outputs = [(start + a, b - a, part["k"]) for a, b in pieces(part["n"], rows)]
        blocks = len(pieces(part["m"], columns))
        tiles += (
            outputs * blocks if lay.stream == "i" else [t for t in outputs for _ in range(blocks)]
        )
        start = 0 if gemm.causal else (start + part["n"]) % gemm.n
    return tiles * gemm.batch


def fits(arch: Arch, gemm: Gemm, bits: LayerBits) -> bool:
    """Whether half a buffer holds a group, which the twin refuses otherwise."""
    lay = layout_naive.lay_out(plain_chip_of(arch, bits), naive_layer(gemm))
    try:
        return bool(layout_naive.product_events(lay))
    except layout_naive.Refused:
        return False


def work_of(
    tiles: list[tuple[int, int, int]], array: TileArray, terms: int, mask: np.ndarray | None = None
) -> list[tuple[int, int]]:
    """Groups of tiles as `tile_naive.play` takes them."""
    work = []
    for first, rows, k in tiles:
        borders = pieces(k, array.group_size or k)
        for a, b in borders:
            if mask is None:
                clocks = terms * -(-(b - a) // array.lanes)
            else:
                slots = [
                    [[{t for t, on in enumerate(w) if on} for w in row[a:b]]]
                    for row in mask[first : first + rows].tolist()
                ]
                clocks = tile_naive.stream_clocks(slots, array.lanes, array.scope, 1, None)
            work.append((clocks, rows if b == k else 0))
    return work


def played(work: list[tuple[int, int]], array: TileArray) -> int:
    unit, depth, gap = array.rescale_cycles, array.pipeline_cycles, array.group_gap
    return tile_naive.play(work, unit, depth, gap)


@pytest.mark.parametrize("seed", range(3))
def test_all_rungs_take_the_clocks_of_the_array(seed: int) -> None:
    rng = random.Random(seed)
    closed = binding = 0
    for _ in range(100):
        arch, gemm, array = random_case(rng)
        bits = LayerBits.of(arch, arch.formats.linear, gemm)
        if not fits(arch, gemm, bits):
            continue
        tiles = tiles_in_order(arch, gemm, bits)
        work = work_of(tiles, array, bits.terms)
        run = run_layer_cycle(built(arch), gemm, bits, options=NO_MEMORY)
        base = run_layer(built(arch), gemm, bits)
        assert run.cycles == played(work, array), (arch.pe, arch.array, gemm, array)
        assert run.compute_cycles == base.compute_cycles == sum(clocks for clocks, _ in work)
        assert run.cycles == run.compute_cycles + sum(run.stalls.values())
        binding += run.stalls["rescale"] > 0
        if gemm.causal or gemm.batch > 1:
            continue
        m, n, k = gemm.m, gemm.n, gemm.k
        count = tile_count(m, n, k, array, bits.terms)
        assert run.compute_cycles == count.issue_cycles
        chunks = sum(-(-(b - a) // array.lanes) for a, b in pieces(k, array.group_size or k))
        work_done = layer_work(lay_out(built(arch), gemm, bits, "whole-buffer"))
        assert work_done.busy_pe_cycles == m * n * chunks * bits.terms
        assert work_done.weight_accesses == work_done.input_accesses == chunks * count.tiles
        if n % array.rows == 0 or count.row_folds == 1 or count.column_folds == 1:
            closed += 1  # tiles of equal rows, or one order only
            assert run.cycles == count.cycles
    assert closed > 25
    assert binding > 15


def test_skipped_terms_of_given_weights_too() -> None:
    rng = random.Random(9)
    for case in range(80):
        arch, gemm, _ = random_case(rng)
        dense = LayerBits.of(arch, arch.formats.linear, gemm)
        if arch.pe.kind != "bit_serial" or not fits(arch, gemm, dense):
            continue
        pe = arch.pe.model_copy(update={"skip_zero_terms": True, "skip_sync": SCOPES[case % 4]})
        arch = arch.model_copy(update={"pe": pe})
        scheme = arch.formats.linear.weight.scheme
        skipping = skipping_array(arch, scheme, dense.rescale_bits)
        mask = np.random.default_rng(case).random((gemm.n, gemm.k, dense.terms)) < rng.random()
        bits = replace(dense, skipping=CountedClocks(mask, skipping))
        run = run_layer_cycle(built(arch), gemm, bits, options=NO_MEMORY)
        work = work_of(tiles_in_order(arch, gemm, bits), skipping, bits.terms, mask)
        assert run.cycles == played(work, skipping)
        assert run.compute_cycles == sum(clocks for clocks, _ in work)


def cycle_run(scheme: str, lanes: int, m: int, n: int, k: int) -> tuple[LayerRun, TileArray]:
    arch = chip_of({"kind": "bit_serial"}, 4, 4, lanes, scheme, 512)
    gemm = Gemm(name="x", m=m, n=n, k=k)
    bits = LayerBits.of(arch, arch.formats.linear, gemm)
    array = TileArray(
        rows=4, cols=4, lanes=lanes, group_size=bits.group or None, rescale_cycles=bits.rescale_bits
    )
    return run_layer_cycle(built(arch), gemm, bits, options=NO_MEMORY), array


@pytest.mark.parametrize(
    ("scheme", "lanes", "size", "clocks"),
    [
        ("int4@g64/int8", 4, (16, 16, 8), 142),
        ("int8@g12/int8", 8, (16, 16, 1200), 12818),
        ("int8@g6/int8", 4, (16, 16, 1200), 25618),
        ("int8@g8/int8", 16, (16, 16, 1200), 19214),
    ],
)
def test_short_groups_take_the_clocks_of_the_machine(
    scheme: str, lanes: int, size: tuple[int, int, int], clocks: int
) -> None:
    """Groups shorter than the lanes, than K, and than the bits of their scale."""
    m, n, k = size
    run, array = cycle_run(scheme, lanes, m, n, k)
    format = scheme.partition("@")[0]
    machine = simulate_tile_array(np.ones((m, k)), np.ones((n, k), int), array, format, "exact")
    assert machine.cycles == clocks
    assert run.cycles == clocks
    assert run.compute_cycles == machine.issue_cycles
    assert run.stalls["rescale"] == machine.stall_cycles


def test_a_chunk_holds_weights_of_one_group() -> None:
    run, _ = cycle_run("int8@g128/int8", 12, 1, 1, 4096)
    assert run.compute_cycles == 4 * 32 * 11  # 128 weights take 11 chunks of 12 lanes


def test_depthwise_convolutions_wait_for_the_rescale_unit() -> None:
    """Nine weights take 3 chunks of 2 terms, less than the 8 bits of their scale."""
    arch = resolve(load_arch("bitmod"), phase="prefill", model="mobilenet-v2")
    layers = load_model("mobilenet-v2").gemms(phase="prefill", context=None, batch=1, causal=False)
    layer = next(x for x in layers if x.name == "block1.depthwise")
    assert (layer.m, layer.n, layer.k) == (12544, 1, 9)
    channel = replace(layer, batch=1)
    run = run_layer_cycle(built(arch), channel, layer_bits(arch, channel), options=NO_MEMORY)
    assert (run.cycles, run.stalls["rescale"]) == (3149, 391 * (8 - 3 * 2))
    assert tile_count(12544, 1, 9, TileArray(rows=32, cols=32), 2).cycles == 3149
    assert simulate("bitmod", "mobilenet-v2").stalls["rescale"] > 0
