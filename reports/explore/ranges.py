"""Ranges of a sweep file: the decimal numbers a person expects, both ends included."""

import math
from collections.abc import Iterator
from decimal import Context, Decimal, localcontext
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ...arch.fields import Clock, Rate, SizeKiB

MAX_AXIS = 1_000_000
SLACK = Decimal("1e-9")  # a factor that was rounded still reaches its end
_EXACT = Context(prec=400, Emax=999_999, Emin=-999_999)
_UNITS = {
    "size_kib": TypeAdapter[float](SizeKiB),
    "gb_per_s": TypeAdapter[float](Rate),
    "clock_ghz": TypeAdapter[float](Clock),
}

Number = int | float


def takes_unit(key: str) -> bool:
    """Whether a key of a chip may be written with a unit, as ``64 KiB`` or ``250 MHz``."""
    return key.rpartition(".")[2] in _UNITS


def in_unit(key: str, value: Any) -> Any:
    """Return ``"2 MiB"`` as 2048, ``"250 MHz"`` as 0.25; numbers, and other text, stay.

    Examples
    --------
    >>> in_unit("buffers.io.size_kib", "2 MiB"), in_unit("technology.clock_ghz", "250 MHz")
    (2048, 0.25)
    """
    if not isinstance(value, str):
        return value
    try:
        number = _UNITS[key.rpartition(".")[2]].validate_python(value)
    except ValidationError:
        return value
    return int(number) if number.is_integer() else number


def range_values(spec: dict[str, Any]) -> list[Number]:
    """Return the values of ``{from, to, step}`` or ``{from, to, factor}``, both ends included.

    Examples
    --------
    >>> range_values({"from": 0.1, "to": 0.4, "step": 0.1})
    [0.1, 0.2, 0.3, 0.4]
    """
    _check(spec)
    with localcontext(_EXACT):
        values = list(_stepped(spec) if "step" in spec else _scaled(spec))
    whole = all(isinstance(number, int) for key, number in spec.items() if key != "to")
    return [int(value) if whole else float(value) for value in values]


def _check(spec: dict[str, Any]) -> None:
    allowed = {"from", "to", "step", "factor"}
    if set(spec) - allowed or "from" not in spec or "to" not in spec:
        raise ValueError("a range is written {from: 64, to: 1024, factor: 2} or with step")
    if ("step" in spec) == ("factor" in spec):
        raise ValueError("a range takes either 'step' or 'factor'")
    for key, number in spec.items():
        if isinstance(number, bool) or not isinstance(number, int | float):
            raise ValueError(f"{key!r} of a range must be a number, not {number!r}")
        if not abs(number) < 1e300:
            raise ValueError(f"{key!r} of a range must be below 1e300")
    low, high = spec["from"], spec["to"]
    if low > high:
        raise ValueError(f"a range goes upwards: from {low} is above to {high}")
    for key in spec.keys() & {"step", "factor"}:
        if spec[key] <= (0 if key == "step" else 1):
            raise ValueError(f"{key} must be above {0 if key == 'step' else 1}, not {spec[key]}")
    if "factor" in spec and low <= 0:
        raise ValueError(f"a range with 'factor' needs from above 0, not {low}")


def _decimal(number: Number) -> Decimal:
    """Return the number as it was written."""
    return Decimal(number) if isinstance(number, int) else Decimal(repr(number))


def _count(count: Decimal) -> int:
    if count > MAX_AXIS:
        raise ValueError(f"a range of {float(count):.3g} values; at most {MAX_AXIS}")
    return math.floor(count)


def _stepped(spec: dict[str, Any]) -> Iterator[Decimal]:
    low, high, step = (_decimal(spec[key]) for key in ("from", "to", "step"))
    return (low + i * step for i in range(_count((high - low) / step + 1)))


def _scaled(spec: dict[str, Any]) -> Iterator[Decimal]:
    low, high, factor = (_decimal(spec[key]) for key in ("from", "to", "factor"))
    _count((high / low).ln() / factor.ln())
    limit = high if isinstance(spec["to"], int) else high * (1 + SLACK)
    value = low
    while value <= limit:
        yield value
        value *= factor
