"""PEs that multiply integers: a plain MAC, and MACs behind decoders of flint and of pairs.

Their multipliers may split for narrow operands (`splitting`).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, get_args

from pydantic import Field

from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.numbers import ceil_div
from ..datatypes.schemes.scheme import Scheme
from .formats import Operand
from .grids import (
    are_integers_of,
    grids,
    integers,
    is_integer,
    least_integer_bits,
    odd_and_largest,
    scaled_to,
)
from .pe_base import PEKind, PESection, Split, SplitOver, check_name, check_range

Overflow = Literal["wrap", "saturate"]
MOST_LANES = 1024  # multipliers that split are several lanes each


def _stated(operand: Operand, bits_of: Callable[[Scheme], int]) -> int:
    """Return the bits of an operand's integers: its scheme's, and not fewer than are stated."""
    stated = 0 if operand.bits is None else operand.payload_bits
    return max(stated, 0 if operand.scheme is None else bits_of(operand.scheme))


@dataclass(frozen=True, kw_only=True, slots=True)
class IntMacPE(PEKind):
    """Integer multiply-accumulate, one product per lane and clock.

    An exact tree adds the products of a clock; the accumulator takes their sum and saturates or
    wraps at ``accumulator_bits``, once a clock. With ``split_bits`` the multiplier of a lane splits
    into several for narrower operands, down to so many bits each (`split`).
    """

    kind: ClassVar[str] = "int_mac"

    lanes: int = 1
    activation_bits: int = 8
    weight_bits: int = 8
    accumulator_bits: int = 32
    overflow: Overflow = "saturate"
    split_bits: int | None = None
    split_over: SplitOver = "lanes"

    def __post_init__(self) -> None:
        check_range(
            self,
            lanes=(1, MOST_LANES),
            activation_bits=(2, 16),
            weight_bits=(1, 16),
            accumulator_bits=(4, 62),
        )
        if self.split_bits is not None:
            check_range(self, split_bits=(1, min(self.activation_bits, self.weight_bits)))
            for key, width in self.ports.items():
                if width % self.split_bits:
                    raise BitlatheError(
                        f"IntMacPE.split_bits is {self.split_bits}, of which {key} {width} is no "
                        "multiple: a multiplier is made of whole small ones; give a divisor of both"
                    )
        check_name(self, "overflow", ("wrap", "saturate"))
        check_name(self, "split_over", get_args(SplitOver))

    @property
    def partial_sum_bits(self) -> int:
        """Bits of an unfinished sum."""
        return self.accumulator_bits

    @property
    def mac(self) -> IntMacPE:
        """The PE itself."""
        return self

    @property
    def ports(self) -> dict[str, Any]:
        """The keys that decide which formats it takes."""
        return {"activation_bits": self.activation_bits, "weight_bits": self.weight_bits}

    def split(self, weight: Operand, activation: Operand) -> Split:
        """Return the multipliers of a lane side by side: along weights, and along activations."""
        return self.split_for(
            _stated(weight, self._weight_width), _stated(activation, lambda s: s.element_bits)
        )

    def split_for(self, weight_bits: int, activation_bits: int) -> Split:
        """Return how a multiplier splits for operands of so many bits.

        An operand of w bits takes ``ceil(w / s)`` of the ``W / s`` small multipliers along its
        side, where s is ``split_bits``. For widths that are powers of two that is the rule of
        BitFusion (ISCA 2018) and of ANT (MICRO 2022), ``W / max(w, s)``.

        Examples
        --------
        >>> IntMacPE(split_bits=2).split_for(4, 8), IntMacPE(split_bits=4).split_for(2, 3)
        ((2, 1), (2, 2))
        >>> IntMacPE(weight_bits=16, split_bits=4).split_for(5, 8)  # 5 bits take 2 of 4 digits
        (2, 1)
        """
        least = self.split_bits
        if least is None:
            return 1, 1
        weights, activations = (
            ceil_div(max(bits, 1), least) for bits in (weight_bits, activation_bits)
        )
        return (
            max(1, self.weight_bits // least // weights),
            max(1, self.activation_bits // least // activations),
        )

    def _weight_width(self, scheme: Scheme) -> int:
        """Return the least bits of integers that weights of a scheme are, times a power of two."""
        return max(least_integer_bits(v, self.weight_bits) for v, _ in grids(scheme))

    def takes_weight(self, scheme: Scheme) -> bool:
        """Return whether weights of a scheme are integers of its port, times a power of two."""
        port = integers(self.weight_bits)
        return scheme.scales_per_group == 1 and all(scaled_to(v, port) for v, _ in grids(scheme))

    def takes_activation(self, scheme: Scheme) -> bool:
        """Return whether activations of a scheme are integers of its port."""
        return is_integer(scheme, self.activation_bits)


class IntMacSection(PESection):
    """The section of an integer multiply-accumulate, and of those with a decoder before it."""

    made: ClassVar[type[PEKind]] = IntMacPE

    kind: Literal["int_mac"] = Field(description="what a PE does with a weight")
    activation_bits: int | None = Field(default=None, description="width of the activation port")
    weight_bits: int | None = Field(default=None, description="width of the weight port")
    accumulator_bits: int | None = Field(default=None, description="width of the accumulator")
    overflow: Overflow | None = Field(
        default=None, description="what the accumulator does beyond its width"
    )
    split_bits: int | None = Field(
        default=None, description="a multiplier splits for narrower operands, down to so many bits"
    )
    split_over: SplitOver | None = Field(
        default=None, description="where the parts of a multiplier lie: in one sum, or on the array"
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _DecodedMac(PEKind):
    """A decoder in front of an integer MAC."""

    mac: IntMacPE = field(default=IntMacPE(weight_bits=4))

    def __post_init__(self) -> None:
        if not isinstance(self.mac, IntMacPE):
            raise BitlatheError(f"{type(self).__name__}.mac: an IntMacPE, got {self.mac!r}")

    @property
    def lanes(self) -> int:
        """Weights that it works on at once."""
        return self.mac.lanes

    @property
    def partial_sum_bits(self) -> int:
        """Bits of an unfinished sum."""
        return self.mac.accumulator_bits

    @property
    def ports(self) -> dict[str, Any]:
        """The keys that decide which formats it takes."""
        return self.mac.ports

    def value(self, key: str) -> Any:
        """Return the value of a key of its section."""
        return self.mac.value(key)

    def takes_activation(self, scheme: Scheme) -> bool:
        """Return whether activations of a scheme are integers of the MAC's port."""
        return self.mac.takes_activation(scheme)

    @property
    def split_over(self) -> SplitOver:
        """What the parts of a multiplier that splits lie along."""
        return self.mac.split_over

    def split(self, weight: Operand, activation: Operand) -> Split:
        """Return the multipliers side by side: along weights, as decoded, and activations."""
        return self.mac.split_for(
            _stated(weight, self._decoded_bits), _stated(activation, lambda s: s.element_bits)
        )

    @abstractmethod
    def _decoded_bits(self, scheme: Scheme) -> int:
        """Return the bits of the integers that the decoder makes of a scheme's weights."""


class _DecodedMacSection(PESection):
    """The section of a decoder in front of an integer MAC of 4-bit weights."""

    activation_bits: int | None = Field(default=None, description="width of the activation port")
    weight_bits: int | None = Field(default=None, description="width of the weight port")
    accumulator_bits: int | None = Field(default=None, description="width of the accumulator")
    overflow: Overflow | None = Field(
        default=None, description="what the accumulator does beyond its width"
    )
    split_bits: int | None = Field(
        default=None, description="a multiplier splits for narrower operands, down to so many bits"
    )
    split_over: SplitOver | None = Field(
        default=None, description="where the parts of a multiplier lie: in one sum, or on the array"
    )

    def record_of(self, given: dict[str, Any]) -> PEKind:
        """Return the record, whose MAC takes weights of 4 bits unless others are named."""
        mac = IntMacPE(**{"weight_bits": 4, **given, "lanes": self.lanes})
        return self.made(mac=mac)  # type: ignore[call-arg]


@dataclass(frozen=True, kw_only=True, slots=True)
class AntPE(_DecodedMac):
    """A flint decoder (mantissa and shift) in front of an integer MAC."""

    kind: ClassVar[str] = "ant"

    format: str = "flint4"

    def takes_weight(self, scheme: Scheme) -> bool:
        """Return whether weights are a mantissa of the MAC's width, shifted; products fit."""
        if not scheme.coder_facts.alone:
            return False
        return all(self._shifts_to(*odd_and_largest(values)) for values, _ in grids(scheme))

    def _decoded_bits(self, scheme: Scheme) -> int:
        """Return the bits of the widest mantissa, sign included."""
        return max(odd_and_largest(v)[0].bit_length() + 1 for v, _ in grids(scheme))

    def _shifts_to(self, odd: int, largest: int) -> bool:
        mac = self.mac
        fits = mac.activation_bits + largest.bit_length() <= mac.accumulator_bits
        return odd < 1 << (mac.weight_bits - 1) and fits


class AntSection(_DecodedMacSection):
    """The section of an ANT PE."""

    made: ClassVar[type[PEKind]] = AntPE

    kind: Literal["ant"] = Field(description="what a PE does with a weight")


@dataclass(frozen=True, kw_only=True, slots=True)
class OlivePE(_DecodedMac):
    """An outlier-victim pair decoder in front of an integer MAC."""

    kind: ClassVar[str] = "olive"

    def takes_weight(self, scheme: Scheme) -> bool:
        """Return whether weights are pairs, or plain integers, of the MAC's width."""
        if scheme.coder_facts.pairs:
            return scheme.element_bits <= self.mac.weight_bits
        return scheme.scales_per_group == 1 and all(
            are_integers_of(values, self.mac.weight_bits) for values, _ in grids(scheme)
        )

    def _decoded_bits(self, scheme: Scheme) -> int:
        """Return the bits of the integers: of codes, since outliers have a shift beside theirs."""
        if scheme.coder_facts.pairs:
            return scheme.element_bits
        return max(least_integer_bits(v, self.mac.weight_bits) for v, _ in grids(scheme))


class OliveSection(_DecodedMacSection):
    """The section of an OliVe PE."""

    made: ClassVar[type[PEKind]] = OlivePE

    kind: Literal["olive"] = Field(description="what a PE does with a weight")
