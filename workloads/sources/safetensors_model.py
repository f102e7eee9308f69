"""Weights in safetensors: their headers, as a check of a config.json or as matrices alone."""

from pathlib import Path

from ...datatypes.base.errors import shown
from ...datatypes.base.files import shown_path
from ...datatypes.weights.safetensors_file import safetensors_shapes
from ..config import read_config
from .kinds import refuse_others
from .weights import Weights

INDEX = "weight_map"


def read_safetensors_header(path: Path) -> Weights:
    """Return what a .safetensors file holds; only its header is read.

    Raises
    ------
    BitlatheError
        Raised if the file is missing, or its header damaged.
    """
    return _of(safetensors_shapes(path), path)


def read_index(path: Path) -> Weights:
    """Return what the files of an index hold, such as model.safetensors.index.json.

    Raises
    ------
    BitlatheError
        Raised if one of the files is missing or damaged, or lacks a tensor that the index names.
    """
    index = read_config(path)
    files = index.child(INDEX)
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    shards: dict[str, dict[str, tuple[str, tuple[int, ...]]]] = {}
    for name in files.data:
        shard = files.string(name)
        if shard not in shards:
            if Path(shard).name != shard or not (path.parent / shard).is_file():
                raise files.error(
                    f"{shown(shard)} is not beside the index; put it there, its first bytes hold "
                    "the shapes.",
                    name,
                )
            refuse_others(path.parent / shard)
            shards[shard] = safetensors_shapes(path.parent / shard)
        if name not in shards[shard]:
            raise files.error(f"{shown(shard)} holds no tensor {shown(name)}.", name)
        found[name] = shards[shard][name]
    return _of(found, path)


def _of(found: dict[str, tuple[str, tuple[int, ...]]], path: Path) -> Weights:
    return Weights(
        place=shown_path(path),
        shapes={name: shape for name, (_, shape) in found.items()},
        formats={name: kind for name, (kind, _) in found.items()},
    )
