"""Schemas of files: every key is told, shipped files fit, shipped schemas are those of the code."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner

from bitlathe.arch.loader import CHIPS
from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.base.yamlfile import read_yaml
from bitlathe.reports.schemas import KINDS, key_rows, key_tables, schema, unit_of
from bitlathe.workloads.conv import _KEYS as LAYER_KEYS
from bitlathe.workloads.conv import ACTIVATIONS
from bitlathe.workloads.sources.entries import CONV_KEYS, PRODUCT_KEYS
from bitlathe.workloads.sources.schema import Activation, ConvEntry, NetworkLayer, ProductEntry

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = {
    "chip": sorted(CHIPS.rglob("*.yaml")),
    "system": sorted((ROOT / "arch" / "systems").glob("*.yaml")),
    "sweep": sorted((ROOT / "reports" / "studies").glob("*/sweep.yaml")),
}
HOME = {"chip": "arch", "system": "arch", "sweep": "reports"}
NUMBERS = re.compile(r"\b(integer|number)\b")


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_says_what_it_means_and_every_number_its_unit(kind: str) -> None:
    rows = key_rows(kind)
    silent = [f"{r['section']}.{r['key']}" for r in rows if not r["meaning"]]
    bare = [
        f"{r['section']}.{r['key']}" for r in rows if NUMBERS.search(r["type"]) and not r["unit"]
    ]
    assert silent == [], "give the field a description"
    assert bare == [], "end its name in a unit, or say what it counts in reports/schemas.COUNTED"
    assert len(rows) > 10


def problems(made: Any, value: Any, part: Any, place: str = "") -> list[str]:
    """A small validator of JSON Schema, for the words that the schemas use."""
    if "$ref" in part:
        part = made["$defs"][part["$ref"].rpartition("/")[2]]
    found = []
    for word in ("anyOf", "oneOf"):
        if word in part and all(problems(made, value, each, place) for each in part[word]):
            found.append(f"{place}: fits none: {value!r}")
    kinds = part.get("type", [])
    types = {"string": str, "integer": int, "number": (int, float), "array": list, "object": dict,
             "boolean": bool, "null": type(None)}  # fmt: skip
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(isinstance(value, types[kind]) for kind in kinds):
        return [f"{place}: {value!r} is none of {kinds}"]
    if "enum" in part and value not in part["enum"]:
        found.append(f"{place}: {value!r} is none of {part['enum']}")
    if "const" in part and value != part["const"]:
        found.append(f"{place}: {value!r} is not {part['const']}")
    if isinstance(value, (int, float)) and not value >= part.get("minimum", value):
        found.append(f"{place}: {value} is too little")
    if isinstance(value, dict):
        known = part.get("properties", {})
        missing = [key for key in part.get("required", ()) if key not in value]
        found += [f"{place}.{key} is missing" for key in missing]
        for key, each in value.items():
            if key in known:
                found += problems(made, each, known[key], f"{place}.{key}")
            elif part.get("additionalProperties") is False:
                found.append(f"{place}.{key} is unknown")
    if isinstance(value, list) and isinstance(part.get("items"), dict):
        for i, each in enumerate(value):
            found += problems(made, each, part["items"], f"{place}[{i}]")
    return found


@pytest.mark.parametrize("kind", SHIPPED)
def test_shipped_files_fit_their_schema_and_name_it(kind: str) -> None:
    made = schema(kind)
    assert SHIPPED[kind]
    for path in SHIPPED[kind]:
        assert problems(made, read_yaml(path, kind).data, made) == [], path
        named = re.findall(r"^# yaml-language-server: \$schema=(\S+)$", path.read_text(), re.M)
        assert [(path.parent / name).resolve() for name in named] == [
            ROOT / HOME[kind] / f"{kind}.schema.json"
        ], path


def test_wrong_files_do_not_fit() -> None:
    made = schema("chip")
    data = read_yaml(CHIPS / "bitmod.yaml", "chip").data
    wrong = {**data, "technology": {**data["technology"], "device": "fast"}, "arry": {}}
    wrong["array"] = {"kind": "tile", "rows": 4}
    assert [each.split(":")[0] for each in problems(made, wrong, made)] == [
        ".technology.device",
        ".array.columns is missing",
        ".arry is unknown",
    ]


@pytest.mark.parametrize("kind", HOME)
def test_the_shipped_schema_is_that_of_the_code(kind: str) -> None:
    path = ROOT / HOME[kind] / f"{kind}.schema.json"
    printed = CliRunner().invoke(main, ["schema", kind]).stdout
    again = f"bitlathe schema {kind} > {path.relative_to(ROOT)}"
    assert path.read_text(encoding="utf-8") == printed, again


def test_records_of_models_have_the_keys_that_their_readers_know() -> None:
    def keys(record: Any) -> set[str]:
        return {field.alias or name for name, field in record.model_fields.items()}

    assert get_args(Activation) == ACTIVATIONS
    assert keys(ProductEntry) == set(PRODUCT_KEYS)
    assert keys(ConvEntry) == set(CONV_KEYS)
    assert keys(NetworkLayer) == {key for known in LAYER_KEYS.values() for key in known}


def test_units_are_those_of_names_and_of_what_is_counted() -> None:
    number = {"type": "number"}
    assert unit_of("energy_pj_per_bit", number) == "pJ/bit"
    assert unit_of("rows", {"anyOf": [number, {"type": "null"}]}) == "PEs"
    assert unit_of("title", {"type": "string"}) == unit_of("mystery", number) == ""


def test_the_command_prints_tables_and_refuses_other_kinds() -> None:
    shown = CliRunner().invoke(main, ["schema", "chip", "--table"]).stdout
    assert "node_nm" in shown
    assert "process node, for SRAM tables and the scaling of areas" in shown
    assert json.loads(CliRunner().invoke(main, ["schema", "step", "--json"]).stdout)["properties"]
    done = CliRunner().invoke(main, ["schema", "chips"])
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: kind: unknown value 'chips'; did you mean 'chip'?")
    with pytest.raises(BitlatheError, match="did you mean 'sweep'"):
        schema("swep")
    assert next(name for name, _ in key_tables("sweep")) == "file"
