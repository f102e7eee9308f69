"""Topologies of SCALE-Sim: its CSV files of convolutions, and of products by M, N and K.

Conventions follow the program's own reader (``scalesim/topology_utils.py`` and
``scalesim/compute/operand_matrix.py`` of github.com/scalesim-project/scale-sim-v2): columns count
by their place, rows end with a comma, the input holds its padding already, one stride serves both
axes, an output length is the ceiling of (input - filter + stride) / stride, and a layer with "DP"
in its name is a depthwise convolution, a filter for each channel.
"""

from collections.abc import Mapping, Sequence

from ...datatypes.base.errors import BitlatheError, shown
from ...datatypes.base.numbers import ceil_div
from ..config import Config
from ..conv import conv_gemm
from ..conv_shape import ConvShape
from ..gemm import Gemm
from ..products import Entry, Products
from .listed import whole_or_text

Row = tuple[int, list[str]]
_MNK = ["m", "n", "k"]
_CONV = ("ifmap height", "ifmap width", "filter height", "filter width", "channels", "num filter")
_STRIDE, _STRIDE_WIDTH = "strides", "stride width"
_DEPTHWISE = "DP"
_DENSE = ("1", "1:1")


def is_topology(header: Sequence[str]) -> bool:
    """Return whether the first row of a CSV file is that of a topology of SCALE-Sim."""
    names = _names(header)
    first = names[0].startswith("layer")
    return first and (any("ifmap" in name for name in names) or names[1:4] == _MNK)


def read_topology(rows: Sequence[Row], source: str) -> tuple[Products, tuple[str, ...]]:
    """Return the layers of a topology, and what of it is not taken as it stands.

    Parameters
    ----------
    rows : sequence of (int, list of str)
        Each row's line and cells, the header first.
    source : str
        The file, for errors.

    Raises
    ------
    BitlatheError
        Raised if there is no layer, or one lacks a size or has an impossible one; with its line.
    """
    (_, header), *body = rows
    names = _names(header)
    of_row = _product if names[1:4] == _MNK else _convolution
    if not body:
        raise BitlatheError(f"{source}: the topology has no layers below its header.")
    found: list[Gemm] = []
    sparse: list[str] = []
    wider: list[str] = []
    for line, cells in body:
        row = Config(data=_data(names, cells), source=source, text="", place=f"{source}:{line}")
        try:
            found.append(of_row(row, cells[0] or f"layer{len(found)}", wider))
        except BitlatheError as error:
            raise error if str(error).startswith(source) else row.error(str(error)) from None
        if row.get("sparsity") not in (None, *_DENSE):
            sparse.append(f"{cells[0]} ({row.get('sparsity')})")
    notes = []
    if sparse:
        notes.append(f"sparsity is not modeled: {_few(sparse)} run as dense layers.")
    if wider:
        notes.append(
            f"windows reach past the input, as SCALE-Sim counts them: {_few(wider)}, so that the "
            "last one is whole."
        )
    return Products(entries=tuple(Entry(gemm=gemm) for gemm in found)), tuple(notes)


def _few(named: Sequence[str]) -> str:
    return ", ".join(named[:3]) + (f" and {len(named) - 3} more" if len(named) > 3 else "")


def _names(header: Sequence[str]) -> list[str]:
    return [" ".join(cell.lower().split()) for cell in header]


def _data(names: Sequence[str], cells: Sequence[str]) -> Mapping[str, object]:
    """Return a row's values by what its columns mean; columns behind them are remarks."""
    if names[1:4] == _MNK:
        meaning = ["name", *names[1:6]]
    else:
        meaning = ["name", *_CONV, _STRIDE, *names[8:10]]
    data: dict[str, object] = {}
    for name, cell in zip(meaning, cells, strict=False):
        if cell:
            data[name] = cell if name in ("name", "sparsity") else whole_or_text(cell)
    return data


def _product(row: Config, name: str, _wider: list[str]) -> Gemm:
    batch = row.integer("batch", default=1)
    return Gemm(name=name, m=row.integer("m"), n=row.integer("n"), k=row.integer("k"), batch=batch)


def _convolution(row: Config, name: str, wider: list[str]) -> Gemm:
    high, wide, filter_high, filter_wide, channels, filters = (row.integer(key) for key in _CONV)
    stride = row.integer(_STRIDE)
    strides = (stride, row.integer(_STRIDE_WIDTH, default=stride))
    for axis, length, taps in (("height", high, filter_high), ("width", wide, filter_wide)):
        if taps > length:
            raise row.error(
                f"layer {shown(name)}: a filter of {axis} {taps} is larger than the input's "
                f"{length}; a topology's input holds its padding already."
            )
    kernel = (filter_high, filter_wide)
    # the last window is whole: the input grows to where it ends; rows that none reads are left
    whole = [
        max(length, ceil_div(length - taps, step) * step + taps)
        for length, taps, step in zip((high, wide), kernel, strides, strict=True)
    ]
    if whole != [high, wide]:
        wider.append(f"{name} ({high} x {wide} read as {whole[0]} x {whole[1]})")
    depthwise = _DEPTHWISE in name
    shape = ConvShape(
        in_channels=channels,
        out_channels=filters * channels if depthwise else filters,
        size=(whole[0], whole[1]),
        kernel=kernel,
        stride=strides,
        groups=channels if depthwise else 1,
    )
    return conv_gemm(shape, name)
