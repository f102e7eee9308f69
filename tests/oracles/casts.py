"""Inputs that decide casts, and other libraries' casts in one shape: float32 in, codes out."""

from collections.abc import Callable
from typing import Any

import gfloat
import gfloat.formats as gf
import ml_dtypes
import numpy as np
import torch

Array = np.ndarray[Any, Any]


def all_float16() -> Array:
    """Every float16 value that is not NaN, as float32 (exact)."""
    values = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    return values[~np.isnan(values)]


def boundaries(values: Array) -> Array:
    """Each finite grid value, each midpoint of two, and the float32 neighbors of all of them."""
    v = np.unique(values[np.isfinite(values)])
    step = v[-1] - v[-2]
    points = np.concatenate([v, (v[:-1] + v[1:]) / 2, [v[-1] + step / 2, v[-1] + step]])
    with np.errstate(over="ignore"):
        points = np.concatenate([points, -points]).astype(np.float32)
    near = [
        points,
        np.nextafter(points, np.float32(np.inf)),
        np.nextafter(points, np.float32(-np.inf)),
    ]
    return np.unique(np.concatenate(near)[np.isfinite(np.concatenate(near))])


def by_ml_dtypes(dtype: Any) -> Callable[[Array], Array]:
    def cast(x: Array) -> Array:
        with np.errstate(all="ignore"):
            made: Array = (
                x.astype(np.float32)
                .astype(dtype)
                .view(np.uint8 if np.dtype(dtype).itemsize == 1 else np.uint16)
            )
        return made

    return cast


def by_torch(dtype: torch.dtype) -> Callable[[Array], Array]:
    def cast(x: Array) -> Array:
        made: Array = torch.from_numpy(np.ascontiguousarray(x)).to(dtype).view(torch.uint8).numpy()
        return made

    return cast


# name here -> ml_dtypes type
ML_DTYPES = {
    "fp8_e4m3": ml_dtypes.float8_e4m3fn,
    "fp8_e5m2": ml_dtypes.float8_e5m2,
    "fp8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "fp8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "fp8_e4m3b11fnuz": ml_dtypes.float8_e4m3b11fnuz,
    "fp8_e4m3_ieee": ml_dtypes.float8_e4m3,
    "fp8_e3m4_ieee": ml_dtypes.float8_e3m4,
    "fp6_e2m3": ml_dtypes.float6_e2m3fn,
    "fp6_e3m2": ml_dtypes.float6_e3m2fn,
    "fp4_e2m1": ml_dtypes.float4_e2m1fn,
    "fp16": np.float16,
    "bf16": ml_dtypes.bfloat16,
}

TORCH = {
    "fp8_e4m3": torch.float8_e4m3fn,
    "fp8_e5m2": torch.float8_e5m2,
    "fp8_e4m3fnuz": torch.float8_e4m3fnuz,
    "fp8_e5m2fnuz": torch.float8_e5m2fnuz,
}


def _finite(name: str, e: int, m: int) -> gfloat.FormatInfo:
    return gfloat.FormatInfo(
        name,
        1 + e + m,
        m + 1,
        bias=(1 << (e - 1)) - 1,
        is_signed=True,
        domain=gfloat.Domain.Finite,
        has_nz=True,
        num_high_nans=0,
        has_subnormals=True,
        is_twos_complement=False,
    )


GFLOAT = {
    "fp8_e4m3": gf.format_info_ocp_e4m3,
    "fp8_e5m2": gf.format_info_ocp_e5m2,
    "fp6_e2m3": gf.format_info_ocp_e2m3,
    "fp6_e3m2": gf.format_info_ocp_e3m2,
    "fp4_e2m1": gf.format_info_ocp_e2m1,
    "fp3_e2m0": _finite("e2m0", 2, 0),
    "fp4_e3m0": _finite("e3m0", 3, 0),
    "fp4_e1m2": _finite("e1m2", 1, 2),
    "fp5_e2m2": _finite("e2m2", 2, 2),
    "fp5_e3m1": _finite("e3m1", 3, 1),
}


def by_gfloat(name: str, mode: str) -> Callable[[Array], Array]:
    """Return gfloat's saturating round in one of its modes, values out."""
    modes = {
        "even": gfloat.RoundMode.TiesToEven,
        "away": gfloat.RoundMode.TiesToAway,
        "truncate": gfloat.RoundMode.TowardZero,
    }

    def cast(x: Array) -> Array:
        made: Array = gfloat.round_ndarray(
            GFLOAT[name], x.astype(np.float64), modes[mode], sat=True
        )
        return made

    return cast
