"""One call for every scheme: `quantize` checks, cuts into groups, hands to a coder, packs.

Large float32 tensors go through compiled kernels where one fits (`coding.dispatch`); everything
else, and everything the kernels are tested against, is plain numpy. What both compute, in the
precision of the input (float32 for anything narrower, float64 for float64):

* the scale of a group: range / largest magnitude of the grid, one division, then rounded to the
  scale format (never from something positive to 0);
* y = x / scale, one division, then the nearest value of the grid;
* the error of a candidate: value * scale in one rounding, the difference in one rounding, squares
  and their sum in float64; the first candidate wins among equals.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .base.arrays import as_float
from .base.errors import BitlatheError, unknown_name
from .coding.coded import Coded
from .coding.coders import coder_of, encode_fast
from .coding.gpu import encode_lying, encode_on_cuda
from .coding.inputs import Inputs
from .coding.job import GroupedMatrix, Job
from .coding.nan import grain, propagate
from .coding.under_given import Given, encode_under
from .formats.finite import all_finite, refuse_nonfinite
from .formats.format import Format, Mixture
from .formats.rounding import NANS, OVERFLOWS, check_rounding
from .schemes.layout import Axis, Layout
from .schemes.scheme import Scheme
from .tensors.ends import check_ends, near_ends
from .tensors.tensor import QuantizedTensor

DEVICES = ("cpu", "cuda")


def quantize(
    x: Any,
    scheme: str | Scheme | Format | Mixture,
    axis: Axis = None,
    rounding: str = "even",
    nan: str = "raise",
    seed: int | None = None,
    importance: ArrayLike | None = None,
    activations: Any = None,
    overflow: str | None = None,
    device: str = "cpu",
    scales: Any = None,
    zeros: Any = None,
    choices: Any = None,
) -> QuantizedTensor:
    """Quantize a tensor.

    Parameters
    ----------
    x : (..., length of axis, ...) array_like or torch tensor, real
        float16, bfloat16, float32 or float64; integers are read as float64, floats of 8 bits and
        fewer as float32.
    scheme : str, Scheme, Format or Mixture
        A scheme string such as ``"bitmod_fp4@g128/int8"``. A format or mixture of the catalogue
        means what its name means; a user-defined one defaults to one fp16 scale per channel, and
        `Scheme.of` gives it another granularity.
    axis : int, tuple of int or None
        The axis along which groups run: input channels of a weight matrix. Several that follow
        one another, such as (1, 2, 3), are taken as one. None is the last axis; of four axes or
        more all but the first, as convolutions have (out, in, height, width).
    rounding : str
        See `Format.encode`. ``+paper``, olive, bcq and kmeans have their own rules.
    nan : str
        ``raise`` refuses NaN and infinity, naming the first index. ``propagate`` makes every
        value of a group NaN that holds one; of a row of groups where their scales are integers
        under a scale of the row; of the element alone where there are no scales (fp16, bf16).
    seed : int, optional
        For ``rounding="stochastic"``.
    importance : (length of axis,) array_like, optional
        Weight of each position's squared error in searches, such as the mean square of the
        activations that meet it.
    activations : (..., length of axis) array_like or torch tensor, optional
        Inputs of the layer whose weights `x` are. Searches and the choice among members then
        minimize the error of the layer's outputs instead of that of its weights.
    overflow : str, optional
        What an element beyond a format without scales (``fp16``, ``int8/none``) becomes:
        ``saturate``, ``inf``, ``nan`` or ``raise``, see `Format.encode`. By default the end of the
        grid, with a warning.
    device : {"cpu", "cuda"}
        Where groups are coded; both give the same bits. The GPU takes grids and mixtures under
        fp16 and fp32 scales, and MX formats; see docs/device.md.

    scales : array_like or list of array_like, optional
        Scales to code under, shaped as `QuantizedTensor.scales` (one number will do for all);
        rounded as the scheme stores them. A list holds the numbers of each level of scales, the
        innermost first, which must be those of its format: see `QuantizedTensor.level_scales`.
    zeros : array_like or list of array_like, optional
        Zero points or minima that go with `scales`; by default those of the groups under them.
    choices : array_like, optional
        Member of a mixture for each group, with `scales`; by default the one of least error.

    Returns
    -------
    QuantizedTensor

    Raises
    ------
    BitlatheError
        Raised if the scheme, axis, dtype or a rule is wrong, a value is not finite (unless it is
        to be propagated), or a scale does not fit its format.

    Warns
    -----
    UserWarning
        Where scales underflow and cost a group its digits, values come back as infinity, or
        elements are cut off; see `tensors.ends`.

    Examples
    --------
    >>> import numpy as np
    >>> q = quantize(np.array([[0.0, 1.0, -2.0, 8.0]]), "bitmod_fp4@g4")
    >>> q.dequantize().tolist(), q.choices.tolist()
    ([[0.0, 1.0, -2.0, 8.0]], [[2]])
    """
    parsed = Scheme.parse(scheme)
    check_rounding(rounding, seed)
    if rounding != "even" and coder_of(parsed).own_rounding:
        raise BitlatheError(
            f"rounding={rounding!r}: {parsed} has its own rule of rounding; leave rounding out"
        )
    if nan not in NANS:
        raise BitlatheError(unknown_name("nan rule", nan, NANS))
    _check_overflow(parsed, overflow)
    if scales is None and (zeros is not None or choices is not None):
        raise BitlatheError("zeros and choices go with scales: pass scales as well")
    if device not in DEVICES:
        raise BitlatheError(unknown_name("device", str(device), DEVICES))
    if device == "cuda" and all(e is None for e in (scales, importance, activations, overflow)):
        lying = encode_lying(x, parsed, axis, rounding)
        if lying is not None and not near_ends(*lying):
            coded, dtype, place = lying
            return QuantizedTensor(coded=coded, dtype=dtype, device=place)
    array, dtype, place = as_float(x, "quantize")
    layout = Layout.of(array.shape, axis, parsed.granularity)
    given = array
    if not all_finite(array):
        if nan == "raise":
            refuse_nonfinite(array, "quantize")
        grain(parsed)  # refuses a scheme that cannot express NaN before the work is done
        array = np.where(np.isfinite(array), array, 0)
    job = Job(
        data=GroupedMatrix(
            matrix=layout.matrix(array),
            layout=layout,
            importance=_importance(layout, importance, array.dtype),
        ),
        scheme=parsed,
        rounding=rounding,
        seed=seed,
        inputs=_inputs(parsed, layout, importance, activations),
        overflow=overflow or "saturate",
    )
    coded = _encode(job, device) if scales is None else _encode_under(job, scales, zeros, choices)
    check_ends(coded, array, dtype, place, explicit=overflow is not None)
    if given is not array:
        coded = propagate(coded, given)
    return QuantizedTensor(coded=coded, dtype=dtype, device=place)


def _check_overflow(scheme: Scheme, overflow: str | None) -> None:
    if overflow is None or overflow == "saturate":
        return
    if overflow not in OVERFLOWS:
        raise BitlatheError(unknown_name("overflow rule", overflow, OVERFLOWS))
    if scheme.scale_format.kind != "none" or isinstance(scheme.element, Mixture):
        raise BitlatheError(
            f"overflow={overflow!r}: {scheme} has scales or members that fit each group; only a "
            "format without scales, such as fp16 or int8/none, has elements beyond it"
        )


def _encode(job: Job, device: str) -> Coded:
    if job.layout.groups == 0:
        return _nothing(job)
    if device == "cuda":
        return encode_on_cuda(job) or coder_of(job.scheme).encode(job)
    return encode_fast(job) or coder_of(job.scheme).encode(job)


def _encode_under(job: Job, scales: Any, zeros: Any, choices: Any) -> Coded:
    if job.layout.groups == 0:
        return _nothing(job)
    return encode_under(job, Given(scales=scales, zeros=zeros, choices=choices))


def _nothing(job: Job) -> Coded:
    """Return the coding of an empty tensor: no group, no scale, no second-level scale."""
    scheme = job.scheme
    empty = np.zeros(0, np.uint8)
    return Coded(
        scheme=scheme,
        layout=job.layout,
        codes=np.zeros(job.matrix.shape, scheme.formats[0].code_dtype),
        scales=np.zeros((0, scheme.scales_per_group), np.uint32),
        outer_scales=np.zeros(0, np.uint32),
        zeros=empty if scheme.zero_bits else None,
        choices=empty if scheme.selector_bits else None,
        upper_scales=tuple(np.zeros(0, np.uint32) for _ in scheme.levels[1:]),
        offsets=tuple(
            np.zeros(0, np.uint32) for _ in (scheme.offset.levels if scheme.offset else ())
        ),
    )


def _importance(
    layout: Layout, importance: ArrayLike | None, dtype: np.dtype[Any]
) -> NDArray[Any] | None:
    if importance is None:
        return None
    with np.errstate(over="ignore"):
        given = as_float(importance, "importance")[0].astype(dtype)
    if given.shape != (layout.columns,) or not np.isfinite(given).all() or (given < 0).any():
        raise BitlatheError(
            f"importance: {layout.columns} finite weights >= 0 are needed, one per position along "
            f"the axis, as {dtype} has them, got an array of shape {given.shape}"
        )
    return given


def _inputs(
    scheme: Scheme, layout: Layout, importance: ArrayLike | None, activations: Any
) -> Inputs | None:
    if activations is None:
        return None
    unfit = {
        "paper": scheme.paper,
        "mae": scheme.clip == "mae",
        scheme.name: not coder_of(scheme).measures_outputs,
        "importance": importance is not None,
    }
    other = next((name for name, bad in unfit.items() if bad), "")
    if other:
        raise BitlatheError(
            f"activations: {scheme} with {other} does not measure outputs; leave one of the two "
            "out, or pass the mean squares of the activations as importance"
        )
    return Inputs.of(as_float(activations, "activations")[0], layout)
