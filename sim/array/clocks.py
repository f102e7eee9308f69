"""What the clock-by-clock arrays share: blocks of events, and the loop over the clocks."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...datatypes.base.errors import BitlatheError

EventSink = Callable[[NDArray[np.int64]], None]
"""Takes rows of (clock, kind, row, column, first index, second index); must not keep them."""

EVENT_ROWS = 1 << 16
DETAILS = {"none": 0, "edges": 1, "pes": 2}


def detail_level(detail: str, sink: EventSink | None) -> int:
    """Return the number of a level of detail; 0 where nobody takes the events.

    Raises
    ------
    BitlatheError
        An unknown level.
    """
    if detail not in DETAILS:
        raise BitlatheError(f"detail must be 'none', 'edges' or 'pes', not {detail!r}")
    return DETAILS[detail] if sink is not None else 0


def run_clocks(
    advance: Callable[[NDArray[np.int64]], int],
    control: NDArray[np.int64],
    done: int,
    per_clock: int,
    sink: EventSink | None,
) -> None:
    """Advance an array until it is done, handing each block of events to ``sink``.

    Parameters
    ----------
    advance : callable
        Runs clocks until done or the events may not fit; writes rows of an (E, 6) array of int64
        and returns how many.
    control : (slots,) ndarray of int64
        The array's control vector.
    done : int
        Slot that is set when the array is done.
    per_clock : int
        Most events of one clock: the rows that must be free before the array goes on.
    sink : callable, optional
        Gets the (events, 6) rows of int64.
    """
    rows = per_clock if sink is None else EVENT_ROWS + per_clock
    events = np.empty((rows, 6), np.int64)
    while not control[done]:
        count = advance(events)
        if sink is not None and count:
            sink(events[:count])
