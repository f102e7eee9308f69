"""Convolutions as matrix products by im2col, and networks of them as data files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ..datatypes.base.errors import BitlatheError, nearest
from .config import Config
from .gemm import Gemm, check_size

_KEYS: Mapping[str, tuple[str, ...]] = {
    "conv": (
        "name", "type", "from", "out_channels", "kernel", "stride", "padding", "dilation",
        "groups", "norm", "bias",
    ),
    "pool": ("name", "type", "from", "kernel", "stride", "padding"),
    "global_pool": ("name", "type", "from"),
    "add": ("name", "type", "from"),
    "linear": ("name", "type", "from", "out_channels", "bias"),
}  # fmt: skip
_LARGEST_KERNEL = 2**16  # taps are counted one by one


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvShape:
    """The sizes of one two-dimensional convolution; pairs are (height, width).

    Attributes
    ----------
    in_channels, out_channels : int
        Channels; both multiples of ``groups``.
    size : tuple of int
        Height and width of the input.
    kernel, stride, padding, dilation : tuple of int
        The filter; padding is added on both sides.
    groups : int
        1 for a full convolution, ``in_channels`` for a depthwise one.
    """

    in_channels: int
    out_channels: int
    size: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        for field in ("in_channels", "out_channels", "groups"):
            check_size(field, getattr(self, field))
        for field in ("size", "kernel", "stride", "dilation", "padding"):
            pair = getattr(self, field)
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise BitlatheError(f"{field} is {pair!r}; it must be a pair (height, width).")
            for value in pair:
                check_size(field, value, least=0 if field == "padding" else 1)
        for field in ("in_channels", "out_channels"):
            if getattr(self, field) % self.groups:
                raise BitlatheError(
                    f"{field} is {getattr(self, field)}, which {self.groups} groups do not divide."
                )
        if min(self.output_size) < 1:
            raise BitlatheError(
                f"the filter of {self.kernel} with dilation {self.dilation} is larger than the "
                f"padded input of {self.size} with padding {self.padding}."
            )
        if max(self.kernel) > _LARGEST_KERNEL:
            raise BitlatheError(f"kernel is {self.kernel}; at most {_LARGEST_KERNEL} is supported.")
        if min(self.touched_size) < 1:
            raise BitlatheError(
                f"the filter of {self.kernel} with stride {self.stride} reads nothing but the "
                f"padding of {self.padding} around the input of {self.size}."
            )

    @property
    def output_size(self) -> tuple[int, int]:
        """Height and width of the result: floor((H + 2P - D*(F-1) - 1)/S) + 1."""
        high, wide = (
            (self.size[i] + 2 * self.padding[i] - self.dilation[i] * (self.kernel[i] - 1) - 1)
            // self.stride[i]
            + 1
            for i in (0, 1)
        )
        return high, wide

    @property
    def touched_size(self) -> tuple[int, int]:
        """Rows and columns of the input that the filter reads somewhere, padding left out."""
        high, wide = (self._touched(axis) for axis in (0, 1))
        return high, wide

    def _touched(self, axis: int) -> int:
        """Count the positions of one axis that some output reads.

        Tap f of output o reads position o*S + f*D - P. Taps whose first position leaves the same
        rest r when divided by S read positions q*S + r, each for as many consecutive q as there
        are outputs: intervals of q, by rising start, of which the union is counted.
        """
        size, stride, outputs = self.size[axis], self.stride[axis], self.output_size[axis]
        count, counted_to = 0, dict[int, int]()
        for tap in range(self.kernel[axis]):
            first, rest = divmod(tap * self.dilation[axis] - self.padding[axis], stride)
            start = max(first, counted_to.get(rest, 0))
            end = min(first + outputs, (size - 1 - rest) // stride + 1)
            if end > start:
                count += end - start
                counted_to[rest] = end
        return count

    def gemm(self, name: str, images: int = 1) -> Gemm:
        """Return the convolution as a matrix product.

        M = images * output height * width, N = output channels per group, K = input channels per
        group * filter height * width, batch = groups. All images share the filters.
        """
        high, wide = self.output_size
        rows, columns = self.touched_size
        inputs = self.in_channels // self.groups
        return Gemm(
            name=name,
            m=images * high * wide,
            n=self.out_channels // self.groups,
            k=inputs * self.kernel[0] * self.kernel[1],
            batch=self.groups,
            sequences=images,
            kind="conv",
            input_elements=images * inputs * rows * columns,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A convolution or linear layer of a network, with the weighted layers that feed it."""

    name: str
    shape: ConvShape
    sources: tuple[str, ...]
    linear: bool = False
    norm: bool = False
    bias: bool = False

    def gemm(self, images: int) -> Gemm:
        """Return the layer as a matrix product; a linear layer has one row per image."""
        if self.linear:
            n, k = self.shape.out_channels, self.shape.in_channels
            return Gemm(name=self.name, m=images, n=n, k=k, sequences=images)
        return self.shape.gemm(self.name, images)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvNet:
    """A convolution network: its weighted layers in order, joined as a graph."""

    layers: tuple[Layer, ...]

    def gemms(self, images: int) -> tuple[Gemm, ...]:
        """Return one matrix product per layer."""
        return tuple(layer.gemm(images) for layer in self.layers)

    def edges(self) -> Iterator[tuple[str, str]]:
        """Yield the names of a layer and of one that reads its result."""
        for layer in self.layers:
            for source in layer.sources:
                yield source, layer.name

    def weight_count(self) -> int:
        """Elements of all filters and matrices."""
        return sum(gemm.weight_elements for gemm in self.gemms(1))

    def parameter_count(self) -> int:
        """Weights, biases, and scale and shift of the batch norms."""
        return self.weight_count() + sum(
            layer.shape.out_channels * (2 * layer.norm + layer.bias) for layer in self.layers
        )


@dataclass(frozen=True, slots=True)
class _Value:
    """What a named layer yields: channels, size, and the weighted layers behind it."""

    channels: int
    size: tuple[int, int]
    behind: tuple[str, ...]


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


def _sources(layer: Config, known: Mapping[str, _Value], last: str) -> list[_Value]:
    given = layer.get("from")
    names = [last] if given is None else given if isinstance(given, list) else [given]
    for name in names:
        if not isinstance(name, str) or name not in known:
            near = nearest(str(name), known, limit=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise layer.error(f"'from' names {name!r}, not an earlier layer.{hint}", "from")
    return [known[name] for name in names]


def _joined(layer: Config, kind: str, values: list[_Value]) -> _Value:
    first = values[0] if values else None
    if first is None or (kind != "add" and len(values) != 1):
        raise layer.error(f"a layer of type {kind!r} reads exactly one layer.", "from")
    for other in values[1:]:
        if (other.channels, other.size) != (first.channels, first.size):
            raise layer.error(
                f"'add' joins unequal results: {first.channels} channels of {first.size} and "
                f"{other.channels} of {other.size}.",
                "from",
            )
    behind = tuple(dict.fromkeys(name for value in values for name in value.behind))
    return _Value(first.channels, first.size, behind)


def _weighted(layer: Config, name: str, kind: str, value: _Value) -> Layer:
    try:
        if kind == "linear":
            inputs = value.channels * value.size[0] * value.size[1]
            shape = ConvShape(
                in_channels=inputs,
                out_channels=layer.integer("out_channels"),
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
                padding=_pair(layer, "padding", 0, least=0),
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
        linear=kind == "linear",
        norm=layer.flag("norm", default=False),
        bias=layer.flag("bias", default=False),
    )


def _pooled(layer: Config, kind: str, value: _Value) -> _Value:
    if kind == "add":
        return value
    if kind == "global_pool":
        return _Value(value.channels, (1, 1), value.behind)
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
    return _Value(value.channels, window.output_size, value.behind)


def _kind(layer: Config) -> str:
    kind = layer.get("type") or "conv"
    if not isinstance(kind, str) or kind not in _KEYS:
        raise layer.error(f"'type' is {kind!r}; it must be one of {', '.join(_KEYS)}.", "type")
    for key in layer.data:
        if key not in _KEYS[kind]:
            near = nearest(str(key), _KEYS[kind], limit=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Known: {', '.join(_KEYS[kind])}."
            raise layer.error(f"unknown key {key!r} of a {kind} layer. {hint}", str(key))
    return kind


def read_convnet(config: Config) -> ConvNet:
    """Read a network: ``input: [channels, height, width]`` and a list of ``layers``.

    A layer has a ``type`` (conv, pool, global_pool, add, linear; conv if left out), a ``name``,
    and ``from``, the earlier layer it reads (the one above it if left out; "input" is the image).

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
    known = {"input": _Value(image[0], (image[1], image[2]), ())}
    last, found = "input", []
    for index in range(len(config.items("layers"))):
        layer = config.child("layers", index)
        kind = _kind(layer)
        name = layer.string("name") if "name" in layer.data else f"layer{index}"
        if name in known:
            raise layer.error(f"two layers are called {name!r}; names must differ.", "name")
        value = _joined(layer, kind, _sources(layer, known, last))
        if kind in ("conv", "linear"):
            found.append(_weighted(layer, name, kind, value))
            shape = found[-1].shape
            known[name] = _Value(shape.out_channels, shape.output_size, (name,))
        else:
            known[name] = _pooled(layer, kind, value)
        last = name
    if not found:
        raise config.error("'layers' holds no conv or linear layer.", "layers")
    return ConvNet(layers=tuple(found))
