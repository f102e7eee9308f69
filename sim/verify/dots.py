"""Dot products of each kind of PE: random operands, and the calls of the bit rung and its twins."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...arch.pe import FLOAT_BITS, AntPE, BitSerialPE, FpMacPE, IntMacPE, LutPE, OlivePE
from ..pe.bit_serial import bitserial_dot
from ..pe.mac import (
    FLOAT_FORMATS,
    ant_dot,
    fp_mac_dot,
    int_mac_dot,
    lut_matmul,
    olive_dot,
)
from ..pe.operands import activation_kind
from ..pe.weights import weight_decoder
from ..rtl.stimulus import activation_patterns, flint_bits, float_kind, integers, pair_codes

Array = npt.NDArray[Any]
Operands = tuple[Array, ...]


def _floats(name: str, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    _, values = activation_patterns(float_kind(name), shape[0] * shape[1], rng)
    if name not in FLOAT_BITS:  # symmetric ports lack the lowest integer
        values = np.maximum(values, -FLOAT_FORMATS[name].largest)
    return values.reshape(shape)


def _whole(bits: int, shape: tuple[int, int], rng: np.random.Generator) -> Array:
    half = 1 << (bits - 1)
    return integers(np.arange(-half, half), shape[0] * shape[1], rng).reshape(shape)


def _bit_serial(pe: BitSerialPE, weight: str, shape: tuple[int, int], seed: int) -> Operands:
    rng, decoder = np.random.default_rng(seed), weight_decoder(weight)
    _, acts = activation_patterns(activation_kind(pe.activation), shape[0] * shape[1], rng)
    known = decoder.grid[decoder.valid]
    return acts.reshape(shape), integers(known, shape[0] * shape[1], rng).reshape(shape)


def _int_mac(pe: IntMacPE, _: str, shape: tuple[int, int], seed: int) -> Operands:
    rng = np.random.default_rng(seed)
    return _whole(pe.activation_bits, shape, rng), _whole(pe.weight_bits, shape, rng)


def _fp_mac(pe: FpMacPE, _: str, shape: tuple[int, int], seed: int) -> Operands:
    rng = np.random.default_rng(seed)
    return _floats(pe.activation, shape, rng), _floats(pe.weight, shape, rng)


def _ant(pe: AntPE, _: str, shape: tuple[int, int], seed: int) -> Operands:
    rng = np.random.default_rng(seed)
    codes = 1 << flint_bits(pe)
    return _whole(pe.mac.activation_bits, shape, rng), rng.integers(0, codes, shape)


def _olive(pe: OlivePE, _: str, shape: tuple[int, int], seed: int) -> Operands:
    rng = np.random.default_rng(seed)
    return _whole(pe.mac.activation_bits, shape, rng), pair_codes(shape, rng)


def _lut(pe: LutPE, _: str, shape: tuple[int, int], seed: int) -> Operands:
    rng = np.random.default_rng(seed)
    rows = max(1, round(shape[0] ** 0.5))
    acts = _floats("fp16", (rows, shape[1]), rng)
    chunks = -(-shape[1] // pe.inputs)
    planes = rng.integers(0, 1 << pe.inputs, (rows, 3, chunks))
    return acts, planes, rng.integers(-12, 4, (rows, 3))


class Dots(NamedTuple):
    """Operands of a kind of PE, ``operands(pe, weight, (n, K), seed)``, and its dot products."""

    operands: Callable[[Any, str, tuple[int, int], int], Operands]
    run: Callable[[Any, str, Operands, str], Operands]


def _bit_serial_run(pe: BitSerialPE, weight: str, operands: Operands, device: str) -> Operands:
    activations, weights = operands
    dot = bitserial_dot(
        activations,
        weights,
        format=weight,
        numerics=pe.numerics,
        lanes=pe.lanes,
        activation=pe.activation,
        skip_zero_terms=pe.skip_zero_terms,
        device=device,
    )
    return np.asarray(dot.mantissa), np.asarray(dot.exponent)


def _plain(dot: Callable[..., Any]) -> Callable[[Any, str, Operands, str], Operands]:
    def run(pe: Any, weight: str, operands: Operands, device: str) -> Operands:
        return (np.asarray(dot(*operands, pe, device=device)).reshape(-1),)

    return run


DOTS: dict[str, Dots] = {
    BitSerialPE.kind: Dots(_bit_serial, _bit_serial_run),
    IntMacPE.kind: Dots(_int_mac, _plain(int_mac_dot)),
    FpMacPE.kind: Dots(_fp_mac, _plain(fp_mac_dot)),
    LutPE.kind: Dots(_lut, _plain(lut_matmul)),
    AntPE.kind: Dots(_ant, _plain(ant_dot)),
    OlivePE.kind: Dots(_olive, _plain(olive_dot)),
}
