"""Kinds of processing elements as frozen values: what an architecture file names.

Each record carries the numerics that its function in this package takes and tells its clocks; none
of them needs numba. `PE_KINDS` lists them by the name used in architecture files.
"""

from dataclasses import dataclass, field
from typing import Literal

from ...datatypes.errors import BitlatheError
from .numerics import ALIGNED, PENumerics

Overflow = Literal["wrap", "saturate"]


def _check(record: object, **bounds: tuple[int, int]) -> None:
    for name, (low, high) in bounds.items():
        value = getattr(record, name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BitlatheError(
                f"{type(record).__name__}.{name}: an integer in {low}..{high}, got {value!r}"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class BitSerialPE:
    """Terms of any weight format up to 8 bits times FP16, BF16, FP8 or INT8 activations."""

    lanes: int = 4
    activation: str = "fp16"
    numerics: PENumerics = field(default=ALIGNED)
    skip_zero_terms: bool = False
    scale_bits: int = 8
    group_gap: int = 0

    def __post_init__(self) -> None:
        _check(self, lanes=(1, 16), scale_bits=(0, 16), group_gap=(0, 64))

    def clocks(self, k: int, terms: int) -> int:
        """Clocks of ``k`` products without term skipping."""
        return terms * -(-k // self.lanes)


@dataclass(frozen=True, kw_only=True, slots=True)
class IntMacPE:
    """Integer multiply-accumulate, one product per lane and clock.

    The accumulator saturates or wraps at ``accumulator_bits`` after every addition.
    """

    lanes: int = 1
    activation_bits: int = 8
    weight_bits: int = 8
    accumulator_bits: int = 32
    overflow: Overflow = "saturate"

    def __post_init__(self) -> None:
        _check(
            self,
            lanes=(1, 64),
            activation_bits=(2, 16),
            weight_bits=(1, 16),
            accumulator_bits=(4, 62),
        )
        if self.overflow not in ("wrap", "saturate"):
            raise BitlatheError(
                f"IntMacPE.overflow: 'wrap' or 'saturate' is right, got {self.overflow!r}"
            )

    def clocks(self, k: int, terms: int = 1) -> int:
        """Clocks of ``k`` products."""
        return terms * -(-k // self.lanes)


@dataclass(frozen=True, kw_only=True, slots=True)
class FpMacPE:
    """Floating-point multiply-accumulate.

    ``product`` None fuses: the exact product enters the adder and the sum is rounded once. A name
    rounds the product to that format first.
    """

    activation: str = "fp16"
    weight: str = "fp16"
    product: str | None = None
    accumulator: str = "fp32"
    overflow: Literal["inf", "saturate"] = "inf"

    def clocks(self, k: int, terms: int = 1) -> int:
        """Clocks of ``k`` products."""
        return k * terms


@dataclass(frozen=True, kw_only=True, slots=True)
class LutPE:
    """Shift-add PE: one table look-up of ``inputs`` activations per bit plane and clock."""

    inputs: int = 8
    table: str = "fp16"
    accumulator: str = "fp32"

    def __post_init__(self) -> None:
        _check(self, inputs=(1, 12))

    def clocks(self, k: int, terms: int) -> int:
        """Clocks of ``k`` weights of ``terms`` bit planes, the tables being built."""
        return terms * -(-k // self.inputs)

    @property
    def table_additions(self) -> int:
        """Additions that fill one table: every entry of every node of the tree of sums."""
        widths, additions = [1] * self.inputs, 0
        while len(widths) > 1:
            pairs = [sum(widths[i : i + 2]) for i in range(0, len(widths), 2)]
            additions += sum(1 << w for w in pairs[: len(widths) // 2])
            widths = pairs
        return additions


@dataclass(frozen=True, kw_only=True, slots=True)
class AntPE:
    """A flint decoder (mantissa and shift) in front of an integer MAC."""

    format: str = "flint4"
    mac: IntMacPE = field(default=IntMacPE(weight_bits=4))

    def clocks(self, k: int, terms: int = 1) -> int:
        """Clocks of ``k`` products."""
        return self.mac.clocks(k, terms)


@dataclass(frozen=True, kw_only=True, slots=True)
class OlivePE:
    """An outlier-victim pair decoder in front of an integer MAC."""

    mac: IntMacPE = field(default=IntMacPE(weight_bits=4))

    def clocks(self, k: int, terms: int = 1) -> int:
        """Clocks of ``k`` products."""
        return self.mac.clocks(k, terms)


PEKind = BitSerialPE | IntMacPE | FpMacPE | LutPE | AntPE | OlivePE

PE_KINDS: dict[str, type[PEKind]] = {
    "bit_serial": BitSerialPE,
    "int_mac": IntMacPE,
    "fp_mac": FpMacPE,
    "lut": LutPE,
    "ant": AntPE,
    "olive": OlivePE,
}
