"""How a chip stores operands: a scheme or stated bits, by kind of layer."""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainSerializer, PlainValidator, model_validator
from pydantic_core import PydanticCustomError

from ..datatypes.base.yamlfile import Record
from ..datatypes.schemes.scheme import Scheme


def _scheme(value: Any) -> Scheme:
    """Read the text of a scheme; its file, if its format has one, is read here and only here."""
    if not isinstance(value, str | Scheme):
        raise PydanticCustomError("string_type", "Input should be a valid string")
    return Scheme.parse(value)


SchemeField = Annotated[Scheme, PlainValidator(_scheme), PlainSerializer(str, return_type=str)]


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

    scheme: SchemeField | None = None
    bits: Annotated[float, Field(ge=1, le=64)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Operand:
        if self.scheme is None and self.bits is None:
            raise ValueError("give 'scheme' or 'bits'")
        return self

    def __repr__(self) -> str:
        return f"Operand({self.label!r})"

    @property
    def label(self) -> str:
        """The scheme, and the stated bits if there are any."""
        stated = None if self.bits is None else f"{self.bits:g} bits"
        scheme = None if self.scheme is None else str(self.scheme)
        return ", ".join(part for part in (scheme, stated) if part)

    def bits_per_element(self, axis_length: int) -> Fraction:
        """Return the stored bits per element, scales and selectors counted."""
        if self.bits is not None:
            return Fraction(self.bits)
        assert self.scheme is not None
        return _stored_bits(self.scheme, axis_length)

    @property
    def code_bits(self) -> Fraction:
        """Bits of an element's code, without scales and selectors; stated bits are all code."""
        if self.bits is not None:
            return Fraction(self.bits)
        assert self.scheme is not None
        return Fraction(self.scheme.element_bits)

    @property
    def payload_bits(self) -> int:
        """Whole bits of an element's code; scales and selectors travel beside it.

        Examples
        --------
        >>> Operand(scheme="int8@channel").payload_bits, Operand(bits=4.5).payload_bits
        (8, 5)
        """
        return math.ceil(self.code_bits)

    @property
    def scale_group(self) -> int:
        """Elements along K that share a scale; 0 for all of them."""
        return 0 if self.scheme is None else self.scheme.granularity.columns

    @property
    def integer_scale_bits(self) -> int:
        """Bits of an integer scale of a group; 0 if the scale is not an integer."""
        if self.scheme is None or self.scheme.scale_format.kind != "int":
            return 0
        return self.scheme.scale_bits

    @property
    def terms(self) -> int:
        """Bit-serial terms (clocks) of one element.

        From the scheme's format; for stated bits b alone, radix-4 Booth digits of the whole
        bits, ceil(floor(b) / 2).
        """
        if self.scheme is not None:
            return _scheme_terms(self.scheme)
        return math.ceil(math.floor(self.bits or 0) / 2)


def _operand(value: Any) -> Any:
    return {"scheme": value} if isinstance(value, str | Scheme) else value


OperandField = Annotated[Operand, BeforeValidator(_operand)]
FP16 = Operand(scheme=Scheme.parse("fp16"))


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
