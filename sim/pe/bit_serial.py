"""The bit-serial PE: terms of the weight times floating-point activations, bit for bit.

One chunk of ``lanes`` weights takes one clock per term of the weight format. Each clock matches the
exponents of its lanes, aligns and adds their significands, shifts the sum by the clock's
significance and adds it to an accumulator that normalizes to 15 bits. What is rounded, wrapped or
lost on the way is said by a `PENumerics`. Source: BitMoD (arXiv 2411.11745), section IV, and the
widths of its authors' register-transfer code; choices where they leave room are in docs/pe.md.
"""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...arch.numerics import PENumerics, numerics_of
from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.numbers import whole_number
from ...datatypes.terms.table import TermTable
from ...datatypes.terms.term import MAX_EXP
from .operands import (
    ActivationKind,
    activation_kind,
    as_array,
    lies_there,
    matrix,
    on_cuda,
    pair_rows,
    split_activations,
)
from .weights import WeightDecoder, weight_decoder

if TYPE_CHECKING:
    from ...datatypes.formats.format import Format, Mixture

MAX_LANES = 16
MAX_SHIFT = 24  # largest significance, see `datatypes.terms.table.term_table`
ABSENT = -1024  # exponent of a gated term: below 0 whatever the activation's field (BF16: 254)


class BitSerialResult(NamedTuple):
    """Accumulator after a dot product, its value, and the clocks it took.

    Each is an array of the leading shape, or a scalar for one dot product.
    ``value = mantissa * 2**(exponent - 25 - guard_bits)`` for FP16 activations, in units of the
    weight's grid.
    """

    mantissa: Any
    exponent: Any
    value: Any
    cycles: Any


class Operands(NamedTuple):
    """Operands of many dot products, flattened to rows, ready for a kernel."""

    lead: tuple[int, ...]
    exponent: Any  # of int32, (rows, K); these three on the GPU where the operand lies there
    significand: Any
    weight: Any
    row: npt.NDArray[np.int64]
    column: npt.NDArray[np.int64]


def kernel_parameters(
    numerics: PENumerics, kind: ActivationKind, lanes: int, max_bsig: int
) -> tuple[int, ...]:
    """Return the numerics as the integers that `bit_serial_kernels.accumulate` takes.

    Parameters
    ----------
    numerics : PENumerics
        Not exact.
    kind : ActivationKind
    lanes : int
        Weights that a clock adds.
    max_bsig : int
        Largest significance that a lane sum is shifted by.

    Raises
    ------
    BitlatheError
        If the widths together exceed the 62 bits of the simulator's own arithmetic, or the
        accumulator's exponent is too narrow for the activations.
    """
    guard = numerics.guard_bits
    incoming = kind.significand_bits + guard + (lanes - 1).bit_length() + max_bsig
    reach = incoming + 2
    if numerics.accumulator_bits + reach + 2 > 62:
        raise BitlatheError(
            f"an accumulator of {numerics.accumulator_bits} bits beside lane sums of {incoming} "
            "bits needs more than the simulator's 62; lower accumulator_bits or guard_bits"
        )
    exponent_bits = numerics.exponent_bits or max(6, kind.exponent_bits + 1)
    if kind.largest_exponent + MAX_EXP >= 1 << exponent_bits:
        raise BitlatheError(
            f"exponent_bits={exponent_bits} is too narrow for the exponents of {kind.name}; "
            f"{(kind.largest_exponent + MAX_EXP).bit_length()} bits are enough"
        )
    return (
        guard,
        int(numerics.reference == "lanes_and_accumulator"),
        int(numerics.alignment == "sticky"),
        int(numerics.rounding == "nearest_even"),
        int(numerics.overflow == "saturate"),
        numerics.accumulator_bits,
        numerics.sum_bits or 0,
        exponent_bits,
        reach,
    )


def term_exponents(decoder: WeightDecoder, numerics: PENumerics) -> npt.NDArray[np.int16]:
    """Return the exponents of the terms as exponent matching sees them.

    Parameters
    ----------
    decoder : WeightDecoder
    numerics : PENumerics
        With ``gate_zero_terms`` a zero term gets the exponent `ABSENT`, which no other lane's is
        below; a reference exponent under 0 then says that a clock has no term but zeros.

    Returns
    -------
    (n, terms) ndarray of int16
    """
    exponents = decoder.exp.astype(np.int16)
    if numerics.gate_zero_terms and not numerics.exact:
        exponents[decoder.man == 0] = ABSENT
    return exponents


def prepare(
    activations: npt.ArrayLike,
    weights: npt.ArrayLike,
    kind: ActivationKind,
    decoder: WeightDecoder,
    device: str = "cpu",
) -> Operands:
    """Check, split and flatten the operands; leading axes broadcast without copies.

    Parameters
    ----------
    activations, weights : (..., K) array_like
        As in `bitserial_dot`.
    kind : ActivationKind
    decoder : WeightDecoder
    device : {'cpu', 'cuda'}

    Raises
    ------
    BitlatheError
        If shapes do not match, or a value is not one of its format.
    """
    there = [device == "cuda" and lies_there(each) for each in (activations, weights)]
    acts: Any = activations if there[0] else as_array(activations, "activations")
    wts: Any = weights if there[1] else as_array(weights, "weights")
    lead, rows, columns = pair_rows(tuple(acts.shape), tuple(wts.shape))
    if there[0] and kind.name != "fp16":
        raise BitlatheError(f"activations: those on a GPU are float16, {kind.name} is asked for")
    if True in there:
        from ..cuda import given_kernels as given

    if there[0]:
        exponent, significand = given.split_halves(matrix(acts), "activations")
    else:
        exponent, significand = (matrix(each) for each in split_activations(acts, kind))
    if there[1]:
        weight = given.decoder_rows(matrix(wts), decoder.low, decoder.valid, "weights")
    else:
        weight = matrix(decoder.rows(wts))
    return Operands(
        lead=lead,
        exponent=exponent,
        significand=significand,
        weight=weight,
        row=rows,
        column=columns,
    )


def bitserial_dot(
    activations: npt.ArrayLike,
    weights: npt.ArrayLike,
    format: "str | Format | Mixture | TermTable" = "int8",
    numerics: str | PENumerics = "aligned",
    *,
    lanes: int = 4,
    activation: str | ActivationKind = "fp16",
    skip_zero_terms: bool = False,
    max_bsig: int = 6,
    device: str = "cpu",
) -> BitSerialResult:
    """Dot products as a bit-serial PE computes them: ``sum(activations * weights, axis=-1)``.

    Parameters
    ----------
    activations : (..., K) array_like
        Values of the activation format (FP16 by default), finite.
    weights : (..., K) array_like of int
        Integers on the PE's grid: the integers themselves for INT formats, the values times two
        for FP4 and its extensions, the values for FP3, and ``TermTable.grid`` in general. Leading
        axes broadcast against those of `activations`.
    format : str, Format, Mixture or TermTable
        Weight format; it sets the terms and so the clocks.
    numerics : str or PENumerics
        ``"aligned"``, ``"hpca25"``, ``"exact"``, or fields set one by one.
    lanes : int
        Weights per chunk, 1..16. A last chunk that is not full is padded with zeros.
    activation : str
        ``fp16``, ``bf16``, ``fp8_e4m3``, ``fp8_e5m2`` or ``int8``.
    skip_zero_terms : bool
        Leave out a clock whose terms are zero in all lanes; a chunk takes at least one clock.
    max_bsig : int
        Largest significance that the PE shifts by.
    device : {'cpu', 'cuda'}
        Where to compute; both give the same bits. The GPU takes float16 activations and int8
        weights that lie there without a copy; results are on the host.

    Returns
    -------
    BitSerialResult
        ``(mantissa, exponent, value, cycles)``: int64 arrays and a float64 array of the leading
        shape. K = 0 gives zeros. ``exact`` mantissas beyond 64 bits come as Python integers.

    Raises
    ------
    BitlatheError
        For shapes that do not match, NaN or infinite activations, weights off the grid, formats
        that the PE does not take.

    References
    ----------
    .. [1] Y. Chen et al., "BitMoD: Bit-serial Mixture-of-Datatype LLM Acceleration", HPCA 2025,
       arXiv:2411.11745, section IV.

    Examples
    --------
    >>> import numpy as np
    >>> dot = bitserial_dot(np.ones(128, np.float16), np.full(128, 3), "int4")
    >>> float(dot.value), int(dot.cycles)
    (384.0, 64)
    """
    lanes = whole_number("lanes", lanes, 1, MAX_LANES)
    max_bsig = whole_number("max_bsig", max_bsig, 0, MAX_SHIFT)
    on_cuda(device)
    rules, kind = numerics_of(numerics), activation_kind(activation)
    decoder = weight_decoder(format, max_bsig)
    operands = prepare(activations, weights, kind, decoder, device)
    if rules.exact:
        return _exact(operands, decoder, kind, rules, lanes, skip_zero_terms, device)
    parameters = kernel_parameters(rules, kind, lanes, max_bsig)
    count = operands.row.size
    man, exp, clocks = (np.zeros(count, dtype=np.int64) for _ in range(3))
    _kernels(device).dots(
        operands.exponent,
        operands.significand,
        operands.weight,
        operands.row,
        operands.column,
        term_exponents(decoder, rules),
        decoder.man,
        np.array(decoder.schedule.bsig, dtype=np.int64),
        lanes,
        skip_zero_terms,
        parameters,
        man,
        exp,
        clocks,
    )
    value = np.ldexp(man.astype(np.float64), exp - kind.offset - rules.guard_bits)
    return _shaped(operands.lead, man, exp, value, clocks)


def _kernels(device: str) -> Any:
    """Return the module whose kernels run on a device."""
    if device == "cuda":
        from ..cuda import bit_serial_kernels as kernels
    else:
        from . import bit_serial_kernels as kernels  # type: ignore[no-redef]
    return kernels


def _shaped(lead: tuple[int, ...], *parts: npt.NDArray[Any]) -> BitSerialResult:
    return BitSerialResult(*(part.reshape(lead)[()] for part in parts))


def _exact(
    operands: Operands,
    decoder: WeightDecoder,
    kind: ActivationKind,
    rules: PENumerics,
    lanes: int,
    skip: bool,
    device: str,
) -> BitSerialResult:
    lowest = 1 if kind.exponent_bits else 0
    count, length = operands.row.size, operands.exponent.shape[1]
    total, clocks = (np.zeros(count, dtype=np.int64) for _ in range(2))
    largest = int(np.abs(decoder.grid).max()) * length << (kind.significand_bits)
    span = (
        kind.largest_exponent - lowest  # of what lies on the GPU the bound for all
        if lies_there(operands.exponent)
        else int(operands.exponent.max(initial=lowest)) - lowest
    )
    safe = largest << span < 1 << 62
    if device == "cuda" and not safe:
        raise BitlatheError(
            "device 'cuda': exact sums of these operands could pass its 64-bit integers; use "
            "device='cpu', shorter groups, or activations of smaller range"
        )
    _kernels(device).exact_dots(
        operands.exponent if safe else np.full_like(operands.exponent, lowest),
        operands.significand,
        operands.weight,
        operands.row,
        operands.column,
        decoder.grid,
        decoder.man,
        lanes,
        skip,
        lowest,
        total,
        clocks,
    )
    exponent = np.full(count, lowest + rules.guard_bits, dtype=np.int64)
    if not safe:
        return _exact_wide(operands, decoder, kind, exponent, clocks)
    value = np.ldexp(total.astype(np.float64), lowest - kind.offset)
    return _shaped(operands.lead, total, exponent, value, clocks)


def _exact_wide(
    operands: Operands,
    decoder: WeightDecoder,
    kind: ActivationKind,
    exponent: npt.NDArray[np.int64],
    clocks: npt.NDArray[np.int64],
) -> BitSerialResult:
    """Compute sums beyond 64 bits in Python integers."""
    lowest = 1 if kind.exponent_bits else 0
    scale = 1 << (kind.offset - lowest)
    scaled = operands.significand.astype(object) << (operands.exponent - lowest).astype(object)
    integers = decoder.grid.astype(object)[operands.weight]
    total = np.array(
        [sum(scaled[r] * integers[c]) for r, c in zip(operands.row, operands.column, strict=True)],
        dtype=object,
    )
    value = np.array([t / scale for t in total], dtype=np.float64)
    return _shaped(operands.lead, total, exponent, value, clocks)
