"""Formats from a user's YAML file.

One of four forms::

    name: my4                      # a list of values, in code order
    values: [0, 0.25, 0.5, 1, 2, 4, 8, 16, -0.0, -0.25, -0.5, -1, -2, -4, -8, -16]
    thresholds: [...]              # optional: between values in ascending order; else half-way

    name: e3m2b5                   # binary floating point
    exponent_bits: 3
    mantissa_bits: 2
    bias: 5                        # optional
    specials: none                 # none, ieee, fn, fnuz

    name: int4full                 # integers
    integer_bits: 4
    full_range: true               # optional

    name: fp3_5                    # a known format with values added
    base: fp3_e2m0
    add: [5]
"""

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ..base.errors import BitlatheError, nearest
from ..base.yamlfile import Document, Record, read_yaml, validate
from .catalogue import single
from .constructors import codebook, float_format, int_format, with_special
from .format import Format

Numbers = Annotated[list[float], Field(min_length=1)]


# fp16 scales reach from 2^-24 to 2^16: with such formats groups of weights near 2^-4 still have one
_LARGEST = 2.0**20


def _moderate(fmt: Format) -> Format:
    """Return a format; refuse values under which no scale could be stored."""
    if not 1 / _LARGEST <= fmt.max_abs <= _LARGEST:
        raise BitlatheError(
            f"the largest magnitude is {fmt.max_abs:g}; it must be from 2^-20 to 2^20. Only the "
            "ratios of values matter, as each group has a scale: divide all by the largest"
        )
    return fmt


class Form(Record, ABC):
    """What the four forms share."""

    name: str = Field(default="", description="name in tables; the file's by default")
    source: str = Field(default="", description="where the format is from")

    @abstractmethod
    def make(self, name: str, source: str) -> Format:
        """Return the format."""


class Values(Form):
    """A list of values, in code order."""

    values: Numbers = Field(description="all values, in the order of their codes")
    bits: int | None = Field(
        default=None, description="width of a code; the least that fits if left out"
    )
    thresholds: Numbers | None = Field(
        default=None,
        description="where rounding moves to the next value, ascending; half-way if left out",
    )

    per_byte: int = Field(
        default=0, description="codes that share a byte as digits, 5 of three values; 0: none do"
    )

    def make(self, name: str, source: str) -> Format:
        """Return the format."""
        made = codebook(name, self.values, self.bits, source, self.thresholds, self.per_byte)
        return _moderate(made)


class Floats(Form):
    """Binary floating point."""

    exponent_bits: int = Field(description="bits of the exponent")
    mantissa_bits: int = Field(description="bits of the mantissa; 0 for powers of two")
    bias: int | None = Field(
        default=None, description="bias of the exponent; 2^(bits - 1) - 1 if left out"
    )
    specials: str = Field(
        default="none", description="codes of infinity and NaN: none, ieee, fn or fnuz"
    )
    signed: bool = Field(default=True, description="whether there is a sign bit")

    def make(self, name: str, source: str) -> Format:
        """Return the format."""
        facts = (self.exponent_bits, self.mantissa_bits, self.bias, self.specials, self.signed)
        return float_format(*facts, name=name, source=source)


class Integers(Form):
    """Integers."""

    integer_bits: int = Field(description="width of a code")
    signed: bool = Field(default=True, description="whether there is a sign")
    full_range: bool = Field(default=False, description="signed: from -2^(b-1); else symmetric")

    def make(self, name: str, source: str) -> Format:
        """Return the format."""
        return int_format(self.integer_bits, self.signed, self.full_range, name, source)


class Extended(Form):
    """A known format with values added."""

    base: str = Field(description="the format that is extended")
    add: Numbers = Field(description="values that are added")

    def make(self, name: str, source: str) -> Format:
        """Return the format."""
        made = reduce(lambda f, value: with_special(f, value, name), self.add, single(self.base))
        return _moderate(replace(made, source=source))


# by the key that only this form has
FORMS: dict[str, type[Form]] = {
    "values": Values,
    "exponent_bits": Floats,
    "integer_bits": Integers,
    "base": Extended,
}


def load_format(path: str | Path) -> Format:
    """Make a format from a YAML file; see the module for its four forms.

    Raises
    ------
    BitlatheError
        Naming file, line and key.
    """
    return format_of(read_yaml(Path(path), "format file"), Path(path).stem, str(path))


def format_of(document: Document, name: str, source: str) -> Format:
    """Make a format from a document that describes one.

    Parameters
    ----------
    document : Document
    name, source : str
        Where the document gives none.

    Raises
    ------
    BitlatheError
        Naming file, line and key.
    """
    key = _form(document)
    form = validate(FORMS[key], document)
    try:
        return form.make(form.name or name, form.source or source)
    except BitlatheError as problem:
        raise BitlatheError(f"{document.where((key,))}: {problem}") from None


def _form(document: Document) -> str:
    """Return the key that says which of the forms a file has."""
    data = document.data
    if not isinstance(data, dict):
        raise BitlatheError(f"{document.source}: a format file is a table of keys, such as values")
    found = [key for key in FORMS if key in data]
    if len(found) == 1:
        return found[0]
    if "mixture" in data:
        raise BitlatheError(
            f"{document.where(('mixture',))}: a mixture is the element of a scheme: write "
            "element: {mixture: [...]} and the scales (docs/block-formats.md)"
        )
    for key in data if not found else ():
        if near := nearest(key, FORMS, limit=1):
            raise BitlatheError(
                f"{document.where((key,))}: unknown key {key!r}; did you mean {near[0]!r}?"
            )
    raise BitlatheError(
        f"{document.source}: exactly one of {', '.join(FORMS)} must be given, "
        f"found {' and '.join(found) or 'none'}"
    )
