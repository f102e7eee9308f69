"""Quantize a checkpoint into a folder, and read such folders.

Three layouts. ``bitlathe`` holds every scheme: in each shard the packed streams of a tensor, named
``TENSOR.codes``, ``TENSOR.scales`` and so on, beside what was left as it was, with all facts in
the shard's header. ``compressed-tensors`` is that of vLLM's checkpoints, for the schemes it has
(`compressed_tensors`): config.json says how to read it. ``torchao`` is that of torchao's classes,
for the schemes that they have (`torchao_parts`): the header of each shard says which.
"""

import json
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..base.errors import BitlatheError, shown, unknown_name
from ..base.files import shown_path
from ..quantize import quantize
from ..tensors.packing import streams_of
from ..tensors.store import assemble, checksum, header_of
from ..tensors.tensor import QuantizedTensor
from ..weights.safetensors_file import Stored, read_stored, write_stored
from .compressed_tensors import FORMATS, Weights, parts_of, tensor_of
from .folder import INDEX, INDEX_END, index_of, read_config, stored_tensors, writing_folder
from .rules import Rules
from .torchao import NAMES, PLAIN, is_torchao, read_torchao
from .torchao_parts import TorchaoMatrix, matrix_of

LAYOUTS: Final = ("bitlathe", "compressed-tensors", "torchao")
KIND: Final = "bitlathe.checkpoint"
VERSION: Final = "1"
WEIGHT: Final = ".weight"
OURS: Final = "quantization_config"
REGULAR: Final = "re:"  # before a pattern among the targets of a configuration
FLOATING: Final = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
# files that a program needs beside the weights
KEPT: Final = ("*.json", "*.txt", "*.model", "*.jinja")
Tensors = dict[str, "QuantizedTensor | NDArray[Any]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was made of a tensor.

    Attributes
    ----------
    tensor : str
    scheme : str
        Empty where it was left as it was.
    elements, nbytes : int
        Bytes of its parts in the file.
    """

    tensor: str
    scheme: str
    elements: int
    nbytes: int


@dataclass(kw_only=True)
class _Made:
    """What is collected while shards are written."""

    rows: list[Written] = field(default_factory=list)
    modules: dict[str, Weights] = field(default_factory=dict)
    torchao: dict[str, TorchaoMatrix] = field(default_factory=dict)
    plain: list[str] = field(default_factory=list)


def quantize_checkpoint(
    source: str | Path,
    out: str | Path,
    rules: Rules,
    layout: str = "bitlathe",
    progress: Callable[[Iterable[Any], str], Iterable[Any]] | None = None,
) -> list[Written]:
    """Quantize the tensors of a checkpoint that rules name, into a new folder, whole or not at all.

    Parameters
    ----------
    source : str or Path
        A folder with safetensors files, or one file.
    out : str or Path
        A folder that does not exist, or is empty.
    rules : Rules
        Of floating-point tensors with two axes or more; all others are left as they are.
    layout : {"bitlathe", "compressed-tensors", "torchao"}
    progress : callable, optional
        Wraps the tensors of a shard, given what they are.

    Returns
    -------
    list of Written
        A record for each tensor, in the order of the files.

    Raises
    ------
    BitlatheError
        Raised if nothing is left to quantize, a pattern names no tensor, a tensor cannot be
        quantized, or the layout has no such scheme; names the tensor.
    """
    if layout not in LAYOUTS:
        raise BitlatheError(unknown_name("layout", layout, LAYOUTS))
    names = unquantized(source)
    rules.check(names)
    if not any(_scheme(rules, name, stored) for name, stored in names.items()):
        raise BitlatheError(
            f"{shown_path(source)}: no tensor is left to quantize: weights are floating-point "
            "tensors of two axes or more that the patterns take in"
        )
    config = read_config(source)
    made, files, headers = _Made(), dict[str, dict[str, int]](), dict[str, dict[str, str]]()
    with writing_folder(out) as folder:
        _copy_beside(Path(source), folder)
        for shard, tensors, facts in stored_tensors(source):
            walk = progress(tensors, shard.name) if progress else tensors
            found, own = _shard(tensors, walk, rules, layout, made)
            write_stored(found, {**facts, **own}, folder / shard.name)
            headers[shard.name] = {**facts, **own}
            files[shard.name] = {name: part.nbytes for name, part in found.items()}
        if len(files) > 1:
            (folder / INDEX).write_text(json.dumps(index_of(files), indent=2), "utf-8")
        if layout == "torchao" and len(headers) > 1:
            _tell_all(folder, headers)
        if layout != "bitlathe":
            own = _configuration(made) if layout == "compressed-tensors" else _torchao(made)
            text = json.dumps({**config, OURS: own}, indent=2)
            (folder / "config.json").write_text(text, "utf-8")
    return made.rows


def unquantized(source: str | Path) -> dict[str, Stored]:
    """Return the tensors of a checkpoint by name, as they lie in its files.

    Raises
    ------
    BitlatheError
        Raised if it is quantized already, or cannot be read.
    """
    names: dict[str, Stored] = {}
    for shard, tensors, facts in stored_tensors(source):
        if facts.get("kind") == KIND or is_torchao(facts):
            raise BitlatheError(
                f"{shown_path(shard)}: it holds quantized tensors already; quantize the checkpoint "
                "that it was made of, with a rule for each part"
            )
        names |= tensors
    if read_config(source).get(OURS):
        raise BitlatheError(
            f"{shown_path(source)}: it is quantized already; its config.json says so"
        )
    return names


def _scheme(rules: Rules, name: str, stored: Stored) -> Any:
    floating = stored.kind in FLOATING and len(stored.shape) > 1 and 0 not in stored.shape
    return rules.of_tensor(name) if floating else None


def _copy_beside(source: Path, folder: Path) -> None:
    if source.is_dir():
        for pattern in KEPT:
            for file in source.glob(pattern):
                if not file.name.endswith(INDEX_END) and file.is_file():
                    shutil.copyfile(file, folder / file.name)


def _shard(
    tensors: Mapping[str, Stored], walk: Iterable[str], rules: Rules, layout: str, made: _Made
) -> tuple[dict[str, Stored], dict[str, str]]:
    """Return what is written for the tensors of a shard, and the facts of its header."""
    found: dict[str, Stored] = {}
    headers: dict[str, Any] = {}
    for name in walk:
        stored = tensors[name]
        scheme = _scheme(rules, name, stored)
        parts = {name: stored}
        if scheme is None:
            if name.endswith(WEIGHT) and len(stored.shape) == 2:
                made.plain.append(name.removesuffix(WEIGHT))
        else:
            try:
                q = quantize(stored.values, scheme)
                if layout == "bitlathe":
                    headers[name] = header_of(q.coded, q.dtype)
                    streams = streams_of(q.coded)
                    parts = {f"{name}.{key}": Stored.of(s) for key, s in streams.items()}
                else:
                    parts = (_parts if layout == "compressed-tensors" else _torchao_parts)(
                        name, q, made
                    )
            except BitlatheError as problem:
                raise BitlatheError(f"tensor {shown(name)}: {problem}") from None
        others = set(found) | set(tensors) - {name}
        inner = [key for key in tensors if key.rpartition(".")[0] == name]
        if scheme is not None and (taken := sorted(set(parts) & others) or inner):
            raise BitlatheError(f"tensor {shown(name)}: {shown(taken[0])} is a tensor already")
        found.update(parts)
        made.rows.append(
            Written(
                tensor=name,
                scheme="" if scheme is None else str(scheme),
                elements=int(np.prod(stored.shape)),
                nbytes=sum(part.nbytes for part in parts.values()),
            )
        )
    if layout == "torchao":
        return found, _torchao_facts(tensors, made)
    if not headers:
        return found, {}
    facts = {"kind": KIND, "version": VERSION, "tensors": json.dumps(headers)}
    return found, {**facts, "sha256": checksum(facts, _streams(found, headers))}


def _parts(name: str, q: QuantizedTensor, made: _Made) -> dict[str, Stored]:
    """Return the parts of a tensor as compressed-tensors names them."""
    if not name.endswith(WEIGHT):
        raise BitlatheError(f"compressed-tensors quantizes weights of modules, named *{WEIGHT}")
    module = name.removesuffix(WEIGHT)
    made.modules[module] = Weights.of(q.scheme)
    return {f"{module}.{key}": part for key, part in parts_of(q).items()}


def _torchao_parts(name: str, q: QuantizedTensor, made: _Made) -> dict[str, Stored]:
    """Return the parts of a tensor as torchao names them."""
    module, _, own = name.rpartition(".")
    if not module:
        raise BitlatheError("torchao names weights MODULE.NAME, such as proj.weight")
    made.torchao[name] = matrix_of(q)
    return {f"{module}._{own}_{key}": part for key, part in made.torchao[name].parts.items()}


def _torchao_facts(tensors: Mapping[str, Stored], made: _Made) -> dict[str, str]:
    """Return what the header of a shard says of its tensors; torchao knows none without a dot."""
    names = [name for name in tensors if "." in name]
    facts = {n: made.torchao[n].facts if n in made.torchao else {"_type": PLAIN} for n in names}
    return {NAMES: json.dumps(names), **{name: json.dumps(said) for name, said in facts.items()}}


def _tell_all(folder: Path, headers: Mapping[str, dict[str, str]]) -> None:
    """Say in the header of each shard what is in all of them, as transformers wants it."""
    names = [name for said in headers.values() for name in json.loads(said[NAMES])]
    whole = {key: fact for said in headers.values() for key, fact in said.items()}
    for shard, said in headers.items():
        part = folder / f"{shard}.part"
        write_stored(
            read_stored(folder / shard)[0], {**whole, **said, NAMES: json.dumps(names)}, part
        )
        part.replace(folder / shard)


def _torchao(made: _Made) -> dict[str, Any]:
    """Return the ``quantization_config`` of a checkpoint of torchao: one configuration a module."""
    ends = {name: name.removesuffix(WEIGHT) for name in made.torchao}
    each = {ends[name]: matrix.config for name, matrix in made.torchao.items()}
    default = {"_type": "FqnToConfig", "_version": 1, "_data": {"fqn_to_config": each}}
    return {
        "quant_method": "torchao",
        "quant_type": {"default": default},
        "modules_to_not_convert": sorted(made.plain),
    }


def _configuration(made: _Made) -> dict[str, Any]:
    """Return the ``quantization_config`` of a checkpoint of compressed-tensors."""
    kinds: dict[str, tuple[dict[str, Any], str, list[str]]] = {}
    for module, weights in made.modules.items():
        key = json.dumps([weights.facts, weights.format])
        kinds.setdefault(key, (weights.facts, weights.format, []))[2].append(module)
    formats = {kind for _, kind, _ in kinds.values()}
    groups = {
        f"group_{i}": {"targets": modules, "weights": facts, "format": kind}
        for i, (facts, kind, modules) in enumerate(kinds.values())
    }
    return {
        "quant_method": "compressed-tensors",
        "format": formats.pop() if len(formats) == 1 else "mixed-precision",
        "quantization_status": "compressed",
        "config_groups": groups,
        "ignore": sorted(made.plain),
    }


def _streams(found: Mapping[str, Stored], headers: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the packed streams of a shard's quantized tensors, by name."""
    return {
        key: np.frombuffer(part.data, np.uint8)
        for key, part in found.items()
        if key.rpartition(".")[0] in headers
    }


def read_checkpoint(path: str | Path) -> Tensors:
    """Read a checkpoint that `quantize_checkpoint`, compressed-tensors or torchao wrote.

    Parameters
    ----------
    path : str or Path
        A folder with safetensors files; or one file, of compressed-tensors beside its config.json.

    Returns
    -------
    dict of str to QuantizedTensor or array
        By name, arrays where a tensor is not quantized.

    Raises
    ------
    BitlatheError
        Raised if a file is damaged or has changed since it was written, or its configuration does
        not say how to read it; names the tensor.
    """
    found: Tensors = {}
    groups = _groups(read_config(path).get(OURS), path)
    for shard, tensors, facts in stored_tensors(path):
        if facts.get("kind") == KIND:
            found |= _read_ours(shard, tensors, facts)
            continue
        try:
            found |= read_torchao(tensors, facts)
        except BitlatheError as problem:
            raise BitlatheError(f"{shown_path(shard)}: {problem}") from None
        for module in _modules(tensors) if groups else ():
            start = f"{module}."
            parts = {k: tensors.pop(k) for k in list(tensors) if k.rpartition(".")[0] == module}
            own = {k.removeprefix(start): part for k, part in parts.items()}
            name = f"{module}{WEIGHT}"
            try:
                found[name] = tensor_of(own, _weights_of(module, groups))
            except BitlatheError as problem:
                raise BitlatheError(f"{shown_path(shard)}: {shown(name)}: {problem}") from None
            rest = {k: part for k, part in parts.items() if not _is_part(k.removeprefix(start))}
            tensors.update(rest)
        found |= {name: stored.values for name, stored in tensors.items()}
    return found


def _is_part(name: str) -> bool:
    return name.startswith(("weight", "input_global_scale"))


def _modules(tensors: Mapping[str, Stored]) -> list[str]:
    """Return the modules whose weights are quantized: those that have scales."""
    end = ".weight_scale"
    return [name.removesuffix(end) for name in tensors if name.endswith(end)]


def _groups(config: Any, path: str | Path) -> list[tuple[list[str], Weights]]:
    """Return what a configuration says of weights, with the targets of each group."""
    if config is None:
        return []
    where = f"{shown_path(path)}: config.json, {OURS}"
    method = config.get("quant_method") if isinstance(config, dict) else None
    if method == "torchao":
        return []  # each file says itself what it holds
    if method != "compressed-tensors":
        raise BitlatheError(
            f"{where}: quant_method is {shown(method)}; compressed-tensors and torchao are read"
        )
    found = []
    groups = config.get("config_groups")
    if not isinstance(groups, dict) or not groups:
        raise BitlatheError(f"{where}: config_groups is missing")
    for key, group in groups.items():
        weights = group.get("weights") if isinstance(group, dict) else None
        targets = group.get("targets") if isinstance(group, dict) else None
        if not isinstance(weights, dict) or not isinstance(targets, list):
            raise BitlatheError(f"{where}: {key} needs targets and weights")
        kind = group.get("format") or config.get("format")
        if kind not in FORMATS:
            raise BitlatheError(f"{where}: {key}: {unknown_name('format', str(kind), FORMATS)}")
        try:
            found.append(([_target(t) for t in targets], Weights.read(weights, kind)))
        except BitlatheError as problem:
            raise BitlatheError(f"{where}: {key}: {problem}") from None
    return found


def _target(text: Any) -> str:
    """Return a target: a module's name or class, or ``re:`` and a regular expression."""
    if not isinstance(text, str):
        raise BitlatheError(f"target {shown(text)}: a text is needed")
    if text.startswith(REGULAR):
        try:
            re.compile(text.removeprefix(REGULAR))
        except re.error as problem:
            raise BitlatheError(f"target {shown(text)}: no regular expression: {problem}") from None
    return text


def _weights_of(module: str, groups: list[tuple[list[str], Weights]]) -> Weights:
    """Return what is said of a module: by name or pattern first, else by its class."""
    classes = []
    for targets, weights in groups:
        for target in targets:
            pattern = target.removeprefix(REGULAR)
            if target == module or (target != pattern and re.match(pattern, module)):
                return weights
            if target.isidentifier() and target[0].isupper():
                classes.append(weights)
    if len(classes) != 1:
        raise BitlatheError("no group of config.json has it as a target by name or pattern")
    return classes[0]


def _read_ours(shard: Path, tensors: dict[str, Stored], facts: dict[str, str]) -> Tensors:
    """Return the tensors of a shard in our own layout."""
    place = shown_path(shard)
    if facts.get("version") != VERSION:
        raise BitlatheError(f"{place}: written by another version; quantize the checkpoint again")
    try:
        headers = json.loads(facts["tensors"])
        streams = _streams(tensors, headers)
        said = {key: facts[key] for key in ("kind", "version", "tensors")}
        if checksum(said, streams) != facts["sha256"]:
            raise BitlatheError("its content does not have its checksum; quantize again")
        found: Tensors = {k: t.values for k, t in tensors.items() if k not in streams}
        for name, header in headers.items():
            start = f"{name}."
            own = {
                k.removeprefix(start): s for k, s in streams.items() if k.rpartition(".")[0] == name
            }
            coded, dtype = assemble(header, own)
            found[name] = QuantizedTensor(coded=coded, dtype=dtype)
    except BitlatheError as problem:
        raise BitlatheError(f"{place}: damaged: {problem}") from None
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as problem:
        raise BitlatheError(f"{place}: damaged: its header cannot be read: {problem}") from None
    return found
