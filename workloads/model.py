"""A model: its matrix products for a phase, and how it is read from a file."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from ..datatypes.base.errors import BitlatheError, unknown_name
from ..datatypes.base.files import shown_path
from ..datatypes.base.slugs import slug
from .config import Config, read_config
from .conv import ConvNet, read_convnet
from .families import AROUND_TEXT, FAMILIES
from .gemm import Gemm
from .keys import check_keys, parts_left_out
from .products import Products
from .read import head_of, read_transformer
from .sizes import COUNTER_LIMIT, check_size
from .sources import Found, Source, find
from .transformer import DEFAULT_CONTEXT, Staged, Transformer, edges, staged_gemms

if TYPE_CHECKING:
    import networkx

SHIPPED = Path(__file__).parent / "models"
PHASES = ("prefill", "decode")
LOGITS = ("last", "all")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A network, as sizes: what its layers are, not what its weights hold.

    Attributes
    ----------
    name : str
        The shipped name, or the stem of the user's file (its folder's name for config.json).
    family : str
        The ``model_type`` of its configuration, e.g. ``"llama"``, or ``"convnet"``, or
        ``"products"``.
    shape : Transformer, ConvNet or Products
        The sizes.
    notes : tuple of str
        What of its file is left out or not used, a sentence each.

    Examples
    --------
    >>> from bitlathe.workloads import load_model
    >>> model = load_model("llama-2-7b")
    >>> model.parameter_count
    6738415616
    >>> [g.name for g in model.gemms(phase="decode")][-1]
    'lm_head'
    """

    name: str
    family: str
    shape: Transformer | ConvNet | Products
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """What the model is: decoder, encoder, vision, conv or products."""
        if isinstance(self.shape, Products):
            return "products"
        return "conv" if isinstance(self.shape, ConvNet) else self.shape.family.kind

    @property
    def has_decode(self) -> bool:
        """Whether the model generates tokens one by one; a list of products may be of any phase."""
        if isinstance(self.shape, Products):
            return self.shape.phase != "prefill"
        return self.kind == "decoder"

    def context_of(self, context: int | None = None) -> int | None:
        """Return the tokens in view when ``context`` is asked for; None for convolutions."""
        if isinstance(self.shape, Products):
            return self.shape.context_of(context)
        if isinstance(self.shape, ConvNet):
            return None
        return self.shape.fixed_tokens or (DEFAULT_CONTEXT if context is None else context)

    @property
    def weight_count(self) -> int:
        """Elements of all weight matrices, the output head included, embeddings not."""
        return self.shape.weight_count()

    @property
    def parameter_count(self) -> int:
        """All parameters: embeddings, norms and biases included, a tied head counted once."""
        return self.shape.parameter_count()

    def gemms(
        self,
        phase: str = "prefill",
        context: int | None = None,
        batch: int = 1,
        causal: bool = False,
        logits: str = "all",
    ) -> tuple[Gemm, ...]:
        """Return the matrix products of one pass, identical layers once with a count.

        Parameters
        ----------
        phase : {"prefill", "decode"}
            All tokens at once, or one token behind ``context - 1`` cached ones.
        context : int, optional
            Tokens in view: 256 by default for text; fixed for images.
        batch : int
            Sequences or images.
        causal : bool
            Whether prefill attention skips what the causal mask hides. Layers with a sliding
            window always do: the window is part of the mask.
        logits : {"all", "last"}
            Tokens of a prefill that the output head works on: all of them, or the last one of
            each sequence, which is what generation needs.

        Returns
        -------
        tuple of Gemm
            In the order of execution within a layer. Experts of a mixture may stand there twice
            under one name, with different numbers of rows.

        Raises
        ------
        BitlatheError
            If phase or logits are unknown, the model has no such phase, a size is not a positive
            integer, the context is longer than the model allows, or counters would pass 2^63.

        Notes
        -----
        Attention is counted per key/value head as two products, following the corrected
        ("v2") model of the BitMoD study (HPCA 2025): scores with N = context, K = head
        dimension; mix with the two exchanged; M = query heads per key/value head * tokens.
        Linear layers and convolutions share their weights over the batch: M = sequences * tokens.
        A sliding window of W tokens cuts a band out of prefill and shortens decode to W entries.
        """
        return self.products(self.staged(phase, context, batch, causal, logits))

    def products(self, staged: Staged) -> tuple[Gemm, ...]:
        """Return the matrix products of a pass from those with their stages (`staged`)."""
        found = tuple(gemm for _, gemm in staged)
        merged = isinstance(self.shape, ConvNet) or (
            isinstance(self.shape, Products) and self.shape.merged
        )
        return _merge(found) if merged else found

    def graph(
        self, phase: str = "prefill", context: int | None = None, batch: int = 1
    ) -> networkx.DiGraph:
        """Return the data flow: nodes are Gemms, edges go from a product to what reads it.

        A transformer shows one of its repeated layers (each node carries its count); a
        convolution network shows every layer.
        """
        import networkx as nx

        staged = self.staged(phase, context, batch)
        flow = nx.DiGraph(name=self.name)
        flow.add_nodes_from(gemm for _, gemm in staged)
        if isinstance(self.shape, ConvNet):
            by_name = {gemm.name: gemm for _, gemm in staged}
            flow.add_edges_from((by_name[a], by_name[b]) for a, b in self.shape.edges())
        elif isinstance(self.shape, Products):
            gemms = [gemm for _, gemm in staged]
            flow.add_edges_from((gemms[a], gemms[b]) for a, b in self.shape.edges())
        else:
            flow.add_edges_from(edges(self.shape, staged))
        return flow

    def staged(
        self,
        phase: str = "prefill",
        context: int | None = None,
        batch: int = 1,
        causal: bool = False,
        logits: str = "all",
    ) -> Staged:
        """Return the matrix products of one pass, each with its stage; none merged.

        Parameters
        ----------
        phase, context, batch, causal, logits
            As in `gemms`.

        Raises
        ------
        BitlatheError
            As `gemms` does.
        """
        for what, value, known in (("phase", phase, PHASES), ("logits", logits, LOGITS)):
            if value not in known:
                raise BitlatheError(unknown_name(what, str(value), known))
        images = check_size("batch", batch)
        found: Staged
        try:
            if isinstance(self.shape, ConvNet):
                _check_conv_run(phase, context, causal)
                found = tuple(("conv", gemm) for gemm in self.shape.gemms(images))
            elif isinstance(self.shape, Products):
                gemms = self.shape.gemms(phase, context, images, causal)
                found = tuple(("listed", gemm) for gemm in gemms)
            else:
                found = staged_gemms(self.shape, phase, context, images, causal, logits)
        except BitlatheError as error:
            raise BitlatheError(f"{self.name}: {error}") from None
        total = sum(gemm.macs * gemm.count for _, gemm in found)
        if total >= COUNTER_LIMIT:
            raise BitlatheError(
                f"{self.name}: {total} multiply-accumulates do not fit the 64-bit counters; "
                "use a smaller context or batch."
            )
        return found


def _check_conv_run(phase: str, context: int | None, causal: bool) -> None:
    if phase == "decode":
        raise BitlatheError(
            "phase 'decode' needs a model that generates tokens; a convolution network reads "
            "its whole input at once: use phase 'prefill'."
        )
    if context is not None:
        raise BitlatheError(
            f"context is {context}, but a convolution network has no tokens. Leave context out."
        )
    if causal:
        raise BitlatheError("causal=True needs a decoder; a convolution network has no mask.")


def _merge(gemms: tuple[Gemm, ...]) -> tuple[Gemm, ...]:
    """Merge layers that differ in nothing but their name; the first one's name stays."""
    first: dict[Gemm, str] = {}
    count: dict[Gemm, int] = {}
    for gemm in gemms:
        shape = replace(gemm, name="", count=1)
        first.setdefault(shape, gemm.name)
        count[shape] = count.get(shape, 0) + gemm.count
    return tuple(replace(s, name=first[s], count=count[s]) for s in first)


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
        `Gemm` or of dicts with its keys); the keys of a config.json as a dict; an object whose
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
        if path.suffix in (".json", ".yaml", ".yml", ".csv") or len(path.parts) > 1:
            raise BitlatheError(
                f"{shown_path(text)}: cannot read this model file: no such file; give the path of "
                "a config.json, its folder, or a shipped model's name."
            )
        raise BitlatheError(
            f"{unknown_name('model', text, model_names())}; or give the path of a config.json."
        )
    return _of(find(path))


def _of(found: Found) -> Model:
    """Turn what a reader found into a model."""
    if isinstance(found.what, Products):
        return Model(name=found.name, family="products", shape=found.what, notes=found.notes)
    model = _build(found.what, found.name)
    return replace(model, notes=(*model.notes, *found.notes))


@lru_cache(maxsize=64)
def _load(path: Path, name: str) -> Model:
    return _build(read_config(path), name)


def _build(config: Config, name: str) -> Model:
    """Turn a configuration into a model, by the family that its model_type names."""
    if "layers" in config.data and config.data.get("model_type", "convnet") == "convnet":
        return Model(name=name, family="convnet", shape=read_convnet(config))
    config, notes = _text_part(config)
    family = config.string("model_type")
    if family not in FAMILIES:
        raise config.error(
            f"{_unknown_type(family)}. Correct a misspelled name only: a model under the name of "
            "another class is that class's model, with layers missing or wrong.",
            "model_type",
        )
    rules = FAMILIES[family]
    config = replace(config, defaults=rules.defaults)
    notes += check_keys(config, family, rules)
    if config.get("architectures") and head_of(config, rules) is None:
        notes.append(
            f"the head of {config.items('architectures')[0]!r} ('architectures') is not known: "
            f"taken as a class that ends in {next(iter(rules.heads))!r}."
        )
    shape = read_transformer(config, rules)
    return Model(name=name, family=family, shape=shape, notes=tuple(notes))


def _unknown_type(name: str) -> str:
    """Return that a model_type is unknown; only names as near as a typing error are suggested."""
    known = sorted([*FAMILIES, "convnet"])
    near = get_close_matches(name, known, n=1, cutoff=0.85)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown model_type {name!r}{hint} Known: {', '.join(known)}"


def _text_part(config: Config) -> tuple[Config, list[str]]:
    """Return the configuration of the text model inside a multimodal one, and what is left out."""
    outer = config.data.get("model_type")
    if not isinstance(outer, str) or outer in FAMILIES:
        return config, []
    if outer not in AROUND_TEXT:
        for key in ("text_config", "llm_config", "language_config"):
            if isinstance(config.data.get(key), dict):
                raise config.error(
                    f"{_unknown_type(outer)}. To run the part under {key!r} alone, give that "
                    "object as a file of its own.",
                    "model_type",
                )
        return config, []
    key = AROUND_TEXT[outer]
    if key not in config.data:
        raise config.missing(key)
    return config.child(key), [parts_left_out(config, key)]
