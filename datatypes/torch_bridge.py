"""Torch tensors in and out. The only module, with `torch_module`, that imports torch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BitlatheError


def from_torch(x: Any, what: str) -> tuple[NDArray[Any], str, str]:
    """Return a torch tensor as float32 or float64 (sharing memory where it can), dtype, device."""
    import torch

    name = str(x.dtype).removeprefix("torch.")
    wide = x.detach().cpu()
    if name in ("float16", "bfloat16"):
        wide = wide.to(torch.float32)
    elif not x.dtype.is_floating_point and not x.dtype.is_complex:
        wide, name = wide.to(torch.float64), "float64"
    elif name not in ("float32", "float64"):
        raise BitlatheError(
            f"{what}: a torch tensor of {name} is not supported; convert it to float32 first"
        )
    return wide.numpy(), name, str(x.device)


def to_torch(x: NDArray[Any], dtype: str, device: str) -> Any:
    """Return an array as a torch tensor."""
    import torch

    made = torch.from_numpy(np.ascontiguousarray(x))
    return made.to(dtype=getattr(torch, dtype), device=device)
