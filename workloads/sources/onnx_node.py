"""A node of an ONNX graph: what it is called, its attributes, the padding of a convolution."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...datatypes.base.errors import BitlatheError, shown

if TYPE_CHECKING:
    import onnx

_INT, _STRING, _INTS = 2, 3, 7  # AttributeProto.AttributeType


def check_order(nodes: Sequence["onnx.NodeProto"]) -> None:
    """Refuse nodes that read what is made further down, as no file of ONNX may have them.

    Raises
    ------
    BitlatheError
        Raised with the nodes of a circle, or the one to move.
    """
    maker = {name: i for i, node in enumerate(nodes) for name in node.output if name}
    ahead = {
        i: [name for name in node.input if name in maker and maker[name] >= i]
        for i, node in enumerate(nodes)
    }
    early = next((i for i, names in ahead.items() if names), None)
    if early is None:
        return
    circle = _circle(nodes, maker, early)
    if circle:
        called = " -> ".join(str(Node(nodes[i], i)) for i in (*circle, circle[0]))
        raise BitlatheError(
            f"its nodes go in a circle, which no order runs: {called}; give the graph of one step, "
            "with what comes from the step before as an input."
        )
    name = ahead[early][0]
    late = Node(nodes[maker[name]], maker[name])
    raise BitlatheError(
        f"{Node(nodes[early], early)} reads {shown(name)}, which {late} makes further down; put "
        "nodes in the order in which they run."
    )


def _circle(
    nodes: Sequence["onnx.NodeProto"], maker: dict[str, int], start: int
) -> tuple[int, ...]:
    """Return nodes that feed each other in a circle, each the next, nearest to one; or nothing."""
    path, seen = {start: None}, {start}
    waiting = [iter(_fed_by(nodes, maker, start))]
    while waiting:
        j = next(waiting[-1], None)
        if j is None:
            waiting.pop()
            path.popitem()
        elif j in path:
            nearest_first = list(path)
            return tuple(reversed(nearest_first[nearest_first.index(j) :]))
        elif j not in seen:
            seen.add(j)
            path[j] = None
            waiting.append(iter(_fed_by(nodes, maker, j)))
    return ()


def _fed_by(nodes: Sequence["onnx.NodeProto"], maker: dict[str, int], i: int) -> list[int]:
    return [maker[name] for name in nodes[i].input if name in maker]


class Node:
    """A node as errors and products name it, and its attributes."""

    def __init__(self, node: "onnx.NodeProto", place: int) -> None:
        self.node, self.place = node, place

    def __str__(self) -> str:
        called = f"node {shown(self.node.name)}" if self.node.name else f"node {self.place}"
        return f"{called} ({self.node.op_type})"

    @property
    def path(self) -> str:
        """Its name as a dotted path, without what only repeats the operator."""
        parts = [part for part in self.node.name.replace(".", "/").split("/") if part]
        if len(parts) > 1 and parts[-1].rstrip("0123456789").rstrip("_") == self.node.op_type:
            parts = parts[:-1]
        return ".".join(parts)

    def name(self, weights: frozenset[str], kind: str) -> str:
        """Return what its product is called: after the node, else after its only weight."""
        if not weights and kind.startswith("attention"):
            return f"{self.path}.{kind}" if self.path else kind
        if self.path and self.path != f"{self.node.op_type}_{self.place}":
            return self.path
        if len(weights) == 1:
            return next(iter(weights)).removesuffix(".weight")
        return f"{kind}_{self.place}"

    def value(self, key: str, default: Any) -> Any:
        """Return an attribute, of the kind of its default: an integer, some of them, or bytes.

        Raises
        ------
        BitlatheError
            Raised if it is of another kind.
        """
        for each in self.node.attribute:
            if each.name == key:
                kinds = {int: (_INT, each.i), bytes: (_STRING, each.s), tuple: (_INTS, each.ints)}
                kind, found = kinds[type(default)]
                fits = not isinstance(default, tuple) or len(each.ints) == len(default)
                if each.type != kind or not fits:
                    raise BitlatheError(
                        f"its attribute {key!r} is not of the type, or the length, that it takes."
                    )
                return type(default)(found)
        return default

    def begins(self, x: Sequence[int], w: Sequence[int]) -> tuple[int, ...]:
        """Return the padding ahead of each axis of a convolution, -1 where it is automatic."""
        axes = len(w) - 2
        auto = self.value("auto_pad", b"NOTSET").decode()
        if auto in ("SAME_UPPER", "SAME_LOWER"):
            return (-1,) * axes
        pads = self.value("pads", (0,) * (2 * axes))
        return tuple(pads[:axes]) if auto == "NOTSET" else (0,) * axes


def even_padding(
    size: int, taps: int, outputs: int, stride: int, dilation: int, begin: int
) -> tuple[int, int]:
    """Return an input size and an even padding that give so many outputs, -1 being any padding.

    Where no even padding does, what one side has more of padding than the other counts as input.

    Parameters
    ----------
    size, taps, outputs, stride, dilation : int
        Of one axis of a convolution.
    begin : int
        Padding ahead of the input; -1: as much as it takes.
    """
    reach = dilation * (taps - 1) + 1
    needed = (outputs - 1) * stride + reach  # positions from the first window's to the last one's
    if begin < 0:
        begin = max(needed - size, 0) // 2
    for padding in (begin, begin + 1):
        if (size + 2 * padding - reach) // stride + 1 == outputs:
            return size, padding
    padding = max(0, min(begin, needed - size - begin))
    return needed - 2 * padding, padding
