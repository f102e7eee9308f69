"""What a coder makes of a tensor: codes, scales and what goes with them, as they are stored."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..schemes.layout import Layout
from ..schemes.scheme import Scheme

Floats = NDArray[np.floating[Any]]
Codes = NDArray[np.unsignedinteger[Any]]
Patterns = NDArray[np.uint32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Coded:
    """A matrix in a scheme, as it is stored.

    Attributes
    ----------
    scheme : Scheme
    layout : Layout
        How the tensor is a matrix, and how that is cut into groups.
    codes : (rows, columns) unsigned
        The quantized axis last.
    scales : (groups, n) uint32
        Bit patterns of the stored scales; n is 1 except for sums of signed scales.
    outer_scales : (0,), (1,) or (down,) uint32
        Bit patterns of the second-level scales.
    zeros, choices : (groups,) uint8 or None
        Zero points; the member of a mixture that each group took.
    upper_scales, offsets : tuple of (k,) uint32
        Of nested scales: bit patterns of the levels above the first; those of the minima or zero
        points, level by level.
    """

    scheme: Scheme
    layout: Layout
    codes: Codes
    scales: Patterns
    outer_scales: Patterns
    zeros: Bytes | None = None
    choices: Bytes | None = None
    upper_scales: tuple[Patterns, ...] = ()
    offsets: tuple[Patterns, ...] = ()
