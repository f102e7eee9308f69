"""GPTQ: columns are rounded in turn, each making up for the errors of those before.

GPTQ (arXiv 2210.17323) in the form of LDLQ (QuIP, arXiv 2307.13304, theorem 6, which shows that
both give the same codes): with ``H = X.T @ X = U D U.T``, U upper triangular of unit diagonal,
column j becomes the nearest value to ``w_j + sum over i < j of (w_i - q_i) U[i, j]``.

Groups keep the scales that plain rounding gives them, so that columns may be rounded in any order
and a chip finds them where they were.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError
from ..coding.coders import coder_of
from ..schemes.scheme import Scheme
from ..tensors.tensor import QuantizedTensor
from .layer import QuantizedLinear, rounded
from .options import check_flag, check_share
from .task import Reals, Task

BLOCK = 128  # columns between two products with all errors before
INT8_MAX = 127
BITS_MAX = 8  # of codes: a table of all of them is searched for each weight


@dataclass(frozen=True, slots=True, kw_only=True)
class GptqOptions:
    """Options of ``gptq``.

    Attributes
    ----------
    damping : float
        Added to the diagonal of the Hessian, in units of its mean (0.01 in the authors' code).
    act_order : bool
        Whether columns of the largest inputs are rounded first.
    """

    damping: float = 0.01
    act_order: bool = True

    def __post_init__(self) -> None:
        check_share("damping", self.damping)
        check_flag("act_order", self.act_order)


def goes_with(scheme: Scheme) -> str:
    """Return why GPTQ does not go with a scheme; empty where it does."""
    if scheme.coder_facts.mixed:
        return "several codes of it together say what each stands for; a column alone has no value"
    if scheme.element_bits > BITS_MAX:
        return f"it takes codes of at most {BITS_MAX} bits"
    return ""


def gptq(task: Task, options: GptqOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task by GPTQ."""
    yield propagated(task, rounded(task, "gptq", f"damping={options.damping:g}"), options)


def propagated(task: Task, base: QuantizedLinear, options: GptqOptions) -> QuantizedLinear:
    """Return a layer of a task, quantized without changes of its inputs, with codes by GPTQ."""
    hessian = hessian_of(task, options.damping)
    order = np.arange(len(hessian))
    if options.act_order:
        order = np.argsort(-np.diag(hessian), kind="stable")
    feedback = unit_feedback(hessian[np.ix_(order, order)], len(task.activations))
    codes = _codes(task.weights.astype(np.float64), base.tensor, feedback, order)
    coded = replace(base.tensor.coded, codes=codes)
    return replace(base, weights=replace(base.tensor, coded=coded))


def hessian_of(task: Task, damping: float) -> Reals:
    """Return the damped (inputs, inputs) Hessian of a task's squared error."""
    hessian = task.activations.T @ task.activations
    return np.asarray(hessian + damping * np.mean(np.diag(hessian)) * np.eye(len(hessian)))


def unit_feedback(hessian: Reals, tokens: int) -> Reals:
    """Return U - 1 of ``H = U D U.T``, (inputs, inputs), strictly upper triangular.

    Raises
    ------
    BitlatheError
        Raised if the Hessian is singular.
    """
    try:
        lower = np.linalg.cholesky(hessian[::-1, ::-1])
    except np.linalg.LinAlgError:
        raise BitlatheError(
            f"activations: {tokens} tokens do not tell {len(hessian)} inputs apart (their Hessian "
            "is singular); pass more tokens, or a damping above 0 such as 0.01"
        ) from None
    upper = lower[::-1, ::-1]
    return np.triu(upper / np.diag(upper), 1)


def _codes(
    weights: Reals, base: QuantizedTensor, feedback: Reals, order: NDArray[np.int64]
) -> NDArray[np.unsignedinteger]:
    """Return the (outputs, inputs) codes; columns are rounded in the given order."""
    books = _books(base)
    codes = np.zeros_like(base.matrix)
    errors = np.zeros((len(order), len(weights)))  # by column, in their order
    for start in range(0, len(order), BLOCK):
        stop = min(start + BLOCK, len(order))
        carried = feedback[:start, start:stop].T @ errors[:start]
        for at in range(start, stop):
            column = int(order[at])
            wanted = weights[:, column] + carried[at - start]
            wanted = wanted + feedback[start:at, at] @ errors[start:at]
            book = books[column // base.layout.block_columns]
            codes[:, column], values = book.nearest(wanted)
            errors[at] = weights[:, column] - values
    return codes


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Book:
    """What the codes of a column stand for, row by row.

    Attributes
    ----------
    values : (rows, 2**k) float64
        Ascending, infinite at the end.
    codes : (rows, 2**k) unsigned
    """

    values: Reals
    codes: NDArray[np.unsignedinteger]

    def nearest(self, wanted: Reals) -> tuple[NDArray[np.unsignedinteger], Reals]:
        """Return code and value nearest each of (rows,) numbers; of two as near the lower one."""
        flat, width = self.values.reshape(-1), self.values.shape[1]
        first = np.arange(len(wanted)) * width
        at, half = first.copy(), width // 2
        while half:  # the last value that is at most the number, or the first of all
            at += np.where(flat[at + half] <= wanted, half, 0)
            half //= 2
        up = np.minimum(at + 1, first + width - 1)
        with np.errstate(invalid="ignore"):
            at = np.where(flat[up] - wanted < wanted - flat[at], up, at)
        return self.codes.reshape(-1)[at], flat[at]


def _books(base: QuantizedTensor) -> list[_Book]:
    """Return the book of each column of groups."""
    values = _values(base)
    return [_book(values[group], base.matrix.dtype) for group in range(len(values))]


def _values(base: QuantizedTensor) -> Reals:
    """Return what every code stands for in each group, (column of groups, rows, codes).

    The codes are laid in the places of the groups' own and read back, as many at once as the
    narrowest group has columns; infinity marks codes that are not to be used.
    """
    layout, count = base.layout, 1 << base.scheme.element_bits
    firsts = np.arange(0, layout.columns, layout.block_columns)
    width = min(layout.block_columns, layout.columns - int(firsts[-1]))
    found = np.full((layout.across, layout.rows, count), np.inf)
    for start in range(0, count, width):
        stop = min(start + width, count)
        row = np.zeros(layout.columns, base.matrix.dtype)
        for code in range(start, stop):
            row[firsts + code - start] = code
        codes = np.ascontiguousarray(np.broadcast_to(row, base.matrix.shape))
        values = replace(base, coded=replace(base.coded, codes=codes)).dequantize(np.float64)
        for code in range(start, stop):
            found[:, :, code] = values[:, firsts + code - start].T
    found[~np.isfinite(found)] = np.inf
    if coder_of(base.scheme).outer_is_step:  # dual grain: weights are integers of 8 bits
        ends = (INT8_MAX + 0.5) * base.outer_scales.astype(np.float64)
        found[np.abs(found) > ends[None, :, None]] = np.inf
    return found


def _book(values: Reals, dtype: np.dtype[Any]) -> _Book:
    """Return the book of (rows, codes) values; of codes that mean the same the lowest is kept."""
    order = np.argsort(values, axis=1, kind="stable")
    ranked = np.take_along_axis(values, order, axis=1)
    again = np.zeros(ranked.shape, np.bool_)
    again[:, 1:] = ranked[:, 1:] == ranked[:, :-1]
    ranked[again] = np.inf
    last = np.argsort(ranked, axis=1, kind="stable")
    return _Book(
        values=np.take_along_axis(ranked, last, axis=1),
        codes=np.take_along_axis(order, last, axis=1).astype(dtype),
    )
