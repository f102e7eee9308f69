"""Runs of MACs whose multipliers split, each sum in modes of its own, and what they must show."""

from dataclasses import replace

import numpy as np

from ...arch.pe import AntPE, OlivePE
from ..pe.mac import ant_dot, olive_dot
from ..pe.split import digits, split_mac_dot
from .expected import Case
from .mac_cases import mac_case
from .rows import Int64Array
from .split import Shape, SplitPE, shape_of, split_design
from .stimulus import cut, flint_bits, integers, pair_codes


def _group(
    pe: SplitPE, shape: Shape, rows: int, rng: np.random.Generator
) -> tuple[dict[str, Int64Array], Int64Array]:
    """Return the fields of a sum's rows, in random modes, and its sums by place."""
    mac, bits, (w, a) = pe.mac, shape.bits, shape.sides
    weight_mode = int(rng.integers(len(shape.weight_modes)))
    activation_mode = int(rng.integers(len(shape.activations)))
    weight, activation = shape.weight_modes[weight_mode], shape.activations[activation_mode]
    coded = weight_mode == len(shape.weights)
    together = weight.parts * activation.parts
    # operands (..., K) of the sums that there are; K runs over rows, lanes and what they add
    inner = mac.lanes * (together if shape.joined else 1)
    counts = (1, 1) if shape.joined else (weight.parts, activation.parts)
    acts = whole(activation.digits * bits, (counts[1], rows * inner), rng)
    narrow = activation.digits * bits, weight.digits * bits
    fields: dict[str, Int64Array] = {
        "weight_mode": np.full(rows, weight_mode),
        "activation_mode": np.full(rows, activation_mode),
    }  # fmt: skip
    weights = whole(narrow[1], (counts[0], rows * inner), rng)
    codes, partners = codes_and_partners(pe, (counts[0], rows * inner), rng)
    if not coded:
        sums = split_mac_dot(acts, weights[:, None], *narrow, mac)
    elif isinstance(pe, OlivePE):
        plain = replace(mac, split_bits=None, lanes=inner)
        sums = olive_dot(acts, codes[:, None], replace(pe, mac=plain))
    else:
        assert isinstance(pe, AntPE)
        plain = replace(mac, split_bits=None, lanes=inner)
        sums = ant_dot(acts, codes[:, None], replace(pe, mac=plain))
    for name, values, wide, ports in (
        ("activations", acts, narrow[0], shape.ports[1]),
        ("weights", weights, narrow[1], shape.ports[0]),
    ):
        cut_up = digits(values, wide, bits) & ((1 << bits) - 1)
        fields[name] = laid(cut_up, (rows, mac.lanes, ports), bits, rng)
    if shape.coded is not None:
        places, wide = (rows, mac.lanes, shape.codes), code_bits(pe)
        for name, each in (("codes", codes), ("partners", partners)):
            free = rng.integers(0, 1 << wide, (rows, mac.lanes * shape.codes))
            fields[name] = laid(each[..., None], places, wide, rng) if coded else free
    if shape.joined:
        return fields, sums.reshape(1)
    out = np.zeros((w, a), np.int64)
    out[: weight.parts * weight.digits : weight.digits,
        : activation.parts * activation.digits : activation.digits] = sums  # fmt: skip
    return fields, out.reshape(-1)


def code_bits(pe: SplitPE) -> int:
    """Return the bits of a code."""
    return flint_bits(pe) if isinstance(pe, AntPE) else 4


def whole(bits: int, shape: tuple[int, int], rng: np.random.Generator) -> Int64Array:
    """Return signed integers of so many bits.

    Parameters
    ----------
    bits : int
    shape : (int, int)
    rng : numpy.random.Generator
    """
    half = 1 << (bits - 1)
    return integers(np.arange(-half, half), shape[0] * shape[1], rng).reshape(shape)


def codes_and_partners(
    pe: SplitPE, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[Int64Array, Int64Array]:
    """Return (n, K) codes, pairs along K, and the partner of each.

    Parameters
    ----------
    pe : AntPE or OlivePE
    shape : (int, int)
    rng : numpy.random.Generator
    """
    if isinstance(pe, AntPE):
        codes = rng.integers(0, 1 << flint_bits(pe), shape)
        return codes, codes
    codes = pair_codes(shape, rng)
    padded = np.pad(codes, ((0, 0), (0, shape[1] % 2)))  # the last one may be alone
    partners = padded.reshape(shape[0], -1, 2)[:, :, ::-1].reshape(shape[0], -1)
    return codes, partners[:, : shape[1]]


def laid(
    operands: Int64Array, places: tuple[int, int, int], bits: int, rng: np.random.Generator
) -> Int64Array:
    """Lay (parts, K, digits) operands into the fields of a port: rows, lanes, fields of a lane.

    What a mode leaves free holds anything.

    Parameters
    ----------
    operands : (parts, K, digits) ndarray of int64
    places : (rows, lanes, fields)
    bits : int
        Of a field.
    rng : numpy.random.Generator
    """
    rows, lanes, _ = places
    out = rng.integers(0, 1 << bits, places)
    parts, _, count = operands.shape
    each = operands.reshape(parts, rows, lanes, -1, count).transpose(1, 2, 0, 3, 4)
    flat = each.reshape(rows, lanes, -1)
    out[:, :, : flat.shape[2]] = flat
    return out.reshape(rows, -1)


def split_case(pe: SplitPE, rows: int, seed: int) -> Case:
    """Return a run of a MAC whose multipliers split: each sum in modes of its own.

    Parameters
    ----------
    pe : IntMacPE, AntPE or OlivePE
        With ``split_bits``.
    rows : int
        Rows of input.
    seed : int
        Of the random numbers.
    """
    rng, shape = np.random.default_rng(seed), shape_of(pe)
    groups = cut(rows, 1, rng)
    made = [_group(pe, shape, size, rng) for size in groups.sizes.tolist()]
    taken = {port.name for port in split_design(pe).inputs}
    fields = {
        name: np.concatenate([each[name] for each, _ in made])
        for name in made[0][0]
        if name in taken
    }
    sums = np.stack([each for _, each in made])
    number = np.cumsum(groups.first) - 1

    def run(index: Int64Array) -> tuple[Int64Array, ...]:
        return tuple(sums[number[index[:, 0]]].T)

    return mac_case(groups, fields, run, rng)
