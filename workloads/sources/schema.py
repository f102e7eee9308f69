"""What files that list products or convolutions may say, as records for schemas and tables of keys.

The readers (`entries`, `listed`, `conv`) check files themselves; a test holds these records to the
keys that the readers know.
"""

from typing import Annotated, Literal

from pydantic import Field

from ...datatypes.base.yamlfile import Record
from ..gemm import Kind

Size = Annotated[int, Field(ge=1)]
Pair = Size | Annotated[list[Size], Field(min_length=2, max_length=2)]
Padding = (
    Annotated[int, Field(ge=0)]
    | Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=2, max_length=2)]
)
Names = str | list[str]
Activation = Literal["relu", "relu6", "relu2", "silu", "gelu", "sigmoid"]


class ProductEntry(Record):
    """A product of an m x k by a k x n matrix."""

    name: str | None = Field(default=None, description="name of the layer; layer0, layer1 ...")
    sources: Names | None = Field(
        default=None, alias="from", description="earlier products that it reads"
    )
    count: Size = Field(default=1, description="layers alike that it stands for")
    layers: list[int] | None = Field(
        default=None, description="numbers of the layers that it stands for, from 0"
    )
    m: Size | Literal["tokens"] = Field(description="rows of inputs and results; or tokens")
    n: Size = Field(description="columns of weights and results")
    k: Size = Field(description="elements of one sum")
    batch: Size = Field(default=1, description="products at once, each with its own operands")
    sequences: Size = Field(default=1, description="sequences, or images, that the rows are of")
    rows_per_token: Size = Field(default=1, description="rows that stand for one token")
    window: Size | None = Field(default=None, description="entries that a row sees at most")
    input_elements: Size | None = Field(
        default=None, description="distinct input elements, where they are not m x k"
    )
    visible_before: int = Field(default=0, ge=0, description="cached tokens before the first row")
    keys: int = Field(default=0, ge=0, description="outputs that are keys of the K/V cache")
    values: int = Field(default=0, ge=0, description="outputs that are values of the K/V cache")
    kind: Kind = Field(
        default="linear", description="kind of layer, by which a chip chooses formats"
    )
    stationary: Literal["weight", "kv_cache"] = Field(
        default="weight", description="what the k x n operand is"
    )
    causal: Literal["n", "k"] | None = Field(
        default=None, description="dimension along which later tokens are masked"
    )


class ConvEntry(Record):
    """A convolution as deep-learning libraries write it: n images of c x h x w, k filters."""

    name: str | None = Field(default=None, description="name of the layer; layer0, layer1 ...")
    sources: Names | None = Field(
        default=None, alias="from", description="earlier products that it reads"
    )
    count: Size = Field(default=1, description="layers alike that it stands for")
    n: Size = Field(default=1, description="images")
    k: Size = Field(description="filters: channels of the result")
    c: Size = Field(description="channels of the input")
    h: Size = Field(description="height of the input")
    w: Size = Field(description="width of the input")
    r: Size = Field(description="height of a filter")
    s: Size = Field(description="width of a filter")
    stride: Pair = Field(default=1, description="step of the filter, one or [height, width]")
    padding: Padding = Field(default=0, description="zeros at each side, one or [height, width]")
    dilation: Pair = Field(default=1, description="step within a filter, one or [height, width]")
    groups: Size = Field(default=1, description="groups of channels")


class ProductList(Record):
    """A file that lists products: what a model is to the simulator, without a network's names."""

    products: list[ProductEntry | ConvEntry] = Field(description="products, in their order")
    phase: Literal["prefill", "decode"] | None = Field(
        default=None, description="the only phase that the list is for"
    )


class NetworkLayer(Record):
    """A layer of a convolution network; shapes follow from the input and the layers before."""

    name: str = Field(description="name of the layer")
    type: Literal["conv", "pool", "global_pool", "add", "multiply", "linear"] = Field(
        description="what it does"
    )
    sources: Names | None = Field(
        default=None, alias="from", description="earlier layers that it reads; the one above it"
    )
    out_channels: Size | None = Field(
        default=None, description="conv, linear: channels of the result"
    )
    in_features: Size | None = Field(default=None, description="linear: elements read, checked")
    out_features: Size | None = Field(default=None, description="linear: out_channels")
    kernel: Pair | None = Field(default=None, description="conv, pool: one or [height, width]")
    stride: Pair | None = Field(default=None, description="conv, pool: step of the window")
    padding: Padding | Literal["same"] | None = Field(
        default=None, description="conv, pool: zeros at each side; conv: same keeps the size"
    )
    dilation: Pair | None = Field(default=None, description="conv: step within a filter")
    groups: Size | None = Field(default=None, description="conv: groups of channels")
    norm: bool = Field(default=False, description="conv: a normalization follows")
    bias: bool = Field(default=False, description="conv, linear: a bias is added")
    scale: bool = Field(default=False, description="conv: a scale of each channel is multiplied by")
    activation: Activation | None = Field(
        default=None, description="conv, add, linear: function of each result"
    )


class Network(Record):
    """A file that lists the layers of a convolution network."""

    input: Annotated[list[Size], Field(min_length=3, max_length=3)] = Field(
        description="[channels, height, width] of an image"
    )
    layers: list[NetworkLayer] = Field(description="layers, in their order")
