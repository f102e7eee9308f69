"""What ONNX's operators do between products, as operations of a vector unit.

Names are those of onnx's operators.md, and of onnxruntime's ContribOperators.md for its own domain.
What moves elements, or compares them to make a mask, is no arithmetic; the norm of a batch scales
and shifts by numbers that are known before, which a convolution takes into its filters.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from .onnx_node import Node

Shape = Sequence[int]
_EACH: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("Add", "Sub", "Sum"), ("add",)),
    "Mul": ("multiply",),
    "Div": ("special", "multiply"),
    "Pow": ("special", "multiply"),
    **dict.fromkeys(("Relu", "Abs", "Max", "Min", "ThresholdedRelu", "Floor"), ("relu",)),
    **dict.fromkeys(("Ceil", "Round", "Sign"), ("relu",)),
    **dict.fromkeys(("LeakyRelu", "PRelu"), ("relu", "multiply")),
    "Clip": ("relu6",),
    "HardSigmoid": ("add", "relu6"),
    "HardSwish": ("add", "relu6", "multiply"),
    **dict.fromkeys(("Elu", "Celu", "Selu"), ("special", "add", "multiply")),
    **dict.fromkeys(("Gelu", "FastGelu"), ("gelu",)),
    "BiasGelu": ("add", "gelu"),
    "QuickGelu": ("multiply", "silu"),
    **dict.fromkeys(("Swish", "Silu"), ("silu",)),
    **{name: (name.lower(),) for name in ("Sigmoid", "Tanh", "Softplus")},
    "Softsign": ("relu", "add", "special", "multiply"),
    "Mish": ("softplus", "tanh", "multiply"),
    **dict.fromkeys(("Exp", "Log", "Sqrt", "Reciprocal", "Sin", "Cos", "Erf"), ("special",)),
    "RotaryEmbedding": ("rotary",),
    "QuantizeLinear": ("multiply", "add"),
    "DequantizeLinear": ("multiply",),
}
"""Operators on single elements."""
_ROWS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("Softmax", "LogSoftmax"), ("softmax",)),
    **dict.fromkeys(("LayerNormalization", "GroupNormalization"), ("layer_norm",)),
    "InstanceNormalization": ("layer_norm",),
    **dict.fromkeys(("RMSNormalization", "SimplifiedLayerNormalization"), ("rms_norm",)),
    "SkipLayerNormalization": ("add", "layer_norm"),
    "SkipSimplifiedLayerNormalization": ("add", "rms_norm"),
    "LpNormalization": ("l2_norm",),
    "DynamicQuantizeLinear": ("quantize",),
}
"""Operators on rows that are read whole."""
_SUMS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("ReduceSum", "ReduceMean", "CumSum", "GlobalAveragePool"), ("add",)),
    **dict.fromkeys(("ReduceMax", "ReduceMin", "ArgMax", "ArgMin", "GlobalMaxPool"), ("relu",)),
    **dict.fromkeys(("ReduceL2", "ReduceSumSquare"), ("multiply", "add")),
}
"""Operators that leave one number of several."""
_WINDOWS: Mapping[str, tuple[str, ...]] = {"MaxPool": ("relu",), "AveragePool": ("add",)}
_FOLDED = frozenset(("Add", "Sub", "Mul", "Div", "Sum"))
"""Operators that a number on the other side is no work of: it is folded into what is beside."""
_OF_MANY = frozenset(("Sum", "Max", "Min"))
"""Operators of any number of operands, joined one after the other."""
_INVERSE = _EACH["Reciprocal"]
NOTHING = frozenset(
    (
        *("BatchNormalization", "Neg", "Where", "And", "Or", "Not", "Xor", "Equal", "Greater"),
        *("GreaterOrEqual", "Less", "LessOrEqual", "IsNaN", "IsInf"),
    )
)
"""Operators of no work: folded norms, signs, masks."""
_GATES: Mapping[str, tuple[str, ...]] = {
    "RNN": ("add", "tanh"),
    "GRU": (*("add", "sigmoid") * 2, "add", "multiply", "tanh", "add", "multiply", "add"),
    "LSTM": (*("add", "sigmoid") * 3, "add", "tanh", "multiply", "multiply", "add", "tanh",
             "multiply"),
}  # fmt: skip
"""What a recurrent layer does of each element of its state behind the products of a step."""


_RESHAPES = frozenset(
    ("Identity", "Reshape", "Flatten", "Unsqueeze", "Squeeze", "Cast", "Expand", "Dropout")
)
"""Operators whose results are their input in its order, where they have as many elements."""


class Work(NamedTuple):
    """Operations of an operator, the elements that it works on, their rows, and its results."""

    operations: tuple[str, ...]
    elements: int
    rows: int
    results: int
    streams: bool


def is_known(operator: str) -> bool:
    """Return whether it is known here what an operator does, be it nothing."""
    tables = (_EACH, _ROWS, _SUMS, _WINDOWS, NOTHING)
    return any(operator in table for table in tables)


def stays(node: Node, read: Shape, made: Shape, *, flattens: bool = False) -> bool:
    """Return whether a node leaves each element in its place, or works on it there.

    A softmax does: it works on rows, as a product has them.

    Parameters
    ----------
    node : Node
    read, made : sequence of int
        Shapes of an input and of its results.
    flattens : bool
        As of `work`.
    """
    operator = node.node.op_type
    if operator in _RESHAPES:
        return math.prod(read) == math.prod(made)
    if operator == "Softmax":
        axis = node.value("axis", 1 if flattens else -1)
        return bool(read) and axis in (-1, len(read) - 1)
    each = (operator in _EACH and operator != "RotaryEmbedding") or operator in NOTHING
    return each and tuple(read) == tuple(made)


def gates(operator: str) -> tuple[str, ...]:
    """Return what a recurrent layer does of each element of its state in a step."""
    return _GATES[operator]


def work(
    node: Node,
    reads: Sequence[Shape],
    made: Shape,
    operands: int,
    *,
    squares: bool = False,
    inverts: bool = False,
    flattens: bool = False,
) -> Work | None:
    """Return what a node asks of a vector unit; None where it is nothing.

    Parameters
    ----------
    node : Node
        Of an operator that is known.
    reads : sequence of shapes
        Of its inputs; that of its first operand comes first.
    made : sequence of int
        Shape of its results.
    operands : int
        How many of its inputs are tensors of several elements.
    squares : bool
        Whether it is a power of two.
    inverts : bool
        Whether it divides a number by a tensor.
    flattens : bool
        Whether a softmax is one of all axes from its own on, as before operators of version 13.
    """
    operator, read, results = node.node.op_type, reads[0], math.prod(made)
    elements, last = math.prod(read), max(1, made[-1]) if made else 1
    if operator in NOTHING or (operator in _FOLDED and operands < 2 and not inverts):
        return None
    if operator in _EACH:
        done = _INVERSE if inverts else ("multiply",) if squares else _EACH[operator]
        done *= max(1, operands - 1) if operator in _OF_MANY else 1
        return Work(done, results, max(1, results // last), results, True)
    if operator in _WINDOWS:
        taps = math.prod(node.value("kernel_shape", (1,) * (len(read) - 2)))
        rows = max(1, results // last)
        return Work(_WINDOWS[operator], results * taps, rows, results, False)
    if operator in _SUMS:
        return Work(_SUMS[operator], elements, max(1, results), results, False)
    rows = _rows(node, read, flattens=flattens)
    return Work(_ROWS[operator], elements, max(1, rows), results, False)


def _rows(node: Node, read: Shape, *, flattens: bool) -> int:
    """Return into how many rows an operator takes its input, each to be read whole."""
    operator = node.node.op_type
    if operator == "DynamicQuantizeLinear":
        return 1
    if operator == "GroupNormalization":
        groups: int = node.value("num_groups", 1)
        return read[0] * groups
    if operator == "InstanceNormalization":
        return math.prod(read[:2])
    if flattens and operator in ("Softmax", "LogSoftmax"):
        return math.prod(read[: node.value("axis", 1)])
    axis: int = node.value("axis", -1)
    if "LayerNormalization" in operator or operator == "RMSNormalization":
        return math.prod(read[:axis])
    return math.prod(read) // max(1, read[axis])
