"""Torch tensors in and out. The only module, with `torch_module`, that imports torch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .dtypes import is_small_float
from .errors import BitlatheError


def from_torch(x: Any, what: str) -> tuple[NDArray[Any], str, str]:
    """Return a torch tensor as float32 or float64 (sharing memory where it can), dtype, device.

    Raises
    ------
    BitlatheError
        If the tensor has no values in order in memory, or is not of real numbers.
    """
    import torch

    if problem := _unreadable(x):
        raise BitlatheError(f"{what}: {problem}")
    name = str(x.dtype).removeprefix("torch.")
    wide = x.detach().cpu()
    if name in ("float16", "bfloat16"):
        wide = wide.to(torch.float32)
    elif is_small_float(name):
        wide, name = wide.to(torch.float32), "float32"
    elif not x.dtype.is_floating_point:
        wide, name = wide.to(torch.float64), "float64"
    # a view that is yet to be negated, or conjugated
    return wide.resolve_neg().numpy(), name, str(x.device)


def _unreadable(x: Any) -> str:
    """Return why the values of something of torch's cannot be read, and what would help; or ""."""
    import torch

    if not isinstance(x, torch.Tensor):
        return f"a tensor of real numbers is needed, got {type(x).__name__}"
    complex_or_packed = x.dtype.is_complex or str(x.dtype).endswith("_x2")
    rules = (
        (x.is_meta, "a tensor on the meta device has no values; load its weights first"),
        (x.is_nested, "a nested tensor is several; quantize each of x.unbind()"),
        (
            x.layout != torch.strided,
            f"a tensor of layout {x.layout} is not dense; pass x.to_dense()",
        ),
        (x.is_quantized, f"a tensor of {x.dtype} is quantized already; pass x.dequantize()"),
        (
            complex_or_packed,
            f"a torch tensor of {x.dtype} is not supported; convert it to float32 first",
        ),
    )
    return next((problem for wrong, problem in rules if wrong), "")


def to_torch(x: NDArray[Any], dtype: str, device: str) -> Any:
    """Return an array, of any shape, as a torch tensor.

    Parameters
    ----------
    x : (...) array
    dtype : str
        Name of the tensor's dtype, such as ``bfloat16``.
    device : str
        Where it is put, such as ``cuda:0``.
    """
    import torch

    made = torch.from_numpy(np.ascontiguousarray(x))
    return made.to(dtype=getattr(torch, dtype), device=device)
