"""The cycle rung: equal to a plain simulation of every tile, never below the analytic rung."""

import random
from fractions import Fraction

import pytest

from bitlathe.arch import Arch, load_arch, resolve
from bitlathe.sim.analytic import ChipCosts, LayerBits, run_layer, traffic_of
from bitlathe.sim.array.systolic_model import systolic
from bitlathe.sim.array.tile_model import TileArray, tile_count
from bitlathe.sim.cycle import run_layer_cycle
from bitlathe.sim.cycle_schedule import Scheduler, cut, groups_of, moved_bytes, program_of
from bitlathe.sim.engine import layer_bits
from bitlathe.sim.memory import CycleOptions, DramPort
from bitlathe.workloads import Gemm, load_model
from naive import cycle_naive

CHIP = load_arch("bitmod")
COSTS = ChipCosts.of(CHIP)
FLOWS = ("tile", "os", "ws", "is")
IDEAL = CycleOptions(memory=False, pipeline=False, rescale=False)


def chip_of(c: dict) -> Arch:
    """An Arch with the figures of a plain chip."""
    buffers = CHIP.buffers.model_copy(
        update={
            "weight": CHIP.buffers.weight.model_copy(
                update={"size_kib": c["weight_bytes"] / 1024, "port_bits": c["port_w"] or "auto"}
            ),
            "io": CHIP.buffers.io.model_copy(
                update={"size_kib": c["io_bytes"] / 1024, "port_bits": c["port_i"] or "auto"}
            ),
        }
    )
    array = CHIP.array.model_copy(
        update={
            "kind": "tile" if c["flow"] == "tile" else "systolic",
            "rows": c["rows"],
            "columns": c["cols"],
            "dataflow": "os" if c["flow"] == "tile" else c["flow"],
            "timing": c["timing"],
        }
    )
    dram = CHIP.dram.model_copy(
        update={
            "bits_per_clock": float(c["rate"]),
            "latency_cycles": c["latency"],
            "burst_bits": c["burst"],
        }
    )
    pe = CHIP.pe.model_copy(
        update={"lanes": c["lanes"], "kind": "bit_serial" if c["serial"] else "int_mac"}
    )
    return CHIP.model_copy(update={"buffers": buffers, "array": array, "dram": dram, "pe": pe})


def bits_of(c: dict) -> LayerBits:
    return LayerBits(
        weight=c["bw"],
        input=c["bi"],
        output=c["bo"],
        terms=c["terms"],
        buffered_weight=c["bw"],
        group=c["group"],
        rescale_bits=c["rescale_bits"],
    )


def random_case(rng: random.Random) -> tuple[dict, Gemm]:
    serial = rng.random() < 0.5
    grouped = serial and rng.random() < 0.5
    chip = {
        "flow": rng.choice(FLOWS),
        "timing": rng.choice(("physical", "scalesim")),
        "rows": rng.randint(1, 6),
        "cols": rng.randint(1, 6),
        "lanes": rng.choice((1, 2, 4)),
        "serial": serial,
        "terms": rng.randint(1, 4) if serial else 1,
        "group": rng.choice((2, 4, 8, 16)) if grouped else 0,
        "rescale_bits": rng.choice((4, 8)) if grouped else 0,
        "weight_bytes": rng.choice((8, 40, 100, 400, 4000)),
        "io_bytes": rng.choice((8, 40, 100, 400, 4000)),
        "port_w": rng.choice((0, 0, 16, 64)),
        "port_i": rng.choice((0, 0, 16, 64)),
        "rate": Fraction(rng.choice((0.5, 1, 3, 16, 25.6, 64, 256, 1e6))),
        "latency": rng.choice((0, 0, 3, 50)),
        "burst": rng.choice((1, 8, 64, 512)),
        "bw": Fraction(rng.choice((3, 4, Fraction(17, 4), 8, 16))),
        "bi": Fraction(rng.choice((4, 8, 16))),
        "bo": Fraction(rng.choice((8, 16))),
        "prefetch": rng.choice((2, 3, 8)),
        "output_tiles": rng.choice((2, 3, 8)),
    }
    causal = rng.choice((None, None, None, "n", "k"))
    layer = Gemm(
        name="x",
        m=rng.choice((1, rng.randint(1, 40), rng.randint(1, 12))),
        n=rng.choice((1, rng.randint(1, 40), rng.randint(1, 12))),
        k=rng.randint(1, 40),
        batch=rng.choice((1, 1, 2, 5)),
        kind="linear" if causal is None else "attention_qk",
        causal=causal,
        rows_per_token=rng.randint(1, 3),
        visible_before=rng.choice((0, 0, 5)),
        input_elements=None if rng.random() < 0.8 else rng.randint(1, 300),
    )
    return chip, layer


def naive_layer(gemm: Gemm) -> dict:
    return {
        "m": gemm.m, "n": gemm.n, "k": gemm.k, "batch": gemm.batch, "causal": gemm.causal,
        "per_token": gemm.rows_per_token, "before": gemm.visible_before,
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(8))
def test_folded_equals_unfolded_equals_naive(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(400):
        chip, gemm = random_case(rng)
        arch, bits = chip_of(chip), bits_of(chip)
        traffic = traffic_of(arch, gemm, bits, "whole-buffer")
        moved = {
            "w": traffic.weight_bytes, "i": traffic.input_bytes, "o": traffic.output_bytes,
            "weight_reads": traffic.weight_reads, "input_reads": traffic.input_reads,
        }  # fmt: skip
        options = CycleOptions(
            prefetch_transfers=chip["prefetch"], output_tiles=chip["output_tiles"]
        )
        folded = run_layer_cycle(arch, gemm, bits, COSTS, options=options)
        plain = CycleOptions(
            prefetch_transfers=chip["prefetch"], output_tiles=chip["output_tiles"], fold=False
        )
        assert folded == run_layer_cycle(arch, gemm, bits, COSTS, options=plain)
        cycles, stalls, total = cycle_naive.run(chip, naive_layer(gemm), moved)
        assert (folded.cycles, folded.stalls) == (cycles, stalls), (chip, gemm)
        assert [8 * x for x in total.values()] == list(folded.dram_bits.values())
        # invariants
        base = run_layer(arch, gemm, bits, COSTS)
        assert folded.cycles >= base.cycles
        assert folded.stall_cycles == sum(folded.stalls.values())
        assert folded.cycles == folded.compute_cycles + folded.stall_cycles
        assert min(folded.stalls.values()) >= 0
        assert folded.dram_bits == base.dram_bits
        program = program_of(Scheduler(arch, bits, options), gemm, traffic)
        assert [8 * x for x in moved_bytes(program)] == list(base.dram_bits.values())
        ideal = run_layer_cycle(arch, gemm, bits, COSTS, options=IDEAL)
        assert ideal.cycles == base.compute_cycles
        assert ideal.stall_cycles == 0
