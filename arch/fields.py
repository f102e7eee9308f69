"""Types of the numbers in architecture files."""

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

# of memories on a chip, KB and MB are powers of two as in every data sheet of an SRAM
_SIZE_UNITS_KIB = {"B": 1 / 1024, "KiB": 1, "MiB": 1024, "GiB": 1024 * 1024, "KB": 1, "MB": 1024}


def _size_kib(value: Any) -> Any:
    """Read ``512``, ``"512 KiB"`` or ``"2 MiB"`` as KiB."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*([0-9.]+)\s*([A-Za-z]*)\s*", value)
    if not found or found[2] not in _SIZE_UNITS_KIB:
        raise ValueError(
            f"{value!r} is not a size: write a number of KiB, or e.g. '512 KiB', '2 MiB'"
        )
    return float(found[1]) * _SIZE_UNITS_KIB[found[2]]


def _gb_per_s(value: Any) -> Any:
    """Read ``25.6``, ``"25.6 GB/s"`` or ``"1 TB/s"`` as 10^9 bytes a second."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([GT])B/s\s*", value)
    if not found:
        raise ValueError(f"{value!r} is not a bandwidth: write a number of GB/s, or '25.6 GB/s'")
    return float(found[1]) * (1000 if found[2] == "T" else 1)


def _ghz(value: Any) -> Any:
    """Read ``0.25``, ``"250 MHz"`` or ``"1 GHz"`` as GHz."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]*)?)\s*([GM])Hz\s*", value, re.IGNORECASE)
    if not found:
        raise ValueError(f"{value!r} is not a clock: write a number of GHz, or '250 MHz'")
    return float(found[1]) / (1000 if found[2] in "Mm" else 1)


def _not_tiny(value: float) -> float:
    if value < 1e-18:
        raise ValueError(f"{value!r} is nearer to 0 than anything of a chip; at least 1e-18")
    return value


PositiveInt = Annotated[int, Field(gt=0, le=2**31)]
# no width, power or area of a chip in these units comes near the bounds; products stay finite
Positive = Annotated[float, Field(gt=0, le=1e18, allow_inf_nan=False), AfterValidator(_not_tiny)]
NonNegative = Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)]
SizeKiB = Annotated[float, Field(gt=0, le=2**40, allow_inf_nan=False), BeforeValidator(_size_kib)]
Clock = Annotated[Positive, BeforeValidator(_ghz)]
Rate = Annotated[Positive, BeforeValidator(_gb_per_s)]
"""A bandwidth in 10^9 bytes a second."""
