"""Families of formats by name, beside the catalogue: for scales, zero points and elements.

=============== ===================================================================
``ueXmY``       unsigned floats with zero and subnormals: X exponent and Y mantissa
                bits, bias ``2**(X - 1) - 1``, every code finite
``ueXmYfn``     the same, but the code of all ones is NaN
``eXm0``        powers of two without zero, X exponent bits, the same bias: ``e1m0``
                is 1, 2
``e0mY``        significands alone, ``1 + M / 2**Y``: ``e0m2`` is 1, 1.25, 1.5, 1.75
``e6m2``        HiF4's scale: all normal, from 2^-48 to 1.5 * 2^15, all ones are NaN
``intN_full``   two's complement with its most negative number
``sXpY``        a sign, X integer and Y fraction bits, 16 in all at most: ``s1p2`` is 0 to
                1.75 in quarters
``trit``        -1, 0, 1; the fourth code stands for nothing
``iq4_nl``      the 16 values of llama.cpp's IQ4_NL
``if4``         a mixture: E2M1, and INT4 (-7..7) times 6/7
``if4_7``       a mixture: E2M1 and INT4 (-7..7)
=============== ===================================================================
"""

import re
from functools import cache
from typing import Final

import numpy as np

from .catalogue import ENTRIES, element, single
from .constructors import codebook, float_format, int_format, sign_magnitude
from .format import Format, Mixture

HIF4: Final = "HiF4, arXiv 2602.11287"
IF4: Final = "IF4, arXiv 2603.28765"
IQ4_NL: Final = (-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113)
_FIXED = re.compile(r"s([1-4])p(\d|1[0-4])")
_UNSIGNED = re.compile(r"ue([1-8])m(\d)(fn)?")
_POWER = re.compile(r"e([1-7])m0")
_SIGNIFICAND = re.compile(r"e0m([1-8])")
_FULL = re.compile(r"int([2-9]|1[0-6])_full")
KNOWN: Final = ("ue4m3fn", "ue5m3", "e1m0", "e0m2", "e6m2", "int4_full")
_WIDEST = 16


@cache
def named(name: str) -> Format | None:
    """Return the single format of a name, of the catalogue or of a family; None if unknown.

    Examples
    --------
    >>> named("ue3m3fn").max, named("e1m0").values.tolist(), named("e0m1").values.tolist()
    (28.0, [1.0, 2.0], [1.0, 1.5])
    """
    if name in ENTRIES:
        made = element(name)
        return made if isinstance(made, Format) else None
    return of_family(name)


def named_element(name: str) -> Format | Mixture:
    """Return the format or mixture of a name, of the catalogue or of a family.

    Raises
    ------
    BitlatheError
        Raised if the name is unknown.
    """
    return of_family(name) or mixture_of_family(name) or element(name)


def of_family(name: str) -> Format | None:
    """Return the format of a family by its name; None if no family has it."""
    if found := _UNSIGNED.fullmatch(name):
        e, m = int(found[1]), int(found[2])
        specials = "fn" if found[3] else "none"
        fits = e + m <= _WIDEST
        return float_format(e, m, None, specials, signed=False, name=name) if fits else None
    if found := _POWER.fullmatch(name):
        x = int(found[1])
        return _normals(name, x, 0, (1 << (x - 1)) - 1)
    if found := _SIGNIFICAND.fullmatch(name):
        return _normals(name, 0, int(found[1]), 0)
    if name == "e6m2":
        return _normals(name, 6, 2, 48, last_is_nan=True, source=HIF4)
    return _integer_or_table(name)


def _integer_or_table(name: str) -> Format | None:
    if found := _FULL.fullmatch(name):
        return int_format(int(found[1]), full=True, name=name)
    if found := _FIXED.fullmatch(name):
        integer, fraction = int(found[1]), int(found[2])
        if 1 + integer + fraction > _WIDEST:
            return None
        return sign_magnitude(name, (np.arange(1 << (integer + fraction)) / 2.0**fraction).tolist())
    if name == "trit":
        return codebook(name, (-1, 0, 1))
    if name == "iq4_nl":
        return codebook(name, IQ4_NL, source="llama.cpp, ggml-common.h")
    return None


def mixture_of_family(name: str) -> Mixture | None:
    """Return the mixture of a family by its name; None if there is none."""
    if name not in ("if4", "if4_7"):
        return None
    top = 6 / 7 if name == "if4" else 1.0
    integers = int_format(4)
    second = Format(
        name=f"int4_{name}", bits=4, values=integers.values * top, unused=integers.unused
    )
    return Mixture(name=name, formats=(single("fp4_e2m1"), second), source=IF4)


def _normals(
    name: str, e: int, m: int, bias: int, last_is_nan: bool = False, source: str = ""
) -> Format:
    """Return unsigned floats without zero or subnormals: 2**(E - bias) * (1 + M / 2**m)."""
    codes = np.arange(1 << (e + m))
    powers = np.ldexp(1.0, (codes >> m) - bias)
    values = powers * (1 + (codes & ((1 << m) - 1)) / (1 << m))
    if last_is_nan:
        values[-1] = np.nan
    return Format(name=name, bits=e + m, values=values, source=source)
