"""Which grids of values a multiplier takes behind its decoder, scaled by a power of two."""

import numpy as np
from numpy.typing import NDArray

from ..datatypes.formats import catalogue
from ..datatypes.formats.format import Format
from ..datatypes.formats.grid import MAX_BITS
from ..datatypes.schemes.scheme import Scheme
from ..datatypes.terms.table import term_table

BIT_SERIAL_BITS = 8
PAIR_BITS = 8  # outlier-victim pairs decode to integers up to 96
ROUNDING_PORTS = ("fp32", "fp16", "bf16")  # precise enough to round what a decoder looks up

Values = NDArray[np.float64]


def has_terms(fmt: Format) -> bool:
    """Return whether a bit-serial PE can take a format's values as sums of terms.

    Grids that terms do not reach are rounded to a fixed point of 8 bits. Small values may become
    the format's zero; a format without one (E8M0, all powers of two) would lose them.

    Examples
    --------
    >>> from bitlathe.datatypes.formats.catalogue import element
    >>> has_terms(element("fp8_e5m2")), has_terms(element("e8m0")), has_terms(element("fp16"))
    (True, False, False)
    """
    if fmt.bits > BIT_SERIAL_BITS:
        return False
    if (fmt.grid.values == 0).any():
        return True
    table = term_table(fmt.values, fmt.bits)
    return bool((table.grid[table.valid] != 0).all())


def plain_format(scheme: Scheme) -> Format | None:
    """Return the one format of a scheme whose codes are a table's; None of any other."""
    return scheme.formats[0] if scheme.coder_facts.plain and len(scheme.formats) == 1 else None


def is_format(scheme: Scheme, name: str) -> bool:
    """Return whether a scheme's codes are those of one format of this name."""
    fmt = plain_format(scheme)
    return fmt is not None and fmt.name == name


def is_float_on(scheme: Scheme, port: str) -> bool:
    """Return whether a scheme's codes are narrower floats whose values a port of 8 bits has.

    Up to a power of two, which goes to the scale: FP4 of any exponent bits on a port of E4M3.
    Floats, of which integers are none, have a sign apart, and so a code for -0.
    """
    fmt, element = plain_format(scheme), catalogue.element(port)
    if fmt is None or fmt.negative_zero is None or not isinstance(element, Format):
        return False
    return fmt.bits < element.bits == 8 and scaled_to(fmt.grid.values, element.grid.values)


def is_integer(scheme: Scheme, bits: int) -> bool:
    """Return whether a scheme's values are consecutive integers of a width, times one step."""
    fmt = plain_format(scheme)
    return fmt is not None and steps_are_integers_of(fmt, bits)


def grids(scheme: Scheme) -> list[tuple[Values, int]]:
    """Return the values that reach a multiplier, and the bits of their codes, by member."""
    bits = scheme.element_bits
    if scheme.coder_facts.zero_point:
        top = (1 << bits) - 1
        return [(np.arange(-top, top + 1, dtype=np.float64), bits)]
    if scheme.coder_facts.pairs:
        return [(integers(PAIR_BITS)[1:], PAIR_BITS)]
    return [(_values(f), f.bits) for f in scheme.formats]


def _values(fmt: Format) -> Values:
    """Return a format's values; of fp32, which has no table, some that no narrower port holds."""
    if fmt.bits <= MAX_BITS:
        return fmt.grid.values
    return np.array([fmt.min, -fmt.smallest_subnormal, 0, 1, 1 + 2.0**-23, fmt.max])


def integers(bits: int) -> Values:
    """Return the integers of a two's complement width."""
    return np.arange(-(1 << (bits - 1)), 1 << (bits - 1), dtype=np.float64)


def are_integers_of(values: Values, bits: int) -> bool:
    """Return whether ascending values are consecutive integers of a two's complement width."""
    whole = (values == np.rint(values)).all() and (np.diff(values) == 1).all()
    return bool(whole and np.isin(values, integers(bits)).all())


def steps_are_integers_of(fmt: Format, bits: int) -> bool:
    """Return whether a format's values are consecutive integers of a width, times one step."""
    values = _values(fmt)
    step = float(values[1] - values[0]) if values.size > 1 else 1.0
    return are_integers_of(values / step, bits)


def least_integer_bits(values: Values, most: int) -> int:
    """Return the least bits of integers that values are, times a power of two; ``most`` at most.

    Examples
    --------
    >>> least_integer_bits(np.array([-6.0, -0.5, 0.0, 3.0]), 8)  # FP4 E2M1: -12 fits 5 bits
    5
    """
    return next((bits for bits in range(1, most) if scaled_to(values, integers(bits))), most)


def scaled_to(values: Values, port: Values) -> bool:
    """Return whether some power of two maps all values onto values of a port."""
    return any(bool(np.isin(np.ldexp(values, s), port).all()) for s in _shifts(values, port))


def _shifts(values: Values, port: Values) -> tuple[int, ...]:
    """Return the powers of two worth trying: none, and those that use the port's top."""
    largest = float(np.abs(values).max())
    top = int(np.frexp(np.abs(port).max())[1]) - int(np.frexp(largest)[1]) if largest else 0
    return 0, top, top - 1


def on_port(values: Values, bits: int, port: str) -> bool:
    """Return whether a floating-point MAC's weight port takes a grid of codes of some bits."""
    if port == "fp32":  # no table of its values
        with np.errstate(over="ignore"):
            single = values.astype(np.float32)
        if bits > BIT_SERIAL_BITS:
            return bool((single == values).all())
        return bool(np.isfinite(single).all() and ((single != 0) | (values == 0)).all())
    if port.startswith("int"):
        return scaled_to(values, integers(int(port[3:])))
    element = catalogue.element(port)
    assert isinstance(element, Format)
    if port not in ROUNDING_PORTS or bits > BIT_SERIAL_BITS:
        return scaled_to(values, element.grid.values)
    sizes = np.abs(values[values != 0])
    shift = _shifts(values, element.grid.values)[2]
    return bool(np.ldexp(sizes.min(initial=1.0), shift) >= element.smallest_subnormal)


def odd_and_largest(values: Values) -> tuple[int, int]:
    """Return the largest odd part, and the largest magnitude, of a grid in units of its step.

    Examples
    --------
    >>> odd_and_largest(np.array([-1.5, 0.25, 3.0]))
    (3, 12)
    """
    whole = [v.as_integer_ratio() for v in values.tolist() if v]
    unit = max((d for _, d in whole), default=1)
    scaled = [abs(n) * (unit // d) for n, d in whole]
    odd = max((i // (i & -i) for i in scaled), default=0)
    return odd, max(scaled, default=0)
