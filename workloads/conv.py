"""Convolutions as matrix products by im2col, and networks of them as data files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ..datatypes.base.errors import BitlatheError, nearest, unknown_name
from .circles import Reads, reads_of, why_not_earlier
from .config import Config
from .conv_shape import ConvShape
from .gemm import Gemm
from .sizes import check_size
from .vector_step import Tensor, VectorStep

_KEYS: Mapping[str, tuple[str, ...]] = {
    "conv": (
        "name", "type", "from", "out_channels", "kernel", "stride", "padding", "dilation",
        "groups", "norm", "bias", "scale", "activation",
    ),
    "pool": ("name", "type", "from", "kernel", "stride", "padding"),
    "global_pool": ("name", "type", "from"),
    "add": ("name", "type", "from", "activation"),
    "multiply": ("name", "type", "from"),
    "linear": (
        "name", "type", "from", "out_channels", "in_features", "out_features", "bias", "activation",
    ),
}  # fmt: skip
ACTIVATIONS = ("relu", "relu6", "relu2", "silu", "gelu", "sigmoid")


def conv_gemm(shape: ConvShape, name: str, images: int = 1) -> Gemm:
    """Return a convolution as an m x n x k matrix product.

    M = images * output height * width, N = output channels per group, K = input channels per
    group * filter height * width, batch = groups. All images share the filters.
    """
    high, wide = shape.output_size
    rows, columns = shape.touched_size
    inputs = shape.in_channels // shape.groups
    return Gemm(
        name=name,
        m=images * high * wide,
        n=shape.out_channels // shape.groups,
        k=inputs * shape.kernel[0] * shape.kernel[1],
        batch=shape.groups,
        sequences=images,
        kind="conv",
        input_elements=images * inputs * rows * columns,
        conv=shape,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution or linear layer of a network, with the weighted layers that feed it.

    ``takes`` is the layer, or step, whose results it reads as they lie (`_Value.maker`).
    """

    name: str
    shape: ConvShape
    sources: tuple[str, ...]
    takes: str
    linear: bool = False
    norm: bool = False
    bias: bool = False
    scale: bool = False

    def gemm(self, images: int) -> Gemm:
        """Return the layer as a matrix product; a linear layer has one row per image."""
        if self.linear:
            n, k = self.shape.out_channels, self.shape.in_channels
            return Gemm(name=self.name, m=images, n=n, k=k, sequences=images)
        return conv_gemm(self.shape, self.name, images)


@dataclass(frozen=True, slots=True, kw_only=True)
class Between:
    """What stands between weighted layers: activation, sum, pooling.

    Attributes
    ----------
    name : str
    operations : tuple of str
        Of `vector_step.OPERATIONS`.
    channels : int
    size : (int, int)
        Height and width of its results.
    taps : int
        Elements that go into each result.
    streams : bool
        Whether it takes results of the last of ``sources`` one by one as they come.
    reads : tuple of (int, str)
        Elements of each tensor that it reads from memory, of an image, in rows of ``channels``, and
        what made it (`_Value.maker`).
    sources : tuple of str
        The weighted layers that feed it.
    """

    name: str
    operations: tuple[str, ...]
    channels: int
    size: tuple[int, int]
    taps: int
    streams: bool
    reads: tuple[tuple[int, str], ...]
    sources: tuple[str, ...]

    def step(self, images: int) -> VectorStep:
        """Return what it asks of a vector unit."""
        results = images * self.channels * self.size[0] * self.size[1]
        width = self.channels  # of a position, as the layers beside it store them
        return VectorStep(
            name=self.name,
            operations=self.operations,
            rows=images * self.channels * self.size[0],
            elements=results * self.taps,
            after=self.sources,
            streams=self.streams,
            pieces=results if self.streams else images,
            reads=tuple(
                Tensor(images * read, width, "conv", maker=maker) for read, maker in self.reads
            ),
            writes=() if self.streams else (Tensor(results, width, "conv", "input"),),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvNet:
    """A convolution network: its weighted layers in order, joined as a graph.

    ``between`` is what stands between them, in order.
    """

    layers: tuple[Layer, ...]
    between: tuple[Between, ...] = ()

    def gemms(self, images: int) -> tuple[Gemm, ...]:
        """Return one matrix product per layer."""
        return tuple(layer.gemm(images) for layer in self.layers)

    def vector_steps(self, images: int) -> tuple[VectorStep, ...]:
        """Return what stands between the layers, as steps of a vector unit."""
        return tuple(each.step(images) for each in self.between)

    def edges(self) -> Iterator[tuple[str, str]]:
        """Yield the names of a layer and of one that reads its result."""
        for layer in self.layers:
            for source in layer.sources:
                yield source, layer.name

    def weight_count(self) -> int:
        """Elements of all filters and matrices."""
        return sum(gemm.weight_elements for gemm in self.gemms(1))

    def parameter_count(self) -> int:
        """Weights, biases, scales of channels, and scale and shift of the norms."""
        return self.weight_count() + sum(
            layer.shape.out_channels * (2 * layer.norm + layer.bias + layer.scale)
            for layer in self.layers
        )


@dataclass(frozen=True, slots=True)
class _Value:
    """What a named layer yields: channels, size, and the weighted layers behind it.

    ``maker`` is the layer whose results it is, or in whose place it lies (sums, which stream), or
    the step that leaves it.
    """

    channels: int
    size: tuple[int, int]
    behind: tuple[str, ...]
    maker: str


def _pair(layer: Config, key: str, default: int | None, least: int = 1) -> tuple[int, int]:
    value = layer.get(key)
    if not isinstance(value, list):
        one = layer.integer(key, default=default, least=least)
        return one, one
    if len(value) != 2 or any(isinstance(v, bool) or not isinstance(v, int) for v in value):
        raise layer.error(f"{key!r} is {value!r}; give one integer or two [height, width].", key)
    for part in value:
        check_size(f"{layer.where(key)}: {key!r}", part, least=least)
    return value[0], value[1]


def _sources(
    layer: Config, own: str, known: Mapping[str, _Value], last: str, reads: Reads
) -> list[_Value]:
    given = layer.get("from")
    names = [last] if given is None else given if isinstance(given, list) else [given]
    for name in names:
        if not isinstance(name, str) or name not in known:
            near = nearest(str(name), known, limit=1)
            hint = f"Did you mean {near[0]!r}?" if near else "No layer has that name."
            why = why_not_earlier(str(name), own, reads) or f", not an earlier layer. {hint}"
            raise layer.error(f"'from' names {name!r}{why}", "from")
    return [known[name] for name in names]


def _joined(layer: Config, kind: str, values: list[_Value]) -> _Value:
    first = values[0] if values else None
    if first is None or (kind not in ("add", "multiply") and len(values) != 1):
        raise layer.error(f"a layer of type {kind!r} reads exactly one layer.", "from")
    if kind == "multiply":
        return _scaled(layer, values)
    for other in values[1:]:
        if (other.channels, other.size) != (first.channels, first.size):
            raise layer.error(
                f"'add' joins unequal results: {first.channels} channels of {first.size} and "
                f"{other.channels} of {other.size}.",
                "from",
            )
    behind = tuple(dict.fromkeys(name for value in values for name in value.behind))
    return _Value(first.channels, first.size, behind, first.maker)


def _scaled(layer: Config, values: list[_Value]) -> _Value:
    """Return the product of a result with a factor for each of its channels."""
    if len(values) != 2 or (values[1].channels, values[1].size) != (values[0].channels, (1, 1)):
        raise layer.error(
            "'multiply' reads two layers: a result, and one of as many channels of one pixel.",
            "from",
        )
    behind = tuple(dict.fromkeys((*values[0].behind, *values[1].behind)))
    return _Value(values[0].channels, values[0].size, behind, values[0].maker)


def _padding(layer: Config) -> tuple[int, int]:
    """Return the zeros at each side; ``same`` leaves the size as it is, as PyTorch has it."""
    if layer.get("padding") != "same":
        return _pair(layer, "padding", 0, least=0)
    kernel, dilation = _pair(layer, "kernel", None), _pair(layer, "dilation", 1)
    both = tuple(step * (size - 1) for step, size in zip(dilation, kernel, strict=True))
    if _pair(layer, "stride", 1) != (1, 1) or any(zeros % 2 for zeros in both):
        raise layer.error(
            "'padding' is 'same', which needs stride 1 and as many zeros at both sides (an odd "
            "kernel); give the zeros of a side.",
            "padding",
        )
    return both[0] // 2, both[1] // 2


def _outputs(layer: Config, inputs: int) -> int:
    """Return the channels that a linear layer makes, in the words of lists or of PyTorch."""
    given = layer.get("in_features")
    if given is not None and layer.integer("in_features") != inputs:
        raise layer.error(f"'in_features' is {given!r}; the layer reads {inputs}.", "in_features")
    if layer.get("out_features") is None:
        return layer.integer("out_channels")
    if layer.get("out_channels") is not None:
        raise layer.error("give 'out_channels' or 'out_features', not both.", "out_features")
    return layer.integer("out_features")


def _weighted(layer: Config, name: str, kind: str, value: _Value) -> Layer:
    try:
        if kind == "linear":
            inputs = value.channels * value.size[0] * value.size[1]
            shape = ConvShape(
                in_channels=inputs,
                out_channels=_outputs(layer, inputs),
                size=(1, 1),
                kernel=(1, 1),
            )
        else:
            shape = ConvShape(
                in_channels=value.channels,
                out_channels=layer.integer("out_channels"),
                size=value.size,
                kernel=_pair(layer, "kernel", None),
                stride=_pair(layer, "stride", 1),
                padding=_padding(layer),
                dilation=_pair(layer, "dilation", 1),
                groups=layer.integer("groups", default=1),
            )
    except BitlatheError as error:
        if str(error).startswith(layer.source):
            raise
        raise layer.error(f"layer {name!r}: {error}") from None
    return Layer(
        name=name,
        shape=shape,
        sources=value.behind,
        takes=value.maker,
        linear=kind == "linear",
        norm=layer.flag("norm", default=False),
        bias=layer.flag("bias", default=False),
        scale=layer.flag("scale", default=False),
    )


def _pooled(layer: Config, name: str, kind: str, values: list[_Value], order: list[str]) -> _Value:
    """Return what a layer without weights yields; ``order``: the weighted ones before it."""
    value = _joined(layer, kind, values)
    if kind == "add":
        newest = max(value.behind, key=order.index, default="")
        makers = [each.maker for each in values]
        return replace(value, maker=newest if newest in makers else makers[-1])
    if kind == "multiply":
        return replace(value, maker=name)
    if kind == "global_pool":
        return _Value(value.channels, (1, 1), value.behind, name)
    kernel = _pair(layer, "kernel", None)
    try:
        window = ConvShape(
            in_channels=1,
            out_channels=1,
            size=value.size,
            kernel=kernel,
            stride=kernel if layer.get("stride") is None else _pair(layer, "stride", None),
            padding=_pair(layer, "padding", 0, least=0),
        )
    except BitlatheError as error:
        raise error if str(error).startswith(layer.source) else layer.error(str(error)) from None
    return _Value(value.channels, window.output_size, value.behind, name)


def _between(
    layer: Config, name: str, kind: str, values: list[_Value], made: _Value
) -> list[Between]:
    """Return what a layer does beside its products, which read ``values`` and make ``made``."""
    operations, taps, streams = _activation(layer), 1, True
    one, read = made.channels * made.size[0] * made.size[1], list[tuple[int, str]]()
    makers, value = [each.maker for each in values], values[0]
    if kind == "add":
        makers.remove(made.maker)
        operations = ("add",) * len(makers) + operations
        read = [(one, maker) for maker in makers]
    elif kind == "multiply":
        operations, streams = ("multiply",), False
        read = [(one, makers[0]), (made.channels, makers[1])]
    elif kind in ("pool", "global_pool"):
        high, wide = value.size if kind == "global_pool" else _pair(layer, "kernel", None)
        operations, taps, streams = ("add",), high * wide, False
        read = [(value.channels * value.size[0] * value.size[1], value.maker)]
    if not operations:
        return []
    return [
        Between(
            name=name if kind not in ("conv", "linear") else f"{name}.{operations[-1]}",
            operations=operations,
            channels=made.channels,
            size=made.size,
            taps=taps,
            streams=streams,
            reads=tuple(read),
            sources=made.behind,
        )
    ]


def _activation(layer: Config) -> tuple[str, ...]:
    if layer.get("activation") is None:
        return ()
    name = layer.string("activation")
    if name not in ACTIVATIONS:
        raise layer.error(unknown_name("activation", name, ACTIVATIONS), "activation")
    return (name,)


def _kind(layer: Config) -> str:
    kind = layer.get("type") or "conv"
    if not isinstance(kind, str) or kind not in _KEYS:
        hint = " An activation is a key of the layer before it." if kind in ACTIVATIONS else ""
        known = f"it must be one of {', '.join(_KEYS)}.{hint}"
        raise layer.error(f"'type' is {kind!r}; {known}", "type")
    for key in layer.data:
        if key not in _KEYS[kind]:
            near = nearest(str(key), _KEYS[kind], limit=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(_KEYS[kind])}."
            raise layer.error(f"unknown key {key!r} of a {kind} layer. {hint}", str(key))
    return kind


def read_convnet(config: Config) -> ConvNet:
    """Read a network: ``input: [channels, height, width]`` and a list of ``layers``.

    A layer has a ``type`` (conv, pool, global_pool, add, multiply, linear; conv if left out), a
    ``name``, and ``from``, the earlier layer it reads (the one above it if left out; "input" is the
    image).

    Raises
    ------
    BitlatheError
        Naming file and line, if sizes are wrong or layers do not fit together.
    """
    image = config.items("input")
    if len(image) != 3 or any(isinstance(v, bool) or not isinstance(v, int) for v in image):
        raise config.error(
            "'input' must be [channels, height, width], such as [3, 224, 224].", "input"
        )
    for value in image:
        check_size(f"{config.where('input')}: 'input'" if value < 1 else "'input'", value)
    known = {"input": _Value(image[0], (image[1], image[2]), (), "")}
    last, found, between = "input", [], []
    reads = reads_of(config.items("layers"), in_turn=True)
    for index in range(len(config.items("layers"))):
        layer = config.child("layers", index)
        kind = _kind(layer)
        name = layer.string("name") if "name" in layer.data else f"layer{index}"
        if name in known:
            raise layer.error(f"two layers are called {name!r}; names must differ.", "name")
        values = _sources(layer, name, known, last, reads)
        if kind in ("conv", "linear"):
            found.append(_weighted(layer, name, kind, _joined(layer, kind, values)))
            shape = found[-1].shape
            known[name] = _Value(shape.out_channels, shape.output_size, (name,), name)
        else:
            known[name] = _pooled(layer, name, kind, values, [each.name for each in found])
        between += _between(layer, name, kind, values, known[name])
        last = name
    if not found:
        raise config.error("'layers' holds no conv or linear layer.", "layers")
    return ConvNet(layers=tuple(found), between=tuple(between))
