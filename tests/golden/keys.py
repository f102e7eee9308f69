"""Pins of the JSON that commands print: every key with its place and its kind of value."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from click.testing import CliRunner

from bitlathe.cli import main

HERE = Path(__file__).parent
TENSORS = "weights.npz"  # made for the commands that read tensors
SIMULATE = "simulate --arch bitmod --model opt-125m --context 16 --json"
COMMANDS = (
    SIMULATE,
    f"{SIMULATE} --fidelity analytic --mapper search",
    f"{SIMULATE} --mapper whole-buffer",
    f"{SIMULATE} --bandwidth --set array.rows=16",
    "simulate --arch systolic-ws.yaml --model resnet-18 --batch 2 --json",
    "simulate --arch hpca25/bitmod-lossy --model bert-base --mapper hpca25-whole-buffer "
    "--fidelity analytic --json",
    "formats --json",
    "formats int4 --json",
    "formats bitmod_fp3 --json",
    "formats nf4 --json",
    "formats bcq3 --json",
    f"quantize {TENSORS} --scheme int4@g32 --scheme bitmod_fp3@g32/int8 --json",
    "archs --json",
    "models --json",
)
KINDS = {bool: "true or false", int: "integer", float: "number", str: "text", type(None): "null"}


def places(value: Any, at: str = "") -> Iterator[tuple[str, str]]:
    """Yield (place, kind) of all values; items of a list share theirs."""
    if value in ({}, []):
        yield at, "empty"
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from places(below, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for below in value:
            yield from places(below, f"{at}[]")
    else:
        yield at, KINDS[type(value)]


def printed(command: str, folder: Path) -> Any:
    """Return the JSON that a command prints, files of the folder and of this one by their names."""
    words = [str(folder / word) if word == TENSORS else word for word in command.split()]
    words = [str(HERE / word) if word.endswith(".yaml") else word for word in words]
    result = CliRunner().invoke(main, words)
    if result.exit_code:
        raise AssertionError(f"{command}: {result.output} {result.exception!r}")
    return json.loads(result.stdout)


def found() -> dict[str, dict[str, str]]:
    """Return the keys by command, as they are now."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        steps = np.arange(-96, 96, dtype=np.float32).reshape(3, 64) / 64
        np.savez(folder / TENSORS, steps=steps, half=steps.astype(np.float16))
        return {command: _kinds(printed(command, folder)) for command in COMMANDS}


def _kinds(value: Any) -> dict[str, str]:
    kinds: dict[str, set[str]] = {}
    for place, kind in places(value):
        kinds.setdefault(place, set()).add(kind)
    return {place: " or ".join(sorted(kinds[place])) for place in sorted(kinds)}
