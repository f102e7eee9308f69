"""One call for every scheme: `quantize` checks, cuts into groups, hands to a coder, packs.

Large float32 tensors go through compiled kernels where one fits (`fast`); everything else, and
everything the kernels are tested against, is plain numpy. What both compute, in the
precision of the input (float32 for anything narrower, float64 for float64):

* the scale of a group: range / largest magnitude of the grid, one division, then rounded to the
  scale format (never from something positive to 0);
* y = x / scale, one division, then the nearest value of the grid;
* the error of a candidate: value * scale in one rounding, the difference in one rounding, squares
  and their sum in float64; the first candidate wins among equals.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .asym import encode_asym
from .bcq import encode_bcq
from .coding import Coded, Job
from .dgq import encode_dgq
from .errors import BitlatheError, unknown_name
from .fast import encode_fast
from .format import Format, Mixture
from .inputs import Inputs
from .layout import Layout
from .olive import encode_olive
from .paper import encode_paper, encode_paper_asym
from .rounding import NANS, check_rounding, refuse_nonfinite
from .scaling import nan_pattern
from .scheme import Scheme
from .table import encode_table
from .tensor import QuantizedTensor

CODERS: dict[str, Callable[[Job], Coded]] = {
    "table": encode_table,
    "asym": encode_asym,
    "olive": encode_olive,
    "bcq": encode_bcq,
    "dgq": encode_dgq,
}
PAPER_CODERS: dict[str, Callable[[Job], Coded]] = {
    "table": encode_paper,
    "asym": encode_paper_asym,
}


def quantize(
    x: Any,
    scheme: str | Scheme | Format | Mixture,
    axis: int = -1,
    rounding: str = "even",
    nan: str = "raise",
    seed: int | None = None,
    importance: ArrayLike | None = None,
    activations: Any = None,
) -> QuantizedTensor:
    """Quantise a tensor.

    Parameters
    ----------
    x : array_like or torch tensor, real, at least one axis
        float16, bfloat16, float32 or float64; integers are read as float64.
    scheme : str, Scheme, Format or Mixture
        A scheme string such as ``"bitmod_fp4@g128/int8"``. A format or mixture of one's own is
        taken per channel with fp16 scales; `Scheme.of` gives it another granularity.
    axis : int
        The axis along which groups run: input channels of a weight matrix.
    rounding : str
        See `Format.encode`.
    nan : str
        ``raise`` refuses NaN and infinity, naming the first index. ``propagate`` makes every
        value of a group NaN that holds one.
    seed : int, optional
        For ``rounding="stochastic"``.
    importance : (length of axis,) array_like, optional
        Weight of each position's squared error in searches, such as the mean square of the
        activations that meet it.
    activations : (..., length of axis) array_like or torch tensor, optional
        Inputs of the layer whose weights `x` are. Searches and the choice among members then
        make the error of the layer's outputs small instead of that of its weights.

    Returns
    -------
    QuantizedTensor

    Raises
    ------
    BitlatheError
        Bad scheme, axis, dtype, NaN, or a scale that does not fit its format.

    Examples
    --------
    >>> import numpy as np
    >>> q = quantize(np.array([[0.0, 1.0, -2.0, 8.0]]), "bitmod_fp4@g4")
    >>> q.dequantize().tolist(), q.choices.tolist()
    ([[0.0, 1.0, -2.0, 8.0]], [[2]])
    """
    parsed = Scheme.of(scheme) if isinstance(scheme, Format | Mixture) else Scheme.parse(scheme)
    check_rounding(rounding)
    if nan not in NANS:
        raise BitlatheError(unknown_name("nan rule", nan, NANS))
    array, dtype, device = as_float(x)
    layout = Layout.of(array.shape, axis, parsed.granularity)
    bad = np.zeros(layout.groups, np.bool_)
    # NaN and infinity reach the ends; two passes without a temporary
    if array.size and not (np.isfinite(array.min()) and np.isfinite(array.max())):
        finite = np.isfinite(array)
        if nan == "raise":
            refuse_nonfinite(array, "quantize")
        bad = np.asarray(layout.split(layout.matrix(~finite)).any(axis=1), np.bool_)
        array = np.where(finite, array, 0)
    job = Job(
        groups=layout.split(layout.matrix(array)),
        weights=_weights(layout, importance, array.dtype),
        layout=layout,
        scheme=parsed,
        rounding=rounding,
        seed=seed,
        masked_only=importance is None,
        inputs=_inputs(parsed, layout, importance, activations),
    )
    coded = _encode(job)
    if bad.any():
        coded.raw[bad] = nan_pattern(parsed.scale_format)
    return QuantizedTensor(
        scheme=parsed,
        layout=layout,
        matrix=np.ascontiguousarray(layout.join(coded.codes)),
        raw=coded.raw,
        outer=coded.outer,
        zero_points=coded.zeros,
        selectors=coded.choices,
        dtype=dtype,
        device=device,
    )


def _encode(job: Job) -> Coded:
    scheme = job.scheme
    if job.layout.groups == 0:
        return _nothing(job)
    compiled = encode_fast(job) if job.inputs is None else None
    if compiled is not None:
        return compiled
    coders = PAPER_CODERS if scheme.paper else CODERS
    return coders[scheme.coder](job)


def _nothing(job: Job) -> Coded:
    """Return the coding of an empty tensor: no group, no scale, no second-level scale."""
    scheme = job.scheme
    none = np.zeros(0, np.uint8)
    return Coded(
        codes=np.zeros((0, job.layout.block_size), scheme.formats[0].code_dtype),
        raw=np.zeros((0, scheme.element_bits if scheme.coder == "bcq" else 1), np.uint32),
        outer=np.zeros(0, np.uint32),
        zeros=none if scheme.zero_bits else None,
        choices=none if scheme.selector_bits else None,
    )


def as_float(x: Any) -> tuple[NDArray[Any], str, str | None]:
    """Return a tensor as float32 or float64, the name of its own dtype, and its torch device."""
    if type(x).__module__.split(".")[0] == "torch":
        from .torch_bridge import from_torch

        return from_torch(x)
    try:
        array = np.asarray(x)
        name = array.dtype.name
        if array.dtype.kind in "iub":
            array, name = array.astype(np.float64), "float64"
        elif name in ("float16", "bfloat16"):
            array = array.astype(np.float32)
        elif array.dtype.kind != "f" or name not in ("float32", "float64"):
            raise TypeError
    except (TypeError, ValueError):
        raise BitlatheError(
            f"quantize: a tensor of real numbers is needed, got {type(x).__name__}"
            + (f" of {x.dtype}" if isinstance(x, np.ndarray) else "")
        ) from None
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("="))
    return array, name, None


def _weights(
    layout: Layout, importance: ArrayLike | None, dtype: np.dtype[Any]
) -> NDArray[Any] | None:
    mask = layout.mask()
    if importance is None:
        return None if mask is None else mask.astype(dtype)
    given = np.asarray(importance, dtype)
    if given.shape != (layout.columns,) or not np.isfinite(given).all() or (given < 0).any():
        raise BitlatheError(
            f"importance: {layout.columns} finite weights >= 0 are needed, one per position along "
            f"the axis, got an array of shape {given.shape}"
        )
    return layout.split(np.broadcast_to(given, (layout.rows, layout.columns)))


def _inputs(
    scheme: Scheme, layout: Layout, importance: ArrayLike | None, activations: Any
) -> Inputs | None:
    if activations is None:
        return None
    other = "importance" if importance is not None else ""
    unfit = {"paper": scheme.paper, "mae": scheme.clip == "mae", scheme.name: scheme.coder == "bcq"}
    other = next((name for name, bad in unfit.items() if bad), other)
    if other:
        raise BitlatheError(
            f"activations: {scheme} with {other} does not measure outputs; leave one of the two "
            "out, or pass the mean squares of the activations as importance"
        )
    return Inputs.of(as_float(activations)[0], layout)
