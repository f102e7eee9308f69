"""The PEs a systolic array can be made of: what its operands are, and how its kernels add."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ....arch.pe import AntPE, FpMacPE, IntMacPE, OlivePE
from ....arch.pe_base import PEKind
from ....datatypes.base.errors import BitlatheError
from ...pe.mac import flint_decode, float_values, fp_rules, integer_values, olive_decode

WIDEST = 63
"""Bits of the accumulator behind exact integers: the widest that int64 sums can be fitted to."""


def _flints(codes: NDArray[Any], pe: Any) -> NDArray[np.int64]:
    flint = flint_decode(codes, pe.format)
    return flint.mantissa << flint.shift


DECODERS: dict[str, Callable[[NDArray[Any], Any], NDArray[np.int64]]] = {
    "ant": _flints,
    "olive": lambda codes, _: olive_decode(codes.T).T,  # pairs lie along K
}
"""What the (K, N) codes of a kind of PE stand for; other kinds take the integers themselves."""

SystolicPE = IntMacPE | FpMacPE | AntPE | OlivePE


class Arithmetic(NamedTuple):
    """How a PE adds a product, as `kernels.add_product` takes it; at most one is set.

    Attributes
    ----------
    whole : (accumulator bits, saturates) or None
    floating : rules of `mac.fp_rules` or None
        Both None: float32, each product and each sum rounded.
    """

    whole: tuple[int, bool] | None = None
    floating: tuple[Any, ...] | None = None


def _weights(b: ArrayLike, pe: SystolicPE, bits: int) -> NDArray[np.int64]:
    """Return the integers the MAC multiplies by: the operand itself, or its codes decoded."""
    decode = DECODERS.get(pe.kind)
    if decode is None:
        return integer_values(b, bits, "b")
    codes = np.asarray(b)
    if codes.ndim != 2 or 0 in codes.shape:
        return integer_values(codes, 8, "b")  # for the caller to name the shape
    return decode(codes, pe)


def pe_operands(
    a: ArrayLike, b: ArrayLike, pe: SystolicPE
) -> tuple[NDArray[Any], NDArray[Any], Arithmetic]:
    """Return both operands as the PE multiplies them, and how it adds.

    Parameters
    ----------
    a : (M, K) array_like
        Inputs, values of the PE's activations.
    b : (K, N) array_like
        Weights: values of the PE's weights, or codes for a PE with a decoder (pairs along K).
    pe : IntMacPE, FpMacPE, AntPE or OlivePE

    Raises
    ------
    BitlatheError
        Values that the PE does not take, and PEs that a systolic array cannot be made of.
    """
    mac = pe.mac if isinstance(pe, PEKind) else None
    if mac is None:
        raise BitlatheError(
            f"pe {type(pe).__name__}: a systolic array takes IntMacPE, FpMacPE, AntPE or OlivePE; "
            "bit-serial PEs run in tile.clock.simulate_tile_array"
        )

    if mac.lanes != 1:
        raise BitlatheError(
            f"pe lanes {mac.lanes}: a PE of the clock-by-clock array makes one product a clock; "
            "lanes=1 is right"
        )
    if isinstance(mac, FpMacPE):
        reals = float_values(a, mac.activation, "a"), float_values(b, mac.weight, "b")
        return *reals, Arithmetic(floating=fp_rules(mac))
    whole = integer_values(a, mac.activation_bits, "a"), _weights(b, pe, mac.weight_bits)
    rules = (mac.accumulator_bits, mac.overflow == "saturate")
    return *whole, Arithmetic(whole=rules)
