"""Companding curves: weights are bent, rounded to a uniform grid, and bent back.

PowerQuant and NUPES (arXiv 2301.09858, 2308.05600): ``q = round(m sgn(x) |x / s| ** a)``, m the
largest integer, and back by the power 1/a; a is chosen by the error. Weight Compander (arXiv
2306.16993) bends by a bounded odd curve; its training is not done here, and none of its published
figures is claimed. A curve gives a book of values with thresholds of its own, so that any scheme's
groups and scales carry it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError, check_name
from ..formats.constructors import codebook
from ..formats.format import Format
from ..quantize import quantize
from ..schemes.scheme import Scheme
from .layer import QuantizedLinear, rounded
from .options import check_numbers
from .task import Reals, Task

KINDS: Final = ("power", "arctan", "mu-law")
BITS_MAX = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """An odd curve of [-1, 1] onto itself, increasing.

    Attributes
    ----------
    kind : str
        ``power``: sgn(x) |x|^a. ``arctan``: arctan(a x) / arctan(a). ``mu-law``:
        sgn(x) log(1 + a |x|) / log(1 + a).
    strength : float
        a, above 0; powers below 1 and all of the others give small weights finer steps.
    """

    kind: str
    strength: float

    def __post_init__(self) -> None:
        check_name("curve", self.kind, KINDS)
        if not 0 < self.strength < 1e6:
            raise BitlatheError(
                f"curve: a strength above 0, below 1e6, is needed, got {self.strength!r}"
            )

    def bend(self, x: NDArray[Any]) -> Reals:
        """Return the (...) values of (...) numbers from -1 to 1."""
        a, size = self.strength, np.abs(np.asarray(x, np.float64))
        if self.kind == "power":
            made = size**a
        elif self.kind == "arctan":
            made = np.arctan(a * size) / np.arctan(a)
        else:
            made = np.log1p(a * size) / np.log1p(a)
        return np.asarray(np.copysign(made, x))

    def unbend(self, y: NDArray[Any]) -> Reals:
        """Return the (...) numbers whose values are (...) y."""
        a, size = self.strength, np.abs(np.asarray(y, np.float64))
        if self.kind == "power":
            made = size ** (1 / a)
        elif self.kind == "arctan":
            made = np.tan(size * np.arctan(a)) / a
        else:
            made = np.expm1(size * np.log1p(a)) / a
        return np.asarray(np.copysign(made, y))

    def format(self, bits: int) -> Format:
        """Return the format of ``2**bits - 1`` levels, even steps of the bent numbers.

        Codes ascend with their values; a number is rounded where it is bent, so that thresholds lie
        halfway between bent levels.
        """
        most = (1 << (bits - 1)) - 1
        levels = np.arange(-most, most + 1)
        name = f"{self.kind.replace('-', '_')}{bits}_{self.strength:g}".replace(".", "p")
        return codebook(
            name,
            self.unbend(levels / most),
            bits=bits,
            thresholds=self.unbend((levels[:-1] + 0.5) / most),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveOptions:
    """Options of ``nupes`` and ``compander``.

    Attributes
    ----------
    strengths : tuple of float
        That are tried, above 0.
    """

    strengths: tuple[float, ...]

    def __post_init__(self) -> None:
        check_numbers("strengths", self.strengths, 0, 1e6)
        for strength in self.strengths:
            Curve(kind="power", strength=strength)


@dataclass(frozen=True, slots=True, kw_only=True)
class NupesOptions(CurveOptions):
    """Options of ``nupes``: powers, 0.3 to 1 by default."""

    strengths: tuple[float, ...] = tuple(i / 20 for i in range(6, 21))


@dataclass(frozen=True, slots=True, kw_only=True)
class CompanderOptions(CurveOptions):
    """Options of ``compander``: arctan's slopes, 0.25 to 8 by default."""

    strengths: tuple[float, ...] = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)


def uniform(scheme: Scheme) -> str:
    """Return why a curve does not go before a scheme's rounding; empty where it does."""
    name = scheme.name.removeprefix("int")
    if name.isdigit() and 2 <= int(name) <= BITS_MAX and not scheme.levels:
        return ""
    return (
        f"it bends what symmetric integers of 2 to {BITS_MAX} bits round: int4@channel and the like"
    )


def bent(scheme: Scheme, curve: Curve) -> Scheme:
    """Return a scheme of symmetric integers with its grid bent by a curve."""
    made = curve.format(scheme.element_bits)
    return replace(scheme, name=made.name, element=made)


def curve_error(weights: NDArray[np.floating], scheme: Scheme) -> float:
    """Return the squared error of (outputs, inputs) weights in a scheme."""
    made = quantize(weights, scheme).dequantize(np.float64)
    return float(np.square(made - weights).sum())


def nupes(task: Task, options: NupesOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task under the power that leaves its weights the least error."""
    yield _best(task, "nupes", "power", options.strengths)


def compander(task: Task, options: CompanderOptions) -> Iterator[QuantizedLinear]:
    """Yield the layer of a task under the arctan that leaves its weights the least error."""
    yield _best(task, "compander", "arctan", options.strengths)


def _best(task: Task, method: str, kind: str, strengths: tuple[float, ...]) -> QuantizedLinear:
    schemes = {a: bent(task.scheme, Curve(kind=kind, strength=a)) for a in strengths}
    errors = {a: curve_error(task.weights, scheme) for a, scheme in schemes.items()}
    best = min(errors, key=lambda a: errors[a])
    return rounded(replace(task, scheme=schemes[best]), method, f"{kind} {best:g}")
