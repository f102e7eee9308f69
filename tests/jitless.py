"""Let kernels run as plain Python under ``NUMBA_DISABLE_JIT=1``: ``pytest -p jitless``.

Kernels are built on some intrinsics that exist for the compiler only; here each has a slow twin.
Arrays are indexed by numpy then, which refuses what lies beyond their ends.
"""

import os
import warnings
from collections.abc import Callable
from typing import Any

import numba.extending
import numpy as np
import pytest


def lookup(y: Any, cuts: Any, values: Any) -> Any:
    """``values[number of cuts below y]``."""
    return values[sum(1 for cut in cuts if y > cut)]


def label_above(place: Any, cuts: Any, labels: Any) -> Any:
    """``labels[number of cuts below place]``, or that number where there are no labels."""
    below = sum(1 for cut in cuts if place > cut)
    return np.int32(labels[below] if len(labels) else below)


def round_half(x: Any) -> Any:
    """A float32 rounded to float16."""
    return np.float32(np.float16(x))


def float_bits(x: Any) -> Any:
    """The bits of a float32."""
    return np.float32(x).view(np.uint32)


def bits_float(bits: Any) -> Any:
    """The float32 of some bits."""
    return np.uint32(bits).view(np.float32)


def add_loosely(total: Any, term: Any) -> Any:
    """A sum, in the type of its first term."""
    return type(total)(total + type(total)(term))


def nearer_square(square: Any, x: Any, s: Any, values: Any) -> Any:
    """The least of a squared distance and those of x from each of ``values`` times s."""
    s, x, least = np.float32(s), np.float32(x), np.float32(square)
    for value in values:
        distance = np.float32(np.float32(value) * s) - x
        least = min(least, np.float32(distance * distance))
    return least


def half_multiples(values: Any, factor: Any) -> Any:
    """Values times a factor, each rounded to float16."""
    return tuple(round_half(np.float32(value) * np.float32(factor)) for value in values)


TWINS = {
    twin.__name__: twin
    for twin in (
        lookup, label_above, round_half, float_bits, bits_float, add_loosely, nearer_square,
        half_multiples,
    )
}  # fmt: skip
_intrinsic = numba.extending.intrinsic


def twin_of(*functions: Callable[..., Any], **options: Any) -> Any:
    """Stand in for ``numba.extending.intrinsic``: the twin of a function, found by its name."""
    name = functions[0].__name__.lstrip("_") if functions else ""
    return TWINS[name] if name in TWINS else _intrinsic(*functions, **options)


if os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0"):
    warnings.warn("jitless does nothing without NUMBA_DISABLE_JIT=1", stacklevel=1)
else:
    numba.extending.intrinsic = twin_of


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    """Skip, and say so, what stops at a function that numba builds for the types it meets."""
    outcome = yield
    report = outcome.get_result()
    found = call.excinfo
    if found and found.errisinstance(NotImplementedError) and "compiled only" in str(found.value):
        path, line, _ = item.location
        report.outcome = "skipped"
        report.longrepr = (path, line or 0, f"compiled only: {found.traceback[-1].name}")
