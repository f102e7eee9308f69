"""How a chip stores operands: a scheme or stated bits, by kind of layer."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from ..datatypes.base.errors import BitlatheError, shown
from ..datatypes.base.yamlfile import Record
from ..datatypes.schemes.granularity import Granularity
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


_FINEST = 1 << 22  # parts of a bit


def countable(bits: Fraction) -> Fraction:
    """Return bits of an element, rounded up to 2^-22 where 64-bit counters would not hold them.

    A search counts bits in units of 1 / denominator, which a scale of a large tensor would make as
    small as the tensor is large.

    Parameters
    ----------
    bits : Fraction
    """
    if bits.denominator <= _FINEST:
        return bits
    return Fraction(math.ceil(bits * _FINEST), _FINEST)


@lru_cache(maxsize=4096)
def _stored_bits(scheme: Scheme, axis_length: int, rows: int) -> Fraction:
    return countable(scheme.bits_per_element(axis_length, rows))


def _as_written(number: float) -> Fraction:
    """Return a decimal number as it is written: 8.02 is 401/50, no binary fraction near it.

    Means over a checkpoint's layers, of 17 digits, are rounded up as those of schemes are.
    """
    return countable(Fraction(str(number)))


class Operand(Record):
    """How one operand is stored: a scheme, or a stated number of bits, or both.

    ``bits`` stands for the stored bits per element where a study states them (a mix of layers in
    4 and 8 bits, say); without it they are counted from the scheme. ``calibrated`` says that scales
    which all tokens of keys or values share are known beforehand: a cache that grows cannot make
    them.
    """

    scheme: SchemeField | None = Field(default=None, description="a scheme, as int4_asym@g128")
    bits: Annotated[float, Field(ge=1, le=64)] | None = Field(
        default=None, description="stored bits per element, where a study states them"
    )
    calibrated: bool = Field(
        default=False,
        description="of keys and values: scales over all tokens are known beforehand",
    )

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

    def bits_per_element(self, axis_length: int, rows: int) -> Fraction:
        """Return the stored bits per element of a tensor, scales and selectors counted.

        Exactly, or where that is no multiple of 2^-22 bits or of a coarser part rounded up to one.

        Parameters
        ----------
        axis_length : int
            Elements of a row, along which groups share scales.
        rows : int
            Rows of the tensor, which blocks of several, and the whole tensor, share scales among.

        Examples
        --------
        One scale of 16 bits in a tensor of 98 rows of 8 elements:

        >>> Operand(scheme="int8@tensor").bits_per_element(8, 98)
        Fraction(393, 49)
        """
        if self.bits is not None:
            return _as_written(self.bits)
        assert self.scheme is not None
        return _stored_bits(self.scheme, axis_length, rows)

    def row_bits(self, axis_length: int, rows: int) -> Fraction:
        """Return the mean bits per element of the rows of a tensor, without what it has once."""
        if self.bits is not None:
            return _as_written(self.bits)
        assert self.scheme is not None
        return self.scheme.row_bits(axis_length, rows)

    @property
    def shares_rows(self) -> bool:
        """Whether several rows share a scale."""
        return self.scheme is not None and self.scheme.granularity.rows != 1

    @property
    def scale_shapes(self) -> tuple[Granularity, ...]:
        """What shares a scale, at each level; none where only bits are stated."""
        return () if self.scheme is None else self.scheme.scale_shapes

    @property
    def scales_columns(self) -> bool:
        """Whether single columns have scales of their own, which several rows share."""
        return self.shares_rows and self.scale_group == 1

    @property
    def code_bits(self) -> Fraction:
        """Bits of an element's code, without scales and selectors; stated bits are all code."""
        if self.bits is not None:
            return _as_written(self.bits)
        assert self.scheme is not None
        return self.scheme.code_bits

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

    meant: ClassVar[Mapping[str, str]] = {
        "key": "'weight', for keys alone a rule with names: attention_qk",
        "value": "'weight', for values alone a rule with names: attention_av",
        "activation": "'input'",
        "activations": "'input'",
    }

    weight: OperandField = Field(description="the stationary operand: weights, or keys and values")
    input: OperandField = Field(default=FP16, description="the moving operand")
    output: OperandField = Field(default=FP16, description="results")


class NormFormats(Record):
    """Formats of what a vector unit's norms read; what they leave is a product's input."""

    weight: OperandField = Field(description="scales and shifts of norms")
    input: OperandField | None = Field(
        default=None, description="the stream that layers add to; linear's results if left out"
    )


Kind = Literal["linear", "attention", "lm_head", "conv", "router"]
LAYER_KINDS: tuple[Kind, ...] = ("linear", "attention", "lm_head", "conv", "router")


def _tuple(value: Any) -> Any:
    if isinstance(value, list):
        return tuple(tuple(each) if isinstance(each, list) else each for each in value)
    return (value,) if isinstance(value, str | int) else value


Span = tuple[int, int]


def _numbers(value: Any) -> Any:
    """Read numbers of layers and ranges of them, one alone or several."""
    if value is None:
        return None
    numbers = _tuple(value)
    for each in numbers if isinstance(numbers, tuple) else (value,):
        ends = each if isinstance(each, tuple) and len(each) == 2 else (each,)
        if any(isinstance(end, bool) or not isinstance(end, int) for end in ends):
            wrong = shown(list(each) if isinstance(each, tuple) else each)
            raise ValueError(
                f"{wrong} is not a layer; list numbers of layers, as 0 or -1, and ranges of them, "
                "as [2, 5]"
            )
    return numbers


class FormatRule(Record):
    """Other formats for some layers of a kind; an operand that it leaves out stays as it is.

    Attributes
    ----------
    kind : str
        The kind of layer that it is about.
    names : tuple of str
        Names of products, ``*`` for any characters: ``router``, ``expert_*``, ``attention_qk*``.
    layers : tuple of int or (int, int), optional
        Numbers of layers from 0, or from the last one as -1, and ranges ``[first, last]`` of them.
        Without, all layers, and what stands outside them.
    """

    kind: Kind = Field(default="linear", description="kind of layer that it is about")
    names: Annotated[tuple[str, ...], BeforeValidator(_tuple), Field(min_length=1)] = Field(
        default=("*",), description="names of products, * for any characters"
    )
    layers: Annotated[
        Annotated[tuple[int | Span, ...], Field(min_length=1)] | None, BeforeValidator(_numbers)
    ] = Field(
        default=None,
        description="numbers of layers from 0, from the last as -1, and ranges [first, last]",
    )
    weight: OperandField | None = Field(default=None, description="other format of weights")
    input: OperandField | None = Field(default=None, description="other format of inputs")
    output: OperandField | None = Field(default=None, description="other format of results")

    @model_validator(mode="after")
    def _says_something(self) -> FormatRule:
        if not (self.weight or self.input or self.output):
            raise ValueError("give 'weight', 'input' or 'output'")
        return self

    def over(self, formats: LayerFormats) -> LayerFormats:
        """Return formats with those of the rule in their place."""
        own = {name: getattr(self, name) for name in ("weight", "input", "output")}
        return formats.model_copy(update={k: v for k, v in own.items() if v is not None})

    def numbers(self, depth: int) -> frozenset[int]:
        """Return the layers that it is about, of so many.

        Raises
        ------
        ValueError
            If one of them is not there.
        """
        found: set[int] = set()
        for each in self.layers or ():
            first, last = each if isinstance(each, tuple) else (each, each)
            low, high = (n if n >= 0 else n + depth for n in (first, last))
            if not 0 <= low <= high < depth:
                raise ValueError(
                    f"layers: {each if isinstance(each, int) else list(each)} is not among the "
                    f"{depth} layers; give numbers from 0 to {depth - 1}, or from -{depth} to -1."
                )
            found |= set(range(low, high + 1))
        return frozenset(found)

    def covers(self, kind: str, name: str, layers: tuple[int, ...]) -> bool:
        """Return whether it is about a product, which stands for so numbered layers.

        Of a rule with numbers of layers these must be counted from 0.
        """
        kinds = (kind, "linear") if kind == "router" else (kind,)
        if self.kind not in kinds or not any(fnmatchcase(name, each) for each in self.names):
            return False
        if self.layers is None:
            return True
        return bool(layers) and set(layers) <= self.numbers(2**31)


def _either(schema: dict[str, Any]) -> None:
    """Say in a JSON Schema which keys may be left out where others are given."""
    required = schema.pop("required", [])
    schema["anyOf"] = [{"required": required}, {"required": ["conv"]}]


class Formats(Record):
    """The chip's policy: formats by kind of layer.

    ``lm_head``, ``conv`` and ``router`` follow ``linear`` unless given, rules about linear layers
    are about routers too. Of ``rules`` that are about the same product a later one goes ahead of
    an earlier one. A chip that gives ``conv`` may leave out ``linear``, which follows it, and
    ``attention``, which it then cannot run.
    """

    model_config = ConfigDict(json_schema_extra=_either)

    linear: LayerFormats = Field(description="formats of linear layers; conv's if left out")
    attention: LayerFormats | None = Field(
        description="formats of attention; weight: keys and values; none where a chip has conv "
        "and runs no attention"
    )
    lm_head: LayerFormats | None = Field(
        default=None, description="formats of the output head; linear's if left out"
    )
    conv: LayerFormats | None = Field(
        default=None, description="formats of convolutions; linear's if left out"
    )
    router: LayerFormats | None = Field(
        default=None,
        description="formats of what chooses experts, and of their gates; linear's if left out",
    )
    norm: NormFormats | None = Field(
        default=None,
        description="formats of norms; left out: scales are not counted, inputs are as results",
    )
    rules: Annotated[tuple[FormatRule, ...], BeforeValidator(_tuple)] | None = Field(
        default=None,
        description="other formats for some layers; a later rule goes ahead of an earlier one",
    )

    @model_validator(mode="after")
    def _calibrated_caches(self) -> Formats:
        """Check that only keys and values have scales that are known beforehand."""
        kinds: dict[str, Any] = {kind: getattr(self, kind) for kind in (*LAYER_KINDS, "norm")}
        rules = {f"rules.{i}": rule for i, rule in enumerate(self.rules or ())}
        for name, own in {**kinds, **rules}.items():
            for operand in ("weight", "input", "output"):
                stored = getattr(own, operand, None)
                kind = getattr(own, "kind", name)
                if stored and stored.calibrated and (kind, operand) != ("attention", "weight"):
                    raise ValueError(
                        f"{name}.{operand}: 'calibrated' is of keys and values, the weight of "
                        "attention, whose scales tokens to come may change; leave it out"
                    )
        return self

    @model_validator(mode="before")
    @classmethod
    def _of_convolutions(cls, data: Any) -> Any:
        if not isinstance(data, dict) or data.get("conv") is None:
            return data
        return {"linear": data["conv"], "attention": None, **data}

    def of(self, kind: str, name: str = "", layers: tuple[int, ...] = ()) -> LayerFormats:
        """Return the formats of a kind of layer, or of a product of a name in it.

        Parameters
        ----------
        kind, name : str
            The kind, and the product.
        layers : tuple of int
            The numbers of the layers that it stands for.

        Raises
        ------
        BitlatheError
            If it is attention, and the chip has no formats of it.
        """
        given: LayerFormats | None = getattr(self, kind)
        if given is None and kind == "attention":
            raise BitlatheError(
                "key 'formats.attention' is missing, and the model has attention; write, say, "
                "attention: {weight: int8@g32}, the format of keys and values."
            )
        found = given or self.linear
        for rule in self.rules or ():
            if name and rule.covers(kind, name, layers):
                found = rule.over(found)
        return found

    def stored(
        self, kind: str, operand: str, name: str = "", layers: tuple[int, ...] = ()
    ) -> Operand:
        """Return the format of an operand of a kind of layer, or of what norms read.

        Parameters
        ----------
        kind : str
            That of a layer, or ``"norm"``.
        operand : str
        name, layers
            As of `of`: of a product, which rules may be about.
        """
        if kind == "norm":
            own = self.norm.input if self.norm is not None else None
            return own or self.linear.output
        found: Operand = getattr(self.of(kind, name, layers), operand)
        return found

    @property
    def by_kind(self) -> dict[str, LayerFormats]:
        """The formats that are given, by kind of layer, and those of rules."""
        each = {kind: getattr(self, kind) for kind in LAYER_KINDS}
        found: dict[str, LayerFormats] = {
            kind: own for kind, own in each.items() if own is not None
        }
        for i, rule in enumerate(self.rules or ()):
            found[f"rules.{i}"] = rule.over(self.of(rule.kind))
        return found

    @property
    def layers(self) -> tuple[LayerFormats, ...]:
        """The formats that are given."""
        return tuple(self.by_kind.values())
