"""Binary-coded quantisation with shift-add scales (ShiftAddLLM, arXiv 2406.05981).

``w = sum over i of alpha_i * b_i``, b_i in {-1, +1}: bit i of the code is 1 for +1. Each alpha is
a sum of K signed powers of two, eight bits each, so that a product is K shifts and adds.
"""

import numpy as np
from numpy.typing import NDArray

from .coding import Coded, Codes, Floats, Job
from .scaling import bits_to_float, float_bits
from .scheme import Scheme

ROUNDS = 15
# a byte is sign (1 bit) and exponent (7 bits); exponent field 0 is an absent term
EXPONENT_BIAS = 96


def encode_bcq(job: Job) -> Coded:
    """Code a job: greedy start, then scales by least squares and bits by nearest sum in turn.

    The best of all rounds is kept, so the error is never above that of the greedy start.
    """
    planes = job.scheme.element_bits
    x = job.groups.astype(np.float64)
    weights = np.ones_like(x) if job.weights is None else job.weights.astype(np.float64)
    alpha, codes = _greedy(x, weights, planes)
    best = np.full(x.shape[0], np.inf)
    raw_best = np.zeros((x.shape[0], planes), np.uint32)
    codes_best = np.zeros(x.shape, np.uint8)
    for turn in range(ROUNDS + 1):
        if turn:
            alpha = _least_squares(x, weights, codes, planes)
        raw = store_planes(alpha, job.scheme)
        stored = planes_effective(raw, job.scheme)
        codes = _nearest_sum(x, stored)
        difference = x - plane_values(codes, stored)
        error = (weights * difference * difference).sum(axis=1)
        better = error < best
        best = np.where(better, error, best)
        raw_best[better], codes_best[better] = raw[better], codes[better]
    return Coded(codes=codes_best, raw=raw_best, outer=np.zeros(0, np.uint32))


def _greedy(x: Floats, weights: Floats, planes: int) -> tuple[Floats, Codes]:
    rest = x.copy()
    total = np.maximum(weights.sum(axis=1), np.finfo(np.float64).tiny)
    alpha = np.zeros((x.shape[0], planes))
    codes = np.zeros(x.shape, np.uint8)
    for i in range(planes):
        alpha[:, i] = (weights * np.abs(rest)).sum(axis=1) / total
        bit = rest >= 0
        codes |= (bit << i).astype(np.uint8)
        rest -= np.where(bit, 1.0, -1.0) * alpha[:, i : i + 1]
    return alpha, codes


def _least_squares(x: Floats, weights: Floats, codes: Codes, planes: int) -> Floats:
    signs = np.stack([np.where(codes >> i & 1, 1.0, -1.0) for i in range(planes)], axis=1)
    weighted = signs * weights[:, None, :]
    normal = weighted @ signs.transpose(0, 2, 1)
    size = np.maximum(weights.sum(axis=1), np.finfo(np.float64).tiny)
    ridge = 1e-9 * size[:, None, None] * np.eye(planes)
    right = (weighted @ x[:, :, None])[..., 0]
    return np.asarray(np.linalg.solve(normal + ridge, right[..., None])[..., 0])


def _nearest_sum(x: Floats, alpha: Floats) -> Codes:
    planes = alpha.shape[1]
    patterns = np.arange(1 << planes)
    signs = np.where(patterns[:, None] >> np.arange(planes) & 1, 1.0, -1.0)
    sums = alpha @ signs.T
    best = np.full(x.shape, np.inf)
    codes = np.zeros(x.shape, np.uint8)
    for pattern in patterns:
        distance = np.abs(x - sums[:, pattern : pattern + 1])
        better = distance < best
        best = np.where(better, distance, best)
        codes[better] = pattern
    return codes


def plane_values(codes: Codes, alpha: Floats) -> Floats:
    """Return the sum of signed scales that each code stands for."""
    planes = alpha.shape[1]
    patterns = np.arange(1 << planes)
    signs = np.where(patterns[:, None] >> np.arange(planes) & 1, 1.0, -1.0)
    return np.asarray(np.take_along_axis(alpha @ signs.T, codes.astype(np.intp), axis=1))


def store_planes(alpha: Floats, scheme: Scheme) -> NDArray[np.uint32]:
    """Return the stored form of (groups, planes) scales: bytes of powers of two, or floats."""
    if scheme.scale_format.kind == "float":
        flat = np.abs(alpha).reshape(-1)
        sign = np.signbit(alpha).reshape(-1)
        top = scheme.scale_format.bits - 1
        bits = float_bits(flat, scheme.scale) | (sign.astype(np.uint32) << np.uint32(top))
        return bits.reshape(alpha.shape)
    rest = alpha.astype(np.float64).copy()
    raw = np.zeros(alpha.shape, np.uint32)
    for k in range(scheme.scale_format.bits // 8):
        mantissa, exponent = np.frexp(np.abs(rest))
        power = np.clip(exponent - 1 + (mantissa >= np.sqrt(0.5)), 1 - EXPONENT_BIAS, 31)
        absent = rest == 0
        field = np.where(absent, 0, power + EXPONENT_BIAS).astype(np.uint32)
        sign = np.where(absent, 0, np.signbit(rest)).astype(np.uint32)
        raw |= (field | (sign << np.uint32(7))) << np.uint32(8 * k)
        rest -= np.where(absent, 0.0, np.copysign(np.ldexp(1.0, power), rest))
    return raw


def planes_effective(raw: NDArray[np.uint32], scheme: Scheme) -> Floats:
    """Return the (groups, planes) scales that stored patterns stand for, exactly."""
    if scheme.scale_format.kind == "float":
        flat = np.ascontiguousarray(raw).reshape(-1)
        return bits_to_float(flat, scheme.scale).reshape(raw.shape).astype(np.float64)
    total = np.zeros(raw.shape)
    for k in range(scheme.scale_format.bits // 8):
        byte = (raw >> np.uint32(8 * k)) & np.uint32(255)
        field = (byte & np.uint32(127)).astype(np.int32)
        term = np.ldexp(np.where(byte >> np.uint32(7), -1.0, 1.0), field - EXPONENT_BIAS)
        total += np.where(field > 0, term, 0.0)
    return total
