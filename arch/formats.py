"""How a chip stores operands: a scheme or stated bits, by kind of layer."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.yamlfile import Record
from ..datatypes.schemes.scheme import Scheme


def _scheme_text(value: str) -> str:
    try:
        return str(Scheme.parse(value))
    except BitlatheError as err:
        raise ValueError(str(err)) from None


# by the scheme, not its text: a format may stand in a file that changes
@lru_cache(maxsize=1024)
def _scheme_terms(scheme: Scheme) -> int:
    return scheme.terms_per_weight


@lru_cache(maxsize=4096)
def _stored_bits(scheme: Scheme, axis_length: int) -> Fraction:
    return scheme.bits_per_element(axis_length)


class Operand(Record):
    """How one operand is stored: a scheme, or a stated number of bits, or both.

    ``bits`` stands for the stored bits per element where a study states them (a mix of layers in
    4 and 8 bits, say); without it they are counted from the scheme.
    """

    scheme: str | None = None
    bits: Annotated[float, Field(ge=1, le=64)] | None = None

    @field_validator("scheme")
    @classmethod
    def _known_scheme(cls, value: str | None) -> str | None:
        return None if value is None else _scheme_text(value)

    @model_validator(mode="after")
    def _says_something(self) -> Operand:
        if self.scheme is None and self.bits is None:
            raise ValueError("give 'scheme' or 'bits'")
        return self

    @property
    def label(self) -> str:
        """The scheme, and the stated bits if there are any."""
        stated = None if self.bits is None else f"{self.bits:g} bits"
        return ", ".join(part for part in (self.scheme, stated) if part)

    def bits_per_element(self, axis_length: int) -> Fraction:
        """Return the stored bits per element, scales and selectors counted."""
        if self.bits is not None:
            return Fraction(self.bits)
        assert self.scheme is not None
        return _stored_bits(Scheme.parse(self.scheme), axis_length)

    @property
    def terms(self) -> int:
        """Bit-serial terms (clocks) of one element.

        From the scheme's format; for stated bits b alone, radix-4 Booth digits of the whole
        bits, ceil(floor(b) / 2).
        """
        if self.scheme is not None:
            return _scheme_terms(Scheme.parse(self.scheme))
        return math.ceil(math.floor(self.bits or 0) / 2)


def _operand(value: Any) -> Any:
    return {"scheme": value} if isinstance(value, str) else value


OperandField = Annotated[Operand, BeforeValidator(_operand)]
FP16 = Operand(scheme="fp16")


class LayerFormats(Record):
    """Formats of the operands of one kind of layer; the weight is the stationary operand."""

    weight: OperandField
    input: OperandField = FP16
    output: OperandField = FP16


class Formats(Record):
    """The chip's policy: formats by kind of layer. ``lm_head`` and ``conv`` follow ``linear``."""

    linear: LayerFormats
    attention: LayerFormats
    lm_head: LayerFormats | None = None
    conv: LayerFormats | None = None

    @property
    def by_kind(self) -> dict[str, LayerFormats]:
        """The formats that are given, by kind of layer."""
        kinds = ("linear", "attention", "lm_head", "conv")
        return {kind: getattr(self, kind) for kind in kinds if getattr(self, kind) is not None}

    @property
    def layers(self) -> tuple[LayerFormats, ...]:
        """The formats that are given."""
        return tuple(self.by_kind.values())
