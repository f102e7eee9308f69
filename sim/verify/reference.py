"""The arithmetic of PEs once more, in fractions: what the compiled kernels are compared with.

Slow and short: each rule is applied to exact numbers, where kernels keep fields, shifts and sticky
bits. Only the terms of a weight are those of its decoder.
"""

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from ...arch.pe import AntPE, BitSerialPE, FpMacPE, IntMacPE, LutPE, OlivePE
from ..pe.bit_serial import kernel_parameters
from ..pe.mac import FLOAT_FORMATS
from ..pe.operands import activation_kind
from ..pe.weights import WeightDecoder, weight_decoder

Number = Fraction | float
"""A fraction, or a float that is infinite or NaN."""


def _places(value: Fraction) -> int:
    """Return the bits of a magnitude before the binary point, negative below 1/2."""
    value = abs(value)
    if not value:
        return -(1 << 30)
    places = value.numerator.bit_length() - value.denominator.bit_length()
    return places + 1 if value >= Fraction(2) ** places else places


def _whole(value: Fraction, nearest: bool) -> int:
    return round(value) if nearest else math.floor(value)


class _Accumulator:
    """Mantissa and exponent of a bit-serial PE, clock after clock."""

    def __init__(self, pe: BitSerialPE, exponent_bits: int) -> None:
        self.rules, self.top = pe.numerics, (1 << exponent_bits) - 1
        self.man, self.exp = 0, 0

    def clock(self, lanes: Sequence[tuple[int, int, int]], bsig: int) -> None:
        """Take (v, significand, -1, 0 or 1) of each lane."""
        rules = self.rules
        counted = [v for v, _, man in lanes if man or not rules.gate_zero_terms]
        if not counted:
            return
        reference = max(counted)
        if rules.reference == "lanes_and_accumulator":
            reference = max(reference, self.exp)
        incoming = 0
        for v, significand, man in lanes:
            product = significand * man
            scaled = Fraction(abs(product) << rules.guard_bits) * Fraction(2) ** (v - reference)
            incoming += math.floor(scaled) * (1 if product > 0 else -1)
        self._add(incoming << bsig, reference)

    def _add(self, incoming: int, reference: int) -> None:
        rules, top = self.rules, max(reference, self.exp)
        limit = rules.accumulator_bits - 1
        old = Fraction(self.man) * Fraction(2) ** (self.exp - top)
        new = Fraction(incoming) * Fraction(2) ** (reference - top)
        if rules.alignment == "floor":
            old = Fraction(0 if top - self.exp >= limit else math.floor(old))
            new = Fraction(math.floor(new))
        total = old + new
        if rules.sum_bits is not None:
            half = 1 << (rules.sum_bits - 1)
            if rules.overflow == "saturate":
                total = min(max(total, Fraction(-half)), Fraction(half - 1))
            else:
                total = (total + half) % (2 * half) - half
        raised = max(0, _places(total) - limit)
        man = _whole(total / 2**raised, rules.rounding == "nearest_even")
        if man == 1 << limit:
            man, raised = man // 2, raised + 1
        exp = top + raised
        if exp > self.top:
            if rules.overflow == "saturate":
                exp, man = self.top, ((1 << limit) - 1) * (1 if man > 0 else -1)
            else:
                exp %= self.top + 1
        self.man, self.exp = man, exp


def _split(value: float, pe: BitSerialPE) -> tuple[int, int]:
    """Return exponent field and signed significand of an activation."""
    kind = activation_kind(pe.activation)
    if not kind.exponent_bits:
        return 0, int(value)
    field = max(_places(Fraction(value)) - 1 + kind.bias, 1)
    return field, int(Fraction(value) * Fraction(2) ** (kind.offset - field))


def _bit_serial(
    pe: BitSerialPE, decoder: WeightDecoder, acts: Sequence[float], weights: Sequence[int]
) -> tuple[int, int]:
    kind = activation_kind(pe.activation)
    exponent_bits = kernel_parameters(pe.numerics, kind, pe.lanes, 6)[7]
    sums = _Accumulator(pe, exponent_bits)
    for first in range(0, len(acts), pe.lanes):
        part = range(first, min(first + pe.lanes, len(acts)))
        for term, bsig in enumerate(decoder.schedule.bsig):
            lanes = []
            for i in part:
                field, significand = _split(acts[i], pe)
                row = weights[i] - decoder.low
                man = int(decoder.man[row, term])
                lanes.append((field + int(decoder.exp[row, term]), significand, man))
            if pe.skip_zero_terms and not any(man for _, _, man in lanes):
                continue
            sums.clock(lanes, bsig)
    return sums.man, sums.exp


def _fit(total: int, pe: IntMacPE) -> int:
    half = 1 << (pe.accumulator_bits - 1)
    if pe.overflow == "saturate":
        return min(max(total, -half), half - 1)
    return (total + half) % (2 * half) - half


def _integers(pe: IntMacPE, acts: Sequence[int], weights: Sequence[int]) -> int:
    total = 0
    for first in range(0, len(acts), pe.lanes):
        part = range(first, min(first + pe.lanes, len(acts)))
        total = _fit(total + sum(acts[i] * weights[i] for i in part), pe)
    return total


def rounded(value: Number, name: str, overflow: str = "inf") -> Number:
    """Return a number rounded to nearest even in a format."""
    if isinstance(value, float):
        return value
    bits, lowest, largest = FLOAT_FORMATS[name]
    place = Fraction(2) ** max(_places(value) - bits, lowest)
    near = round(value / place) * place
    if abs(near) > Fraction(largest):
        bound = Fraction(largest) if overflow == "saturate" else math.inf
        return bound if near > 0 else -bound
    return near


def _plus(left: Number, right: Number, name: str, overflow: str = "inf") -> Number:
    if isinstance(left, float) or isinstance(right, float):
        both = [float(x) if isinstance(x, float) else 0.0 for x in (left, right)]
        return both[0] + both[1]
    return rounded(left + right, name, overflow)


def _tree(parts: list[Number], name: str, overflow: str = "inf") -> Number:
    while len(parts) > 1:
        pairs = range(0, len(parts) - 1, 2)
        rest = parts[len(parts) // 2 * 2 :]
        parts = [_plus(parts[i], parts[i + 1], name, overflow) for i in pairs] + rest
    return parts[0]


def _floats(pe: FpMacPE, acts: Sequence[float], weights: Sequence[float]) -> Number:
    total: Number = Fraction(0)
    for first in range(0, len(acts), pe.lanes):
        parts: list[Number] = [Fraction(0)] * pe.lanes
        for i in range(first, min(first + pe.lanes, len(acts))):
            product: Number = Fraction(acts[i]) * Fraction(weights[i])
            if pe.product is not None:
                product = rounded(product, pe.product, pe.overflow)
            parts[i - first] = product
        clock = _tree(parts, pe.accumulator, pe.overflow)
        total = _plus(total, clock, pe.accumulator, pe.overflow)
    return total


def _lookups(
    pe: LutPE, acts: Sequence[float], planes: Sequence[Sequence[int]], scales: Sequence[int]
) -> Number:
    total: Number = Fraction(0)
    padded = [*acts, *[0.0] * (-len(acts) % pe.inputs)]
    for codes, scale in zip(planes, scales, strict=True):
        partial: Number = Fraction(0)
        for chunk, code in enumerate(codes):
            run = padded[chunk * pe.inputs : (chunk + 1) * pe.inputs]
            signed = [Fraction(a) if code >> i & 1 else -Fraction(a) for i, a in enumerate(run)]
            partial = _plus(partial, _tree(list(signed), pe.table), pe.accumulator)
        moved = partial if isinstance(partial, float) else partial * Fraction(2) ** scale
        total = _plus(total, moved, pe.accumulator)
    return total


def _pairs(codes: Sequence[int]) -> list[int]:
    """Return the integers of outlier-victim pairs of 4-bit codes."""
    plain = [code - 16 if code > 7 else code for code in codes]
    for i in range(0, len(codes) - 1, 2):
        for victim, outlier in ((i, i + 1), (i + 1, i)):
            if codes[victim] == 8:
                code = codes[outlier]
                size = (2 + code % 2) * 2 ** (code // 2 % 4 + 2)
                plain[victim], plain[outlier] = 0, -size if code > 7 else size
    return plain


def _rows(run: Callable[..., Any], *operands: npt.NDArray[Any]) -> list[Any]:
    return [run(*(each.tolist() for each in row)) for row in zip(*operands, strict=True)]


def _numbers(found: list[Number]) -> tuple[npt.NDArray[Any], ...]:
    return (np.array([float(each) for each in found]),)


def reference(pe: Any, weight: str, operands: Sequence[Any]) -> tuple[npt.NDArray[Any], ...]:
    """Return the results of dot products in exact arithmetic.

    Parameters
    ----------
    pe : PEKind
    weight : str
        Weight format of a bit-serial PE.
    operands : sequence of ndarray
        As `dots.DOTS` makes them: (n, K) activations and (n, K) weights; for tables (M, K)
        activations, (N, Q, chunks) planes and (N, Q) exponents.

    Returns
    -------
    tuple of (n,) ndarray
        Mantissas and exponents, or sums.
    """
    if isinstance(pe, BitSerialPE):
        decoder = weight_decoder(weight)
        both = _rows(lambda a, w: _bit_serial(pe, decoder, a, w), *operands)
        return tuple(np.array(each, np.int64) for each in zip(*both, strict=True))
    if isinstance(pe, LutPE):
        acts, planes, scales = (each.tolist() for each in operands)
        pairs = [[_lookups(pe, a, *row) for row in zip(planes, scales, strict=True)] for a in acts]
        return _numbers([each for row in pairs for each in row])
    if isinstance(pe, FpMacPE):
        return _numbers(_rows(lambda a, w: _floats(pe, a, w), *operands))
    acts, weights = operands
    if isinstance(pe, OlivePE):
        weights = np.array([_pairs(row) for row in weights.tolist()])
    if isinstance(pe, AntPE):
        from ...datatypes.formats import catalogue

        values: Any = getattr(catalogue.element(pe.format), "values")  # noqa: B009  (one format)
        weights = np.asarray(values)[weights].astype(np.int64)
    return (np.array(_rows(lambda a, w: _integers(pe.mac, a, w), acts, weights), np.int64),)
