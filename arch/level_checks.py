"""What a chip's memories have to do with each other, with its array and with its PE."""

from collections.abc import Sequence

from ..datatypes.base.errors import unknown_name
from .hierarchy import OPERANDS
from .levels import COLUMNS, CORES, OF_PE, PE_WORDS, PER, ROWS, Level
from .parts import Array
from .pe_base import PEKind

AXES = (CORES, ROWS, COLUMNS)
LANES = "lanes"


def check_levels(levels: Sequence[Level], array: Array, dram: str, pe: PEKind) -> None:
    """Check the memories of a chip.

    Parameters
    ----------
    levels : sequence of Level
        Outermost first, the DRAM left out.
    array : Array
    dram : str
        Name of the DRAM.
    pe : PEKind

    Raises
    ------
    ValueError
        It names the entry and the key.
    """
    taken = [dram, *AXES, LANES]
    for level in levels:
        where = f"memories.{level.name}"
        if level.name in taken:
            raise ValueError(f"{where}: the name is taken; names of memories and axes must differ")
        taken.append(level.name)
        for axis in level.axes:
            if axis not in AXES:
                raise ValueError(f"{where}.per: {unknown_name('axis', axis, (*PER, *AXES))}")
        _check_words(level, pe, where)
    for flow in array.dataflows:
        for operand in OPERANDS:
            if not any(operand in level.holds for level in levels if level.used_in(flow)):
                raise ValueError(
                    f"memories: none on the chip holds {operand} in dataflow {flow!r}; add it to "
                    "the holds of one"
                )


def _check_words(level: Level, pe: PEKind, where: str) -> None:
    """Check the width of a memory's words, and that the PE's own registers are few."""
    sums = pe.partial_sum_bits
    if level.bits is not None and "output" in level.holds and level.bits < sums:
        raise ValueError(
            f"{where}.bits: words of {level.bits} bits, and unfinished sums of the PE have {sums}; "
            f"give at least {sums}"
        )
    if level.capacity_words == 0:
        raise ValueError(f"{where}: smaller than a word of {level.bits} bits; give more")
    if level.words is None and level.component == OF_PE:
        raise ValueError(f"{where}.component: {OF_PE!r} prices registers; give their size in words")
    most = PE_WORDS * pe.lanes * len(level.holds)
    if level.of_pe and (level.words or 0) > most:
        raise ValueError(
            f"{where}: {level.words} words are more than the registers of a PE ({most}); name a "
            "component (register_28nm), give costs of its own, or say unpriced: true"
        )
