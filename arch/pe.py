"""Kinds of processing elements as frozen values: what the ``pe`` section of a chip describes.

Each record carries the numerics that its function in `sim.pe` takes and tells its clocks.
`PE_KINDS` lists them by the name used in architecture files; `holds` says which formats one can
take.
"""

from dataclasses import dataclass, field
from typing import Literal

from ..datatypes.base.errors import BitlatheError, unknown_name
from .numerics import ALIGNED, PENumerics

Overflow = Literal["wrap", "saturate"]
SkipSync = Literal["lane", "row", "column", "array"]

BIT_SERIAL_ACTIVATIONS = ("fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "int8")
# bits of the formats that a floating-point MAC adds in, or reads on its ports
FLOAT_BITS = {
    "fp32": 32,
    "fp16": 16,
    "bf16": 16,
    "fp8_e4m3": 8,
    "fp8_e5m2": 8,
    "fp6_e2m3": 6,
    "fp6_e3m2": 6,
    "fp4_e2m1": 4,
}
WEIGHT_PORTS = (*FLOAT_BITS, "int8", "int4")


def _check(record: object, **bounds: tuple[int, int]) -> None:
    for name, (low, high) in bounds.items():
        value = getattr(record, name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BitlatheError(
                f"{type(record).__name__}.{name}: an integer in {low}..{high}, got {value!r}"
            )


def _check_name(record: object, name: str, known: tuple[str, ...]) -> None:
    value = getattr(record, name)
    if value not in known:
        where = f"{type(record).__name__}.{name}"
        raise BitlatheError(f"{where}: {unknown_name('name', str(value), known)}")


@dataclass(frozen=True, kw_only=True, slots=True)
class BitSerialPE:
    """Terms of any weight format up to 8 bits times FP16, BF16, FP8 or INT8 activations.

    With ``skip_zero_terms`` a clock whose terms are zero is left out; ``skip_sync`` says what steps
    from chunk to chunk together (`sim.array.tile_model.TileArray.scope`). ``scale_bits`` is the
    widest integer scale that the rescale unit takes, one bit a clock; ``group_gap`` the clocks
    between groups.
    """

    lanes: int = 4
    activation: str = "fp16"
    numerics: PENumerics = field(default=ALIGNED)
    skip_zero_terms: bool = False
    skip_sync: SkipSync = "array"
    scale_bits: int = 8
    group_gap: int = 0

    def __post_init__(self) -> None:
        _check(self, lanes=(1, 16), scale_bits=(0, 16), group_gap=(0, 64))
        if not isinstance(self.numerics, PENumerics):
            raise BitlatheError(f"BitSerialPE.numerics: a PENumerics, got {self.numerics!r}")
        _check_name(self, "activation", BIT_SERIAL_ACTIVATIONS)
        _check_name(self, "skip_sync", ("lane", "row", "column", "array"))

    def clocks(self, k: int, terms: int) -> int:
        """Clocks of ``k`` products without term skipping."""
        return terms * -(-k // self.lanes)

    @property
    def partial_sum_bits(self) -> int:
        """Bits of an unfinished sum: the accumulator's mantissa and exponent; 64 if exact."""
        if self.numerics.exact:
            return 64
        return self.numerics.accumulator_bits + (self.numerics.exponent_bits or 6)


@dataclass(frozen=True, kw_only=True, slots=True)
class IntMacPE:
    """Integer multiply-accumulate, one product per lane and clock.

    An exact tree adds the products of a clock; the accumulator takes their sum and saturates or
    wraps at ``accumulator_bits``, once a clock.
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
        _check_name(self, "overflow", ("wrap", "saturate"))

    def clocks(self, k: int, terms: int = 1) -> int:
        """Clocks of ``k`` products."""
        return terms * -(-k // self.lanes)

    @property
    def partial_sum_bits(self) -> int:
        """Bits of an unfinished sum."""
        return self.accumulator_bits


@dataclass(frozen=True, kw_only=True, slots=True)
class FpMacPE:
    """Floating-point multiply-accumulate, one product per lane and clock.

    ``product`` None fuses: the exact product enters the adder and the sum is rounded once. A name
    rounds the product to that format first. More than one lane: a tree adds the products of a
    clock, neighbours first, before the accumulator takes their sum; each adder rounds to the
    accumulator's format. ``weight`` is the format of the multiplier's weight
    port, behind the decoder of the stored codes.
    """

    lanes: int = 1
    activation: str = "fp16"
    weight: str = "fp16"
    product: str | None = None
    accumulator: str = "fp32"
    overflow: Literal["inf", "saturate"] = "inf"

    def __post_init__(self) -> None:
        _check(self, lanes=(1, 64))
        _check_name(self, "activation", tuple(FLOAT_BITS))
        _check_name(self, "weight", WEIGHT_PORTS)
        _check_name(self, "accumulator", tuple(FLOAT_BITS))
        if self.product is not None:
            _check_name(self, "product", tuple(FLOAT_BITS))
        _check_name(self, "overflow", ("inf", "saturate"))

    def clocks(self, k: int, terms: int = 1) -> int:
        """Clocks of ``k`` products."""
        return terms * -(-k // self.lanes)

    @property
    def partial_sum_bits(self) -> int:
        """Bits of an unfinished sum."""
        return FLOAT_BITS[self.accumulator]


@dataclass(frozen=True, kw_only=True, slots=True)
class LutPE:
    """Shift-add PE: one table look-up of ``inputs`` FP16 activations per bit plane and clock."""

    inputs: int = 8
    table: str = "fp16"
    accumulator: str = "fp32"

    def __post_init__(self) -> None:
        _check(self, inputs=(1, 12))
        _check_name(self, "table", tuple(FLOAT_BITS))
        _check_name(self, "accumulator", tuple(FLOAT_BITS))

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

    @property
    def partial_sum_bits(self) -> int:
        """Bits of an unfinished sum."""
        return FLOAT_BITS[self.accumulator]


def _check_mac(record: object, mac: object) -> None:
    if not isinstance(mac, IntMacPE):
        raise BitlatheError(f"{type(record).__name__}.mac: an IntMacPE, got {mac!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class AntPE:
    """A flint decoder (mantissa and shift) in front of an integer MAC."""

    format: str = "flint4"
    mac: IntMacPE = field(default=IntMacPE(weight_bits=4))

    def __post_init__(self) -> None:
        _check_mac(self, self.mac)

    def clocks(self, k: int, terms: int = 1) -> int:
        """Clocks of ``k`` products."""
        return self.mac.clocks(k, terms)

    @property
    def partial_sum_bits(self) -> int:
        """Bits of an unfinished sum."""
        return self.mac.accumulator_bits


@dataclass(frozen=True, kw_only=True, slots=True)
class OlivePE:
    """An outlier-victim pair decoder in front of an integer MAC."""

    mac: IntMacPE = field(default=IntMacPE(weight_bits=4))

    def __post_init__(self) -> None:
        _check_mac(self, self.mac)

    def clocks(self, k: int, terms: int = 1) -> int:
        """Clocks of ``k`` products."""
        return self.mac.clocks(k, terms)

    @property
    def partial_sum_bits(self) -> int:
        """Bits of an unfinished sum."""
        return self.mac.accumulator_bits


PEKind = BitSerialPE | IntMacPE | FpMacPE | LutPE | AntPE | OlivePE

PE_KINDS: dict[str, type[PEKind]] = {
    "bit_serial": BitSerialPE,
    "int_mac": IntMacPE,
    "fp_mac": FpMacPE,
    "lut": LutPE,
    "ant": AntPE,
    "olive": OlivePE,
}
