"""How far a quantised tensor is from the tensor."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BitlatheError


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


def output_error(x: NDArray[Any], y: NDArray[Any], activations: NDArray[Any]) -> float:
    """Return the relative squared error that weights y make in the outputs of a layer.

    ``sum ((x - y) @ a)^2 / sum (x @ a)^2`` over all tokens a, in float64.

    Parameters
    ----------
    x, y : (rows, columns) float
        Weights of the layer and their approximation.
    activations : (..., columns) float
        Inputs of the layer.

    Raises
    ------
    BitlatheError
        If the last axis of the activations is not that of the weights.
    """
    tokens, weights = np.asarray(activations, np.float64), np.asarray(x, np.float64)
    if tokens.ndim < 1 or weights.ndim != 2 or tokens.shape[-1] != weights.shape[1]:
        raise BitlatheError(
            "activations: the last axis must be as long as a row of the weights, "
            f"{weights.shape[-1]}; got {tokens.shape}"
        )
    a = tokens.reshape(-1, weights.shape[1]).T
    noise = float(np.square((weights - np.asarray(y, np.float64)) @ a).sum())
    signal = float(np.square(weights @ a).sum())
    return noise / signal if signal else (0.0 if noise == 0 else float("inf"))
