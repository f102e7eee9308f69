"""What torch does between products, as operations of a vector unit: by the name of the call.

Views, copies, casts and choices of elements are no arithmetic; the norm of a batch scales and
shifts by numbers that are known before, which a convolution takes into its filters.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

_EACH: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("add", "sub", "rsub"), ("add",)),
    "mul": ("multiply",),
    "div": ("special", "multiply"),
    **dict.fromkeys(("relu", "maximum", "minimum", "clamp", "abs", "threshold"), ("relu",)),
    "leaky_relu": ("relu", "multiply"),
    "hardtanh": ("relu6",),
    "hardsigmoid": ("add", "relu6"),
    "hardswish": ("add", "relu6", "multiply"),
    "elu": ("special", "add", "multiply"),
    **{name: (name,) for name in ("gelu", "silu", "sigmoid", "tanh", "softplus")},
    **dict.fromkeys(
        ("exp", "log", "rsqrt", "sqrt", "reciprocal", "sin", "cos", "erf"), ("special",)
    ),
    "mish": ("softplus", "tanh", "multiply"),
    "log_sigmoid_forward": ("softplus",),
}
"""Calls on single elements."""
_ROWS: Mapping[str, str] = {
    **dict.fromkeys(("softmax", "_softmax", "_safe_softmax", "_log_softmax"), "softmax"),
    "native_layer_norm": "layer_norm",
    "native_group_norm": "layer_norm",
    "_fused_rms_norm": "rms_norm",
}
"""Calls on rows that are read whole."""
_SUMS = frozenset(("sum", "mean", "amax", "amin", "max", "min", "cumsum", "argmax"))
_POOLS = frozenset(("max_pool1d", "max_pool2d_with_indices", "max_pool3d_with_indices"))
_MEANS = frozenset(("avg_pool1d", "avg_pool2d", "avg_pool3d"))
_WINDOWS = _POOLS | _MEANS
_ADAPTIVE = frozenset(("_adaptive_avg_pool2d", "adaptive_max_pool2d", "_adaptive_avg_pool3d"))
_FOLDED = frozenset(("add", "sub", "rsub", "mul", "div"))
"""Calls that a number on the other side is no work of: it is folded into what is beside."""
_STAYING = frozenset(
    (
        *("view", "_unsafe_view", "_reshape_alias", "expand", "clone", "unsqueeze", "squeeze"),
        *("alias", "detach", "_to_copy", "lift_fresh_copy", "native_dropout", "neg"),
        *("masked_fill", "where", "tril", "triu"),
    )
)
"""Calls of no work that leave each element in its place, where there are as many as before."""
Shape = Sequence[int]


def stays(call: str, args: Sequence[Any], read: Shape, made: Shape) -> bool:
    """Return whether a call leaves each element in its place, or works on it there.

    In the order of rows, whatever the shape of a view: a softmax works on rows, as a product has
    them.

    Parameters
    ----------
    call : str
    args : sequence
        What it was called with.
    read, made : sequence of int
        Shapes of an operand and of the results.

    Examples
    --------
    >>> stays("view", (), (4, 6), (24,)), stays("relu", (), (4, 6), (4, 6)), stays("t", (), (), ())
    (True, True, False)
    """
    if call in _STAYING and call not in ("masked_fill", "where"):
        return math.prod(read) == math.prod(made)
    if call.rstrip("_") in _STAYING or streams(call) or is_folded(call):
        return tuple(read) == tuple(made)
    if _ROWS.get(call) == "softmax":
        return bool(read) and args[1] in (-1, len(read) - 1)
    return False


def operations_of(call: str, args: Sequence[Any], operands: int) -> tuple[str, ...]:
    """Return the operations of a call; none where it does no arithmetic.

    Parameters
    ----------
    call : str
        Name of the call, as ``"add"`` or ``"add_"``.
    args : sequence
        What it was called with.
    operands : int
        How many of these are tensors that the program does not state itself.

    Examples
    --------
    >>> operations_of("relu_", (None,), 1), operations_of("mul", (None, 0.5), 1)
    (('relu',), ())
    """
    call = call if call.startswith("_") else call.rstrip("_")
    if call == "pow":
        return ("multiply",) if args[1] == 2 else ("special", "multiply")
    if call in _EACH:
        return () if call in _FOLDED and operands < 2 else _EACH[call]
    if call in _ROWS:
        return (_ROWS[call],)
    summing = call in _SUMS or call in _WINDOWS or call in _ADAPTIVE
    return ("add",) if summing else ()


def is_folded(call: str) -> bool:
    """Return whether a call is the norm of a batch, by numbers that are known before."""
    return "batch_norm" in call


def is_known(call: str) -> bool:
    """Return whether it is known here what a call does, be it nothing."""
    return call.rstrip("_") in _EACH or call.startswith("pow")


def streams(call: str) -> bool:
    """Return whether a call takes elements one by one."""
    return call.rstrip("_") in _EACH or call.startswith("pow")


def sizes_of(call: str, args: Sequence[Any], read: Shape, made: Shape) -> tuple[int, int, int]:
    """Return the elements that a call works on, the rows that they make up, and its results.

    Parameters
    ----------
    call : str
    args : sequence
        What it was called with.
    read, made : sequence of int
        Shapes of its first operand and of its results.

    Examples
    --------
    >>> sizes_of("_softmax", (None, -1, False), (2, 3, 5), (2, 3, 5))
    (30, 6, 30)
    """
    results, elements = math.prod(made), math.prod(read)
    if streams(call):
        return results, max(1, results // _last(made)), results
    if call in _WINDOWS:
        taps = args[1]
        window = taps if isinstance(taps, (list, tuple)) else [taps]
        spatial = len(read) - 2 if len(window) == 1 else 1
        return results * math.prod(window) ** spatial, max(1, results // _last(made)), results
    if call in ("native_layer_norm", "_fused_rms_norm"):
        return elements, max(1, elements // max(1, math.prod(args[1]))), results
    if call == "native_group_norm":
        return elements, max(1, args[3] * args[6]), results
    if call in _ROWS:
        return elements, max(1, elements // max(1, read[args[1]] if read else 1)), results
    return elements, max(1, results), results


def _last(shape: Shape) -> int:
    return max(1, shape[-1]) if shape else 1
