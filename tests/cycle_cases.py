"""Random chips and layers of the cycle rung, as plain dictionaries and as the package's records."""

import random
from fractions import Fraction

from bitlathe.arch import Arch, load_arch
from bitlathe.arch.schema import Buffer, Buffers
from bitlathe.mapping import Traffic
from bitlathe.mapping.keep import NOTHING, Kept
from bitlathe.sim.energy import ChipCosts
from bitlathe.sim.layer_bits import LayerBits
from bitlathe.workloads import Gemm

CHIP = load_arch("bitmod")
FLOWS = ("tile", "os", "ws", "is")


def chip_of(c: dict) -> Arch:
    """An Arch with the figures of a plain chip."""
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
        update={
            "lanes": c["lanes"],
            "kind": "bit_serial" if c["serial"] else "int_mac",
            "numerics": None,
            "group_gap": c.get("gap", 0) if c["serial"] else None,
            "double_buffered_operand": c["registers"],
            "drain_register": c["registers"],
        }
    )
    parts = {"buffers": buffers_of(c), "array": array, "dram": dram, "pe": pe}
    return CHIP.model_copy(update=parts)


NAMES = {"w": "weight", "io": "io", "i": "input", "o": "output", "wio": "shared"}


def buffers_of(c: dict) -> Buffers:
    """The buffers of a plain chip; each is a string of the operands it holds."""
    made = {}
    for held in c.get("buffers", ("w", "io")):
        size = c["weight_bytes"] if held[0] == "w" else c["io_bytes"]
        made[NAMES[held]] = Buffer(
            size_kib=size / 1024,
            port_bits=c.get("port_" + held[0]) or "auto",
            double_buffered=not set(held) & set(c.get("single", "")),
            ports=1 if held in c.get("one_port", ()) else 2,
        )
    return Buffers(**made)


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
        "group": rng.choice((1, 2, 3, 6, 8, 16, 60)) if grouped or rng.random() < 0.2 else 0,
        "rescale_bits": rng.choice((0, 4, 8, 12)) if grouped else 0,
        "gap": rng.choice((0, 0, 1, 5)) if serial else 0,
        "weight_bytes": rng.choice((8, 40, 100, 400, 4000)),
        "io_bytes": rng.choice((8, 40, 100, 400, 4000)),
        "port_w": rng.choice((0, 0, 16, 64)),
        "port_i": rng.choice((0, 0, 16, 64)),
        "rate": Fraction(rng.choice((2.5, 7, 16, 25.6, 64, 256, 1e6))),
        "latency": rng.choice((0, 0, 3, 25)),
        "burst": rng.choice((1, 8, 64, 128)),
        "bw": Fraction(rng.choice((3, 4, Fraction(17, 4), 8, 16))),
        "bi": Fraction(rng.choice((4, 8, 16))),
        "bo": Fraction(rng.choice((8, 16))),
        "registers": rng.random() < 0.7,
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


def naive_traffic(traffic: Traffic, kept: Kept = NOTHING) -> dict:
    return {
        "w": traffic.weight_bytes, "i": traffic.input_bytes, "o": traffic.output_bytes,
        "weight_reads": traffic.weight_reads, "input_reads": traffic.input_reads,
        "rooms": (traffic.weight_room_bytes, traffic.input_room_bytes),
        "kept": "i" * kept.input + "o" * kept.output, "held": kept.held_bytes,
    }  # fmt: skip


def naive_layer(gemm: Gemm) -> dict:
    return {
        "m": gemm.m, "n": gemm.n, "k": gemm.k, "batch": gemm.batch, "causal": gemm.causal,
        "per_token": gemm.rows_per_token, "before": gemm.visible_before,
    }  # fmt: skip


def timing_layer(m: int, n: int, k: int) -> Gemm:
    return Gemm(name="x", m=m, n=n, k=k)


def plain_chip(**changes: object) -> dict:
    chip = {
        "flow": "tile", "timing": "physical", "rows": 4, "cols": 4, "lanes": 1, "serial": False,
        "terms": 1, "group": 0, "rescale_bits": 0, "weight_bytes": 4096, "io_bytes": 4096,
        "registers": True,
        "port_w": 0, "port_i": 0, "rate": Fraction(64), "latency": 0, "burst": 64,
        "bw": Fraction(8), "bi": Fraction(8), "bo": Fraction(16),
    }  # fmt: skip
    return chip | changes


def costs_of(arch: Arch) -> ChipCosts:
    """Costs for a chip whose buffers are too small for the SRAM tables."""
    sram, names = CHIP.sram_cost("weight"), arch.buffers.names
    return ChipCosts(
        layout=arch.buffers.layout,
        buffers=dict.fromkeys(names, sram),
        port_bits=dict.fromkeys(names, 64),
        banks=dict.fromkeys(names, 8),
    )
