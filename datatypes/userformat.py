"""Formats from a user's YAML file.

One of four forms::

    name: my4                      # a list of values, in code order
    values: [0, 0.25, 0.5, 1, 2, 4, 8, 16, -0.0, -0.25, -0.5, -1, -2, -4, -8, -16]

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

from pathlib import Path
from typing import Any

from .catalogue import element
from .errors import BitlatheError
from .format import Format, codebook, float_format, int_format, with_special
from .yamlfile import Document, read_yaml

FORMS: dict[str, tuple[str, ...]] = {
    "values": ("bits",),
    "exponent_bits": ("mantissa_bits", "bias", "specials", "signed"),
    "integer_bits": ("signed", "full_range"),
    "base": ("add",),
}


def load_format(path: str | Path) -> Format:
    """Make a format from a YAML file; see the module for its four forms.

    Raises
    ------
    BitlatheError
        Naming file, line and key.
    """
    document = read_yaml(Path(path), "format file")
    data = document.data
    if not isinstance(data, dict):
        raise BitlatheError(f"{document.source}: a format file is a table of keys, such as values")
    forms = [form for form in FORMS if form in data]
    if len(forms) != 1:
        raise BitlatheError(
            f"{document.source}: exactly one of {', '.join(FORMS)} must be given, "
            f"found {' and '.join(forms) or 'none'}"
        )
    allowed = ("name", "source", forms[0], *FORMS[forms[0]])
    for key in data:
        if key not in allowed:
            raise BitlatheError(
                f"{document.where((key,))}: unknown key {key!r}; known here: {', '.join(allowed)}"
            )
    try:
        return _make(forms[0], data, document)
    except BitlatheError as problem:
        raise BitlatheError(f"{document.where((forms[0],))}: {problem}") from None


def _make(form: str, data: dict[str, Any], document: Document) -> Format:
    name = _get(data, document, "name", str, Path(document.source).stem)
    source = _get(data, document, "source", str, document.source)
    if form == "values":
        values = _numbers(data, document, "values")
        bits = _get(data, document, "bits", int, None)
        return codebook(name, values, bits=bits, source=source)
    if form == "exponent_bits":
        return float_format(
            _get(data, document, "exponent_bits", int, None),
            _get(data, document, "mantissa_bits", int, 0),
            bias=_get(data, document, "bias", int, None),
            specials=_get(data, document, "specials", str, "none"),
            signed=_get(data, document, "signed", bool, True),
            name=name,
            source=source,
        )
    if form == "integer_bits":
        return int_format(
            _get(data, document, "integer_bits", int, None),
            signed=_get(data, document, "signed", bool, True),
            full=_get(data, document, "full_range", bool, False),
            name=name,
        )
    base = element(_get(data, document, "base", str, None))
    if not isinstance(base, Format):
        raise BitlatheError(f"base {data['base']!r} is a mixture; name a single format")
    made = base
    for value in _numbers(data, document, "add"):
        made = with_special(made, value, name)
    return made


def _get(data: dict[str, Any], document: Document, key: str, kind: type, default: Any) -> Any:
    if key not in data:
        return default
    value = data[key]
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BitlatheError(
            f"{document.where((key,))}: {key} must be {kind.__name__}, got {value!r}"
        )
    return value


def _numbers(data: dict[str, Any], document: Document, key: str) -> list[float]:
    given = data.get(key)
    if not isinstance(given, list) or not given:
        raise BitlatheError(f"{document.where((key,))}: {key} must be a list of numbers")
    for place, value in enumerate(given):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BitlatheError(
                f"{document.where((key, place))}: {key} must hold numbers, got {value!r}"
            )
    return [float(v) for v in given]
