"""Which formats a PE can take: weights through its decoder, activations as they are.

========== ================================================ ======================================
kind       weights                                          activations
========== ================================================ ======================================
bit_serial up to 8 bits, any grid (those that no short      the format of ``activation``
           sum of terms reaches are rounded to a fixed
           point of 8 bits, which must not make a zero that
           the grid lacks); integer scales up to
           ``scale_bits``; no pairs, no bit planes
int_mac    grids of integers that fit ``weight_bits``,      signed integers up to
           times a power of two                             ``activation_bits``
fp_mac     grids of values of the port ``weight``, times a  the format of ``activation``
           power of two; up to 8 bits rounded by the
           decoder where the port has 8 significant bits
lut        signed bit planes with power-of-two scales       fp16
           (bcq)
ant        grids of integers whose odd part fits            as int_mac
           ``weight_bits`` and whose products fit the sum
olive      outlier-victim pairs and plain integers up to    as int_mac
           ``weight_bits``
========== ================================================ ======================================

The MACs sit behind decoders of what they can multiply, outlier-victim pairs included. A code minus
its zero point is a signed integer of one bit more. Scales (other than the integer
scales of the bit-serial PE) are applied to sums and bind nothing here. An operand of stated bits
alone has no format to refuse.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..datatypes.formats import catalogue
from ..datatypes.formats.format import Format
from ..datatypes.schemes.scheme import Scheme
from ..datatypes.terms.table import term_table
from .pe import AntPE, BitSerialPE, FpMacPE, IntMacPE, LutPE, OlivePE, PEKind

BIT_SERIAL_BITS = 8
PAIR_BITS = 8  # outlier-victim pairs decode to integers up to 96
ROUNDING_PORTS = ("fp32", "fp16", "bf16")  # precise enough to round what a decoder looks up

Values = NDArray[np.float64]


def holds(pe: PEKind, weight_format: str | None, activation_format: str | None) -> bool:
    """Return whether a PE can take weights and activations of these schemes.

    Parameters
    ----------
    pe : PEKind
        A record of `PE_KINDS`.
    weight_format, activation_format : str or None
        Schemes (``"int4_asym@g128"``) or names of formats; None is not asked.

    Raises
    ------
    BitlatheError
        If a scheme is none.

    Examples
    --------
    >>> holds(IntMacPE(), "nf4", None), holds(IntMacPE(), "int4_asym", "int8")
    (False, True)
    """
    weights = weight_format is None or _takes_weight(pe, str(Scheme.parse(weight_format)))
    return weights and (
        activation_format is None or _takes_activation(pe, str(Scheme.parse(activation_format)))
    )


def refusal(pe: PEKind, kind: str, operand: str, scheme: str) -> str | None:
    """Return why a PE cannot take an operand (``weight`` or ``input``), or None if it can.

    The sentence lists the formats that it can take.
    """
    takes = _takes_weight if operand == "weight" else _takes_activation
    if takes(pe, scheme):
        return None
    role = "weights" if operand == "weight" else "activations"
    found = ", ".join(held_formats(pe, operand))
    return f"a PE of kind {kind} ({_widths(pe)}) cannot take {scheme!r} as {role}; it takes {found}"


@lru_cache(maxsize=64)
def held_formats(pe: PEKind, operand: str = "weight") -> tuple[str, ...]:
    """Return the names of the catalogue's formats that a PE can take as an operand."""
    takes = _takes_weight if operand == "weight" else _takes_activation
    return tuple(n for n in catalogue.names() if takes(pe, n))


def _widths(pe: PEKind) -> str:
    """Return the keys of a PE that decide what it takes."""
    if isinstance(pe, BitSerialPE):
        return f"activation {pe.activation}, scale_bits {pe.scale_bits}"
    if isinstance(pe, FpMacPE):
        return f"activation {pe.activation}, weight {pe.weight}"
    if isinstance(pe, LutPE):
        return "activation fp16"
    mac = pe if isinstance(pe, IntMacPE) else pe.mac
    return f"activation_bits {mac.activation_bits}, weight_bits {mac.weight_bits}"


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


@lru_cache(maxsize=4096)
def _takes_weight(pe: PEKind, text: str) -> bool:
    scheme = Scheme.parse(text)
    if isinstance(pe, LutPE):
        return scheme.coder == "bcq" and scheme.scale_format.kind == "planes"
    if scheme.coder == "bcq":
        return False
    pairs = scheme.coder == "olive"
    if isinstance(pe, BitSerialPE):
        scale = scheme.scale_bits if scheme.scale_format.kind == "int" else 0
        return not pairs and scale <= pe.scale_bits and all(map(has_terms, scheme.formats))
    if isinstance(pe, OlivePE) and pairs:
        return scheme.element_bits <= pe.mac.weight_bits
    return all(_multiplies(pe, v, bits, pairs) for v, bits in _grids(scheme))


def _multiplies(pe: PEKind, values: Values, bits: int, pairs: bool) -> bool:
    """Whether the multiplier of a bit-parallel PE takes one grid."""
    if isinstance(pe, FpMacPE):
        return _on_port(values, bits, pe.weight)
    if isinstance(pe, IntMacPE):
        return _scaled_to(values, _integers(pe.weight_bits))
    if isinstance(pe, AntPE):
        return not pairs and _shifted(values, pe.mac)
    assert isinstance(pe, OlivePE)
    return _whole(values) and bool(np.isin(values, _integers(pe.mac.weight_bits)).all())


@lru_cache(maxsize=4096)
def _takes_activation(pe: PEKind, text: str) -> bool:
    scheme = Scheme.parse(text)
    if scheme.coder != "table" or len(scheme.formats) != 1:
        return False
    (fmt,) = scheme.formats
    if isinstance(pe, BitSerialPE | FpMacPE | LutPE):
        port = "fp16" if isinstance(pe, LutPE) else pe.activation
        if not (isinstance(pe, BitSerialPE) and port == "int8"):
            return fmt.name == port
        bits = 8
    else:
        bits = (pe if isinstance(pe, IntMacPE) else pe.mac).activation_bits
    step = float(fmt.grid.values[1] - fmt.grid.values[0]) if fmt.grid.values.size > 1 else 1.0
    whole = fmt.grid.values / step
    return _whole(whole) and bool(np.isin(whole, _integers(bits)).all())


def _integers(bits: int) -> Values:
    """Return the integers of a two's complement width."""
    return np.arange(-(1 << (bits - 1)), 1 << (bits - 1), dtype=np.float64)


def _whole(values: Values) -> bool:
    """Whether values, ascending, are consecutive integers."""
    return bool((values == np.rint(values)).all() and (np.diff(values) == 1).all())


def _grids(scheme: Scheme) -> list[tuple[Values, int]]:
    """Return the values that reach a multiplier, and the bits of their codes, by member."""
    bits = scheme.element_bits
    if scheme.coder in ("asym", "dgq"):
        top = (1 << bits) - 1
        return [(np.arange(-top, top + 1, dtype=np.float64), bits)]
    if scheme.coder == "olive":
        return [(_integers(PAIR_BITS)[1:], PAIR_BITS)]
    return [(f.grid.values, f.bits) for f in scheme.formats]


def _scaled_to(values: Values, port: Values) -> bool:
    """Whether some power of two maps all values onto values of a port."""
    return any(bool(np.isin(np.ldexp(values, s), port).all()) for s in _shifts(values, port))


def _shifts(values: Values, port: Values) -> tuple[int, ...]:
    """Return the powers of two worth trying: none, and those that use the port's top."""
    largest = float(np.abs(values).max())
    top = int(np.frexp(np.abs(port).max())[1]) - int(np.frexp(largest)[1]) if largest else 0
    return 0, top, top - 1


def _on_port(values: Values, bits: int, port: str) -> bool:
    """Whether a floating-point MAC's weight port takes a grid."""
    if port == "fp32":  # no table of its values: all that is shipped lies in its range
        return True
    if port.startswith("int"):
        return _scaled_to(values, _integers(int(port[3:])))
    element = catalogue.element(port)
    assert isinstance(element, Format)
    if port not in ROUNDING_PORTS or bits > BIT_SERIAL_BITS:
        return _scaled_to(values, element.grid.values)
    sizes = np.abs(values[values != 0])
    shift = _shifts(values, element.grid.values)[2]
    return bool(np.ldexp(sizes.min(initial=1.0), shift) >= element.smallest_subnormal)


def _shifted(values: Values, mac: IntMacPE) -> bool:
    """Whether integers are a mantissa of the MAC's width, shifted; products fit its sum."""
    whole = [v.as_integer_ratio() for v in values.tolist() if v]
    unit = max((d for _, d in whole), default=1)
    integers = [abs(n) * (unit // d) for n, d in whole]
    odd = max((i // (i & -i) for i in integers), default=0)
    largest = max(integers, default=0)
    fits = mac.activation_bits + largest.bit_length() <= mac.accumulator_bits
    return odd < 1 << (mac.weight_bits - 1) and fits
