"""Products on arrays of PEs whose multipliers split: words of both sides, and the sums."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from ...arch.pe import AntPE, OlivePE
from ..pe.mac import ant_dot, olive_dot
from ..pe.split import digits, split_mac_dot
from .rows import Int64Array
from .split import SplitPE, shape_of, split_design
from .split_case import code_bits, codes_and_partners, laid, whole
from .verilog import Port


class SplitProduct(NamedTuple):
    """Bits of words: (rows, words, bits), (columns, words, bits); sums: (rows, columns, places)."""

    left: Int64Array
    right: Int64Array
    sums: Int64Array


def ports_of(inputs: tuple[Port, ...]) -> tuple[tuple[Port, ...], tuple[Port, ...]]:
    """Return the ports of a MAC that its activations come with, and those of its weights."""
    left = tuple(port for port in inputs[3:] if port.name.startswith("activation"))
    return left, tuple(port for port in inputs[3:] if port not in left)


def _bits(ports: tuple[Port, ...], fields: dict[str, Int64Array], words: int) -> Int64Array:
    """Return (words, bits) of the fields of some ports, the first port in the lowest bits."""
    parts = []
    for port in ports:
        each = fields[port.name].reshape(words, -1)
        width = port.bits // each.shape[1]
        parts.append(((each[:, :, None] >> np.arange(width)) & 1).reshape(words, -1))
    return np.concatenate(parts, axis=1).astype(np.int64)


def split_product(
    pe: SplitPE, m: int, n: int, words: int, rng: np.random.Generator
) -> SplitProduct:
    """Return a product in random modes: every PE of the array is in the same ones.

    Parameters
    ----------
    pe : IntMacPE, AntPE or OlivePE
        With ``split_bits``.
    m, n : int
        Rows and columns of the result.
    words : int
        Clocks of a sum.
    rng : numpy.random.Generator
    """
    mac, shape = pe.mac, shape_of(pe)
    bits, (w, a) = shape.bits, shape.sides
    weight_mode = int(rng.integers(len(shape.weight_modes)))
    activation_mode = int(rng.integers(len(shape.activations)))
    weight, activation = shape.weight_modes[weight_mode], shape.activations[activation_mode]
    together = weight.parts * activation.parts
    inner = words * mac.lanes * (together if shape.joined else 1)
    counts = (1, 1) if shape.joined else (weight.parts, activation.parts)
    narrow = activation.digits * bits, weight.digits * bits
    acts = whole(narrow[0], (m * counts[1], inner), rng).reshape(m, counts[1], inner)
    weights = whole(narrow[1], (n * counts[0], inner), rng).reshape(n, counts[0], inner)
    coded = weight_mode == len(shape.weights)
    lefts, rights = ports_of(split_design(pe).inputs)

    def laid_digits(operands: Int64Array, wide: int, ports: int) -> Int64Array:
        cut = digits(operands, wide, bits) & ((1 << bits) - 1)
        return laid(cut, (words, mac.lanes, ports), bits, rng)

    left = []
    for each in acts:
        fields = {
            "activation_mode": np.full(words, activation_mode),
            "activations": laid_digits(each, narrow[0], shape.ports[1]),
        }
        left.append(_bits(lefts, fields, words))
    codes, partners = codes_and_partners(pe, (n * counts[0], inner), rng)
    right = []
    for column, each in enumerate(weights):
        fields = {
            "weight_mode": np.full(words, weight_mode),
            "weights": laid_digits(each, narrow[1], shape.ports[0]),
        }
        if shape.coded is not None:
            places, wide = (words, mac.lanes, shape.codes), code_bits(pe)
            own = slice(column * counts[0], (column + 1) * counts[0])
            for name, given in (("codes", codes[own]), ("partners", partners[own])):
                free = rng.integers(0, 1 << wide, (words, mac.lanes * shape.codes))
                fields[name] = laid(given[..., None], places, wide, rng) if coded else free
        right.append(_bits(rights, fields, words))
    one, other = acts[:, None, None], weights[None, :, :, None]
    plain = replace(mac, split_bits=None, lanes=mac.lanes * together if shape.joined else mac.lanes)
    held = codes.reshape(1, n, counts[0], 1, inner)
    if not coded:
        found = split_mac_dot(one, other, *narrow, mac)
    elif isinstance(pe, OlivePE):
        found = olive_dot(one, held, replace(pe, mac=plain))
    else:
        assert isinstance(pe, AntPE)
        found = ant_dot(one, held, replace(pe, mac=plain))
    if shape.joined:
        sums = found.reshape(m, n, 1)
    else:
        sums = np.zeros((m, n, w, a), np.int64)
        sums[:, :, : weight.parts * weight.digits : weight.digits,
             : activation.parts * activation.digits : activation.digits] = found  # fmt: skip
        sums = sums.reshape(m, n, -1)
    return SplitProduct(np.stack(left), np.stack(right), sums)
