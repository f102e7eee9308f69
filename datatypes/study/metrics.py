"""How far a quantized tensor is from the tensor."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError

# elements whose sums are made at once
CHUNK = 1 << 24


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorMetrics:
    """Errors of an approximation y of a tensor x.

    Attributes
    ----------
    relative_mse : float
        sum (x - y)^2 / sum x^2; 0 for x = y = 0, infinite for x = 0 != y.
    sqnr_db : float
        -10 log10(relative_mse), the ratio of signal to quantization noise in decibel.
    max_abs : float
        Largest ``|x - y|``.
    mean_abs : float
        Mean ``|x - y|``.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorSums:
    """Sums over the elements of a tensor x and its approximation y, in float64.

    Attributes
    ----------
    signal, other, product, noise : float
        Of x^2, y^2, x y and (y - x)^2.
    power : float
        Of x^2 once more, added in pairs.
    bias, magnitude : float
        Of y - x and of ``|y - x|``.
    largest : float
        The largest ``|y - x|``.
    size : int
    """

    signal: float
    other: float
    product: float
    noise: float
    power: float
    bias: float
    magnitude: float
    largest: float
    size: int

    def metrics(self) -> ErrorMetrics:
        """Return the errors that these are the sums of."""
        size = max(self.size, 1)
        of_zeros = 0.0 if self.noise == 0 else np.inf
        relative = self.noise / self.signal if self.signal else of_zeros
        both = np.sqrt(self.signal) * np.sqrt(self.other)
        return ErrorMetrics(
            relative_mse=float(relative),
            sqnr_db=float(-10 * np.log10(relative)) if relative else np.inf,
            max_abs=self.largest,
            mean_abs=self.magnitude / size,
            mean=self.bias / size,
            cosine=float(self.product / both) if both else float(self.signal == self.other),
        )


def error_sums(pieces: Iterable[tuple[NDArray[Any], NDArray[Any]]]) -> ErrorSums:
    """Return the sums of a tensor and its approximation that come in pieces, in order.

    They are cut anew into chunks of `CHUNK` elements, and the sums of the chunks added exactly,
    so that the result does not depend on the pieces.

    Parameters
    ----------
    pieces : iterable of ((...) array, (...) array)
        Part of the tensor and its approximation, of one shape.
    """
    chunks = [_sums(x, y) for x, y in _chunks(pieces)]
    names = ("signal", "other", "product", "noise", "power", "bias", "magnitude")
    return ErrorSums(
        **{name: math.fsum(getattr(chunk, name) for chunk in chunks) for name in names},
        largest=max((chunk.largest for chunk in chunks), default=0.0),
        size=sum(chunk.size for chunk in chunks),
    )


def _chunks(
    pieces: Iterable[tuple[NDArray[Any], NDArray[Any]]],
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """Cut pieces, flattened and laid end to end, into chunks."""
    chunk: list[tuple[NDArray[Any], NDArray[Any]]] = []
    count = 0
    for piece in pieces:
        x, y = (np.asarray(part).reshape(-1) for part in piece)
        while x.size:
            take = min(CHUNK - count, x.size)
            chunk.append((x[:take], y[:take]))
            x, y, count = x[take:], y[take:], count + take
            if count == CHUNK:
                yield _joined(chunk)
                chunk, count = [], 0
    if chunk:
        yield _joined(chunk)


def _joined(
    parts: list[tuple[NDArray[Any], NDArray[Any]]],
) -> tuple[NDArray[Any], NDArray[Any]]:
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def _sums(x: NDArray[Any], y: NDArray[Any]) -> ErrorSums:
    """Return the sums of one chunk."""
    a, b = x.astype(np.float64), y.astype(np.float64)
    signal, other, product = a @ a, b @ b, a @ b
    b -= a
    noise, bias = b @ b, b.sum()
    np.abs(b, out=b)
    largest, magnitude = b.max(), b.sum()
    a *= a
    return ErrorSums(
        signal=float(signal),
        other=float(other),
        product=float(product),
        noise=float(noise),
        power=float(a.sum()),
        bias=float(bias),
        magnitude=float(magnitude),
        largest=float(largest),
        size=x.size,
    )


def error_metrics(x: NDArray[Any], y: NDArray[Any]) -> ErrorMetrics:
    """Return the errors of y as an approximation of x, both (...), in float64.

    Examples
    --------
    >>> error_metrics(np.array([3.0, 4.0]), np.array([3.0, 3.0])).relative_mse
    0.04
    """
    return error_sums([(x, y)]).metrics()


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
        Raised if the last axis of the activations is not as long as that of the weights.
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
