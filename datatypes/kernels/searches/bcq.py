"""Sums of signed scales: scales and signs found in turn, errors under scales as stored."""

from typing import Any

import numpy as np
from numba import njit

from ...base.compiled import compiled
from ..base.intrinsics import pairwise_sum


@njit(nogil=True)
def _signed_sums(alpha: Any, sums: Any) -> None:
    """Write the sum of signed scales of every pattern, added in the order of the planes."""
    for pattern in range(sums.size):
        total = 0.0
        for p in range(alpha.size):
            total += alpha[p] if pattern >> p & 1 else -alpha[p]
        sums[pattern] = total


@njit(nogil=True)
def _nearest(x: Any, sums: Any, order: Any, codes: Any) -> None:
    """Write the pattern of the nearest sum; sorts ``sums``, ``order`` becomes their patterns.

    Elements half-way between two sums take the lower one.
    """
    for p in range(sums.size):
        at, one = p, sums[p]
        while at > 0 and sums[at - 1] > one:
            sums[at], order[at] = sums[at - 1], order[at - 1]
            at -= 1
        sums[at], order[at] = one, p
    codes[:] = 0
    for p in range(sums.size - 1):
        middle = (sums[p] + sums[p + 1]) / 2
        for i in range(x.size):
            codes[i] += np.int64(x[i] > middle)
    for i in range(x.size):
        codes[i] = order[codes[i]]


@njit(nogil=True)
def _greedy(x: Any, weights: Any, alpha: Any, rest: Any, terms: Any) -> None:
    """Write the scales to start from: each the mean magnitude of what those before leave."""
    size, total = x.size, np.float64(x.size)
    rest[:] = x
    if weights.size:
        total = max(pairwise_sum(weights, 0, size), np.finfo(np.float64).tiny)
    for p in range(alpha.size):
        for i in range(size):
            terms[i] = abs(rest[i])
        if weights.size:
            for i in range(size):
                terms[i] = weights[i] * terms[i]
        alpha[p] = pairwise_sum(terms, 0, size) / total
        for i in range(size):
            rest[i] -= alpha[p] if rest[i] >= 0 else -alpha[p]


@njit(nogil=True)
def _equations(x: Any, weights: Any, codes: Any, lower: Any, right: Any, terms: Any) -> None:
    """Write the lower half of the matrix and the right side of the scales' least squares."""
    size, planes = x.size, right.size
    for p in range(planes):
        for i in range(size):
            sign = 1.0 if codes[i] >> p & 1 else -1.0
            terms[i] = sign * (weights[i] * x[i]) if weights.size else sign * x[i]
        right[p] = pairwise_sum(terms, 0, size)
        for q in range(p + 1):
            if weights.size:
                for i in range(size):
                    same = (codes[i] >> p ^ codes[i] >> q) & 1 == 0
                    terms[i] = weights[i] if same else -weights[i]
                lower[p, q] = pairwise_sum(terms, 0, size)
            else:
                apart = 0
                for i in range(size):
                    apart += (codes[i] >> p ^ codes[i] >> q) & 1
                lower[p, q] = np.float64(size - 2 * apart)


@njit(nogil=True)
def _solve(lower: Any, right: Any, alpha: Any) -> None:
    """Write the solution by elimination without pivots; overwrites the equations."""
    planes = right.size
    for p in range(planes):
        lower[p, p] += 1e-9 * max(lower[p, p], np.finfo(np.float64).tiny)
    for p in range(planes):
        for q in range(p + 1, planes):
            factor = lower[q, p] / lower[p, p]
            right[q] -= factor * right[p]
            for k in range(p + 1, q + 1):
                lower[q, k] -= factor * lower[k, p]
    for p in range(planes - 1, -1, -1):
        value = right[p]
        for q in range(p + 1, planes):
            value -= lower[q, p] * alpha[q]
        alpha[p] = value / lower[p, p]


@compiled(nogil=True)
def alternate(x: Any, weights: Any, alphas: Any, used: Any) -> None:
    """Write the scales of every round of finding signs and scales in turn.

    Parameters
    ----------
    x, weights : (groups, size) float64
        ``weights`` is (groups, 0) where all elements count the same.
    alphas : (groups, rounds, planes) float64
        The first round holds the greedy start.
    used : (groups,) int64
        Rounds that differ: once the signs stay, so do the scales.
    """
    size, (_, rounds, planes) = x.shape[1], alphas.shape
    codes, before = np.zeros(size, np.int64), np.zeros(size, np.int64)
    rest, terms = np.zeros(size, np.float64), np.zeros(size, np.float64)
    sums, order = np.zeros(1 << planes, np.float64), np.zeros(1 << planes, np.int64)
    right = np.zeros(planes, np.float64)
    lower = np.zeros((planes, planes), np.float64)
    for g in range(x.shape[0]):
        _greedy(x[g], weights[g], alphas[g, 0], rest, terms)
        used[g] = rounds
        for r in range(1, rounds):
            _signed_sums(alphas[g, r - 1], sums)
            _nearest(x[g], sums, order, codes)
            moved = r == 1
            for i in range(size):
                moved |= codes[i] != before[i]
                before[i] = codes[i]
            if not moved:
                used[g] = r
                break
            _equations(x[g], weights[g], codes, lower, right, terms)
            _solve(lower, right, alphas[g, r])


@compiled(nogil=True)
def errors(index: Any, alphas: Any, found: Any, x: Any, weights: Any) -> None:
    """Write the squared error of some groups, each element at its nearest sum.

    Parameters
    ----------
    index : (n,) int64
        The groups.
    alphas : (n, planes) float64
    found : (n,) float64
    x, weights : (groups, size) float64
        As for `alternate`.
    """
    size = x.shape[1]
    sums, cost = np.zeros(1 << alphas.shape[1], np.float64), np.zeros(size, np.float64)
    for j in range(index.size):
        row, weight = x[index[j]], weights[index[j]]
        _signed_sums(alphas[j], sums)
        for i in range(size):
            cost[i] = abs(row[i] - sums[0])
        for p in range(1, sums.size):
            for i in range(size):
                other = abs(row[i] - sums[p])
                cost[i] = other if other < cost[i] else cost[i]
        for i in range(size):
            cost[i] = cost[i] * cost[i]
        if weight.size:
            for i in range(size):
                cost[i] = weight[i] * cost[i]
        found[j] = pairwise_sum(cost, 0, size)


@compiled(nogil=True)
def nearest_codes(x: Any, alphas: Any, codes: Any) -> None:
    """Write the (groups, size) uint8 codes of the nearest sums, the lower of two as near."""
    sums, order = np.zeros(1 << alphas.shape[1], np.float64), np.zeros(256, np.int64)
    found = np.zeros(x.shape[1], np.int64)
    for g in range(x.shape[0]):
        _signed_sums(alphas[g], sums)
        _nearest(x[g], sums, order, found)
        for i in range(found.size):
            codes[g, i] = np.uint8(found[i])
