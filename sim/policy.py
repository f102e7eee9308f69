"""How a chip stores the operands of a layer: formats by its role, keys and values as read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ..arch.formats import LayerFormats, Operand
from ..arch.schema import Arch
from ..workloads.gemm import Gemm, Role
from .layer_bits import LayerBits

FORMAT_KINDS: Mapping[Role, str] = {
    "linear": "linear",
    "head": "lm_head",
    "conv": "conv",
    "scores": "attention",
    "mix": "attention",
}
"""The section of a chip's formats that a layer takes, by its role."""
MANY_TOKENS = 2**20  # scales along so many tokens weigh next to nothing


def formats_of(arch: Arch, kind: str) -> LayerFormats:
    """Return the formats of a kind of layer; kinds without their own follow linear layers."""
    found: LayerFormats | None = getattr(arch.formats, kind)
    return found or arch.formats.linear


def format_labels(arch: Arch, kind: str) -> dict[str, str]:
    """Return the schemes of a kind of layer by operand, in words."""
    formats = formats_of(arch, kind)
    return {operand: getattr(formats, operand).label for operand in ("weight", "input", "output")}


def labels_by_kind(arch: Arch, gemms: Iterable[Gemm]) -> dict[str, dict[str, str]]:
    """Return the schemes of each kind of layer that there is (`format_labels`)."""
    kinds = dict.fromkeys(FORMAT_KINDS[gemm.role] for gemm in gemms)
    return {kind: format_labels(arch, kind) for kind in kinds}


@dataclass(frozen=True, slots=True)
class CacheBits:
    """Stored bits of a key, and of a value, in the K/V cache; bits of their code."""

    key: Fraction
    value: Fraction
    code: Fraction

    @classmethod
    def of(cls, arch: Arch, gemms: Iterable[Gemm], phase: str) -> "CacheBits | None":
        """Return the bits in which attention reads the cache, the most of any of its layers.

        A token that decode adds to the values brings no scale of its own where they are scaled
        along the tokens: it takes what an element of many tokens does. None without attention, and
        on chips that count as the BitMoD study, which writes keys and values as plain results.
        """
        if arch.published_accounting:
            return None
        stored = arch.formats.attention.weight
        keys = [gemm.k for gemm in gemms if gemm.role == "scores"]
        tokens = [gemm.k for gemm in gemms if gemm.role == "mix"]
        if not keys or not tokens:
            return None
        if phase == "decode":
            tokens = [MANY_TOKENS]
        return cls(
            max(map(stored.bits_per_element, keys)),
            max(map(stored.bits_per_element, tokens)),
            stored.code_bits,
        )

    def of_outputs(self, gemm: Gemm, plain: Operand) -> tuple[Fraction, Fraction]:
        """Return the mean bits of a layer's results, of which some go into the cache; of codes."""
        cached = gemm.keys + gemm.values
        others = gemm.n - cached
        stored = gemm.keys * self.key + gemm.values * self.value
        stored += others * plain.bits_per_element(gemm.n)
        code = cached * self.code + others * plain.code_bits
        return stored / gemm.n, code / gemm.n


def layer_bits(
    arch: Arch, gemm: Gemm, weights: Any | None = None, cache: CacheBits | None = None
) -> LayerBits:
    """Return the stored bits of a layer's operands on a chip, and the clocks of its weights.

    Parameters
    ----------
    arch : Arch
    gemm : Gemm
    weights : (N, K) array or QuantizedTensor, optional
        Weights whose zero terms the chip skips; a seeded stand-in by default.
    cache : CacheBits, optional
        How attention reads keys and values, and so how they are written.
    """
    formats = formats_of(arch, FORMAT_KINDS[gemm.role])
    output = None
    if cache is not None and gemm.keys + gemm.values:
        output = cache.of_outputs(gemm, formats.output)
    return LayerBits.of(arch, formats, gemm, weights, output)
