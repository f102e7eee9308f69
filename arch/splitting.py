"""Arrays whose multipliers split for narrow operands: how large they are for a kind of layer.

A multiplier of W x A bits makes ``w x a`` products of narrower operands (`pe.IntMacPE.split_for`).
Where these add up (BitFusion, ISCA 2018) the PE has so many times the lanes. Where the parts are
PEs of their own (ANT, MICRO 2022: four PEs of 4 bits gang for 8) the side of the array that takes
in weights is ``w`` times as long, the other side ``a`` times.
"""

from __future__ import annotations

from .formats import LayerFormats
from .parts import Array
from .pe_base import PEKind, Split

WHOLE: Split = (1, 1)


def sides(pe: PEKind, array: Array, split: Split) -> tuple[int, int, int]:
    """Return the lanes, rows and columns of an array whose multipliers are split.

    Parameters
    ----------
    pe : PEKind
    array : Array
        As it is where no multiplier is split.
    split : (int, int)
        Multipliers in place of one, along weights and along activations.

    Examples
    --------
    >>> from .pe import IntMacPE
    >>> ant = IntMacPE(split_bits=4, split_over="axes")
    >>> sides(ant, Array(kind="systolic", rows=32, columns=32), (2, 1))  # 4-bit weights, columns
    (1, 32, 64)
    >>> sides(IntMacPE(split_bits=2), Array(kind="systolic", rows=16, columns=32), (2, 4))
    (8, 16, 32)
    """
    weights, inputs = split
    if pe.split_over == "lanes":
        return pe.lanes * weights * inputs, array.rows, array.columns
    along = (inputs, weights) if array.flow.weights_on_columns else (weights, inputs)
    return pe.lanes, array.rows * along[0], array.columns * along[1]


def split_array(pe: PEKind, array: Array, formats: LayerFormats) -> tuple[int, Array]:
    """Return the lanes of a PE, and the array, as they are for a kind of layer."""
    split = pe.split(formats.weight, formats.input)
    if split == WHOLE:
        return pe.lanes, array
    lanes, rows, columns = sides(pe, array, split)
    return lanes, array.model_copy(update={"rows": rows, "columns": columns})


def check_one_side(pe: PEKind, array: Array) -> None:
    """Check that weights lie along one side of the array in all of its dataflows.

    Raises
    ------
    ValueError
        They do not, and parts of multipliers lengthen that side.
    """
    turned = {array.flow_of(flow).weights_on_columns for flow in array.dataflows}
    if pe.split_over == "axes" and len(turned) > 1:
        raise ValueError(
            "pe.split_over: 'axes' lengthens the side of the array that takes in weights, and "
            f"dataflows {', '.join(array.dataflows)} differ in it; give os and ws, or is alone"
        )
