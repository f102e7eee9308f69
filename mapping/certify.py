"""Certificates of mappings: what a search found, with a proof that anyone can check.

Here the records of a layer, a chip and a mapping become the plain data that `mapping.proof` reads.
Energies are floats on a chip; a certificate has exactly these floats, as fractions.
"""

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from ..arch.hierarchy import OPERANDS, Hierarchy, Memory
from ..datatypes.base.errors import BitlatheError
from .best import Objective
from .nest import Loops, Mapping, dims_of
from .operands import OperandBits
from .proof.check import VERSION, derived
from .proof.cost import cost
from .proof.record import CONVOLUTION, DIMS, PRODUCT, Chip, Nest, layer_of, read
from .prove import prove

BUDGET = 12_000


def number(value: float | Fraction) -> int | str:
    """Return a number exactly: an integer, or text such as ``"7/2"``.

    Examples
    --------
    >>> number(3.0), number(0.1)
    (3, '3602879701896397/36028797018963968')
    """
    exact = Fraction(value)
    return exact.numerator if exact.denominator == 1 else str(exact)


def layer_data(layer: Loops, bits: OperandBits) -> dict[str, Any]:
    """Return a product, or a convolution, as plain data.

    Raises
    ------
    BitlatheError
        The layer is neither.
    """
    known = [list(dims[: len(dims) - i]) for dims in (PRODUCT, CONVOLUTION) for i in (0, 1)]
    if list(layer.sizes) not in known:
        raise BitlatheError(
            "certificates are for products, of dimensions m, n, k and b, and for convolutions; "
            f"this layer has {', '.join(layer.sizes)}: map the product that it is (--gemm)."
        )
    return {
        "sizes": dict(layer.sizes),
        "windows": [
            {
                "size": window.size,
                "stride": window.stride,
                "dilation": window.dilation,
                "padding": window.padding,
            }
            for window in layer.windows
        ],
        "bits": {operand: number(bits.of(operand)) for operand in OPERANDS},
        "code_bits": {operand: number(bits.code(operand)) for operand in OPERANDS},
        "partial_bits": number(bits.partial),
        "step_cycles": number(bits.step_cycles),
    }


def chip_data(chip: Hierarchy, dims: Iterable[str] = DIMS) -> dict[str, Any]:
    """Return a chip as plain data: of its axes the dimensions that layers have.

    Raises
    ------
    BitlatheError
        Of an axis without multicast, which certificates do not count.
    """
    alone = [axis.name for axis in chip.axes if not axis.multicast]
    if alone:
        raise BitlatheError(
            f"{alone[0]}.multicast is false, which certificates do not count; set it to true."
        )
    axes, some = [axis.name for axis in chip.axes], set(dims)
    return {
        "memories": [_memory_data(memory, axes) for memory in chip.memories],
        "axes": [
            {
                "name": axis.name,
                "size": axis.size,
                "dims": [dim for dim in DIMS if dim in dims_of(axis.dims) and dim in some],
            }
            for axis in chip.axes
        ],
        "units": ordered(chip.units, axes),
        "unit_pj": number(chip.unit_pj),
        "table_cycles": chip.table_cycles,
        "table_units": ordered(chip.table_units, axes) if chip.table_pj else [],
        "table_pj": number(chip.table_pj),
        "static_pj": number(chip.static_pj),
        "fill_cycles": chip.fill_cycles,
    }


def ordered(names: Iterable[str], known: Iterable[str] = OPERANDS) -> list[str]:
    """Return names in the order of those that are known."""
    some = set(names)
    return [name for name in known if name in some]


def _memory_data(memory: Memory, axes: list[str]) -> dict[str, Any]:
    return {
        "name": memory.name,
        "holds": ordered(memory.holds),
        "size_bits": memory.size_bits,
        "words": memory.words,
        "ports": [
            {
                "direction": port.direction,
                "width_bits": number(port.width_bits),
                "read_pj": number(port.read_pj),
                "write_pj": number(port.write_pj),
                "operands": ordered(port.operands),
                "burst_bits": port.burst_bits,
            }
            for port in memory.ports
        ],
        "per": ordered(memory.per, axes),
        "double_buffered": memory.double_buffered,
        "optional": ordered(memory.optional),
        "latency_cycles": memory.latency_cycles,
        "keep_halo": memory.keep_halo,
        "decode_pj": number(memory.decode_pj),
    }


def about_data(
    layer: Loops, bits: OperandBits, hierarchies: tuple[Hierarchy, ...]
) -> dict[str, Any]:
    """Return a layer, and the chip in all its dataflows with the layer's dimensions, as data."""
    return {
        "layer": layer_data(layer, bits),
        "chips": [chip_data(hierarchy, layer.sizes) for hierarchy in hierarchies],
    }


def mapping_data(mapping: Mapping) -> dict[str, Any]:
    """Return a mapping as plain data, operands of each level in their order."""
    data = mapping.to_dict()
    return data | {
        "levels": [
            {
                **level,
                "keeps": ordered(level["keeps"], OPERANDS),
                "doubled": ordered(level["doubled"], OPERANDS),
            }
            for level in data["levels"]
        ]
    }


def nest_of(mapping: Mapping) -> Nest:
    """Return a mapping as the checker has it."""
    nest: Nest = read(Nest, mapping_data(mapping), "mapping")
    return nest


def certificate(
    layer: Loops,
    bits: OperandBits,
    hierarchies: tuple[Hierarchy, ...],
    mapping: Mapping,
    hierarchy: Hierarchy,
    *,
    objective: Objective = "cycles",
    budget: int = BUDGET,
) -> dict[str, Any]:
    """Return the certificate of a mapping as plain data, to be written as JSON.

    Parameters
    ----------
    layer : Loops
        A product, or a convolution.
    bits : OperandBits
    hierarchies : tuple of Hierarchy
        The chip's memories, dataflow by dataflow.
    mapping : Mapping
        Legal on ``hierarchy``, one of them; it need not be the best.
    hierarchy : Hierarchy
    objective : {"cycles", "energy", "edp"}
        What is least.
    budget : int
        Parts of the space to bound at most (`prove.prove`).

    Raises
    ------
    BitlatheError
        The layer is neither.
    """
    about = about_data(layer, bits, hierarchies)
    of, chips = layer_of(about["layer"]), read(tuple[Chip, ...], about["chips"], "chips")
    at, nest = hierarchies.index(hierarchy), nest_of(mapping)
    found = cost(of, chips[at], nest)
    proof = prove(of, list(chips), objective, found.of(objective), budget=budget)
    return {
        "certificate": VERSION,
        "objective": objective,
        **about,
        "mapping": {"chip": at, **mapping_data(mapping)},
        **derived(of, chips, at, nest, found),
        "bound": str(proof.bound),
        "proof": proof.data,
    }
