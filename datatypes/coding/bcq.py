"""Binary-coded quantization with shift-add scales (ShiftAddLLM, arXiv 2406.05981).

``w = sum over i of alpha_i * b_i``, b_i in {-1, +1}: bit i of the code is 1 for +1. Each alpha is
a sum of K signed powers of two, eight bits each, so that a product is K shifts and adds.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..schemes.scales import SignedScale
from ..schemes.scheme import Scheme
from .coded import Coded, Codes, Floats
from .coder import Coder, Tables, integer_ends
from .job import Job, worth_compiling

ROUNDS = 15
# squares of these and their sums stay within float64
MAGNITUDE_MAX = 1e150


def encode_bcq(job: Job) -> Coded:
    """Code a job: greedy start, then signs by nearest sum and scales by least squares in turn.

    Of the scales of all rounds, those with the least error once rounded as they are stored are
    taken; a round whose scales overflow is passed over. The rounds themselves go on from
    unrounded scales: with few powers of two the signs of rounded scales lead the search astray.
    """
    x, weights = job.groups.astype(np.float64), job.kernel_weights().astype(np.float64)
    _refuse_beyond(job, x)
    scale = _scale_of(job.scheme)
    compiled = worth_compiling(job)
    search, measure = (alternate_compiled, _errors_compiled) if compiled else (alternate, errors)
    alphas, used = search(x, weights, job.scheme.element_bits)
    least = np.full(x.shape[0], np.inf)
    raw = np.zeros((x.shape[0], job.scheme.element_bits), np.uint32)
    for r in range(alphas.shape[1]):
        index = np.flatnonzero(used > r)
        index = index[scale.fits_signed(alphas[index, r]).all(axis=1)]
        trial = scale.store_signed(alphas[index, r])
        error = measure(x, weights, index, scale.read_signed(trial))
        better = error < least[index]
        least[index[better]], raw[index[better]] = error[better], trial[better]
    if np.isinf(least).any():
        at = int(np.argmax(np.isinf(least)))
        scale.refuse(at, float(np.abs(alphas[at, 0]).max()))
    final = _nearest_codes_compiled if compiled else nearest_codes
    codes = final(x, scale.read_signed(raw))
    return job.coded(job.layout.join(codes), raw)


def _refuse_beyond(job: Job, x: Floats) -> None:
    """Refuse groups whose squares are beyond float64: no scale for them fits anyway."""
    amax = np.abs(x).max(axis=1, initial=0.0)
    if (far := amax > MAGNITUDE_MAX).any():
        at = int(np.argmax(far))
        job.scheme.scale_format.refuse(at, float(amax[at]))


def alternate(x: Floats, weights: Floats, planes: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return the scales of every round of finding signs and scales in turn.

    Parameters
    ----------
    x : (groups, size) float64
    weights : (groups, size) float64, or (groups, 0) where all elements count the same
    planes : int

    Returns
    -------
    alphas : (groups, rounds, planes) float64
    used : (groups,) int64
        Rounds worth a look: once the signs stay, so do the scales.
    """
    alphas = np.zeros((len(x), ROUNDS + 1, planes))
    alphas[:, 0] = _greedy(x, weights, planes)
    for r in range(1, ROUNDS + 1):
        codes = nearest_codes(x, alphas[:, r - 1])
        alphas[:, r] = _solve(*_equations(x, weights, codes, planes))
    return alphas, np.full(len(x), ROUNDS + 1)


def alternate_compiled(x: Floats, weights: Floats, planes: int) -> tuple[Floats, NDArray[np.int64]]:
    """Do what `alternate` does, compiled, of (groups, size) elements and weights."""
    from ..kernels.base.threads import on_rows
    from ..kernels.searches.bcq import alternate as kernel

    alphas, used = np.zeros((len(x), ROUNDS + 1, planes)), np.zeros(len(x), np.int64)
    on_rows(kernel, (x, weights, alphas, used), (), x.shape[1] * ROUNDS)
    return alphas, used


def errors(x: Floats, weights: Floats, index: NDArray[np.int64], alphas: Floats) -> Floats:
    """Return the (n,) weighted squared errors of some groups under given scales.

    Parameters
    ----------
    x : (groups, size) float64
    weights : (groups, size) float64, or (groups, 0) where all elements count the same
    index : (n,) int64
        The groups.
    alphas : (n, planes) float64
        Their signed scales.
    """
    values = _plane_values(nearest_codes(x[index], alphas), alphas)
    cost = np.square(x[index] - values)
    return np.asarray((weights[index] * cost if weights.shape[1] else cost).sum(axis=1))


def _errors_compiled(
    x: Floats, weights: Floats, index: NDArray[np.int64], alphas: Floats
) -> Floats:
    """Do what `errors` does, compiled."""
    from ..kernels.base.threads import on_rows
    from ..kernels.searches.bcq import errors as kernel

    found = np.zeros(len(index))
    on_rows(kernel, (index, alphas, found), (x, weights), x.shape[1] << alphas.shape[1])
    return found


def _greedy(x: Floats, weights: Floats, planes: int) -> Floats:
    """Return the (groups, planes) scales: each the mean magnitude of what those before leave."""
    rest = x.copy()
    w = weights if weights.shape[1] else np.ones_like(x)
    total = np.maximum(w.sum(axis=1), np.finfo(np.float64).tiny)
    alpha = np.zeros((x.shape[0], planes))
    for i in range(planes):
        alpha[:, i] = (w * np.abs(rest)).sum(axis=1) / total
        rest -= np.where(rest >= 0, 1.0, -1.0) * alpha[:, i : i + 1]
    return alpha


def _equations(x: Floats, weights: Floats, codes: Codes, planes: int) -> tuple[Floats, Floats]:
    """Return matrix (planes, planes, groups) and right side (planes, groups) of least squares.

    Sums of products of signs, and of signs times elements; the upper half stays 0.
    """
    signs = [np.where(codes >> i & 1, 1.0, -1.0) for i in range(planes)]
    matrix, right = np.zeros((planes, planes, len(x))), np.zeros((planes, len(x)))
    for p, sign in enumerate(signs):
        right[p] = (sign * (weights * x if weights.shape[1] else x)).sum(axis=1)
        for q in range(p + 1):
            same = sign * signs[q]
            matrix[p, q] = (same * weights if weights.shape[1] else same).sum(axis=1)
    return matrix, right


def _solve(matrix: Floats, right: Floats) -> Floats:
    """Return the (groups, planes) solutions, by elimination without pivots.

    The matrix is a Gram matrix; a little of its own size on the diagonal keeps it regular where
    two planes are the same.
    """
    planes = len(right)
    lower, rest = matrix.copy(), right.copy()
    tiny = np.finfo(np.float64).tiny
    for p in range(planes):
        lower[p, p] += 1e-9 * np.maximum(matrix[p, p], tiny)
    for p in range(planes):
        for q in range(p + 1, planes):
            factor = lower[q, p] / lower[p, p]
            rest[q] -= factor * rest[p]
            for k in range(p + 1, q + 1):
                lower[q, k] -= factor * lower[k, p]
    alpha = np.zeros_like(right)
    for p in reversed(range(planes)):
        value = rest[p]
        for q in range(p + 1, planes):
            value = value - lower[q, p] * alpha[q]
        alpha[p] = value / lower[p, p]
    return np.ascontiguousarray(alpha.T)


def _sums_of(alpha: Floats) -> Floats:
    """Return the (groups, 2**planes) sums of signed scales, added in the order of the planes."""
    planes = alpha.shape[1]
    patterns = np.arange(1 << planes)
    sums = np.zeros((len(alpha), 1 << planes))
    for i in range(planes):
        sums += np.where(patterns >> i & 1, 1.0, -1.0) * alpha[:, i : i + 1]
    return sums


def nearest_codes(x: Floats, alpha: Floats) -> Codes:
    """Return the (groups, size) codes of the nearest sums of (groups, planes) scales.

    Of two sums as near, the lower one.
    """
    sums = _sums_of(alpha)
    order = np.argsort(sums, axis=1, kind="stable")
    ranked = np.take_along_axis(sums, order, axis=1)
    middles = (ranked[:, :-1] + ranked[:, 1:]) / 2
    place = np.zeros(x.shape, np.int64)
    for p in range(middles.shape[1]):
        place += x > middles[:, p : p + 1]
    return np.take_along_axis(order, place, axis=1).astype(np.uint8)


def _nearest_codes_compiled(x: Floats, alpha: Floats) -> Codes:
    """Do what `nearest_codes` does, compiled."""
    from ..kernels.base.threads import on_rows
    from ..kernels.searches.bcq import nearest_codes as kernel

    codes = np.zeros(x.shape, np.uint8)
    on_rows(kernel, (x, alpha, codes), (), x.shape[1] << alpha.shape[1])
    return codes


def _plane_values(codes: Codes, alpha: Floats) -> Floats:
    """Return the (groups, size) sums of signed scales that codes stand for."""
    return np.asarray(np.take_along_axis(_sums_of(alpha), codes.astype(np.intp), axis=1))


def _scale_of(scheme: Scheme) -> SignedScale:
    """Return the record that stores the signed scales of a scheme."""
    scale = scheme.scale_format
    assert isinstance(scale, SignedScale)  # the rules of schemes say so
    return scale


def _scales(coded: Coded) -> Floats:
    """Return the (groups, planes) scales; see `Coder.scales`."""
    return _scale_of(coded.scheme).read_signed(coded.scales)


def _values(_: Coded, codes: Codes, alpha: Floats, dtype: np.dtype[Any]) -> Floats:
    """Return what codes stand for; see `Coder.values`."""
    return _plane_values(codes, alpha).astype(dtype)


def _tables(coded: Coded, alpha: Floats, dtype: np.dtype[Any]) -> Tables:
    """Return a table for each group, the sums of its own signed scales; see `Coder.tables`."""
    return Tables(
        tables=_sums_of(alpha).astype(dtype),
        scales=np.ones(coded.layout.groups, dtype),
        choices=np.arange(coded.layout.groups),
    )


BCQ: Final = Coder(
    encode=encode_bcq,
    scales=_scales,
    values=_values,
    tables=_tables,
    integers=None,
    ends=integer_ends,
    own_rounding=True,
    measures_outputs=False,
    searches=True,
)
