"""Quantised tensors on disk: packed streams in a safetensors file, all facts in its header.

The header holds everything needed to read the streams, formats of one's own included, so a file
needs no catalogue of the same version to be read. Nothing is pickled, nothing executed.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from .catalogue import ENTRIES, element
from .errors import BitlatheError
from .format import Format, Mixture
from .layout import Layout
from .packing import unpack
from .scheme import Granularity, Scheme
from .tensor import QuantizedTensor

KIND = "bitlathe.QuantizedTensor"
VERSION = "1"


def save(q: QuantizedTensor, path: str | Path) -> None:
    """Write a quantised tensor; the streams take exactly ``q.nbytes`` bytes.

    Raises
    ------
    BitlatheError
        If safetensors is not installed, or the file cannot be written.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import save_file
    except ImportError:
        raise BitlatheError(
            "saving needs the safetensors package: pip install 'bitlathe[weights]'"
        ) from None
    facts = {
        "kind": KIND,
        "version": VERSION,
        "shape": json.dumps(q.shape),
        "axis": str(q.axis),
        "dtype": q.dtype,
        "scheme": json.dumps(_scheme_facts(q.scheme)),
    }
    try:
        save_file(q.packed, str(path), metadata=facts)
    except (OSError, SafetensorError) as problem:
        raise BitlatheError(f"{path}: cannot be written: {problem}") from None


def load(path: str | Path) -> QuantizedTensor:
    """Read a quantised tensor.

    Raises
    ------
    BitlatheError
        If the file is missing, damaged, or holds something else.
    """
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise BitlatheError(
            "loading needs the safetensors package: pip install 'bitlathe[weights]'"
        ) from None
    try:
        with safe_open(str(path), framework="numpy") as file:
            facts = file.metadata() or {}
            streams = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as problem:
        raise BitlatheError(f"{path}: not a readable safetensors file: {problem}") from None
    if facts.get("kind") != KIND:
        raise BitlatheError(
            f"{path}: holds plain tensors, not a quantised one; read it with read_tensors"
        )
    if facts.get("version") != VERSION:
        raise BitlatheError(f"{path}: written by another version ({facts.get('version')})")
    try:
        return _assemble(facts, streams)
    except (KeyError, ValueError, TypeError, AttributeError) as problem:
        raise BitlatheError(f"{path}: damaged header or streams: {problem}") from None


def _assemble(facts: dict[str, str], streams: dict[str, Any]) -> QuantizedTensor:
    scheme = _read_scheme(json.loads(facts["scheme"]))
    shape = tuple(int(n) for n in json.loads(facts["shape"]))
    layout = Layout.of(shape, int(facts["axis"]), scheme.granularity)
    per_group = scheme.element_bits if scheme.coder == "bcq" else 1
    bits, count = scheme.scale_format.bits, layout.groups * per_group
    raw = np.zeros(count, np.uint32)
    if bits:
        raw = unpack(streams["scales"], bits, count)
    outer = np.zeros(0, np.uint32)
    if "outer" in streams:
        units = layout.down if scheme.scale_format.outer == "row" else 1
        outer = unpack(streams["outer"], scheme.scale_format.outer_bits, units)
    codes = unpack(streams["codes"], scheme.element_bits, layout.rows * layout.columns)
    zeros = choices = None
    if scheme.zero_bits:
        zeros = unpack(streams["zeros"], scheme.zero_bits, layout.groups).astype(np.uint8)
    if scheme.selector_bits:
        choices = unpack(streams["choices"], scheme.selector_bits, layout.groups).astype(np.uint8)
        if choices.size and int(choices.max()) >= len(scheme.formats):
            raise ValueError(f"a group takes member {choices.max()} of {len(scheme.formats)}")
    return QuantizedTensor(
        scheme=scheme,
        layout=layout,
        matrix=codes.astype(scheme.formats[0].code_dtype).reshape(layout.rows, layout.columns),
        raw=raw.reshape(layout.groups, per_group),
        outer=outer,
        zero_points=zeros,
        selectors=choices,
        dtype=facts["dtype"],
    )


def _scheme_facts(scheme: Scheme) -> dict[str, Any]:
    known = scheme.name in ENTRIES and element(scheme.name) == scheme.element
    facts: dict[str, Any] = {
        "name": scheme.name,
        "granularity": [scheme.granularity.rows, scheme.granularity.columns],
        "scale": scheme.scale,
        "coder": scheme.coder,
        "clip": scheme.clip,
        "paper": scheme.paper,
    }
    if not known:
        facts["formats"] = [_format_facts(f) for f in scheme.formats]
        facts["mixture"] = isinstance(scheme.element, Mixture)
    return facts


def _format_facts(fmt: Format) -> dict[str, Any]:
    return {
        "name": fmt.name,
        "bits": fmt.bits,
        "values": [float(v).hex() for v in fmt.values],
        "unused": list(fmt.unused),
        "overflow_value": fmt.overflow_value,
    }


def _read_scheme(facts: dict[str, Any]) -> Scheme:
    rows, columns = facts["granularity"]
    if "formats" in facts:
        formats = tuple(
            Format(
                name=f["name"],
                bits=f["bits"],
                values=np.array([float.fromhex(v) for v in f["values"]]),
                unused=tuple(f["unused"]),
                overflow_value=f["overflow_value"],
            )
            for f in facts["formats"]
        )
        made: Format | Mixture = formats[0]
        if facts["mixture"]:
            made = Mixture(name=facts["name"], formats=formats)
    else:
        made = element(facts["name"])
    return Scheme(
        name=facts["name"],
        element=made,
        granularity=Granularity(rows=rows, columns=columns),
        scale=facts["scale"],
        coder=facts["coder"],
        clip=facts["clip"],
        paper=facts["paper"],
    )
