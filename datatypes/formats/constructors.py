"""Formats made in one line: integers, floats, codebooks, magnitudes, a value added to another."""

from collections.abc import Iterable, Sequence

import numpy as np

from ..base.arrays import flat_numbers
from ..base.errors import BitlatheError, check_name
from ..base.numbers import whole_number
from .floats import SPECIALS, FloatLayout
from .format import Format
from .grid import MAX_BITS

# powers of two that float64 holds with room for products and sums
MAX_POWER = 500
MAX_EXPONENT_BITS = 9


def int_format(
    bits: int, signed: bool = True, full: bool = False, name: str = "", source: str = ""
) -> Format:
    """Make an integer format in two's complement (or unsigned).

    Parameters
    ----------
    bits : int
        2..16 signed, 1..16 unsigned.
    signed : bool
    full : bool
        Keep -2**(bits-1). By default the range is symmetric, +-(2**(bits-1) - 1), and that code
        is unused.
    name, source : str, optional

    Raises
    ------
    BitlatheError
        Raised if the width is out of range.

    Examples
    --------
    >>> int_format(3).values.tolist()
    [0.0, 1.0, 2.0, 3.0, nan, -3.0, -2.0, -1.0]
    """
    whole_number("int_format: bits", bits, 2 if signed else 1, MAX_BITS)
    codes = np.arange(1 << bits, dtype=np.float64)
    unused: tuple[int, ...] = ()
    if signed:
        codes[codes >= 1 << (bits - 1)] -= 1 << bits
        if not full:
            codes[1 << (bits - 1)] = np.nan
            unused = (1 << (bits - 1),)
    return Format(
        name=name or f"{'int' if signed else 'uint'}{bits}",
        bits=bits,
        values=codes,
        unused=unused,
        source=source,
    )


def float_format(
    e: int,
    m: int,
    bias: int | None = None,
    specials: str = "none",
    signed: bool = True,
    name: str = "",
    source: str = "",
) -> Format:
    """Make a binary floating-point format with subnormals.

    Value of code (s, E, M): ``(-1)**s * 2**(1 - bias) * M / 2**m`` for E = 0, else
    ``(-1)**s * 2**(E - bias) * (1 + M / 2**m)``.

    Parameters
    ----------
    e, m : int
        Exponent bits (1..9) and mantissa bits (>= 0).
    bias : int, optional
        ``2**(e-1) - 1``; one more for ``fnuz``.
    specials : str
        ``none``: every code is finite. ``ieee``: the top exponent holds infinities and NaN.
        ``fn``: only the code of all ones is NaN, no infinity. ``fnuz``: the code of -0 is NaN.
    signed : bool
    name, source : str

    Raises
    ------
    BitlatheError
        Raised if `specials` is unknown, a width or the bias is out of range, the format is wider
        than 16 bits, or ``fnuz`` is asked for without a sign.

    Examples
    --------
    >>> float_format(2, 1).values[:8].tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]
    """
    check_name("specials", specials, SPECIALS)
    whole_number("float_format: e", e, 1, MAX_EXPONENT_BITS)
    whole_number("float_format: m", m, 0, MAX_BITS)
    if specials == "fnuz" and not signed:
        raise BitlatheError("float_format: fnuz makes a NaN of -0, which an unsigned format lacks")
    bits = e + m + signed
    if bits > MAX_BITS:
        raise BitlatheError(f"float_format: e={e}, m={m} come to more than {MAX_BITS} bits")
    shift = (1 << (e - 1)) - 1 + (specials == "fnuz") if bias is None else bias
    whole_number("float_format: bias", shift, (1 << e) - MAX_POWER, MAX_POWER - m)
    layout = FloatLayout(
        exponent_bits=e, mantissa_bits=m, bias=shift, specials=specials, signed=bool(signed)
    )
    suffix = {"none": "", "ieee": "_ieee"}.get(specials, specials)
    return Format(
        name=name or f"fp{bits}_e{e}m{m}{suffix}",
        bits=bits,
        values=layout.values(),
        overflow_value=layout.overflow_value,
        source=source,
    )


def codebook(
    name: str,
    values: Iterable[float],
    bits: int | None = None,
    source: str = "",
    thresholds: Iterable[float] | None = None,
    per_byte: int = 0,
) -> Format:
    """Make a format from a list of values in code order; spare codes are left unused.

    Parameters
    ----------
    name : str
    values : iterable of float
        Finite; 1 to 2**bits of them.
    bits : int, optional
        Width of a code, 1..16; by default the fewest that the values need.
    source : str
    thresholds : iterable of float, optional
        Where rounding turns from a value to the next, in ascending order; see `Format`. By
        default half-way.
    per_byte : int
        Codes that share a byte, as digits of a number: 5 of three values. 0: none do.

    Raises
    ------
    BitlatheError
        Raised if there is no value, one is not a finite number, or they do not fit the width.

    Examples
    --------
    >>> codebook("ternary", [0, 1, -1]).bits
    2
    """
    given = flat_numbers(values, f"codebook {name!r}")
    if not given.size:
        raise BitlatheError(f"codebook {name!r}: give at least one value")
    if not np.isfinite(given).all():
        place = int(np.argmin(np.isfinite(given)))
        raise BitlatheError(f"codebook {name!r}: value {place} is {given[place]}, not a number")
    width = max(1, (given.size - 1).bit_length()) if bits is None else bits
    whole_number(f"codebook {name!r}: bits", width, 1, MAX_BITS)
    if given.size > 1 << width:
        raise BitlatheError(f"codebook {name!r}: {given.size} values do not fit {width} bits")
    table = np.full(1 << width, np.nan)
    table[: given.size] = given
    return Format(
        name=name,
        bits=width,
        values=table,
        unused=tuple(range(given.size, 1 << width)),
        source=source,
        thresholds=None if thresholds is None else flat_numbers(thresholds, "thresholds"),
        per_byte=per_byte,
    )


def sign_magnitude(name: str, magnitudes: Sequence[float], source: str = "") -> Format:
    """Make a signed format from magnitudes by code; the sign is the top bit, -0 stays -0.

    Raises
    ------
    BitlatheError
        Raised if the number of magnitudes is not a power of two.
    """
    values = flat_numbers(magnitudes, f"format {name!r}")
    bits = (values.size - 1).bit_length() + 1
    if values.size != 1 << (bits - 1):
        raise BitlatheError(f"format {name!r}: {values.size} magnitudes are not a power of two")
    return Format(name=name, bits=bits, values=np.concatenate([values, -values]), source=source)


def bidirectional_format(
    mantissa_bits: int, overlap_bits: int, name: str = "", source: str = ""
) -> Format:
    """Make the elements of bidirectional block floating point, BBFP(m, o).

    A sign, a flag and m bits k: k, or where the flag is set k * 2**(m - o), which reaches m - o
    binades further. Values that both have take the code without the flag.

    Parameters
    ----------
    mantissa_bits : int
        m, 2..8.
    overlap_bits : int
        o, 0..m - 1.
    name, source : str, optional

    Raises
    ------
    BitlatheError
        Raised if a width is out of range.

    Examples
    --------
    >>> bidirectional_format(2, 1).values[:8].tolist()
    [0.0, 1.0, 2.0, 3.0, 0.0, 2.0, 4.0, 6.0]
    """
    whole_number("bidirectional_format: mantissa_bits", mantissa_bits, 2, 8)
    whole_number("bidirectional_format: overlap_bits", overlap_bits, 0, mantissa_bits - 1)
    k = np.arange(1 << mantissa_bits, dtype=np.float64)
    magnitudes = np.concatenate([k, k * 2.0 ** (mantissa_bits - overlap_bits)])
    return sign_magnitude(
        name or f"bbfp{mantissa_bits}_{overlap_bits}", magnitudes.tolist(), source
    )


def with_special(fmt: Format, value: float, name: str = "") -> Format:
    """Add a value to a format in the code of -0, or else in its first unused code.

    Raises
    ------
    BitlatheError
        Raised if the value is not finite, or the format has no such code.

    Examples
    --------
    >>> with_special(float_format(2, 0), 6.0).values.tolist()
    [0.0, 1.0, 2.0, 4.0, 6.0, -1.0, -2.0, -4.0]
    """
    if not np.isfinite(flat_numbers([value], "with_special")).all():
        raise BitlatheError(f"with_special: {value} is not a finite value")
    code = fmt.negative_zero
    if code is None:
        if not fmt.unused:
            raise BitlatheError(
                f"with_special: format {fmt.name!r} has neither a -0 nor an unused code to spare"
            )
        code = fmt.unused[0]
    values = fmt.values.copy()
    values[code] = value
    return Format(
        name=name or f"{fmt.name}{value:+g}",
        bits=fmt.bits,
        values=values,
        unused=tuple(c for c in fmt.unused if c != code),
        source=fmt.source,
    )
