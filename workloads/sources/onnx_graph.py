"""An ONNX file: what its nodes multiply after shape inference, in order, and what feeds what."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ...datatypes.base.errors import BitlatheError, cut, shown, to_install
from ...datatypes.base.files import shown_path
from ..products import Products
from .graph import CONSTANT, INPUT, WEIGHT, Graph, Name, Origin, joined
from .onnx_node import Node, check_order, even_padding
from .onnx_steps import gates, is_known, stays, work

if TYPE_CHECKING:
    import onnx

# operator -> places of the two operands among its inputs (operators.md of onnx, and
# ContribOperators.md of onnxruntime for those of its own domain)
_MATRICES: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(("MatMul", "MatMulInteger", "Gemm", "FusedMatMul", "FusedGemm"), (0, 1)),
    **dict.fromkeys(("DynamicQuantizeMatMul", "MatMulIntegerToFloat"), (0, 1)),
    **dict.fromkeys(("QLinearMatMul", "QGemm"), (0, 3)),
}
_CONVOLUTIONS: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(("Conv", "ConvInteger", "ConvTranspose", "FusedConv"), (0, 1)),
    "QLinearConv": (0, 3),
}
_GATES: Mapping[str, int] = {"RNN": 1, "GRU": 3, "LSTM": 4}
_SUBGRAPHS = ("If", "Loop", "Scan", "SequenceMap")
# operators that multiply in a way that is not read, and operators whose names say that they do
_NOT_READ = ("Einsum", "DeformConv")
_MULTIPLY = ("Attention", "MatMul", "Gemm", "Conv", "MoE", "Lstm", "GRU")
# operators whose results hold no other elements than their first input does
_VIEWS = frozenset(
    (
        *("Identity", "Reshape", "Transpose", "Expand", "Tile", "Unsqueeze", "Squeeze", "Cast"),
        *("Flatten", "Slice", "Split", "DequantizeLinear", "Gather"),
    )
)
# operators that move elements, or say how many there are: nothing computes
_MOVES = frozenset(
    (
        *(_VIEWS - {"DequantizeLinear"}),
        *("Concat", "Constant", "ConstantOfShape", "DepthToSpace", "Dropout", "GatherElements"),
        *("GatherND", "Pad", "Range", "ScatterElements", "ScatterND", "Shape", "Size"),
        *("SpaceToDepth", "Trilu"),
    )
)
_COUNTS = ("Shape", "Size")  # what follows from these alone works on sizes, not on inputs
_SIZES_LARGEST = 2**31
_NO_WEIGHTS = (7, 8, 9)  # TensorProto.DataType: INT64, STRING, BOOL; they say how, not what
_NO_NUMBERS = (6, 7, 8, 9, 12, 13)  # these, INT32, UINT32 and UINT64: words, places, masks


def read_onnx(path: Path, sizes: Mapping[str, int] | None = None) -> Products:
    """Return what the graph of a file multiplies, equal products of repeated layers under one name.

    Parameters
    ----------
    path : Path
        An ONNX file; weights in files beside it are not read.
    sizes : mapping of str to int, optional
        Sizes of dimensions that the file only names, such as ``batch``.

    Raises
    ------
    BitlatheError
        Raised if the onnx package is missing, the file is damaged, a shape is not known or a node
        multiplies in a way that is not read; node and tensor are named.
    """
    place = shown_path(path)
    try:
        import onnx
    except ImportError:
        raise BitlatheError(
            f"{place}: reading ONNX needs the onnx package: {to_install('onnx', 'onnx')}"
        ) from None
    with _explained(place):
        model = onnx.load(str(path), format="protobuf", load_external_data=False)
        if not model.graph.node:
            raise BitlatheError(f"{place}: the graph has no nodes; it is no ONNX model, or empty.")
        names = [each.name for each in (*model.graph.node, *model.graph.initializer)]
        names += [name for node in model.graph.node for name in (*node.input, *node.output)]
        if not all(isinstance(name, str) for name in names):  # protobuf leaves damaged ones bytes
            raise BitlatheError(f"{place}: cannot be read as ONNX: a name in it is not UTF-8.")
        if model.functions:
            import onnx.inliner

            model = onnx.inliner.inline_local_functions(model)
        _check_order(model.graph, place)
        _fix(model.graph, sizes or {}, place)
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
    opset = min((each.version for each in model.opset_import if not each.domain), default=13)
    return _Walk(model.graph, place, opset).products()


@contextmanager
def _explained(place: str) -> Iterator[None]:
    """Turn what the library raises at damaged files into an error that names the file."""
    try:
        yield
    except BitlatheError:
        raise
    except Exception as problem:  # of protobuf and of onnx, with no base of their own
        why = cut(" ".join(str(problem).split()) or type(problem).__name__, 200)
        raise BitlatheError(f"{place}: cannot be read as ONNX: {why}") from None


def _check_order(graph: "onnx.GraphProto", place: str) -> None:
    try:
        check_order(graph.node)
    except BitlatheError as error:
        raise BitlatheError(f"{place}: {error}") from None


def _fix(graph: "onnx.GraphProto", sizes: Mapping[str, int], place: str) -> None:
    """Give the named dimensions of a graph's inputs their sizes; what was inferred is forgotten."""
    used = set()
    for value in graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in sizes:
                used.add(dim.dim_param)
                size = sizes[dim.dim_param]
                if type(size) is not int or not 0 < size < _SIZES_LARGEST:
                    raise BitlatheError(
                        f"{place}: the size of {dim.dim_param!r} is {shown(size)}; it must be an "
                        "integer from 1."
                    )
                dim.dim_value = size
    named = sorted(_named_dimensions(graph))
    for name in sizes:
        if name not in used:
            known = ", ".join(named) or "none"
            raise BitlatheError(
                f"{place}: no dimension of its inputs is called {shown(name)}; those without a "
                f"size: {known}."
            )
    if sizes:
        del graph.value_info[:]
        for value in graph.output:
            value.type.tensor_type.ClearField("shape")


def _named_dimensions(graph: "onnx.GraphProto") -> set[str]:
    weights = {each.name for each in graph.initializer}
    return {
        dim.dim_param
        for value in graph.input
        if value.name not in weights
        for dim in value.type.tensor_type.shape.dim
        if dim.dim_param
    }


class _Walk:
    """Goes through a graph's nodes, in their order."""

    def __init__(self, graph: "onnx.GraphProto", place: str, opset: int) -> None:
        self.graph, self.place, self.opset, self.found = graph, place, opset, Graph()
        self.shapes: dict[str, tuple[int | str, ...]] = {}
        self.origins: dict[str, Origin] = {}
        self.weights: dict[str, int] = {}
        self.counted: set[str] = set()  # tensors that hold sizes
        self.kinds: dict[str, int] = {}
        for value in (*graph.input, *graph.output, *graph.value_info):
            self.kinds[value.name] = value.type.tensor_type.elem_type
            if value.type.tensor_type.HasField("shape"):
                dims = value.type.tensor_type.shape.dim
                self.shapes[value.name] = tuple(
                    dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?"
                    for dim in dims
                )
        for value in graph.input:
            self.origins[value.name] = Origin(kind=INPUT)
        for tensor in graph.initializer:
            self._weight(
                tensor.name, tuple(tensor.dims), counts=tensor.data_type not in _NO_WEIGHTS
            )
        for sparse in graph.sparse_initializer:
            self._weight(sparse.values.name, tuple(sparse.dims))

    def _weight(self, name: str, shape: tuple[int, ...], *, counts: bool = True) -> None:
        self.shapes[name] = shape
        if counts:
            self.weights[name] = math.prod(shape)
        origin = Origin(kind=WEIGHT, weights=frozenset((name,)))
        self.origins[name] = origin.of_size(math.prod(shape))

    def products(self) -> Products:
        for place, node in enumerate(self.graph.node):
            try:
                self._node(node, Node(node, place))
            except BitlatheError as error:
                raise BitlatheError(f"{self.place}: {Node(node, place)}: {error}") from None
            except (ArithmeticError, LookupError, ValueError):  # shapes of other operators
                raise BitlatheError(
                    f"{self.place}: {Node(node, place)}: its inputs are not those that it takes."
                ) from None
        for value in self.graph.output:
            if value.name in self.origins:
                self.found.leave(self.origins[value.name])
        try:
            return self.found.products(self.weights, sum(self.weights.values()))
        except BitlatheError as error:
            raise BitlatheError(f"{self.place}: {error}") from None

    def _node(self, node: "onnx.NodeProto", seen: Node) -> None:
        op = node.op_type
        if op in _MATRICES:
            origin = self._product(node, seen, *_MATRICES[op])
        elif op == "MatMulNBits":
            origin = self._packed_product(node, seen)
        elif op in _CONVOLUTIONS:
            origin = self._convolution(node, seen, *_CONVOLUTIONS[op])
        elif op in _GATES:
            origin = self._recurrent(node, seen)
        elif op == "Attention" and node.domain in ("", "ai.onnx"):
            origin = self._attention(node, seen)
        else:
            self._refuse(node)
            return self._passed(node, seen)
        for name in node.output:
            self._mark(name, origin)
        return None

    def _refuse(self, node: "onnx.NodeProto") -> None:
        op = node.op_type
        if op in _SUBGRAPHS and any(_multiplies(each) for each in _subgraphs(node)):
            raise BitlatheError("what it multiplies depends on data; give the graph of one case.")
        if op in _NOT_READ or (node.domain and any(word in op for word in _MULTIPLY)):
            raise BitlatheError(
                "its products are not read; export the model without fused operators, or list its "
                "products."
            )

    def _passed(self, node: "onnx.NodeProto", seen: Node) -> None:
        """Note the results of a node that multiplies no matrices: they come from what it reads."""
        read = [self.origin(name) for name in node.input if name]
        in_place = all(
            self._stays(node, seen, name) for name in node.input if self.origin(name).sources
        )
        origin = joined(read, in_place=in_place)
        steps = self.found.steps
        moving = {name for name in node.input if self.origin(name).kind == INPUT}
        if node.op_type in _COUNTS or moving <= self.counted:
            self.counted.update(node.output)
        elif node.op_type not in _MOVES and not self._step(node, seen):
            self.found.beside(node.op_type)
        if self.found.steps > steps:
            origin = replace(origin, step=steps if in_place else None)
        for each in read if self.found.steps == steps else ():
            if each.step != origin.step:
                self.found.look_at(each)
        if node.op_type == "Softmax":
            origin = origin.through_softmax()
        for name in node.output:
            self._mark(name, origin)
            if node.op_type in _VIEWS and read and read[0].distinct and name in self.origins:
                size = self.origins[name].distinct
                self.origins[name] = origin.of_size(min(read[0].distinct, size or read[0].distinct))

    def _stays(self, node: "onnx.NodeProto", seen: Node, name: str) -> bool:
        """Return whether a node leaves the elements of an input where they are."""
        read, made = self._sizes(name), self._sizes(node.output[0])
        if read is None or made is None:
            return False
        return stays(seen, read, made, flattens=self.opset < 13)

    def _step(self, node: "onnx.NodeProto", seen: Node) -> bool:
        """Note what a vector unit does of a node; return whether it is known what this is."""
        if not is_known(node.op_type):
            return False
        places = node.op_type in ("ArgMax", "ArgMin")  # found by comparing numbers
        if self.kinds.get(node.input[0] if places else node.output[0]) in _NO_NUMBERS:
            return True
        own = [name for name in node.input if name and self._holds(name, node.op_type)]
        shapes = {name: self._sizes(name) for name in (*own, node.output[0])}
        if not own or any(shape is None for shape in shapes.values()):
            return not own
        # the operand that was made last streams; others lie in memory, weights in the unit
        last = max(own, key=lambda name: max(self.origin(name).sources, default=-1))
        reads = [shapes[last] or (), *(shapes[name] or () for name in own if name != last)]
        squares = node.op_type == "Pow" and self._number(node.input[1]) == 2
        made = shapes[node.output[0]] or ()
        asked = work(
            seen,
            reads,
            made,
            len(own),
            squares=squares,
            inverts=node.op_type == "Div" and own == [node.input[1]],
            flattens=self.opset < 13,
        )
        if asked is None:
            return True
        inputs = [name for name in own if self.origin(name).kind == INPUT and name != last]
        self.found.step(
            f".{asked.operations[-1]}",
            asked.operations,
            (asked.elements, asked.rows, asked.results),
            [self.origin(name) for name in own],
            streams=asked.streams,
            others=[math.prod(shapes[name] or ()) for name in inputs],
            kept=[self.origin(name) for name in (*(() if asked.streams else (last,)), *inputs)],
        )
        return True

    def _number(self, name: str) -> float | None:
        """Return the number that a tensor of one element holds, if the file states it."""
        import onnx

        stated = [each for each in self.graph.initializer if each.name == name]
        for node in self.graph.node:
            if node.op_type == "Constant" and name in node.output:
                stated += [each.t for each in node.attribute if each.name == "value"]
        if len(stated) != 1 or math.prod(stated[0].dims) != 1 or stated[0].external_data:
            return None
        return float(onnx.numpy_helper.to_array(stated[0]).reshape(()))

    def _holds(self, name: str, operator: str) -> bool:
        """Return whether a tensor is an operand: no bias of a product, and no single number."""
        origin, shape = self.origin(name), self._sizes(name)
        if origin.kind == INPUT or shape is None:
            return origin.kind == INPUT and name not in self.counted
        return math.prod(shape) > 1 and (operator != "Add" or len(shape) > 1)

    def _sizes(self, name: str) -> tuple[int, ...] | None:
        """Return the shape of a tensor, if it is known."""
        found = self.shapes.get(name)
        if found is None or any(isinstance(size, str) for size in found):
            return None
        return tuple(int(size) for size in found)

    def _mark(self, name: str, origin: Origin) -> None:
        shape = self.shapes.get(name, ())
        known = all(isinstance(size, int) for size in shape)
        elements = math.prod(int(size) for size in shape) if known and name in self.shapes else 0
        self.origins[name] = origin.of_size(elements)

    def origin(self, name: str) -> Origin:
        """Return where a tensor comes from."""
        return self.origins.get(name, Origin(kind=CONSTANT))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor.

        Raises
        ------
        BitlatheError
            Raised if it, or one of its sizes, is not known.
        """
        found, known = self.shapes.get(name), self._sizes(name)
        if known is None:
            stated = "unknown" if found is None else " x ".join(map(str, found))
            named = sorted(_named_dimensions(self.graph))
            example = ", ".join(f"{each!r}: 1" for each in named) or "'batch': 1"
            raise BitlatheError(
                f"the shape of {name!r} is {stated}. State the sizes of the graph's inputs in the "
                f"file, or with bitlathe.from_onnx(path, {{{example}}})."
            )
        return known

    def _product(self, node: "onnx.NodeProto", seen: Node, a: int, b: int) -> Origin:
        left, right = node.input[a], node.input[b]
        x, y = self.shape(left), self.shape(right)
        x = (1, *x) if len(x) == 1 else x
        y = (*y, 1) if len(y) == 1 else y
        if seen.value("transA", 0):
            x = (*x[:-2], x[-1], x[-2])
        if seen.value("transB", 0):
            y = (*y[:-2], y[-1], y[-2])
        if x[-1] != y[-2]:
            raise BitlatheError(f"{left!r} ({x}) and {right!r} ({y}) do not fit: {x[-1]}, {y[-2]}.")
        batch = math.prod(_broadcast(x[:-2], y[:-2]))
        sizes = (x[-2], y[-1], x[-1], batch)
        origins = (self.origin(left), self.origin(right))
        if 0 in sizes:
            return joined(origins)
        return self.found.product(seen.name, sizes, *origins)

    def _packed_product(self, node: "onnx.NodeProto", seen: Node) -> Origin:
        x, n, k = self.shape(node.input[0]), seen.value("N", 0), seen.value("K", 0)
        if x[-1] != k:
            raise BitlatheError(f"its K is {k}, but {node.input[0]!r} is {x[-1]} wide.")
        held = self.origin(node.input[1]).of_size(n * k)
        self.weights[node.input[1]] = n * k
        sizes = (math.prod(x[:-1]), n, k, 1)
        return self.found.product(seen.name, sizes, self.origin(node.input[0]), held)

    def _convolution(self, node: "onnx.NodeProto", seen: Node, a: int, b: int) -> Origin:
        x, w = self.shape(node.input[a]), self.shape(node.input[b])
        transposed = node.op_type == "ConvTranspose"
        how = {
            "stride": seen.value("strides", (1,) * (len(w) - 2)),
            "dilation": seen.value("dilations", (1,) * (len(w) - 2)),
        }
        padded = x
        if transposed:
            how["padding"] = (0,) * (len(w) - 2)
        else:
            y = self.shape(node.output[0])
            axes = zip(x[2:], w[2:], y[2:], how["stride"], how["dilation"], strict=True)
            even = [
                even_padding(*axis, begin)
                for axis, begin in zip(axes, seen.begins(x, w), strict=True)
            ]
            padded = (*x[:2], *(size for size, _ in even))
            how["padding"] = tuple(padding for _, padding in even)
        return self.found.convolution(
            seen.name,
            padded,
            w,
            how,
            seen.value("group", 1),
            transposed=transposed,
            origins=(self.origin(node.input[a]), self.origin(node.input[b])),
        )

    def _recurrent(self, node: "onnx.NodeProto", seen: Node) -> Origin:
        """Add the products of a recurrent layer: of all inputs, then of each step's state."""
        x, w = self.shape(node.input[0]), self.shape(node.input[1])
        directions, gates_of = w[0], _GATES[node.op_type]
        hidden = w[1] // gates_of
        by_batch = seen.value("layout", 0)
        steps, batch = (x[1], x[0]) if by_batch else (x[0], x[1])
        origin = self.origin(node.input[0])
        ends = []
        for direction in range(directions):
            suffix = f".{direction}" if directions > 1 else ""
            fed = self.found.product(
                _called(f"{seen.path}.input{suffix}"),
                (steps * batch, gates_of * hidden, x[2], 1),
                origin,
                self.origin(node.input[1]).of_size(0),
            )
            sizes = (batch, gates_of * hidden, hidden, 1)
            for _ in range(steps):
                fed = self.found.product(
                    _called(f"{seen.path}.state{suffix}"),
                    sizes,
                    fed,
                    self.origin(node.input[2]).of_size(0),
                )
                self.found.step(
                    ".gates",
                    gates(node.op_type),
                    (batch * hidden, batch, batch * hidden),
                    (fed,),
                    streams=True,
                    others=(batch * gates_of * hidden, *(batch * hidden,) * (gates_of > 1)),
                )
            ends.append(fed)
        return joined(ends)

    def _attention(self, node: "onnx.NodeProto", seen: Node) -> Origin:
        if any(node.input[4:6]):
            raise BitlatheError("attention with past keys is not read; list its products.")
        names = node.input[:3]
        heads = [seen.value(key, 0) for key in ("q_num_heads", "kv_num_heads", "kv_num_heads")]
        shapes = [self.shape(name) for name in names]
        split = [
            s if len(s) == 4 else (s[0], h, s[1], s[2] // h)
            for s, h in zip(shapes, heads, strict=True)
        ]
        q, k, v = split
        return self.found.attention(
            seen.name,
            (q[2], k[2], q[3], v[3]),
            q[0] * k[1],
            q[1] // k[1],
            [self.origin(name) for name in names],
            causal=bool(seen.value("is_causal", 0)),
        )


def _called(text: str) -> Name:
    return lambda _weights, _kind: text


def _broadcast(a: Sequence[int], b: Sequence[int]) -> Iterator[int]:
    """Yield the sizes of the leading axes of two operands together."""
    longest = max(len(a), len(b))
    whole = ((1,) * (longest - len(each)) + tuple(each) for each in (a, b))
    for left, right in zip(*whole, strict=True):
        yield max(left, right) if min(left, right) else 0


def _subgraphs(node: "onnx.NodeProto") -> Iterable["onnx.GraphProto"]:
    for each in node.attribute:
        if each.HasField("g"):
            yield each.g
        yield from each.graphs


def _multiplies(graph: "onnx.GraphProto") -> bool:
    known = {*_MATRICES, *_CONVOLUTIONS, *_GATES, *_NOT_READ, "Attention", "MatMulNBits"}
    return any(
        node.op_type in known or any(_multiplies(each) for each in _subgraphs(node))
        for node in graph.node
    )
