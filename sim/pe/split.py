"""Multipliers that split for narrow operands, from the small multipliers they are made of.

A multiplier of W x A bits is an array of small ones of s x s bits (``split_bits``). An operand is
cut into digits of s bits, the lowest first, all but the highest unsigned; a product is the sum of
the products of digits, each shifted by the digits below (BitFusion, ISCA 2018). Narrow
operands have few digits, and the small multipliers that they leave work on other products.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ...arch.pe import IntMacPE
from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.numbers import ceil_div, whole_number
from . import mac_kernels
from .mac import integer_values
from .operands import matrix, pair_rows

Int64Array = npt.NDArray[np.int64]


def digits(
    values: npt.ArrayLike, bits: int, split_bits: int, argument: str = "values"
) -> Int64Array:
    """Cut integers into digits of ``split_bits`` bits.

    Parameters
    ----------
    values : (...) array_like of int
        Signed integers of so many bits.
    bits : int
        Their width, the sign included.
    split_bits : int
        Width of a digit.
    argument : str
        Name used in errors.

    Returns
    -------
    (..., ceil(bits / split_bits)) ndarray of int64
        Lowest digit first. All but the last are unsigned, the last is signed.

    Raises
    ------
    BitlatheError
        If a value does not fit the width.

    Examples
    --------
    >>> digits([-3, 5], 4, 2).tolist()  # -3 = 1 + 4 * -1, 5 = 1 + 4 * 1
    [[1, -1], [1, 1]]
    """
    array = integer_values(values, bits, argument)
    count = ceil_div(bits, split_bits)
    low = [(array >> (split_bits * i)) & ((1 << split_bits) - 1) for i in range(count - 1)]
    return np.stack([*low, array >> (split_bits * (count - 1))], axis=-1)


def split_mac_dot(
    activations: npt.ArrayLike,
    weights: npt.ArrayLike,
    activation_bits: int,
    weight_bits: int,
    pe: IntMacPE,
) -> Any:
    """Sum products of narrow operands on a PE whose multipliers split for them.

    Where the parts of a multiplier add up (``split_over: lanes``) the accumulator takes the sum of
    all parts of all lanes once a clock; where they are PEs of their own each has its own sum, of
    the lanes of one PE.

    Parameters
    ----------
    activations, weights : (..., K) array_like of int
        Signed integers; leading axes broadcast.
    activation_bits, weight_bits : int
        Their widths, those of the PE's ports at most.
    pe : IntMacPE
        A PE with ``split_bits``.

    Returns
    -------
    ndarray of int64, or a scalar

    Raises
    ------
    BitlatheError
        If the PE does not split, a width is not one of its ports', or a value does not fit.

    Examples
    --------
    >>> int(split_mac_dot([1, -2], [7, 3], 4, 4, IntMacPE(split_bits=4)))
    1
    """
    least = pe.split_bits
    if least is None:
        raise BitlatheError("pe: split_bits is missing; give the bits of its small multipliers")
    whole_number("activation_bits", activation_bits, 1, pe.activation_bits)
    whole_number("weight_bits", weight_bits, 1, pe.weight_bits)
    acts = digits(activations, activation_bits, least, "activations")
    wts = digits(weights, weight_bits, least, "weights")
    lead, *_ = pair_rows(acts.shape[:-1], wts.shape[:-1])
    shifts = least * np.add.outer(np.arange(acts.shape[-1]), np.arange(wts.shape[-1]))
    parts = (acts[..., :, None] * wts[..., None, :]) << shifts
    products = matrix(parts.sum(axis=(-2, -1), dtype=np.int64))
    weight_parts, activation_parts = pe.split_for(weight_bits, activation_bits)
    together = weight_parts * activation_parts if pe.split_over == "lanes" else 1
    out = np.zeros(len(products), dtype=np.int64)
    each_row = np.arange(len(products))
    mac_kernels.int_dots(
        products,
        np.ones_like(products),
        each_row,
        each_row,
        pe.lanes * together,
        pe.accumulator_bits,
        pe.overflow == "saturate",
        out,
    )
    return out.reshape(lead)[()]
