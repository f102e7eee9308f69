"""Models by name, and from files, folders and objects of all kinds that are read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from ..datatypes.base.slugs import slug
from .config import Config, read_config
from .gemm import Gemm
from .model import PHASES, Model
from .products import Products
from .reading import read_model
from .sources import Found, Source, check_weights, find, no_such

SHIPPED = Path(__file__).parent / "models"


def model_names() -> tuple[str, ...]:
    """Return the names of the shipped models, sorted."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.json")))


def load_model(source: Source) -> Model:
    """Return a shipped model by name, or read one from a file, a folder or an object.

    Parameters
    ----------
    source : str, path, mapping, sequence or configuration object
        A shipped name (`model_names`; case does not matter, ``_`` and space stand for ``-``); a
        Hugging Face config.json, or a folder that holds one; a JSON or YAML file that lists the
        layers of a convolution network; a list of products (YAML, JSON, CSV, a Python list of
        `Gemm` or of dicts with its keys); a topology of SCALE-Sim; a GGUF, safetensors (with the
        config.json beside it) or ONNX file; the keys of a config.json as a dict; an object whose
        ``to_dict`` gives them, such as a configuration of transformers.

    Returns
    -------
    Model

    Raises
    ------
    BitlatheError
        If there is no such name or file, or the file is wrong: file, line and key are named.

    Examples
    --------
    >>> from bitlathe.workloads import Gemm
    >>> load_model([Gemm(name="up", m=8, n=64, k=32)]).gemms()[0].macs
    16384
    """
    if not isinstance(source, str | os.PathLike):
        return _of(find(source))
    text = str(source)
    wanted = slug(text)
    if wanted in model_names():
        return _load(SHIPPED / f"{wanted}.json", wanted)
    path = Path(text)
    if not text or not os.path.exists(text):  # unlike Path.exists, never raises
        raise no_such(text, model_names())
    return _of(find(path))


def step(
    model: Source | Model,
    prefill: Iterable[tuple[int, int]] = (),
    decode: Iterable[int] = (),
    *,
    decode_tokens: int = 1,
    logits: str = "last",
    source: int | None = None,
) -> tuple[Gemm, ...]:
    """Return the matrix products of what a server computes at once (`Model.step`).

    Parameters
    ----------
    model : Model, or as in `load_model`
    prefill : iterable of (int, int)
        Of each prompt, or piece of one: new tokens, and those cached before.
    decode : iterable of int
        Of each sequence that generates: tokens in view of the last new one, itself included.
    decode_tokens : int
        New tokens of each of these: more than one where drafted tokens are verified.
    logits : {"last", "all"}
        Tokens of a prompt that the output head works on.
    source : int, optional
        Tokens of the source of a model with an encoder.

    Raises
    ------
    BitlatheError
        As `load_model` and `Model.step` do.

    Examples
    --------
    >>> from bitlathe import step
    >>> mixed = step("llama-3.2-1b", prefill=[(512, 1024)], decode=[300, 2000])
    >>> [(gemm.m, gemm.n) for gemm in mixed if gemm.role == "scores"]
    [(2048, 1536), (4, 300), (4, 2000)]
    """
    network = model if isinstance(model, Model) else load_model(model)
    return network.step(prefill, decode, decode_tokens=decode_tokens, logits=logits, source=source)


def _of(found: Found) -> Model:
    """Turn what a reader found into a model."""
    if isinstance(found.what, Products):
        return Model(name=found.name, family="products", shape=found.what, notes=found.notes)
    model = _build(found.what, found.name)
    if found.weights is not None:
        context = None if model.context_of(1) != 1 else 1
        phases = PHASES if model.has_decode else PHASES[:1]
        gemms = [gemm for phase in phases for gemm in model.gemms(phase, context)]
        check_weights(found.weights, gemms, model.weight_count)
    return replace(model, notes=(*model.notes, *found.notes))


@lru_cache(maxsize=64)
def _load(path: Path, name: str) -> Model:
    return _build(read_config(path), name)


def _build(config: Config, name: str) -> Model:
    read = read_model(config)
    towers = tuple(
        Model(name=f"{name}:{part}", family=family, shape=shape)
        for part, (family, shape) in read.towers.items()
    )
    return Model(
        name=name,
        family=read.family,
        shape=read.shape,
        notes=read.notes,
        towers=towers,
        stored=read.stored,
    )
