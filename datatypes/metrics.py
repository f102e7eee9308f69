"""How far a quantised tensor is from the tensor."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMetrics:
    """Errors of an approximation y of a tensor x.

    Attributes
    ----------
    relative_mse : float
        sum (x - y)^2 / sum x^2; 0 for x = y = 0, infinite for x = 0 != y.
    sqnr_db : float
        -10 log10(relative_mse), the ratio of signal to quantisation noise in decibel.
    max_abs : float
        Largest |x - y|.
    mean_abs : float
        Mean |x - y|.
    mean : float
        Mean of y - x, the bias.
    cosine : float
        Cosine of the angle between x and y; 1 if both are zero.
    """

    relative_mse: float
    sqnr_db: float
    max_abs: float
    mean_abs: float
    mean: float
    cosine: float


def error_metrics(x: NDArray[Any], y: NDArray[Any]) -> ErrorMetrics:
    """Return the errors of y as an approximation of x, in float64.

    Examples
    --------
    >>> error_metrics(np.array([3.0, 4.0]), np.array([3.0, 3.0])).relative_mse
    0.04
    """
    a, b = np.asarray(x, np.float64).reshape(-1), np.asarray(y, np.float64).reshape(-1)
    if a.size == 0:
        return ErrorMetrics(
            relative_mse=0.0, sqnr_db=np.inf, max_abs=0.0, mean_abs=0.0, mean=0.0, cosine=1.0
        )
    difference = b - a
    noise, signal, other = difference @ difference, a @ a, b @ b
    relative = noise / signal if signal else (0.0 if noise == 0 else np.inf)
    decibel = -10 * np.log10(relative) if relative else np.inf
    both = np.sqrt(signal) * np.sqrt(other)
    return ErrorMetrics(
        relative_mse=float(relative),
        sqnr_db=float(decibel),
        max_abs=float(np.abs(difference).max()),
        mean_abs=float(np.abs(difference).mean()),
        mean=float(difference.mean()),
        cosine=float(a @ b / both) if both else float(signal == other),
    )
