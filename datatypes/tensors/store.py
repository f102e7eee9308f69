"""Quantized tensors on disk: packed streams in a safetensors file, all facts in its header.

The header contains everything needed to read the streams, user-defined formats included, so a file
needs no catalogue of the same version to be read. Nothing is pickled, nothing executed. A checksum
of facts and streams detects a file that has changed since it was written.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..base.dtypes import float_name
from ..base.errors import BitlatheError, shown, to_install
from ..base.files import shown_path, writing
from ..base.numbers import whole_number
from ..coding.coded import Coded
from ..formats.catalogue import ENTRIES, element
from ..formats.families import named
from ..formats.format import Format, Mixture
from ..schemes.granularity import Granularity
from ..schemes.layout import Layout
from ..schemes.levels import Level, Offset
from ..schemes.scheme import Scheme
from ..weights.read import explained
from ..weights.safetensors_file import read_safetensors
from .packing import from_bytes, packed_size, stream_sizes, streams_of, unpack

KIND = "bitlathe.QuantizedTensor"
VERSION = "2"  # version 1 had no checksum
LONGEST = 1 << 48


def save(coded: Coded, dtype: str, path: str | Path) -> None:
    """Write a quantized tensor; the streams take exactly `stored_bytes` bytes.

    Parameters
    ----------
    coded : Coded
    dtype : str
        Of the tensor that was quantized.
    path : str or Path

    Raises
    ------
    BitlatheError
        Raised if safetensors is not installed, or the file cannot be written.
    """
    facts = {"kind": KIND, "version": VERSION, **header_of(coded, dtype)}
    write_checked(path, facts, streams_of(coded))


def write_checked(
    path: str | Path, facts: Mapping[str, str], arrays: Mapping[str, NDArray[Any]]
) -> str:
    """Write (...) arrays under a header of facts and their checksum, whole or not at all.

    Returns
    -------
    str
        The SHA-256 of what was written.

    Raises
    ------
    BitlatheError
        Raised if safetensors is not installed, or the file cannot be written.
    """
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import save_file
    except ImportError:
        raise BitlatheError(
            f"saving needs the safetensors package: {to_install('safetensors', 'weights')}"
        ) from None
    digest = checksum(facts, arrays)
    with writing(path) as part:
        try:
            save_file(dict(arrays), part, metadata={**facts, "sha256": digest})
        except SafetensorError as problem:
            raise OSError(str(problem)) from None
    return digest


def header_of(coded: Coded, dtype: str) -> dict[str, str]:
    """Return what a header says of a tensor: all that is needed to read its streams."""
    return {
        "shape": json.dumps(coded.layout.shape),
        "axis": json.dumps(coded.layout.quantized),
        "dtype": dtype,
        "scheme": json.dumps(scheme_facts(coded.scheme)),
    }


def checksum(facts: Mapping[str, str], streams: Mapping[str, NDArray[Any]]) -> str:
    """Return the SHA-256 of a header's facts and of the (bytes,) streams, ordered by name."""
    named = {name: value for name, value in facts.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(named, sort_keys=True).encode())
    for name, stream in sorted(streams.items()):
        digest.update(f"\n{name} {stream.dtype} {stream.shape}\n".encode())
        digest.update(np.ascontiguousarray(stream).data)
    return digest.hexdigest()


def read_checked(
    path: str | Path, kind: str, version: str, what: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """Read the streams and facts of a file of tensors that belong together.

    Parameters
    ----------
    path : str or Path
    kind, version : str
        Of the file, as they stand in its facts.
    what : str
        What the file should hold, for errors.

    Returns
    -------
    streams : dict of str to (bytes,) ndarray
    facts : dict of str to str

    Raises
    ------
    BitlatheError
        Raised if the file is missing, has changed since it was written, or holds something else.
    """
    streams, facts = read_safetensors(Path(path))
    if facts.get("kind") != kind or facts.get("version") != version:
        raise BitlatheError(
            f"{shown_path(path)}: not {what} of this version; quantize the tensor again"
        )
    if facts.get("sha256") != checksum(facts, streams):
        raise BitlatheError(
            f"{shown_path(path)}: damaged: its content does not have its checksum; "
            "save the tensor again"
        )
    return streams, facts


def load(path: str | Path) -> tuple[Coded, str]:
    """Read a quantized tensor, and the dtype of what was quantized.

    Raises
    ------
    BitlatheError
        Raised if the file is missing, has changed since it was written, or is not a quantized
        tensor.
    """
    place = shown_path(path)
    with explained(place):
        streams, facts = read_safetensors(Path(path))
    if facts.get("kind") != KIND:
        raise BitlatheError(
            f"{place}: contains plain tensors, not a quantized one; read it with read_tensors"
        )
    if facts.get("version") != VERSION:
        raise BitlatheError(
            f"{place}: written by another version ({shown(facts.get('version'))}); "
            "quantize the tensor again"
        )
    if facts.get("sha256") != checksum(facts, streams):
        raise BitlatheError(
            f"{place}: damaged: its content does not have its checksum; save the tensor again"
        )
    try:
        return assemble(facts, streams)
    except BitlatheError as problem:
        raise BitlatheError(f"{place}: damaged: {problem}") from None


def assemble(facts: dict[str, str], streams: dict[str, Any]) -> tuple[Coded, str]:
    """Return the tensor of a header and (bytes,) streams, and the dtype of what was quantized.

    Raises
    ------
    BitlatheError
        Raised if they do not go together.
    """
    scheme, layout = _read_header(facts)
    found = _read_streams(streams, scheme, layout)
    codes = found["codes"].astype(scheme.formats[0].code_dtype)
    zeros, choices = found.get("zeros"), found.get("choices")
    several = len(scheme.formats) > 1
    if several and choices is not None and choices.size and choices.max() >= len(scheme.formats):
        raise BitlatheError(f"a group takes member {choices.max()} of {len(scheme.formats)}")
    unscaled = np.zeros(layout.groups, np.uint32)
    coded = Coded(
        scheme=scheme,
        layout=layout,
        codes=codes.reshape(layout.rows, layout.columns),
        scales=found.get("scales", unscaled).reshape(layout.groups, scheme.scales_per_group),
        outer_scales=found.get("outer", np.zeros(0, np.uint32)),
        zeros=None if zeros is None else zeros.astype(np.uint8),
        choices=None if choices is None else choices.astype(np.uint8),
        upper_scales=tuple(found[f"scales{k}"] for k in range(1, len(scheme.levels))),
        offsets=tuple(
            found[f"offsets{k or ''}"]
            for k in range(len(scheme.offset.levels) if scheme.offset else 0)
        ),
    )
    return coded, facts["dtype"]


def _read_header(facts: dict[str, str]) -> tuple[Scheme, Layout]:
    """Return the scheme and the layout that a header describes."""
    try:
        scheme = read_scheme(json.loads(facts["scheme"]))
        shape = tuple(json.loads(facts["shape"]))
        for length in shape:
            whole_number("a length of its shape", length, 0, LONGEST)
        whole_number("its size", math.prod(shape), 0, LONGEST)
        axis = json.loads(facts["axis"])
        axis = tuple(axis) if isinstance(axis, list) else axis
        layout = Layout.of(shape, axis, scheme.granularity)
        float_name(facts["dtype"])
    except BitlatheError as problem:
        raise BitlatheError(f"its header: {problem}") from None
    except LookupError as problem:
        raise BitlatheError(f"its header lacks {problem}, or it is unknown") from None
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as problem:
        raise BitlatheError(f"its header cannot be read: {problem}") from None
    return scheme, layout


def _read_streams(
    streams: dict[str, Any], scheme: Scheme, layout: Layout
) -> dict[str, NDArray[np.uint32]]:
    """Return what is in the streams, each of which must be what the scheme says."""
    sizes = stream_sizes(scheme, layout)
    if strange := sorted(set(streams) - set(sizes)):
        raise BitlatheError(f"{scheme} has no stream {strange[0]!r}")
    # an empty stream may be left out
    found = {name: streams.get(name, np.zeros(0, np.uint8)) for name in sizes}
    for name, (bits, count) in sizes.items():
        if count and name not in streams:
            raise BitlatheError(f"the stream {name!r} of {scheme} is missing")
        stream, wanted = found[name], packed_size(count, bits)
        if stream.dtype != np.uint8 or stream.shape != (wanted,):
            raise BitlatheError(
                f"the stream {name!r} of {scheme} over {layout.shape} takes {wanted} bytes; the "
                f"file has {stream.dtype}{list(stream.shape)}"
            )
    read = {name: unpack(found[name], *size) for name, size in sizes.items()}
    if digits := scheme.element.digits:
        count = layout.rows * layout.columns
        read["codes"] = from_bytes(found["codes"], *digits, count)
    return read


def scheme_facts(scheme: Scheme) -> dict[str, Any]:
    """Return a scheme as plain data, user-defined formats included."""
    known = scheme.name in ENTRIES and element(scheme.name) == scheme.element
    facts: dict[str, Any] = {
        "name": scheme.name,
        "granularity": [scheme.granularity.rows, scheme.granularity.columns],
        "scale": scheme.scale,
        "coder": scheme.coder,
        "clip": scheme.clip,
        "paper": scheme.paper,
    }
    if scheme.levels:
        facts["levels"] = [_level_facts(level) for level in scheme.levels]
    if scheme.offset:
        facts["offset"] = {
            "kind": scheme.offset.kind,
            "levels": [_level_facts(level) for level in scheme.offset.levels],
        }
    if not known:
        facts["formats"] = [_format_facts(f) for f in scheme.formats]
        facts["mixture"] = isinstance(scheme.element, Mixture)
    return facts


def _level_facts(level: Level) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "name": level.name,
        "granularity": [level.granularity.rows, level.granularity.columns],
        "rule": level.rule,
        "search": level.search,
        "signed": level.signed,
    }
    if level.format is not None and named(level.name) != level.format:
        facts["format"] = _format_facts(level.format)
    return facts


def _read_level(facts: dict[str, Any]) -> Level:
    rows, columns = facts["granularity"]
    return Level.of(
        Granularity(rows=rows, columns=columns),
        _read_format(facts["format"]) if "format" in facts else facts["name"],
        facts["rule"],
        bool(facts["search"]),
        bool(facts["signed"]),
    )


def _read_format(facts: dict[str, Any]) -> Format:
    thresholds, ties = facts.get("thresholds"), facts.get("ties")
    return Format(
        name=facts["name"],
        bits=facts["bits"],
        values=np.array([float.fromhex(v) for v in facts["values"]]),
        unused=tuple(facts["unused"]),
        overflow_value=facts["overflow_value"],
        thresholds=None if thresholds is None else np.array([float.fromhex(v) for v in thresholds]),
        ties=None if ties is None else np.array(ties),
        per_byte=facts.get("per_byte", 0),
    )


def _format_facts(fmt: Format) -> dict[str, Any]:
    own: dict[str, Any] = {}
    if fmt.thresholds is not None:
        own["thresholds"] = [float(v).hex() for v in fmt.grid.midpoints]
        own["ties"] = fmt.grid.exact.tolist()
    if fmt.per_byte:
        own["per_byte"] = fmt.per_byte
    return own | {
        "name": fmt.name,
        "bits": fmt.bits,
        "values": [float(v).hex() for v in fmt.values],
        "unused": list(fmt.unused),
        "overflow_value": fmt.overflow_value,
    }


def read_scheme(facts: dict[str, Any]) -> Scheme:
    """Return the scheme that `scheme_facts` wrote."""
    rows, columns = facts["granularity"]
    if "formats" in facts:
        formats = tuple(_read_format(f) for f in facts["formats"])
        made: Format | Mixture = formats[0]
        if facts["mixture"]:
            made = Mixture(name=facts["name"], formats=formats)
    else:
        made = element(facts["name"])
    offset = facts.get("offset")
    return Scheme(
        name=facts["name"],
        element=made,
        granularity=Granularity(rows=rows, columns=columns),
        scale=facts["scale"],
        coder=facts["coder"],
        clip=facts["clip"],
        paper=facts["paper"],
        levels=tuple(_read_level(f) for f in facts.get("levels", ())),
        offset=offset
        and Offset(kind=offset["kind"], levels=tuple(_read_level(f) for f in offset["levels"])),
    )
