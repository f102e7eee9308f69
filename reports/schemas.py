"""What files may say: JSON Schema of each kind of file, and tables of its keys, from the records.

A key has a description in its record, and a unit: in its name (``size_kib``), or in `COUNTED`.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue

from ..datatypes.base.errors import BitlatheError, unknown_name

Row = dict[str, Any]
UNITS: Mapping[str, str] = {
    "nm": "nm",
    "ghz": "GHz",
    "k": "K",
    "um2": "um2",
    "pj_per_bit": "pJ/bit",
    "pj": "pJ",
    "mw": "mW",
    "kib": "KiB",
    "gib": "GiB",
    "bytes": "bytes",
    "bits": "bits",
    "ns": "ns",
    "cycles": "clocks",
    "gb_per_s": "GB/s",
    "bits_per_clock": "bits/clock",
    "fraction": "of 1",
    "factor": "of 1",
    "tokens": "tokens",
}
"""The unit that the end of a key's name says."""
COUNTED: Mapping[str, str] = {
    **dict.fromkeys(("rows", "columns"), "PEs"),
    **dict.fromkeys(("new", "cached", "context", "contexts", "decode", "window"), "tokens"),
    **dict.fromkeys(("visible_before",), "tokens"),
    **dict.fromkeys(("sequences", "batches"), "sequences"),
    **dict.fromkeys(("chips", "tensor", "expert"), "chips"),
    **dict.fromkeys(("read", "write", "both", "split"), "bits"),
    **dict.fromkeys(("samples", "budget"), "points"),
    **dict.fromkeys(("rank",), "columns"),
    **dict.fromkeys(("seed", "layers", "bias", "routing"), "number"),
    **dict.fromkeys(("values", "thresholds", "add"), "number"),
    **dict.fromkeys(("m", "rows_per_token"), "rows"),
    **dict.fromkeys(("keys", "n", "k", "c", "out_channels", "groups"), "channels"),
    **dict.fromkeys(("in_features", "out_features"), "channels"),
    **dict.fromkeys(("h", "w", "r", "s"), "pixels"),
    **dict.fromkeys(("kernel", "stride", "padding", "dilation", "input"), "pixels"),
    "lanes": "lanes",
    "entries": "entries",
    "size": "cores",
    "banks": "banks",
    "ports": "ports",
    "words": "words",
    "group_gap": "clocks",
    "pipeline": "stages",
    "data": "copies",
    "micro_batches": "parts",
    "population": "chips",
    "count": "layers",
    "per_byte": "codes",
    "batch": "products",
    "input_elements": "elements",
    "target": "the column's",
    "from": "the key's",
    "to": "the key's",
}
"""What a number counts, or its unit, where its name does not end in a unit."""


_TOLD = ("default", "description", "title")
_SHORT = {"type": ["string", "number", "boolean", "array", "object", "null"]}


class _Generator(GenerateJsonSchema):
    """JSON Schema that also lets in the short forms that a record's fields are read from."""

    def function_before_schema(self, schema: Any) -> JsonSchemaValue:
        """Let in what a validator before a field, or before a whole record, takes as well."""
        inner = self.generate_inner(schema["schema"])
        if "json_schema_input_schema" in schema:  # the field says what it takes
            return self.generate_inner(schema["json_schema_input_schema"])
        if not hasattr(schema["function"]["function"], "__self__"):
            return {"anyOf": [inner, _SHORT]}
        for key, entry in inner.get("properties", {}).items():  # a record's own: of its numbers
            if entry.get("type") in ("integer", "number"):
                told = {name: entry.pop(name) for name in _TOLD if name in entry}
                inner["properties"][key] = {"anyOf": [entry, _SHORT], **told}
        return inner

    def function_plain_schema(self, schema: Any) -> JsonSchemaValue:
        """Return text: what is read from nothing else."""
        return {"type": "string"}


def _chip() -> Any:
    from ..arch.schema import Arch

    return Arch


def _system() -> Any:
    from ..arch.system import System

    return System


def _sweep() -> Any:
    from .explore.sweepfile import SweepFile

    return SweepFile


def _format() -> Any:
    from ..datatypes.formats.files import Extended, Floats, Integers, Values
    from ..datatypes.schemes.files import SchemeFile

    return Values | Floats | Integers | Extended | SchemeFile


def _model() -> Any:
    from ..workloads.sources.schema import Network, ProductList

    return ProductList | Network


def _step() -> Any:
    from ..workloads.step import Step

    return Step


KINDS: Mapping[str, Callable[[], Any]] = {
    "chip": _chip,
    "system": _system,
    "sweep": _sweep,
    "format": _format,
    "model": _model,
    "step": _step,
}
"""The kinds of files, and the records that say what stands in one."""


def schema(kind: str) -> dict[str, Any]:
    """Return the JSON Schema of a kind of file, its keys with descriptions and units.

    Raises
    ------
    BitlatheError
        There is no such kind.
    """
    if kind not in KINDS:
        raise BitlatheError(unknown_name("kind of file", kind, KINDS))
    made = TypeAdapter(KINDS[kind]()).json_schema(schema_generator=_Generator)
    if kind == "chip":  # its loader takes the DRAM from the first of the memories, too
        made["required"].remove("dram")
    for record in _records(made):
        record.pop("title", None)
        record["description"] = " ".join(record.get("description", "").split("\n\n")[0].split())
        for key, entry in record["properties"].items():
            entry.pop("title", None)
            if unit := unit_of(key, entry):
                entry["x-unit"] = unit
                entry["description"] = f"{entry.get('description', '')} ({unit})"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}


def unit_of(key: str, entry: Mapping[str, Any]) -> str:
    """Return the unit of a key that takes numbers; empty for others, and where none is known.

    Examples
    --------
    >>> unit_of("size_kib", {"type": "number"}), unit_of("title", {"type": "string"})
    ('KiB', '')
    """
    if not takes_numbers(entry):
        return ""
    if key in COUNTED:
        return COUNTED[key]
    ends = [end for end in UNITS if key == end or key.endswith(f"_{end}")]
    return UNITS[max(ends, key=len)] if ends else ""


def takes_numbers(entry: Mapping[str, Any]) -> bool:
    """Return whether a key takes a number, or a list of some; not as a short form of a section."""
    kinds = entry.get("type")
    if kinds in ("number", "integer"):
        return True
    parts = [*entry.get("anyOf", ()), *entry.get("oneOf", ())]
    if "items" in entry:
        parts.append(entry["items"])
    return any(takes_numbers(part) for part in parts)


def _records(made: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    found = [*made.get("$defs", {}).values(), made]
    yield from (each for each in found if "properties" in each)


def key_rows(kind: str) -> list[Row]:
    """Return the keys of a kind of file, a row each: where, key, type, unit, default, range."""
    made = schema(kind)
    return [
        {"section": section, "key": key, **_facts(made, record, key, entry)}
        for section, record in _sections(made)
        for key, entry in record["properties"].items()
    ]


def _facts(made: Mapping[str, Any], record: Mapping[str, Any], key: str, entry: Row) -> Row:
    unit = entry.get("x-unit", "")
    meaning = entry.get("description", "").removesuffix(f" ({unit})")
    needed = "needed" if key in record.get("required", ()) else ""
    first, *others = [way["required"] for way in record.get("anyOf", ())] or [()]
    if key in first:
        needed = " or ".join(["needed", *(", ".join(keys) for keys in others)])
    return {
        "type": " or ".join(dict.fromkeys(_types(made, entry))),
        "unit": unit,
        "default": needed or _plain(entry.get("default")),
        "range": _range(entry),
        "meaning": meaning,
    }


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        given = {key: each for key, each in value.items() if each is not None}
        return ", ".join(f"{key}: {_plain(each)}" for key, each in given.items())
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _types(made: Mapping[str, Any], entry: Mapping[str, Any]) -> Iterator[str]:
    for part in (*entry.get("anyOf", ()), *entry.get("oneOf", ())):
        if not isinstance(part.get("type"), list):  # the short forms
            yield from _types(made, part)
    if "$ref" in entry:
        yield "section"
    elif "enum" in entry or "const" in entry:
        yield from map(str, entry.get("enum", [entry.get("const")]))
    elif entry.get("type") == "array":
        items = entry.get("items") or {}
        yield f"list of {' or '.join(dict.fromkeys(_types(made, items))) or 'values'}"
    elif isinstance(entry.get("type"), str) and entry["type"] != "null":
        names = {"string": "text", "object": "table", "boolean": "true or false"}
        yield names.get(entry["type"], entry["type"])


def _range(entry: Mapping[str, Any]) -> str:
    signs = {
        "exclusiveMinimum": ">",
        "minimum": ">=",
        "exclusiveMaximum": "<",
        "maximum": "<=",
        "minItems": "items >=",
    }
    own = [f"{sign} {_bound(entry[name])}" for name, sign in signs.items() if name in entry]
    parts = [_range(part) for part in (*entry.get("anyOf", ()), *entry.get("oneOf", ()))]
    if isinstance(entry.get("items"), dict):
        parts.append(_range(entry["items"]))
    return ", ".join(dict.fromkeys([*own, *filter(None, parts)]))


def _bound(value: float) -> str:
    power = int(value).bit_length() - 1
    exact = value == int(value) and value > 10_000 and int(value) == 1 << power
    return f"2^{power}" if exact else f"{value:g}"


def _sections(made: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the records of a file, each once, with the path at which it is first met."""
    seen: set[str] = set()
    waiting: list[tuple[str, Mapping[str, Any]]] = [("", {**made, "several": True})]
    while waiting:
        path, entry = waiting.pop(0)
        if "properties" in entry:
            yield path, dict(entry)
            for key, part in entry["properties"].items():
                inner = f"{path}.{key}" if path else key
                refs = _refs(part)
                waiting += [(inner, {**each, "several": len(refs) > 1}) for each in refs]
            continue
        for name in [ref["$ref"] for ref in _refs(entry)]:
            record = name.rpartition("/")[2]
            if record not in seen:
                seen.add(record)
                found = made["$defs"][record]
                kind = found.get("properties", {}).get("kind", {}).get("const")
                several = entry.get("several") and not kind
                told = f", kind {kind}" if kind else f", {record}" if several else ""
                waiting.append((f"{path or 'file'}{told}", found))


def _refs(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    if "$ref" in entry:
        return [entry]
    parts = [*entry.get("anyOf", ()), *entry.get("oneOf", ()), *entry.get("prefixItems", ())]
    for name in ("items", "additionalProperties"):
        if isinstance(entry.get(name), dict):
            parts.append(entry[name])
    return [ref for part in parts for ref in _refs(part)]


def key_tables(kind: str) -> list[tuple[str, list[Row]]]:
    """Return the tables of a kind of file: the name of each section, and its keys."""
    tables: dict[str, list[Row]] = {}
    for row in key_rows(kind):
        tables.setdefault(row["section"] or "file", []).append(
            {key: value for key, value in row.items() if key != "section"}
        )
    return list(tables.items())
