"""Random chips and layers, and what is more of something: what laws of clocks and energy take."""

import math
import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import bitlathe as bl
from bitlathe.arch import Arch
from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.datatypes.base.yamlfile import Document, validate
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.operands import OperandBits
from bitlathe.workloads import Gemm

Case = tuple[Loops, OperandBits, Hierarchy]


def random_case(rng: random.Random) -> Case:
    """A product of up to 60 tokens, outputs and inputs on memories of a few thousand bits."""

    def ports() -> tuple[Port, ...]:
        width = Fraction(rng.choice([16, 40, 64, 100]))
        ways = ("both",) if rng.random() < 0.4 else ("read", "write")
        return tuple(
            Port(direction=way, width_bits=width, read_pj=1.0, write_pj=1.5)  # type: ignore[arg-type]
            for way in ways
        )

    buffers = rng.choice([[OPERANDS], [("weight",), ("input", "output")]])
    held = rng.choice([None, "weight", "output"])
    memories = [
        Memory(name="dram", holds=OPERANDS, size_bits=None, ports=ports()[:1]),
        *(
            Memory(
                name=f"buffer{i}",
                holds=holds,
                size_bits=rng.randint(300, 20000),
                ports=ports(),
                double_buffered=rng.random() < 0.5,
            )
            for i, holds in enumerate(buffers)
        ),
    ]
    memories[0] = replace(memories[0], ports=(replace(memories[0].ports[0], direction="both"),))
    if held:
        memories.append(
            Memory(
                name="register",
                holds=(held,),
                size_bits=None,
                words=rng.choice([1, 2]),
                ports=(Port(direction="both", width_bits=Fraction(64)),),
                per=("x", "y"),
                double_buffered=rng.random() < 0.5,
            )
        )
    axes = (
        Axis(name="x", size=rng.randint(1, 6), dims=("k",)),
        Axis(name="y", size=rng.randint(1, 6), dims=("n", "m")),
        Axis(name="lanes", size=rng.choice([1, 1, 2]), dims=("k",)),
    )
    bits = OperandBits(
        weight=Fraction(rng.choice([17, 24, 32]), 4),
        input=Fraction(8),
        output=Fraction(8),
        partial=24,
        step_cycles=Fraction(rng.choice([1, 3]), 2),
    )
    chip = Hierarchy(memories=tuple(memories), axes=axes, units=("x", "y"), unit_pj=0.5)
    return Loops.product(*(rng.randint(1, 60) for _ in range(3))), bits, chip


def memories_changed(change: Callable[[Memory], Memory]) -> Callable[[Case], Case]:
    def changed(case: Case) -> Case:
        layer, bits, chip = case
        return layer, bits, replace(chip, memories=tuple(change(m) for m in chip.memories))

    return changed


def _wider(memory: Memory) -> Memory:
    ports = tuple(
        replace(port, width_bits=port.width_bits * Fraction(5, 4)) for port in memory.ports
    )
    return replace(memory, ports=ports)


def _a_port_each_way(memory: Memory) -> Memory:
    ports = memory.ports
    if len(ports) > 1:
        return memory
    return replace(
        memory,
        ports=(replace(ports[0], direction="read"), replace(ports[0], direction="write")),
    )


def _axis(i: int) -> Callable[[Case], Case]:
    def longer(case: Case) -> Case:
        axes = list(case[2].axes)
        axes[i] = replace(axes[i], size=axes[i].size + 1)
        return *case[:2], replace(case[2], axes=tuple(axes))

    return longer


def _larger(memory: Memory) -> Memory:
    size = memory.size_bits
    return memory if size is None else replace(memory, size_bits=size + size // 3)


BETTER: dict[str, Callable[[Case], Case]] = {
    "wider ports": memories_changed(_wider),
    "larger buffers": memories_changed(_larger),
    "double buffering": memories_changed(lambda memory: replace(memory, double_buffered=True)),
    "a port for each direction": memories_changed(_a_port_each_way),
    "another row": _axis(0),
    "another column": _axis(1),
    "another lane": _axis(2),
    "fewer bits": lambda case: (
        case[0],
        replace(case[1], weight=case[1].weight - Fraction(1, 4)),
        case[2],
    ),
    "a faster step": lambda case: (case[0], replace(case[1], step_cycles=Fraction(1, 2)), case[2]),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer and the chip, as a chip file's keys, on which it runs."""

    chip: dict[str, Any]
    gemm: Gemm

    def run(self, mapper: str, fidelity: str) -> bl.Run:
        """Run it; attention is not fused, and layers are alone."""
        arch = validate(Arch, Document(source="chip", data=deepcopy(self.chip), marks={}))
        return bl.simulate(arch, [self.gemm], fidelity=fidelity, mapper=mapper, fusion=False)

    def batched(self, batch: int) -> "Layer":
        """Return so many products that share nothing."""
        return replace(self, gemm=replace(self.gemm, batch=batch))


def random_layer(rng: random.Random) -> Layer:
    """A layer of up to 128 x 512 x 512 on a chip with buffers of kibibytes, of any dataflow."""
    flow = rng.choice(["tile", "tile", "os", "ws", "is"])
    array: dict[str, Any] = {"kind": "tile" if flow == "tile" else "systolic"}
    array |= {"rows": rng.randint(2, 32), "columns": rng.randint(2, 32)}
    array["dataflow"] = "os" if flow == "tile" else flow
    layout = rng.choice([("weight", "io"), ("weight", "input", "output"), ("shared",)])
    buffers = {name: _buffer(rng) for name in layout}
    if flow in ("ws", "is") and rng.random() < 0.5:
        buffers["accumulator"] = _buffer(rng)
        array["accumulator_buffer"] = True
    serial = flow == "tile" and rng.random() < 0.5
    pe = {"kind": "bit_serial" if serial else "int_mac", "energy_pj": 0.3, "area_um2": 400.0}
    pe["lanes"] = rng.choice([1, 2, 4]) if flow == "tile" else 1
    if serial:
        pe["activation"] = "int8"
    group = rng.choice(["channel", "g32", "g32/fp16"])
    if flow in ("ws", "is"):
        group = "channel"  # its columns add up several groups
    formats = {"weight": f"int{rng.randint(3, 8)}@{group}"}
    formats |= {"input": "int8@tensor", "output": "int8@tensor"}
    chip = {
        "title": "random",
        "technology": {"node_nm": 28, "clock_ghz": 0.2},
        "pe": pe,
        "array": array,
        "buffers": buffers,
        "dram": {
            "energy_pj_per_bit": 4.0,
            "bits_per_clock": float(rng.choice([16, 48, 100, 256])),
            "latency_cycles": rng.choice([0, 20, 60]),
        },
        "accounting": {"leakage": False},
        "formats": {"linear": formats, "attention": formats},
    }
    m, n, k = rng.randint(1, 128), rng.randint(8, 512), rng.randint(8, 512)
    return Layer(chip=chip, gemm=Gemm(name="x", m=m, n=n, k=k, batch=rng.choice([1, 1, 3])))


def _buffer(rng: random.Random) -> dict[str, Any]:
    """A buffer with prices of its own, which do not follow its size."""
    return {
        "size_kib": rng.choice([2, 4, 8, 16, 64]),
        "ports": rng.choice([1, 2]),
        "double_buffered": rng.random() < 0.5,
        "port_bits": rng.choice([64, 128, 256]),
        "read_pj": 5.0,
        "write_pj": 6.0,
        "leakage_mw": 0.0,
        "area_um2": 1e4,
    }


def _set(**changes: Callable[[Any], Any]) -> Callable[[Layer], Layer]:
    """Change keys of sections: ``array_rows`` is ``array.rows``."""

    def changed(layer: Layer) -> Layer:
        chip = deepcopy(layer.chip)
        for place, change in changes.items():
            section, key = place.split("_", 1)
            chip[section][key] = change(chip[section][key])
        return replace(layer, chip=chip)

    return changed


def _buffers(key: str, change: Callable[[Any], Any]) -> Callable[[Layer], Layer]:
    return _set_buffers({key: change})


def _set_buffers(changes: dict[str, Callable[[Any], Any]]) -> Callable[[Layer], Layer]:
    def changed(layer: Layer) -> Layer:
        chip = deepcopy(layer.chip)
        for buffer in chip["buffers"].values():
            for key, change in changes.items():
                buffer[key] = change(buffer[key])
        return replace(layer, chip=chip)

    return changed


def _fewer_bits(layer: Layer) -> Layer:
    chip = deepcopy(layer.chip)
    width, group = chip["formats"]["linear"]["weight"].removeprefix("int").split("@")
    for formats in chip["formats"].values():
        formats["weight"] = f"int{int(width) - 1}@{group}"
    return replace(layer, chip=chip)


def _gemm(**changes: Callable[[int], int]) -> Callable[[Layer], Layer]:
    def changed(layer: Layer) -> Layer:
        sizes = {key: change(getattr(layer.gemm, key)) for key, change in changes.items()}
        return replace(layer, gemm=replace(layer.gemm, **sizes))

    return changed


MORE: dict[str, Callable[[Layer], Layer]] = {
    "more bandwidth": _set(dram_bits_per_clock=lambda bits: 1.5 * bits),
    "no latency": _set(dram_latency_cycles=lambda _: 0),
    "larger buffers": _buffers("size_kib", lambda kib: 2 * kib),
    "wider ports": _buffers("port_bits", lambda bits: 2 * bits),
    "two ports": _buffers("ports", lambda _: 2),
    "double buffering": _buffers("double_buffered", lambda _: True),
    "more rows": _set(array_rows=lambda rows: math.ceil(1.5 * rows)),
    "more columns": _set(array_columns=lambda columns: math.ceil(1.5 * columns)),
    "more lanes": _set(pe_lanes=lambda lanes: 2 * lanes),
    "fewer bits": _fewer_bits,
    "fewer tokens": _gemm(m=lambda m: max(1, m - 1)),
    "half of the tokens": _gemm(m=lambda m: math.ceil(m / 2)),
    "smaller batch": _gemm(batch=lambda batch: max(1, batch - 1)),
}
"""More of the chip, or less to do: nothing is slower."""


def takes(law: str, layer: Layer) -> bool:
    """Return whether a law says something of a layer: lanes are of tile arrays, say."""
    if law == "more lanes":
        return layer.chip["array"]["kind"] == "tile"
    return MORE[law](layer) != layer


def fill_cycles(layer: Layer) -> int:
    """Return the clocks in which data cross a systolic array."""
    array = layer.chip["array"]
    return array["rows"] + array["columns"] - 2 if array["kind"] == "systolic" else 0


def masked(rng: random.Random) -> tuple[Layer, Layer]:
    """An attention product and the same under a causal mask."""
    layer = random_layer(rng)
    cut, tokens = rng.choice(["n", "k"]), rng.randint(16, 128)
    sizes = {"m": tokens, cut: tokens, "kn".replace(cut, ""): 64, "batch": 1}
    kind = "attention_qk" if cut == "n" else "attention_av"
    full = replace(layer.gemm, kind=kind, **sizes)
    return replace(layer, gemm=full), replace(layer, gemm=replace(full, causal=cut))
