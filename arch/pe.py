"""The kinds of processing elements: for each its record, and its section in a chip's file.

========== ================================================ ======================================
kind       weights                                          activations
========== ================================================ ======================================
bit_serial up to 8 bits, any grid (those that no short      the format of ``activation``
           sum of terms reaches are rounded to a fixed
           point of 8 bits, which must not make a zero that
           the grid lacks); integer scales up to
           ``scale_bits``; no pairs, no bit planes
int_mac    grids of integers that fit ``weight_bits``,      signed integers up to
           times a power of two                             ``activation_bits``
fp_mac     grids of values of the port ``weight``, times a  the format of ``activation``; on
           power of two; up to 8 bits rounded by the        one of 8 bits narrower floats too
           decoder where the port has 8 significant bits
lut        signed bit planes with power-of-two scales       fp16
           (bcq)
ant        grids of integers whose odd part fits            as int_mac
           ``weight_bits`` and whose products fit the sum
olive      outlier-victim pairs and plain integers up to    as int_mac
           ``weight_bits``
========== ================================================ ======================================

The MACs sit behind decoders of what they can multiply, outlier-victim pairs included. A code minus
its zero point is a signed integer of one bit more. Scales (other than the integer
scales of the bit-serial PE) are applied to sums and bind nothing here. An operand of stated bits
alone has no format to refuse.

A new kind is a record and a section here (integer MACs: in `pe_integer`), and its arithmetic in
`sim.pe`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field

from ..datatypes.base.errors import BitlatheError
from ..datatypes.schemes.scheme import Scheme
from .components import component_names, pe_component
from .formats import Operand
from .grids import grids, has_terms, is_float_on, is_format, is_integer, on_port
from .numerics import ALIGNED, Numerics, PENumerics
from .pe_base import PEKind, PESection, SkipSync, SkipWeights, check_name, check_range
from .pe_integer import AntPE, AntSection, IntMacPE, IntMacSection, OlivePE, OliveSection

__all__ = [
    "BIT_SERIAL_ACTIVATIONS",
    "FLOAT_BITS",
    "PE",
    "PE_KEYS",
    "PE_KINDS",
    "SECTIONS",
    "WEIGHT_PORTS",
    "AntPE",
    "AntSection",
    "BitSerialPE",
    "BitSerialSection",
    "FpMacPE",
    "FpMacSection",
    "IntMacPE",
    "IntMacSection",
    "LutPE",
    "LutSection",
    "OlivePE",
    "OliveSection",
]

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


# -- bit-serial ----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class BitSerialPE(PEKind):
    """Terms of any weight format up to 8 bits times FP16, BF16, FP8 or INT8 activations.

    With ``skip_zero_terms`` a clock whose terms are zero is left out; ``skip_sync`` says what steps
    from chunk to chunk together (`sim.array.tile.model.TileArray.scope`), ``skip_weights`` which
    random weights stand in for those of a layer. ``scale_bits`` is the widest integer scale that
    the rescale unit takes, one bit a clock; ``group_gap`` the clocks between groups.
    """

    kind: ClassVar[str] = "bit_serial"
    serial: ClassVar[bool] = True
    pipeline_cycles: ClassVar[int] = 6  # BitMoD PE: exponents 2, multiply 2, accumulate 2

    lanes: int = 4
    activation: str = "fp16"
    numerics: PENumerics = field(default=ALIGNED)
    skip_zero_terms: bool = False
    skip_sync: SkipSync = "array"
    skip_weights: SkipWeights = "gaussian"
    scale_bits: int = 8
    group_gap: int = 0

    def __post_init__(self) -> None:
        check_range(self, lanes=(1, 16), scale_bits=(0, 16), group_gap=(0, 64))
        if not isinstance(self.numerics, PENumerics):
            raise BitlatheError(f"BitSerialPE.numerics: a PENumerics, got {self.numerics!r}")
        check_name(self, "activation", BIT_SERIAL_ACTIVATIONS)
        check_name(self, "skip_sync", ("lane", "row", "column", "array"))

    @property
    def partial_sum_bits(self) -> int:
        """Bits of an unfinished sum: the accumulator's mantissa and exponent; 64 if exact."""
        if self.numerics.exact:
            return 64
        return self.numerics.accumulator_bits + (self.numerics.exponent_bits or 6)

    @property
    def ports(self) -> dict[str, Any]:
        """The keys that decide which formats it takes."""
        return {"activation": self.activation, "scale_bits": self.scale_bits}

    def step_clocks(self, weight: Operand) -> int:
        """Return the clocks of one chunk of weights: their terms."""
        return weight.terms

    def takes_weight(self, scheme: Scheme) -> bool:
        """Return whether its decoder, and its rescale unit, take a scheme."""
        scale = scheme.scale_bits if scheme.scale_format.kind == "int" else 0
        return (
            scheme.coder_facts.alone
            and scale <= self.scale_bits
            and all(map(has_terms, scheme.formats))
        )

    def takes_activation(self, scheme: Scheme) -> bool:
        """Return whether activations of a scheme are those of its port."""
        if self.activation == "int8":
            return is_integer(scheme, 8)
        return is_format(scheme, self.activation)


def _numerics(value: Any) -> Any:
    return {"preset": value} if isinstance(value, str) else value


class BitSerialSection(PESection):
    """The section of a bit-serial PE."""

    made: ClassVar[type[PEKind]] = BitSerialPE

    kind: Literal["bit_serial"] = Field(description="what a PE does with a weight")
    activation: str | None = Field(default=None, description="format of the activation port")
    numerics: Annotated[Numerics | None, BeforeValidator(_numerics)] = Field(
        default=None,
        description="how it aligns, adds and rounds: a preset, or one and what differs",
    )
    scale_bits: int | None = Field(
        default=None,
        description="width of an integer scale that it multiplies by, a clock a bit; 0: none",
    )
    group_gap: int | None = Field(
        default=None, description="clocks between two groups, for their scale"
    )
    skip_zero_terms: bool | None = Field(
        default=None, description="spend no clock on terms that are zero"
    )
    skip_sync: SkipSync | None = Field(
        default=None, description="which PEs step together when terms are skipped"
    )
    skip_weights: SkipWeights | None = Field(
        default=None,
        description="seeded weights whose terms are counted where no real ones are at hand",
    )

    def record_of(self, given: dict[str, Any]) -> PEKind:
        """Return the record, its numerics those of a preset and what differs from it."""
        if "numerics" in given:
            given |= {"numerics": given["numerics"].record}
        return BitSerialPE(lanes=self.lanes, **given)


# -- floating-point multiply-accumulate ----------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class FpMacPE(PEKind):
    """Floating-point multiply-accumulate, one product per lane and clock.

    ``product`` None fuses: the exact product enters the adder and the sum is rounded once. A name
    rounds the product to that format first. More than one lane: a tree adds the products of a
    clock, neighbors first, before the accumulator takes their sum; each adder rounds to the
    accumulator's format. ``weight`` is the format of the multiplier's weight
    port, behind the decoder of the stored codes.
    """

    kind: ClassVar[str] = "fp_mac"

    lanes: int = 1
    activation: str = "fp16"
    weight: str = "fp16"
    product: str | None = None
    accumulator: str = "fp32"
    overflow: Literal["inf", "saturate"] = "inf"

    def __post_init__(self) -> None:
        check_range(self, lanes=(1, 64))
        check_name(self, "activation", FLOAT_BITS)
        check_name(self, "weight", WEIGHT_PORTS)
        check_name(self, "accumulator", FLOAT_BITS)
        if self.product is not None:
            check_name(self, "product", FLOAT_BITS)
        check_name(self, "overflow", ("inf", "saturate"))

    @property
    def partial_sum_bits(self) -> int:
        """Bits of an unfinished sum."""
        return FLOAT_BITS[self.accumulator]

    @property
    def mac(self) -> FpMacPE:
        """The PE itself."""
        return self

    @property
    def ports(self) -> dict[str, Any]:
        """The keys that decide which formats it takes."""
        return {"activation": self.activation, "weight": self.weight}

    def takes_weight(self, scheme: Scheme) -> bool:
        """Return whether weights of a scheme are values of its port, times a power of two."""
        return scheme.scales_per_group == 1 and all(
            on_port(values, bits, self.weight) for values, bits in grids(scheme)
        )

    def takes_activation(self, scheme: Scheme) -> bool:
        """Return whether activations of a scheme are those of its port, or floats that it has."""
        return is_format(scheme, self.activation) or is_float_on(scheme, self.activation)


class FpMacSection(PESection):
    """The section of a floating-point multiply-accumulate."""

    made: ClassVar[type[PEKind]] = FpMacPE

    kind: Literal["fp_mac"] = Field(description="what a PE does with a weight")
    activation: str | None = Field(default=None, description="format of the activation port")
    weight: str | None = Field(
        default=None, description="format of the weight port, behind the decoder"
    )
    product: str | None = Field(
        default=None,
        description="format to which a product is rounded; left out: fused, rounded once",
    )
    accumulator: str | None = Field(default=None, description="format of the accumulator")
    overflow: Literal["inf", "saturate"] | None = Field(
        default=None, description="what the accumulator does beyond its range"
    )


# -- look-up tables ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class LutPE(PEKind):
    """Shift-add PE: one table look-up of ``inputs`` FP16 activations per bit plane and clock.

    With ``scale_inputs`` weights whose scales belong to columns over many outputs find tables of
    scaled inputs, one for each plane, instead of scaling every product by itself.
    """

    kind: ClassVar[str] = "lut"

    inputs: int = 8
    table: str = "fp16"
    accumulator: str = "fp32"
    scale_inputs: bool = False

    def __post_init__(self) -> None:
        check_range(self, inputs=(1, 12))
        check_name(self, "table", FLOAT_BITS)
        check_name(self, "accumulator", FLOAT_BITS)

    @property
    def lanes(self) -> int:
        """Weights that it works on at once: one plane of each input."""
        return self.inputs

    @property
    def partial_sum_bits(self) -> int:
        """Bits of an unfinished sum."""
        return FLOAT_BITS[self.accumulator]

    @property
    def ports(self) -> dict[str, Any]:
        """The keys that decide which formats it takes: none."""
        return {"activation": "fp16"}

    @property
    def table_additions(self) -> int:
        """Additions that fill one table: every entry of every node of the tree of sums."""
        widths, additions = [1] * self.inputs, 0
        while len(widths) > 1:
            pairs = [sum(widths[i : i + 2]) for i in range(0, len(widths), 2)]
            additions += sum(1 << w for w in pairs[: len(widths) // 2])
            widths = pairs
        return additions

    def takes_scales_first(self, weight: Operand) -> bool:
        """Return whether inputs are scaled: a scale for a column of several outputs."""
        if not self.scale_inputs or weight.scheme is None:
            return False
        block = weight.scheme.granularity
        return block.columns == 1 and block.rows > 1

    def fill_additions(self, weight: Operand) -> int:
        """Return the additions that fill the tables of a chunk.

        Scaled inputs have a table a plane, and take an addition for each power of two of a scale.
        """
        if not self.takes_scales_first(weight):
            return self.table_additions
        powers = getattr(weight.scheme and weight.scheme.scale_format, "summands", 1)
        return self.step_clocks(weight) * (self.table_additions + self.inputs * powers)

    def step_clocks(self, weight: Operand) -> int:
        """Return the clocks of one chunk of weights: their bit planes."""
        if weight.scheme is not None:  # planes, whatever bits are stated
            return math.ceil(weight.scheme.code_bits)
        return math.floor(weight.bits or 1)

    def takes_weight(self, scheme: Scheme) -> bool:
        """Return whether weights of a scheme are signed bit planes of power-of-two scales."""
        return scheme.scale_format.kind == "planes"

    def takes_activation(self, scheme: Scheme) -> bool:
        """Return whether activations of a scheme are FP16."""
        return is_format(scheme, "fp16")


class LutSection(PESection):
    """The section of a look-up PE; ``lanes`` are the inputs of a table."""

    made: ClassVar[type[PEKind]] = LutPE

    kind: Literal["lut"] = Field(description="what a PE does with a weight")
    table: str | None = Field(default=None, description="format of the entries of a look-up table")
    accumulator: str | None = Field(default=None, description="format of the accumulator")
    scale_inputs: bool = Field(
        default=False,
        description="scales of columns over many outputs are applied to inputs, a table a plane",
    )

    def record_of(self, given: dict[str, Any]) -> PEKind:
        """Return the record."""
        return LutPE(inputs=self.lanes, **given)


# -- all of them ---------------------------------------------------------------------------------

AnySection = (
    BitSerialSection | IntMacSection | FpMacSection | LutSection | AntSection | OliveSection
)
SECTIONS: dict[str, type[AnySection]] = {s.made.kind: s for s in get_args(AnySection)}
PE_KINDS: dict[str, type[PEKind]] = {kind: section.made for kind, section in SECTIONS.items()}
PE_KEYS: tuple[str, ...] = tuple(
    dict.fromkeys(key for section in SECTIONS.values() for key in section.arithmetic_keys())
)
"""The keys of the arithmetic of any kind."""


def _of_its_kind(value: Any) -> Any:
    """Refuse keys of other kinds that have a value, and leave out those that have none."""
    kind = value.get("kind") if isinstance(value, dict) else None
    section = SECTIONS.get(kind) if isinstance(kind, str) else None
    if section is None:
        text = kind.lower().replace("-", "_") if isinstance(kind, str) else ""
        near = [name for name in component_names("pe") if text and name.startswith(text)]
        if near:
            raise ValueError(
                f"kind {kind!r} is none of {', '.join(SECTIONS)}; write kind: "
                f"{pe_component(near[0]).kind}, component: {' or '.join(near)}"
            )
        return value
    mine = section.arithmetic_keys()
    others = {key for key in value if key in PE_KEYS and key not in mine}
    for key in sorted(others):
        if value[key] is not None:
            raise ValueError(f"{key} is not a key of kind {kind!r}; its keys: {', '.join(mine)}")
    return {key: given for key, given in value.items() if key not in others}


PE = Annotated[AnySection, Field(discriminator="kind"), BeforeValidator(_of_its_kind)]
