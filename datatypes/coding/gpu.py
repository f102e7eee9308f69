"""Coding a whole job on a GPU: the same codes, scales and choices as on the CPU, bit for bit."""

from dataclasses import replace
from typing import Any

import numpy as np

from ..base.dtypes import is_torch
from ..base.errors import BitlatheError
from ..formats.constructors import int_format
from ..schemes.layout import Axis, Layout
from ..schemes.scales import OcpScale
from ..schemes.scheme import Scheme
from . import dispatch
from .coded import Coded
from .job import GroupedMatrix, Job


def encode_lying(
    x: Any, scheme: Scheme, axis: Axis, rounding: str
) -> tuple[Coded, str, str | None] | None:
    """Code a tensor that lies on the device where it lies: what comes to the host are the codes.

    None for what does not lie there or is no float32 (of torch, float16 and bfloat16 too, which
    are converted there), has gaps, holds NaN or infinity, is empty, has groups along another axis
    than the last, or for a scheme or scales that the kernels do not code: such a tensor goes
    through the host.

    Parameters
    ----------
    x : (...) tensor
    scheme : Scheme
    axis : int, tuple of int or None
        As in `quantize`.
    rounding : str

    Returns
    -------
    coded, dtype, device
        Name of the tensor's type, and of its device if it is torch's; or None.
    """
    from ..kernels.cuda import checks
    from ..kernels.cuda.launch import lies_on_device, require_device, to_device

    dtype, device = "float32", None
    if is_torch(x):
        x, dtype, device = x.detach(), str(x.dtype).removeprefix("torch."), str(x.device)
        if x.is_cuda and dtype in ("float16", "bfloat16"):
            x = x.float()
    if not lies_on_device(x):
        return None
    require_device()
    held = to_device(x)
    layout = Layout.of(tuple(held.shape), axis, scheme.granularity)
    last = layout.axis + layout.axes == len(layout.shape)
    if not (held.dtype == np.float32 and held.is_c_contiguous() and last and layout.groups):
        return None
    flat = held.reshape((layout.rows, layout.columns))
    job = Job(data=GroupedMatrix(matrix=flat, layout=layout), scheme=scheme, rounding=rounding)
    if not _fits(job) or checks.first_infinite(flat) is not None:
        return None
    coded = encode_on_cuda(job)
    return None if coded is None else (coded, dtype, device)


def encode_on_cuda(job: Job) -> Coded | None:
    """Code a grid or a mixture of grids with the CUDA kernels.

    None where a scale leaves the range that the kernels' sums of errors, or its format, have:
    then numpy codes the job.

    Raises
    ------
    BitlatheError
        If there is no CUDA device, or the job is not one that its kernels code.
    """
    from ..kernels.cuda import groups as cuda

    scheme, group = job.scheme, job.layout.block_columns
    scale, formats = scheme.scale_format, scheme.formats
    if _fits(job):
        books: Any = dispatch.books_of(formats, job.rounding)
        if scale.name in ("fp16", "fp32") and books is not None:
            found = cuda.on_host(cuda.codebooks(job.matrix, books, group, scale.name))
            if len(formats) == 1:
                return dispatch.coded_of(job, replace(found, choices=None))
            return dispatch.coded_of(job, found) if dispatch.moderate(found.scales) else None
        if isinstance(scale, OcpScale) and len(formats) == 1 and job.rounding == "even":
            facts = _element(job)
            if facts is not None:
                found = cuda.on_host(cuda.mx(job.matrix, books[0], *facts, group, scale.rule))
                return job.coded(found.codes, found.scales.astype(np.uint32))
    raise BitlatheError(
        "device 'cuda': the GPU codes signed grids under fp16, fp32 or MX scales, with the absmax "
        "as range and nearest rounding, of float32 or narrower tensors; "
        f"{scheme} of {job.matrix.dtype} needs device='cpu'"
    )


def _fits(job: Job) -> bool:
    """Return whether the kernels may code a job, whatever its scales."""
    scheme = job.scheme
    known = scheme.coder == "table" and not scheme.paper and all(f.signed for f in scheme.formats)
    return known and dispatch.plain(job, 1)


def _element(job: Job) -> tuple[float, int] | None:
    """Return the largest value and the mantissa bits of an MX format; None if it is none."""
    fmt = job.scheme.formats[0]
    if fmt.bits == 8 and np.array_equal(fmt.values, int_format(8).values / 64, equal_nan=True):
        return 127 / 64, 6
    parameters = fmt.grid.float_parameters
    return None if parameters is None else (fmt.max, parameters[1])
