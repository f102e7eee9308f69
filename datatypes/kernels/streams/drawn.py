"""Codes of arrays by bisection: of any thresholds, and of numbers that were drawn."""

from typing import Any

import numpy as np

from ...base.compiled import compiled


@compiled(nogil=True)
def draw(y: Any, draws: Any, out: Any, values: Any, codes: Any, minus: int) -> None:
    """Write the code of the value above with the probability of the way that y has gone to it.

    Parameters
    ----------
    y : (n,) float32 or float64
        Finite.
    draws : (n,) float64
        In [0, 1).
    out : (n,) unsigned integers
    values, codes : (m,)
        Of a grid, ascending.
    minus : int
        Code of -0; -1 where there is none.
    """
    last = values.size - 1
    for i in range(y.size):
        wide = np.float64(y[i])
        low, high = 0, last
        # the largest value that is at most y, or the first
        while low < high:
            middle = (low + high + 1) >> 1
            if values[middle] <= wide:
                low = middle
            else:
                high = middle - 1
        if low < last and wide > values[low]:
            share = (wide - values[low]) / (values[low + 1] - values[low])
            low += int(draws[i] < share)
        out[i] = codes[low]
        if minus >= 0 and values[low] == 0 and np.signbit(wide):
            out[i] = minus


@compiled(nogil=True)
def part(y: Any, out: Any, cuts: Any, tie_up: Any, values: Any, codes: Any, minus: int) -> None:
    """Write the code of the value whose thresholds lie around y.

    Parameters
    ----------
    y : (n,) float32 or float64
        Finite.
    out : (n,) unsigned integers
    cuts : (m - 1,) float64
        Ascending.
    tie_up : (m - 1,) bool
        Whether a y on a threshold goes to the upper value.
    values, codes : (m,)
        Of a grid, ascending.
    minus : int
        Code of -0; -1 where there is none.
    """
    for i in range(y.size):
        wide = np.float64(y[i])
        low, high = 0, cuts.size
        # thresholds that y has passed
        while low < high:
            middle = (low + high) >> 1
            if cuts[middle] < wide or (cuts[middle] == wide and tie_up[middle]):
                low = middle + 1
            else:
                high = middle
        out[i] = codes[low]
        if minus >= 0 and values[low] == 0 and np.signbit(wide):
            out[i] = minus
