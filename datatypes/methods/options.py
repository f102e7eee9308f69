"""Checks that the options of methods share."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..base.errors import BitlatheError


def check_number(name: str, value: Any, low: float, high: float) -> None:
    """Refuse an option that is not a number from low to high.

    Parameters
    ----------
    name : str
    value : object
    low, high : float

    Raises
    ------
    BitlatheError
    """
    plain = isinstance(value, int | float | np.integer | np.floating)
    if not plain or isinstance(value, bool) or not low <= value <= high:
        raise BitlatheError(f"{name}: a number from {low:g} to {high:g} is needed, got {value!r}")


def check_share(name: str, value: Any) -> None:
    """Refuse an option that is not a number from 0 to 1.

    Raises
    ------
    BitlatheError
    """
    check_number(name, value, 0, 1)


def check_flag(name: str, value: Any) -> None:
    """Refuse an option that is neither True nor False.

    Raises
    ------
    BitlatheError
    """
    if not isinstance(value, bool):
        raise BitlatheError(f"{name}: True or False is needed, got {value!r}")


def check_shares(name: str, values: Any) -> None:
    """Refuse an option that is not a tuple of one or more numbers from 0 to 1.

    Raises
    ------
    BitlatheError
    """
    check_numbers(name, values, 0, 1)


def check_numbers(name: str, values: Any, low: float, high: float) -> None:
    """Refuse an option that is not a tuple of one or more numbers from low to high.

    Parameters
    ----------
    name : str
    values : object
    low, high : float

    Raises
    ------
    BitlatheError
    """
    if not isinstance(values, Sequence) or isinstance(values, str) or not values:
        raise BitlatheError(
            f"{name}: numbers from {low:g} to {high:g} are needed, such as ({high / 2:g},), "
            f"got {values!r}"
        )
    for value in values:
        check_number(name, value, low, high)
