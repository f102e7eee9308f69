"""Bits shared out among matrices: the least total error within a budget, exactly.

Each matrix takes one of several choices, each with bits and an error (LQ-LoRA, arXiv 2311.12023,
section 3.3, and ShiftAddLLM, arXiv 2406.05981, section 4.3, state it as an integer program).
Choices are added matrix by matrix; of the sums so far only those are kept that are not beaten in
both bits and error, and whose Lagrangian bound reaches the best sum known.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from .task import Reals

SLACK = 1e-12  # of the bound, for sums that rounding makes unequal
Choices = Sequence[Sequence[tuple[int, float]]]


def allocate(choices: Choices, budget: int) -> tuple[int, ...]:
    """Return which choice each matrix takes, so that errors sum to the least within a budget.

    Parameters
    ----------
    choices : sequence of sequences of (int, float)
        For each matrix (bits, error) of what it may take.
    budget : int
        Bits of all together.

    Raises
    ------
    BitlatheError
        Raised if a matrix has no choice, or the fewest bits are more than the budget.

    Examples
    --------
    >>> allocate([[(2, 5.0), (4, 1.0)], [(2, 3.0), (4, 2.5)]], 6)
    (1, 0)
    """
    if not choices or not all(choices):
        raise BitlatheError("choices: one or more for each matrix are needed")
    bits = [np.array([b for b, _ in each], np.int64) for each in choices]
    errors = [np.array([e for _, e in each], np.float64) for each in choices]
    least = sum(int(b.min()) for b in bits)
    if least > budget:
        raise BitlatheError(f"budget: {budget:,} bits; the fewest are {least:,}")
    price = _price(bits, errors, budget)
    taken = [_cheapest(b, e, price) for b, e in zip(bits, errors, strict=True)]
    known = sum(float(e[t]) for e, t in zip(errors, taken, strict=True))
    return _best(bits, errors, budget, price, known)


def _cheapest(bits: NDArray[np.int64], errors: Reals, price: float) -> int:
    """Return the choice of least error + price x bits, of equals that of fewest bits."""
    return int(np.lexsort((bits, errors + price * bits))[0])


def _price(bits: list[NDArray[np.int64]], errors: list[Reals], budget: int) -> float:
    """Return the least price of a bit at which the cheapest choices are within the budget."""
    found = {0.0}
    for b, e in zip(bits, errors, strict=True):
        for i in range(len(b)):
            for j in range(len(b)):
                if b[i] > b[j] and e[i] < e[j]:
                    found.add(float((e[j] - e[i]) / (b[i] - b[j])))
    prices = sorted(found)
    low, high = 0, len(prices) - 1
    while low < high:
        middle = (low + high) // 2
        whole = zip(bits, errors, strict=True)
        total = sum(int(b[_cheapest(b, e, prices[middle] * (1 + 1e-9))]) for b, e in whole)
        low, high = (low, middle) if total <= budget else (middle + 1, high)
    return prices[low] * (1 + 1e-9)


def _best(
    bits: list[NDArray[np.int64]], errors: list[Reals], budget: int, price: float, known: float
) -> tuple[int, ...]:
    """Return the best choices; ``known`` is the error of some within the budget."""
    bounds = [float((e + price * b).min()) for b, e in zip(bits, errors, strict=True)]
    after = np.append(np.cumsum(bounds[::-1])[::-1], 0.0)
    sums_b, sums_e = np.zeros(1, np.int64), np.zeros(1)
    trail: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []
    for step, (b, e) in enumerate(zip(bits, errors, strict=True)):
        all_b, all_e = (sums_b[:, None] + b).ravel(), (sums_e[:, None] + e).ravel()
        bound = all_e + after[step + 1] - price * (budget - all_b)
        least = sum(int(x.min()) for x in bits[step + 1 :])
        fit = (all_b + least <= budget) & (bound <= known + SLACK * max(1.0, abs(known)))
        at = np.flatnonzero(fit)
        at = at[np.lexsort((all_e[at], all_b[at]))]
        lowest = np.minimum.accumulate(all_e[at])
        keep = np.append(True, all_e[at][1:] < lowest[:-1])
        at = at[keep]
        sums_b, sums_e = all_b[at], all_e[at]
        trail.append((at // len(b), at % len(b)))
    place, taken = int(np.argmin(sums_e)), []
    for parents, chosen in reversed(trail):
        taken.append(int(chosen[place]))
        place = int(parents[place])
    return tuple(reversed(taken))


def by_sort(importance: Sequence[float], low: int, high: int, mean: float) -> tuple[int, ...]:
    """Return bits a weight of each matrix: ``high`` for the most important, ``low`` for the rest.

    As many get ``high`` as the mean allows; the authors' code of ShiftAddLLM sorts so.

    Parameters
    ----------
    importance : sequence of float
    low, high : int
    mean : float
        Bits a matrix that are not to be exceeded.

    Examples
    --------
    >>> by_sort([0.1, 3.0, 2.0, 0.5], 2, 3, 2.5)
    (2, 3, 3, 2)
    """
    count = len(importance)
    many = int((mean - low) * count / (high - low) + 1e-9)
    order = sorted(range(count), key=lambda i: (-importance[i], i))
    chosen = set(order[: max(0, min(many, count))])
    return tuple(high if i in chosen else low for i in range(count))


def by_importance(
    importance: Sequence[float], low: Sequence[int], high: Sequence[int], budget: int
) -> tuple[int, ...]:
    """Return 1 for the most important matrices, as many as a budget holds, and 0 for the rest.

    Parameters
    ----------
    importance : sequence of float
    low, high : sequence of int
        Bits of each matrix under choice 0 and choice 1.
    budget : int
        Bits of all together.

    Raises
    ------
    BitlatheError
        Raised if all under choice 0 are more than the budget.

    Examples
    --------
    >>> by_importance([0.1, 3.0, 2.0, 0.5], [2] * 4, [3] * 4, 10)
    (0, 1, 1, 0)
    """
    left = budget - sum(low)
    if left < 0:
        raise BitlatheError(f"budget: {budget:,} bits; the fewest are {sum(low):,}")
    taken = [0] * len(importance)
    for i in sorted(range(len(importance)), key=lambda i: (-importance[i], i)):
        if high[i] - low[i] > left:
            break
        left -= high[i] - low[i]
        taken[i] = 1
    return tuple(taken)


def shiftadd_importance(weights: Reals, inputs: Reals, damping: float = 0.01) -> float:
    """Return ShiftAddLLM's importance of a layer (section 4.3): ``||I|| std(I) ** 2``.

    ``I = W / diag(chol(H ** -1))`` with H the inputs' Hessian.

    Parameters
    ----------
    weights : (outputs, inputs) float64
    inputs : (tokens, inputs) float64
    damping : float
        Of the Hessian's diagonal, in units of its mean.
    """
    hessian = inputs.T @ inputs
    hessian = hessian + damping * np.mean(np.diag(hessian)) * np.eye(len(hessian))
    root = np.diag(np.linalg.cholesky(np.linalg.inv(hessian)).T)
    scaled = weights / root
    return float(np.linalg.norm(scaled) * scaled.std() ** 2)
