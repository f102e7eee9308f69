"""The energies as the authors count them: operations tiled on their array, one after another.

An operation is ``n`` independent products of an input vector of ``c`` by a matrix of ``m x c``. Its
dimensions are split exactly, ``n = n0 n3``, ``m = m0 m1 m2 m3``, ``c = c0 c1 c2``: 0 in a PE's
registers, 1 over the PEs, 2 in the buffer, 3 outside. Of all splits that fit, that is taken whose
energy and clocks, each over the largest of any split, sum to the least. A word is read

=========  =====================  ================  ======================  ==================
from       inputs (nc)            weights (mc)      sums (nm)               pJ of 16 bits
=========  =====================  ================  ======================  ==================
DRAM       m3                     n3                1                       200
buffer     m3 m2                  -                 max(2 (c2 - 1), 1)      22.2
network    m3 m2 m1               n3                max(c2 (c1 - 1), 1)     7.4, sums 3.7
registers  m                      n                 max(2 c2 c1 (c0-1), 1)  3.7, weights 7.4
=========  =====================  ================  ======================  ==================

Sums, products of two inputs and look-ups take nothing from DRAM, buffer and network but the
network's part of sums. Facts of the authors' code (GATECH-EIC/ShiftAddLLM, energy/), not its text.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ....arch import Arch
from ....arch.components import operator_component

CHIP = "neurips24/eyeriss"
WORD_BITS = 16
SHIFT_BITS = 10  # to which the authors round the bits of what a shift takes: (16 + 5) / 2
SHIFT_PJ = 0.15  # an addition to an exponent
TABLE = 8  # inputs of a table, and bits that look one up
GROUP = 128  # weights that share scales, where they are counted
PJ_PER_MJ = 1e9
Kind = Literal["multiply", "add", "shift", "look_up"]
ON_CHIP = ("add", "look_up")
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """``n`` products of a vector of ``c`` by a matrix of ``m x c``, of words of ``bits``.

    ``stays``: what it works on lies on the chip.
    """

    kind: Kind
    n: int = 1
    m: int
    c: int
    bits: int = WORD_BITS
    stays: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The array, from the chip's file: PEs, words of memories, pJ of 16 bits and of operations."""

    pes: int
    buffer_words: int
    register_words: dict[str, int] = field(hash=False)
    pj: dict[str, float] = field(hash=False)
    operator_pj: dict[str, float] = field(hash=False)

    @classmethod
    def of(cls, arch: Arch) -> "Machine":
        """Read the machine from a chip like `CHIP`."""
        level = {each.name: each for each in arch.memories}
        inputs, weights, sums = level["inputs"], level["filters"], level["sums"]
        buffer = level["buffer"]

        def word(bit_pj: float | None) -> float:
            return WORD_BITS * float(bit_pj or 0.0)

        return cls(
            pes=arch.array.rows * arch.array.columns,
            buffer_words=int(float(buffer.size_kib or 0) * 1024 * 8 / WORD_BITS),
            register_words={
                "inputs": int(inputs.words or 0),
                "weights": int(weights.words or 0),
                "sums": int(sums.words or 0),
            },
            pj={
                "dram": word(arch.dram.read_bit_pj),
                "buffer": word(buffer.read_pj_per_bit),
                "network": word(inputs.write_pj_per_bit),
                "network_sums": word(sums.write_pj_per_bit),
                "registers": word(inputs.read_pj_per_bit),
                "registers_weights": word(weights.read_pj_per_bit),
            },
            operator_pj={
                "multiply": operator_component("fp16_multiply").energy_pj,
                "add": operator_component("fp16_add").energy_pj,
                "look_up": operator_component("lut8_query").energy_pj,
                "shift": SHIFT_PJ,
            },
        )


@cache
def _divisors(size: int) -> tuple[int, ...]:
    return tuple(d for d in range(1, size + 1) if size % d == 0)


def splits(size: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Yield all ways of writing a whole number as an ordered product of so many.

    Examples
    --------
    >>> list(splits(4, 2))
    [(1, 4), (2, 2), (4, 1)]
    """
    if parts == 1:
        yield (size,)
        return
    for first in _divisors(size):
        for rest in splits(size // first, parts - 1):
            yield (first, *rest)


@cache
def _split_columns(size: int, parts: int) -> Counts:
    return np.array(list(splits(size, parts)), np.int64).T


def _fitting(operation: Operation, machine: Machine) -> tuple[Counts, Counts, Counts]:
    """Return the splits of n, m and c that fit the array, a column each."""
    narrow = operation.bits != WORD_BITS  # two words in a register, four PEs in one
    words, pes = (2, 4 * machine.pes) if narrow else (1, machine.pes)
    registers = {name: words * size for name, size in machine.register_words.items()}
    n, m, c = (
        _split_columns(operation.n, 2), _split_columns(operation.m, 4),
        _split_columns(operation.c, 3),
    )  # fmt: skip
    m = m[:, (m[0] <= registers["sums"]) & (m[1] < pes)]
    c = c[:, (c[0] < registers["inputs"]) & (c[1] < pes)]
    i, j, k = (each.ravel() for each in np.indices((n.shape[1], m.shape[1], c.shape[1])))
    fits = (m[1, j] * c[1, k] < pes) & (m[0, j] * c[0, k] < registers["weights"])
    held = n[0, i] * (c[0, k] * c[1, k] + m[0, j] * m[1, j] * m[2, j])
    fits &= held < words * machine.buffer_words
    return n[:, i[fits]], m[:, j[fits]], c[:, k[fits]]


@cache
def energy_pj(operation: Operation, machine: Machine) -> float:
    """Return the energy of an operation under the split that the authors' rule takes.

    Examples
    --------
    >>> from bitlathe.arch import load_arch
    >>> machine = Machine.of(load_arch(CHIP))
    >>> round(energy_pj(Operation(kind="multiply", m=768, c=768), machine) / 768**2, 1)
    225.5
    """
    n, m, c = _fitting(operation, machine)
    N, M, C = operation.n, operation.m, operation.c
    inputs, weights, sums = N * C, M * C, N * M
    pj = {name: each * _width(operation) / WORD_BITS for name, each in machine.pj.items()}
    near = operation.kind in ON_CHIP or operation.stays
    far = 0.0 if near else 1.0
    energy = far * pj["dram"] * (m[3] * inputs + n[1] * weights + sums)
    energy = energy + far * pj["buffer"] * (
        m[3] * m[2] * inputs + np.maximum(2 * (c[2] - 1), 1) * sums
    )
    energy = energy + far * pj["network"] * (m[3] * m[2] * m[1] * inputs + n[1] * weights)
    energy = energy + pj["network_sums"] * np.maximum(c[2] * (c[1] - 1), 1) * sums
    at_registers = M * inputs + np.maximum(2 * c[2] * c[1] * (c[0] - 1), 1) * sums
    energy = energy + pj["registers"] * at_registers + pj["registers_weights"] * N * weights
    energy = energy + machine.operator_pj[operation.kind] * N * M * C
    clocks = N * (M // m[1]) * (C // c[1])
    measure = energy / energy.max() + clocks / clocks.max()
    return float(energy[int(np.argmin(measure))])


def _width(operation: Operation) -> int:
    return SHIFT_BITS if operation.kind == "shift" else operation.bits


def product(method: dict[str, Any], outputs: int, inputs: int) -> tuple[Operation, ...]:
    """Return the operations of a vector by a matrix as a method does them.

    Parameters
    ----------
    method : dict
        ``form``: ``multiply``, ``dequantize`` (narrow weights, sums of 16 bits) or ``tables``, with
        ``bits`` of a weight and ``scale`` of a looked-up sum.
    outputs, inputs : int
    """
    bits = method["bits"]
    if method["form"] != "tables":
        multiply = Operation(kind="multiply", m=outputs, c=inputs, bits=bits)
        return multiply, replace(multiply, kind="add", bits=WORD_BITS)
    tables = inputs // TABLE
    return (
        Operation(kind="multiply", n=tables, m=1, c=TABLE),
        Operation(kind="add", n=tables, m=1, c=TABLE),
        Operation(kind="add", n=tables, m=2**TABLE - 1, c=1),
        Operation(kind="look_up", n=tables, m=bits, c=outputs),
        Operation(kind=method["scale"], n=tables, m=bits, c=outputs),
        Operation(kind="add", m=outputs, c=tables),
    )


def shapes_of(sizes: dict[str, Any]) -> list[tuple[int, int]]:
    """Return (outputs, inputs) of the matrices of a block."""
    hidden, mlp = sizes["hidden"], sizes["mlp"]
    ups = 2 if sizes["gated"] else 1
    return [(hidden, hidden)] * 2 + [(sizes["kv"], hidden)] * 2 + [(mlp, hidden)] * ups + [
        (hidden, mlp)
    ]  # fmt: skip


def token_mj(
    method: dict[str, Any], sizes: dict[str, Any], machine: Machine, changes: Collection[str] = ()
) -> float:
    """Return the energy of a token: blocks by the method, the head in 16 bits.

    Attention over other tokens, norms and activations are not counted.

    Parameters
    ----------
    method, sizes : dict
        Of ``published.yaml``.
    machine : Machine
    changes : collection of str
        Of `CHANGES`; none of them in the published form.
    """
    total: float = 0.0
    for outputs, inputs in shapes_of(sizes):
        for each in product(method, outputs, inputs):
            stays = "sums" in changes and method["form"] == "tables"
            kept = replace(each, stays=stays and each.kind == method["scale"] and each.c == outputs)
            total += energy_pj(kept, machine)
        total += sum(CHANGES[change](method, outputs * inputs, machine) for change in changes)
    hidden, mlp = sizes["hidden"], sizes["mlp"]
    if sizes["gated"]:
        total += energy_pj(Operation(kind="multiply", m=1, c=mlp, stays=True), machine)
    else:
        total += 5 * energy_pj(Operation(kind="add", m=1, c=hidden), machine)
        total += energy_pj(Operation(kind="add", m=1, c=mlp), machine)
    head = product({"form": "multiply", "bits": WORD_BITS}, sizes["vocabulary"], hidden)
    head_pj = sum(energy_pj(each, machine) for each in head)
    return (int(sizes["layers"]) * total + head_pj) / PJ_PER_MJ


def _read_pj(bits: float, machine: Machine) -> float:
    """Return the energy of bits that go from DRAM into registers once, past the buffer."""
    return bits / WORD_BITS * (machine.pj["dram"] + machine.pj["network"])


def _planes_pj(method: dict[str, Any], weights: int, machine: Machine) -> float:
    """Return what it takes to read the planes by which tables are looked up."""
    return _read_pj(weights * method["bits"], machine) if method["form"] == "tables" else 0.0


def _scales_pj(method: dict[str, Any], weights: int, machine: Machine) -> float:
    """Return what it takes to read the scales of groups."""
    return _read_pj(weights * method.get("group_bits", 0) / GROUP, machine)


def _sums_pj(method: dict[str, Any], weights: int, machine: Machine) -> float:
    """Return nothing: the change is that of an operation."""
    del method, weights, machine
    return 0.0


CHANGES: Final[Mapping[str, Callable[[dict[str, Any], int, Machine], float]]] = {
    "planes": _planes_pj,
    "sums": _sums_pj,
    "scales": _scales_pj,
}
"""What a change adds to the published count, of so many weights of a matrix."""
