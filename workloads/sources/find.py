"""From what a user gives to the reader that knows it: by content, not by the name alone."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ...datatypes.base.errors import BitlatheError, shown
from ...datatypes.base.files import read_text, shown_path
from ..config import Config, read_config
from ..gemm import Gemm
from . import listed
from .found import Found
from .gguf_model import read_gguf
from .kinds import kind_of, no_config, refuse_others, refuse_text
from .safetensors_model import INDEX, read_index, read_safetensors_header
from .scalesim import is_topology, read_topology
from .weights import Weights, alone

_NAME = "_name_or_path"
_SETTINGS = ("quantization_config", "generation_config")


class Configuration(Protocol):
    """A configuration object, such as those of the transformers library."""

    def to_dict(self) -> dict[str, Any]:
        """Return its keys and values."""


Source = (
    str
    | os.PathLike[str]
    | Mapping[str, Any]
    | Sequence[Gemm]
    | Sequence[Mapping[str, Any]]
    | Configuration
)
"""What a model is loaded from, beside the shipped names."""


def find(source: Source) -> Found:
    """Return what a file, a folder or an object holds.

    Parameters
    ----------
    source : path, mapping, sequence or configuration object
        A file or a folder with a config.json; the keys of a config.json, or a list under
        ``products``; Gemms or dicts with their keys; an object with ``to_dict``.

    Raises
    ------
    BitlatheError
        Raised if it is of another kind, or what it holds is wrong; its place is named.
    """
    if isinstance(source, str | os.PathLike):
        return _of_path(Path(source))
    if isinstance(source, Mapping):
        return _of_keys(source)
    if isinstance(source, Sequence):
        return Found(name="products", what=listed.of_python(source))
    if callable(getattr(source, "to_dict", None)):
        keys = source.to_dict()
        private = [key for key in keys if str(key).startswith("_") and key != _NAME]
        return _of_keys({key: value for key, value in keys.items() if key not in private})
    if any(cls.__module__.startswith("torch.nn") for cls in type(source).__mro__):
        raise BitlatheError(
            f"model is a torch module ({type(source).__name__}), whose shapes follow from its "
            "inputs: give bitlathe.from_torch(module, example_input)."
        )
    raise BitlatheError(
        f"model is {shown(source)}; give a shipped name, the path of a file, a dict with the keys "
        "of a config.json, a list of Gemms, or a configuration object."
    )


def _of_keys(keys: Mapping[str, Any]) -> Found:
    config = Config(data=dict(keys), source="model", text="", place="model")
    if listed.KEY in keys:
        return Found(name="products", what=listed.read_list(config))
    given = keys.get(_NAME) or keys.get("model_type")
    name = Path(given).name if isinstance(given, str) else ""
    return Found(name=name or "model", what=config)


def _of_path(path: Path) -> Found:
    if path.is_dir():
        inside = path / "config.json"
        if not inside.is_file():
            raise no_config(path)
        path = inside
    refuse_others(path)
    name = name_of(path)
    kind = kind_of(path)
    if kind in ("gguf", "safetensors"):
        return _of_weights(path, name)
    if kind == "onnx":
        from .onnx_graph import read_onnx

        return Found(name=name, what=read_onnx(path))
    if kind == "csv":
        return _of_csv(path, name)
    config = read_config(path)
    if listed.KEY in config.data:
        return Found(name=name, what=listed.read_list(config))
    if INDEX in config.data and "model_type" not in config.data:
        return _beside(read_index(path), path, name)
    refuse_text(config.data.keys(), config.source)
    return Found(name=name, what=config)


def _of_weights(path: Path, name: str) -> Found:
    """Read a file of weights: GGUF by its facts, safetensors by the config.json beside it."""
    if kind_of(path) == "gguf":
        config, weights, notes = read_gguf(path)
        return Found(name=name, what=config, notes=notes, weights=weights)
    return _beside(read_safetensors_header(path), path, name)


def _beside(weights: Weights, path: Path, name: str) -> Found:
    """Return the model of the config.json beside weights, else their matrices alone."""
    beside = path.with_name("config.json")
    if not beside.is_file():
        note = (
            "without a config.json beside it, its matrices run alone, with a row for each token: "
            "attention, the head of tied embeddings, and which experts a token visits are unknown."
        )
        return Found(name=name, what=alone(weights), notes=(note,))
    config = read_config(beside)
    if others := _other_parts(config):
        note = f"its weights are not compared with the config.json, which has {', '.join(others)}."
        return Found(name=name_of(beside), what=config, notes=(note,))
    if weights.packed:
        note = f"its weights are packed ({weights.packed}), and not compared with the config.json."
        return Found(name=name_of(beside), what=config, notes=(note,))
    return Found(name=name_of(beside), what=config, weights=weights)


def _other_parts(config: Config) -> list[str]:
    """Return the keys of the parts of a multimodal model, which not all stand in one model here."""
    return [
        key
        for key, value in config.data.items()
        if key.endswith("_config") and isinstance(value, dict) and key not in _SETTINGS
    ]


def stored_formats(path: str | os.PathLike[str]) -> dict[str, str]:
    """Return how each tensor of a weight file is stored, in the words of the file.

    Parameters
    ----------
    path : str or path
        A .gguf (``"Q4_K"``, ``"F32"``), a .safetensors (``"BF16"``) or the index of several.

    Raises
    ------
    BitlatheError
        Raised if it is no such file, or damaged.

    Examples
    --------
    >>> stored_formats("model.gguf")["blk.0.attn_q.weight"]  # doctest: +SKIP
    'Q4_K'
    """
    file = Path(path)
    kind = kind_of(file)
    if kind == "gguf":
        return dict(read_gguf(file)[1].formats)
    if kind == "safetensors":
        return dict(read_safetensors_header(file).formats)
    if file.name.endswith(".index.json"):
        return dict(read_index(file).formats)
    raise BitlatheError(
        f"{shown_path(file)}: no .gguf, .safetensors or .safetensors.index.json: it stores no "
        "tensors."
    )


def _of_csv(path: Path, name: str) -> Found:
    source = shown_path(path)
    rows = list(listed.rows_of(read_text(path, "model file"), source))
    if not rows:
        raise BitlatheError(f"{source}: the file is empty; its first line names the columns.")
    if is_topology(rows[0][1]):
        products, notes = read_topology(rows, source)
        return Found(name=name, what=products, notes=notes)
    return Found(name=name, what=listed.read_table(rows, source))


def name_of(path: Path) -> str:
    """Return a model's name: the file's, its folder's for config.json, the hub's for a snapshot.

    A snapshot of the Hugging Face cache is ``models--owner--name/snapshots/revision``.
    """
    if path.stem != "config":
        return path.stem
    folder = Path(os.path.abspath(path)).parent  # links are kept: a cache links to its blobs
    repository = folder.parent.parent.name
    if folder.parent.name == "snapshots" and repository.startswith("models--"):
        return repository.rpartition("--")[2]
    return folder.name or path.stem
