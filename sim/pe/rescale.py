"""The group rescale unit of a bit-serial PE, its clocks, and the column accumulator behind it.

After a group's last term the group sum is multiplied by the group's integer scale, bit-serially,
most significant bit first, one bit per clock, beside the next group. The products of the groups are
added by one float32 accumulator per PE column. Source: BitMoD (arXiv 2411.11745), section IV.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...arch.numerics import PENumerics, numerics_of
from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.numbers import ceil_div, whole_number
from ...datatypes.terms.table import TermTable
from .bit_serial import bitserial_dot
from .operands import ActivationKind, activation_kind, as_array, first_index

if TYPE_CHECKING:
    from ...datatypes.formats.format import Format, Mixture

# Pipeline of the PE (BitMoD): exponent match 2, multiply 2, accumulate 2 clocks.
PIPELINE_CLOCKS = 6
COUNTER_LIMIT = 2**53
RESCALED_BITS = 31  # magnitude of a mantissa that the rescale unit takes


@dataclass(frozen=True, kw_only=True, slots=True)
class GroupTiming:
    """Clocks of one group in a bit-serial PE with a rescale unit.

    Parameters
    ----------
    compute_cycles : int
        Clocks that the terms occupy the PE: terms * ceil(group / lanes).
    rescale_cycles : int
        Clocks of the rescale unit, one per scale bit.
    stall_cycles : int
        Clocks the PE waits for the rescale unit to be free for the next group.
    gap_cycles : int
        Clocks to reset the accumulator between groups.
    latency_cycles : int
        From a group's last term entering to its rescaled sum being ready: 6 + scale bits.
    """

    compute_cycles: int
    rescale_cycles: int
    stall_cycles: int
    gap_cycles: int
    latency_cycles: int

    @property
    def period_cycles(self) -> int:
        """Clocks from the start of a group to the start of the next."""
        return self.compute_cycles + self.gap_cycles + self.stall_cycles


def group_timing(
    group: int, terms: int, *, lanes: int = 4, scale_bits: int = 8, group_gap: int = 0
) -> GroupTiming:
    """Count the clocks of one group: terms, rescale, stalls, latency.

    Parameters
    ----------
    group : int
        Weights per group; a last chunk that is not full is padded.
    terms : int
        Terms per weight.
    lanes : int
        Weights per chunk.
    scale_bits : int
        Bits of the group's scale; 0 when there is no rescale unit.
    group_gap : int
        Reset clocks between groups.

    Returns
    -------
    GroupTiming

    Raises
    ------
    BitlatheError
        If a count is not a whole number in its range, or the group takes more than 2^53 clocks.

    Examples
    --------
    >>> group_timing(128, 2).stall_cycles, group_timing(8, 2).stall_cycles
    (0, 4)
    """
    group, terms = whole_number("group", group, 0), whole_number("terms", terms, 1)
    lanes, group_gap = whole_number("lanes", lanes, 1), whole_number("group_gap", group_gap, 0)
    scale_bits = whole_number("scale_bits", scale_bits, 0)
    compute = terms * ceil_div(group, lanes)
    stall = max(0, scale_bits - compute - group_gap) if compute else 0
    if compute + stall + group_gap > COUNTER_LIMIT:
        raise BitlatheError(f"group: {group} weights take more than 2^53 clocks; split the group")
    return GroupTiming(
        compute_cycles=compute,
        rescale_cycles=scale_bits,
        stall_cycles=stall,
        gap_cycles=group_gap,
        latency_cycles=PIPELINE_CLOCKS + scale_bits,
    )


def rescale(
    mantissa: npt.ArrayLike, scale: npt.ArrayLike, scale_bits: int = 8
) -> npt.NDArray[np.int64]:
    """Multiply group sums by their integer scales, most significant scale bit first.

    ``register = 2 * register + (mantissa if bit else 0)``, one bit per clock; the register holds
    the mantissa's bits plus ``scale_bits``, so nothing is lost.

    Parameters
    ----------
    mantissa : (...) array_like of int
        Accumulator mantissas, at most 32 bits signed.
    scale : (...) array_like of int
        Scales in 0..2**scale_bits - 1, broadcast against `mantissa`.
    scale_bits : int
        Width of the scale, 1..16.

    Returns
    -------
    ndarray of int64
        The products.

    Raises
    ------
    BitlatheError
        If mantissas or scales are not integers of their widths, or do not broadcast.

    Examples
    --------
    >>> rescale([-5, 7], [255, 3]).tolist()
    [-1275, 21]
    """
    sums, scales = as_array(mantissa, "mantissa"), as_array(scale, "scale")
    scale_bits = whole_number("scale_bits", scale_bits, 1, 16)
    if sums.dtype.kind not in "iu" and sums.size:
        raise BitlatheError(f"mantissa: integers are needed, got {sums.dtype}")
    if scales.dtype.kind not in "iu" and scales.size:
        raise BitlatheError(f"scale: integers are needed, got {scales.dtype}")
    bad = (scales < 0) | (scales >= 1 << scale_bits)
    if bad.any():
        index = first_index(bad)
        raise BitlatheError(
            f"scale: {scales[index]} at index {index} is not an unsigned integer of {scale_bits} "
            f"bits; 0..{(1 << scale_bits) - 1} is right"
        )
    bound = 1 << RESCALED_BITS
    if sums.size and not (-bound <= int(sums.min()) and int(sums.max()) < bound):
        raise BitlatheError("mantissa: the rescale unit takes at most 32 bits, signed")
    sums, scales = sums.astype(np.int64), scales.astype(np.int64)
    try:
        shape = np.broadcast_shapes(sums.shape, scales.shape)
    except ValueError:
        raise BitlatheError(
            f"scale: shape {scales.shape} does not broadcast against the mantissas' {sums.shape}"
        ) from None
    register = np.zeros(shape, dtype=np.int64)
    for bit in range(scale_bits - 1, -1, -1):
        register = 2 * register + np.where(scales >> bit & 1, sums, 0)
    return register


class BitSerialProduct(NamedTuple):
    """Outputs of `bitserial_matmul`, and the clocks that each PE took."""

    outputs: npt.NDArray[np.float32]
    cycles: npt.NDArray[np.int64]


def bitserial_matmul(
    activations: npt.ArrayLike,
    weights: npt.ArrayLike,
    scales: npt.ArrayLike | None = None,
    *,
    group: int = 128,
    format: "str | Format | Mixture | TermTable" = "int8",
    numerics: str | PENumerics = "aligned",
    lanes: int = 4,
    activation: str | ActivationKind = "fp16",
    scale_bits: int = 8,
    group_gap: int = 0,
    skip_zero_terms: bool = False,
    device: str = "cpu",
) -> BitSerialProduct:
    """Multiply matrices as a column of bit-serial PEs does: group sums, rescale, float32 adds.

    Parameters
    ----------
    activations : (M, K) array_like
        Activations, finite.
    weights : (N, K) array_like of int
        Integers on the PE's grid.
    scales : (N, ceil(K / group)) array_like of int, optional
        Unsigned integer scale of each group; None leaves the rescale unit out.
    group : int
        Weights per group along K. It need not divide K: the last group is then short.
    format, numerics, lanes, activation, skip_zero_terms, device
        As in `bitserial_dot`.
    scale_bits : int
        Width of the scales.
    group_gap : int
        Reset clocks between groups.

    Returns
    -------
    BitSerialProduct
        ``outputs`` (M, N) float32, in units of the grid and of the scale's last place; ``cycles``
        (M, N) int64, the clocks until the last rescaled sum is ready.

    Raises
    ------
    BitlatheError
        For shapes that do not match and everything `bitserial_dot` refuses; for `exact` numerics
        with scales, whose sums have no fixed width.
    """
    acts, wts = as_array(activations, "activations"), as_array(weights, "weights")
    if acts.ndim != 2 or wts.ndim != 2 or acts.shape[1] != wts.shape[1]:
        raise BitlatheError(
            f"activations (M, K) and weights (N, K) are needed, got shapes {acts.shape} and "
            f"{wts.shape}"
        )
    group, group_gap = whole_number("group", group, 1), whole_number("group_gap", group_gap, 0)
    rules, kind = numerics_of(numerics), activation_kind(activation)
    length = acts.shape[1]
    starts = range(0, length, group)
    factors = _scales(scales, (wts.shape[0], len(starts)), rules)
    bits = scale_bits if factors is not None else 0
    outputs = np.zeros((acts.shape[0], wts.shape[0]), dtype=np.float32)
    cycles = np.zeros(outputs.shape, dtype=np.int64)
    for g, start in enumerate(starts):
        part = slice(start, min(start + group, length))
        dot = bitserial_dot(
            acts[:, None, part], wts[None, :, part], format, rules, lanes=lanes, activation=kind,
            skip_zero_terms=skip_zero_terms, device=device,
        )  # fmt: skip
        value = dot.value
        if factors is not None:
            product = rescale(dot.mantissa, factors[None, :, g], scale_bits)
            value = np.ldexp(
                product.astype(np.float64), dot.exponent - kind.offset - rules.guard_bits
            )
        outputs = _add_float32(outputs, value)
        # a sum is handed over when the rescale unit has taken in all bits of its predecessor
        cycles += np.maximum(dot.cycles + group_gap, bits) if start else dot.cycles
    return BitSerialProduct(outputs, cycles + (PIPELINE_CLOCKS + bits if length else 0))


def _scales(
    scales: npt.ArrayLike | None, shape: tuple[int, int], rules: PENumerics
) -> npt.NDArray[Any] | None:
    if scales is None:
        return None
    if rules.exact:
        raise BitlatheError("scales: 'exact' sums have no fixed width; rescale them yourself")
    array = as_array(scales, "scales")
    if array.shape != shape:
        raise BitlatheError(f"scales: shape {shape} is needed, one per group, got {array.shape}")
    return array


def _add_float32(
    accumulator: npt.NDArray[np.float32], value: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Add to the column accumulator; a group's product fits float32 up to 24 bits."""
    with np.errstate(over="ignore"):
        return np.asarray(accumulator + value.astype(np.float32), dtype=np.float32)
