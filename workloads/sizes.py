"""Sizes of layers: whole numbers that 64-bit counters hold."""

from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.numbers import whole_number

COUNTER_LIMIT = 2**63  # counters are 64-bit signed integers in the kernels


def check_size(what: str, value: object, *, least: int = 1) -> int:
    """Return ``value`` if it is an integer from ``least`` up to the counter limit.

    Parameters
    ----------
    what : str
        How an error names the value, e.g. ``"context"``.
    value : object
        The value to check.
    least : int
        The smallest value allowed.

    Raises
    ------
    BitlatheError
        If the value is not an integer, or out of range.
    """
    number = whole_number(what, value, least)
    if number >= COUNTER_LIMIT:
        raise BitlatheError(f"{what} is {number}; it must be below 2^63, the range of a counter.")
    return number
