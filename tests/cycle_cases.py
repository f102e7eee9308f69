"""Random chips and layers of the cycle rung, as plain dictionaries and as the package's records."""

import random
from fractions import Fraction

from bitlathe.arch import Arch, load_arch
from bitlathe.arch.pe import SECTIONS
from bitlathe.arch.schema import Buffer, Buffers
from bitlathe.sim.chip import Chip, Sram
from bitlathe.sim.cycle.options import CycleOptions
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
            "accumulator_buffer": bool(c["accumulator"]),
        }
    )
    dram = CHIP.dram.model_copy(
        update={
            "bits_per_clock": float(c["rate"]),
            "latency_cycles": c["latency"],
            "burst_bits": c["burst"],
        }
    )
    kind = "bit_serial" if c["serial"] else "int_mac"
    own = {"group_gap": c["gap"]} if c["serial"] else {"accumulator_bits": c["sum_bits"]}
    pe = SECTIONS[kind](
        kind=kind,
        lanes=c["lanes"],
        energy_pj=CHIP.pe.clock_energy_pj,
        area_um2=CHIP.pe.cell_area_um2,
        double_buffered_operand=c["registers"],
        drain_register=c["registers"],
        **own,
    )
    parts = {"buffers": buffers_of(c), "array": array, "dram": dram, "pe": pe}
    return CHIP.model_copy(update=parts)


NAMES = {"w": "weight", "io": "io", "i": "input", "o": "output", "wio": "shared"}
LAYOUTS = (("w", "io"), ("w", "i", "o"), ("wio",))
SERIAL_SUM_BITS = 15 + 6  # mantissa and exponent of `aligned` numerics (docs/pe.md)


def buffers_of(c: dict) -> Buffers:
    """The buffers of a plain chip; each is a string of the operands it holds."""
    made = {}
    for held in c["buffers"]:
        made[NAMES[held]] = Buffer(
            size_kib=c["bytes"][held] / 1024,
            banks=c["banks"][held],
            port_bits=c["ports"][held] or "auto",
            double_buffered=not set(held) & set(c["single"]),
            ports=1 if held in c["one_port"] else 2,
        )
    if c["accumulator"]:
        made["accumulator"] = Buffer(size_kib=c["accumulator"] / 1024, banks=1)
    return Buffers(**made)


def naive_chip(c: dict) -> dict:
    """A plain chip for the twin, with the width of every automatic port, the accumulator's too."""
    arch = chip_of(c)
    ports = {held: c["ports"][held] or arch.port_bits(NAMES[held]) for held in c["buffers"]}
    edge = arch.port_bits("accumulator") if c["accumulator"] else 0
    return c | {"ports": ports, "accumulator_port": edge}


def named(accesses: dict) -> dict[str, int]:
    """Accesses of the twin under the names of a LayerRun."""
    names = NAMES | {"a": "accumulator"}
    return {f"{names[held]}_{what}": count for (held, what), count in accesses.items()}


def bits_of(c: dict) -> LayerBits:
    return LayerBits(
        weight=c["bw"],
        input=c["bi"],
        output=c["bo"],
        terms=c["terms"],
        buffered_weight=c["bw"],
        group=c["group"],
        rescale_bits=c["rescale_bits"],
        weight_code=c["cw"],
        input_code=c["ci"],
        input_group=c["input_group"],
    )


def random_chip(rng: random.Random) -> dict:
    """A plain chip of any kind: flows, timings, lanes, groups, buffers, ports, DRAM."""
    serial = rng.random() < 0.5
    grouped = serial and rng.random() < 0.5
    flow = rng.choice(FLOWS)
    buffers = rng.choice(LAYOUTS)
    single = rng.choice(("", "", "", "w", "i", "wi"))
    if buffers == ("wio",):
        single = rng.choice(("", "", "wi"))
    bw = Fraction(rng.choice((3, 4, Fraction(17, 4), 8, 16)))
    bi = Fraction(rng.choice((4, 8, Fraction(33, 4), 16)))
    return {
        "flow": flow,
        "timing": rng.choice(("physical", "physical", "scalesim")),
        "rows": rng.randint(1, 6),
        "cols": rng.randint(1, 6),
        "lanes": rng.choice((1, 2, 4)),
        "serial": serial,
        "terms": rng.randint(1, 4) if serial else 1,
        "group": rng.choice((1, 2, 3, 6, 8, 16, 60)) if grouped or rng.random() < 0.2 else 0,
        "rescale_bits": rng.choice((0, 4, 8, 12)) if grouped else 0,
        "gap": rng.choice((0, 0, 1, 5)) if serial else 0,
        "buffers": buffers,
        "bytes": {held: rng.choice((60, 200, 800, 4000)) * len(held) for held in buffers},
        "ports": {held: rng.choice((0, 0, 8, 16, 48, 64)) for held in buffers},
        "banks": {held: rng.choice((1, 2, 8)) for held in buffers},
        "single": single,
        "one_port": tuple(held for held in buffers if rng.random() < 0.3),
        "accumulator": rng.choice((0, 0, 64, 4000)) if flow in ("ws", "is") else 0,
        "sum_bits": SERIAL_SUM_BITS if serial else rng.choice((12, 24, 32)),
        "rate": Fraction(rng.choice((2.5, 7, 16, 25.6, 64, 256, 1e6))),
        "latency": rng.choice((0, 0, 3, 25)),
        "burst": rng.choice((1, 8, 64, 128)),
        "bw": bw,
        "bi": bi,
        "bo": Fraction(rng.choice((8, Fraction(25, 3), 16))),
        "cw": rng.choice((None, Fraction(int(bw)))),
        "ci": rng.choice((None, Fraction(int(bi)))),
        "input_group": rng.choice((0, 0, 3, 8)),
        "registers": rng.random() < 0.7,
        "prefetch": rng.choice((2, 3, 8)),
        "output_tiles": rng.choice((2, 3, 8)),
    }


def random_layer(rng: random.Random) -> Gemm:
    """A layer, plain, a convolution, or attention under a causal mask or a window."""
    causal = rng.choice((None, None, None, "n", "k"))
    elements = None if causal or rng.random() < 0.8 else rng.randint(1, 300)
    m, n = (rng.choice((1, rng.randint(1, 40), rng.randint(1, 12))) for _ in "mn")
    k, per_token, before = rng.randint(1, 40), rng.randint(1, 3), rng.choice((0, 0, 5))
    if causal and rng.random() < 0.8:  # as many keys as there are tokens to see them
        tokens = before + -(-m // per_token)
        n, k = (tokens, k) if causal == "n" else (n, tokens)
    batch = rng.choice((1, 1, 2, 5))
    window = rng.choice((None, rng.randint(1, 12))) if causal else None
    if window is not None and before - window >= {"n": n, "k": k}[causal] - 1:
        return random_layer(rng)  # a window that slid past all there is
    return Gemm(
        name="x",
        m=m,
        n=n,
        k=k,
        batch=batch,
        kind="linear" if causal is None else "attention_qk",
        causal=causal,
        rows_per_token=per_token,
        visible_before=before,
        window=window,
        input_elements=elements,
    )


def random_case(rng: random.Random) -> tuple[dict, Gemm]:
    return random_chip(rng), random_layer(rng)


def options_of(c: dict, **more: object) -> CycleOptions:
    return CycleOptions(prefetch_transfers=c["prefetch"], output_tiles=c["output_tiles"], **more)


def naive_layer(gemm: Gemm) -> dict:
    return {
        "m": gemm.m, "n": gemm.n, "k": gemm.k, "batch": gemm.batch, "causal": gemm.causal,
        "per_token": gemm.rows_per_token, "before": gemm.visible_before, "window": gemm.window,
        "input_elements": gemm.input_elements,
    }  # fmt: skip


def timing_layer(m: int, n: int, k: int) -> Gemm:
    return Gemm(name="x", m=m, n=n, k=k)


def plain_chip(**changes: object) -> dict:
    """4 x 4 PEs, 4 KiB a buffer, 8-bit operands, DRAM of 64 bits a clock; changes by key.

    ``weight_bytes``, ``io_bytes``, ``weight_port``, ``io_port`` are those of the buffers w and io.
    """
    sizes = {"w": changes.pop("weight_bytes", 4096), "io": changes.pop("io_bytes", 4096)}
    ports = {"w": changes.pop("weight_port", 0), "io": changes.pop("io_port", 0)}
    chip = {
        "flow": "tile", "timing": "physical", "rows": 4, "cols": 4, "lanes": 1, "serial": False,
        "terms": 1, "group": 0, "rescale_bits": 0, "gap": 0, "registers": True,
        "buffers": ("w", "io"), "bytes": sizes, "ports": ports, "banks": {"w": 8, "io": 8},
        "single": "", "one_port": (), "accumulator": 0, "sum_bits": 32,
        "rate": Fraction(64), "latency": 0, "burst": 64, "bw": Fraction(8), "bi": Fraction(8),
        "bo": Fraction(16), "cw": None, "ci": None, "input_group": 0,
        "prefetch": 8, "output_tiles": 8,
    }  # fmt: skip
    if changes.get("serial"):
        chip["sum_bits"] = SERIAL_SUM_BITS
    return chip | changes


def built(arch: Arch) -> Chip:
    """A chip with buffers that no SRAM table holds, at the price of another's."""
    sram = {}
    for name in arch.buffers.priced:
        buffer = arch.buffers.named(name)
        sram[name] = Sram(
            name=name,
            size_bytes=buffer.size_bytes,
            port_bits=arch.port_bits(name),
            banks=16 if buffer.banks == "auto" else buffer.banks,
            ports=buffer.ports,
            double_buffered=buffer.double_buffered,
            cost=CHIP.sram_cost("weight"),
        )
    return Chip(arch=arch, sram=sram)
