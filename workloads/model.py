"""A model: its sizes, and its matrix products for a pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..datatypes.base.errors import BitlatheError, unknown_name
from ..datatypes.base.notebook import Rows, frame, html
from .conv import ConvNet
from .gemm import Gemm
from .no_tokens import check_conv_run, merge_alike, staged_convolutions, staged_list
from .products import Products
from .reading import Stored
from .routing import routed
from .sizes import COUNTER_LIMIT, check_size
from .transformer import DEFAULT_CONTEXT, Forward, Staged, Transformer
from .transformer.cross import sees_images, without_images
from .transformer.network import GENERATING
from .transformer.products import staged as staged_of
from .vector_step import VectorStep, merged_steps

if TYPE_CHECKING:
    import networkx

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
    towers : tuple of Model
        Models of images beside the text model, each with what joins it to the text: `part` gives
        one by its name. A pass of the model itself is of its text alone; the tokens of an image
        (`image_tokens` of its tower) count among those of a prompt.
    stored : Stored or None
        How its checkpoint stores weights (``quantization_config``), where it says so.

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
    towers: tuple[Model, ...] = ()
    stored: Stored | None = None

    def __repr__(self) -> str:
        return f"Model({self.name!r}: {self.family}, {self.parameter_count:,} parameters)"

    def _repr_html_(self) -> str:
        facts = {"family": self.family, "kind": self.kind, "parameters": self.parameter_count}
        return html(f"Model {self.name}", facts, self._rows())

    def to_frame(self) -> Any:
        """Return a pandas data frame of the model's products in prefill, a row each.

        Raises
        ------
        BitlatheError
            pandas is not installed.
        """
        return frame(self._rows())

    def _rows(self) -> Rows:
        told = ("name", "count", "m", "n", "k", "batch", "kind", "stationary")
        return [{key: getattr(gemm, key) for key in told} for gemm in self.gemms()]

    @property
    def content(self) -> tuple[Any, ...]:
        """All that decides results, for digests: sizes, towers and stored formats, no name."""
        towers = tuple(tower.content for tower in self.towers)
        return self.family, self.shape, towers, self.stored

    @property
    def kind(self) -> str:
        """What the model is: decoder, encoder, encoder-decoder, vision, conv or products."""
        if isinstance(self.shape, Products):
            return "products"
        return "conv" if isinstance(self.shape, ConvNet) else self.shape.kind

    @property
    def has_decode(self) -> bool:
        """Whether the model generates tokens one by one; a list of products may be of any phase."""
        if isinstance(self.shape, Products):
            return self.shape.phase != "prefill"
        return self.kind in GENERATING

    @property
    def generates(self) -> bool:
        """Whether the model makes tokens one by one behind a prompt."""
        return isinstance(self.shape, Transformer) and self.has_decode

    @property
    def beside(self) -> tuple[str, ...]:
        """Operations of a graph that work between its products and are asked of no unit."""
        return self.shape.beside if isinstance(self.shape, Products) else ()

    def context_of(self, context: int | None = None) -> int | None:
        """Return the tokens in view when ``context`` is asked for; None for convolutions."""
        if isinstance(self.shape, Products):
            return self.shape.context_of(context)
        if isinstance(self.shape, ConvNet):
            return None
        return self.shape.fixed_tokens or (DEFAULT_CONTEXT if context is None else context)

    def tokens_of(self, phase: str, context: int | None = None, batch: int = 1) -> int | None:
        """Return the tokens that a phase computes, of all sequences; None where there are none.

        Those of the decoder, of a model that has an encoder too.
        """
        if not isinstance(self.shape, Transformer) or self.kind == "vision":
            return None
        return batch if phase == "decode" else batch * (self.context_of(context) or 0)

    @property
    def weight_count(self) -> int:
        """Elements of all weight matrices, the output head included, embeddings not."""
        return self.shape.weight_count()

    @property
    def parameter_count(self) -> int:
        """All parameters: embeddings, norms, biases and towers included, a tied head once."""
        towers = sum(tower.parameter_count for tower in self.towers)
        return self.shape.parameter_count() + towers

    @property
    def stored_formats(self) -> Mapping[str, Any]:
        """Keys of a chip by which it stores the model as its checkpoint does.

        Examples
        --------
        >>> from bitlathe.workloads import load_model
        >>> config = {"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2,
        ...           "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 100,
        ...           "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 32}}
        >>> load_model(config).stored_formats["formats.linear.weight"]
        'int4_asym@g32'

        Raises
        ------
        BitlatheError
            If the model does not say how its checkpoint stores weights.
        """
        if self.stored is None:
            said = next((n for n in self.notes if n.startswith("'quantization_config'")), None)
            missing = "no 'quantization_config' says how its checkpoint stores weights; leave them"
            raise BitlatheError(f"{self.name}: {said or f'{missing} to the chip or a sweep.'}")
        return self.stored.settings

    @property
    def depth(self) -> int:
        """Number of layers of a transformer; 0 for other models."""
        return self.shape.depth if isinstance(self.shape, Transformer) else 0

    def told_apart(self, groups: Iterable[frozenset[int]]) -> Model:
        """Return the same model, whose products are not merged across groups of layers.

        `Gemm.layers` tells of each product which layers it stands for. Models that are no
        transformers are returned as they are.
        """
        if not isinstance(self.shape, Transformer):
            return self
        return replace(self, shape=self.shape.told_apart(groups))

    def routed(self, loads: Sequence[int]) -> Model:
        """Return the same model, whose tokens visit experts as loads say instead of all alike.

        Parameters
        ----------
        loads : sequence of int
            Of each expert of a mixture, relative to the others': visits counted on one's own data,
            say. All layers take the same (`transformer.routing.spread_of`).

        Raises
        ------
        BitlatheError
            If the model has no experts, or other numbers of them, or fewer have a load than a token
            visits.

        Examples
        --------
        >>> from bitlathe.workloads import load_model
        >>> skewed = load_model("mixtral-8x7b").routed([40, 20, 10, 10, 5, 5, 5, 5])
        >>> [(g.m, g.count) for g in skewed.gemms("prefill", 100) if g.name == "expert_down_proj"]
        [(80, 32), (40, 32), (20, 64), (10, 128)]
        """
        try:
            if not isinstance(self.shape, Transformer):
                raise BitlatheError(f"routing: a mixture of experts takes it, not a {self.kind}.")
            return replace(self, shape=routed(self.shape, loads))
        except BitlatheError as error:
            raise BitlatheError(f"{self.name}: {error}") from None

    @property
    def image_tokens(self) -> int:
        """Tokens of a prompt that an image or a sound takes, as this tower leaves it; else 0."""
        return 0 if isinstance(self.shape, ConvNet) else self.shape.tokens_left

    def part(self, name: str) -> Model:
        """Return the tower of a name, e.g. ``"vision"``, as a model of its own.

        ``"text"`` is the text model as it runs without an image: without its towers, and without
        layers that attend to an image.

        Raises
        ------
        BitlatheError
            If there is no such part.
        """
        known = {tower.name.rpartition(":")[2]: tower for tower in self.towers}
        if name == "text" and isinstance(self.shape, Transformer) and (known or self.sees_images):
            shape = without_images(self.shape)
            return replace(self, name=f"{self.name}:text", shape=shape, towers=(), notes=())
        if name not in known:
            parts = ", ".join(map(repr, ("text", *known))) if known or self.sees_images else "none"
            raise BitlatheError(f"{self.name}: no part {name!r}; parts it has: {parts}.")
        return known[name]

    @property
    def sees_images(self) -> bool:
        """Whether layers of the text model attend to an image, which each prompt then brings."""
        return isinstance(self.shape, Transformer) and sees_images(self.shape)

    def cache_elements(self, context: int, source: int | None = None) -> int:
        """Return the elements that the model keeps of one sequence of ``context`` tokens.

        Keys and values of all layers; of one with a window of W tokens those of the last W, the
        newest included; of a model with an encoder those of the ``source`` too. What a layer keeps
        however long the sequence is (`state_elements`) is not among them.
        """
        tokens = check_size("context", context)
        if not isinstance(self.shape, Transformer) or not self.has_decode:
            return 0
        encoded = self.shape.source_elements(self.shape.check_source(source))
        return self.shape.cache_elements(tokens) + encoded

    @property
    def block_elements(self) -> int:
        """Elements that a token takes in a cache of blocks: in all layers, windows or not."""
        return self.shape.cache_elements(1) if isinstance(self.shape, Transformer) else 0

    @property
    def state_elements(self) -> int:
        """Elements that the model keeps of one sequence, however long it is."""
        return self.shape.state_elements() if isinstance(self.shape, Transformer) else 0

    def gemms(
        self,
        phase: str = "prefill",
        context: int | None = None,
        batch: int = 1,
        causal: bool = False,
        logits: str = "all",
        source: int | None = None,
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
        source : int, optional
            Tokens of the source of a model with an encoder, which prefill reads: 256 by default
            for text; fixed for sounds. ``context`` is that of the decoder.

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
        return self.products(self.staged(phase, context, batch, causal, logits, source))

    def step(
        self,
        prefill: Iterable[tuple[int, int]] = (),
        decode: Iterable[int] = (),
        *,
        decode_tokens: int = 1,
        logits: str = "last",
        source: int | None = None,
    ) -> tuple[Gemm, ...]:
        """Return the matrix products of what a server computes at once.

        Linear layers share their weights over all tokens; attention is counted for each distinct
        pair of new and cached tokens, under its causal mask.

        Parameters
        ----------
        prefill : iterable of (int, int)
            Of each prompt, or piece of one: new tokens, and those cached before.
        decode : iterable of int
            Of each sequence that generates: tokens in view of the last new one, itself included.
        decode_tokens : int
            New tokens of each of these: more than one where drafted tokens are verified.
        logits : {"last", "all"}
            Tokens of a prompt that the output head works on. It works on all tokens that
            ``decode`` asks for.
        source : int, optional
            As in `gemms`; prompts with nothing cached read theirs.

        Raises
        ------
        BitlatheError
            As `gemms` does, or if nothing is asked for.

        Examples
        --------
        >>> from bitlathe.workloads import load_model
        >>> step = load_model("llama-3.1-8b").step(prefill=[(512, 1024)], decode=[300, 2000])
        >>> [(g.name, g.m, g.n) for g in step if g.role == "scores" or g.name == "lm_head"]
        [('attention_qk', 2048, 1536), ('attention_qk', 4, 300), ('attention_qk', 4, 2000), \
('lm_head', 3, 128256)]
        """
        _known("logits", logits, LOGITS)
        try:
            shape = self.shape
            encoded = shape.check_source(source) if isinstance(shape, Transformer) else 0
            run = Forward.step(
                prefill, decode, decode_tokens=decode_tokens, logits=logits, source=encoded
            )
        except BitlatheError as error:
            raise BitlatheError(f"{self.name}: {error}") from None
        return self.products(self.staged_forward(run))

    def products(self, staged: Staged) -> tuple[Gemm, ...]:
        """Return the matrix products of a pass from those with their places (`staged`)."""
        found = staged.gemms()
        if isinstance(self.shape, Products):
            return self.shape.merge(found)
        return merge_alike(found) if isinstance(self.shape, ConvNet) else found

    def vector_steps(self, staged: Staged) -> tuple[VectorStep, ...]:
        """Return what a pass asks of a vector unit between its products.

        Steps of equal layers stand once with a count, behind the products of `products`.
        """
        if not isinstance(self.shape, ConvNet):
            return staged.steps
        first: dict[Gemm, str] = {}
        stands = {
            gemm.name: first.setdefault(replace(gemm, name="", count=1), gemm.name)
            for gemm in staged.gemms()
        }
        return merged_steps(staged.steps, stands)

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
        gemms = staged.gemms()
        flow.add_nodes_from(gemms)
        if isinstance(self.shape, Products):  # a name may stand in a list more than once
            flow.add_edges_from((gemms[a], gemms[b]) for a, b in self.shape.edges())
            return flow
        by_name: dict[str, list[Gemm]] = {}
        for gemm in gemms:
            by_name.setdefault(gemm.name, []).append(gemm)
        for tail, head in staged.edges():
            flow.add_edges_from((a, b) for a in by_name.get(tail, ()) for b in by_name[head])
        return flow

    def each_alone(self) -> Model | None:
        """Return a list of products with each under a name of its own; None where that is unknown.

        Chains of layers are found in it, which repeated layers under one name hide.
        """
        alone = self.shape.alone if isinstance(self.shape, Products) else None
        return None if alone is None else replace(self, shape=alone)

    def staged(
        self,
        phase: str = "prefill",
        context: int | None = None,
        batch: int = 1,
        causal: bool = False,
        logits: str = "all",
        source: int | None = None,
    ) -> Staged:
        """Return the matrix products of one pass layer by layer, each with what it reads.

        Found once for a model and a pass of it.

        Parameters
        ----------
        phase, context, batch, causal, logits, source
            As in `gemms`.

        Raises
        ------
        BitlatheError
            As `gemms` does.
        """
        asked = phase, context, batch, causal, logits, source
        try:
            return _staged(self, *asked)
        except TypeError:  # something that has no hash
            return self._staged(*asked)

    def _staged(
        self,
        phase: str,
        context: int | None,
        batch: int,
        causal: bool,
        logits: str,
        source: int | None,
    ) -> Staged:
        _known("phase", phase, PHASES)
        _known("logits", logits, LOGITS)
        images = check_size("batch", batch)
        try:
            if isinstance(self.shape, ConvNet):
                check_conv_run(phase, context, causal)
                return self._counted(staged_convolutions(self.shape, images))
            if isinstance(self.shape, Products):
                gemms = self.shape.gemms(phase, context, images, causal)
                return self._counted(staged_list(self.shape, gemms, images))
            run = self._forward(phase, context, images, causal, logits, source)
            return self._counted(staged_of(self.shape, run))
        except BitlatheError as error:
            raise BitlatheError(f"{self.name}: {error}") from None

    def forward(
        self,
        phase: str = "prefill",
        context: int | None = None,
        batch: int = 1,
        causal: bool = False,
        logits: str = "all",
    ) -> Forward:
        """Return a transformer's pass: which tokens of which sequences it computes.

        Parameters
        ----------
        phase, context, batch, causal, logits
            As in `gemms`.

        Raises
        ------
        BitlatheError
            As `gemms` does.
        """
        try:
            return self._forward(phase, context, check_size("batch", batch), causal, logits, None)
        except BitlatheError as error:
            raise BitlatheError(f"{self.name}: {error}") from None

    def _forward(
        self,
        phase: str,
        context: int | None,
        batch: int,
        causal: bool,
        logits: str,
        source: int | None,
    ) -> Forward:
        if not isinstance(self.shape, Transformer):
            raise BitlatheError(f"a pass of tokens needs a transformer; this model is {self.kind}.")
        if causal:
            self.shape.check_causal()
        if phase == "decode":
            self.shape.check_decode()
        tokens, encoded = self.shape.check_context(context), self.shape.check_source(source)
        if phase == "decode":
            return Forward.decode(tokens, batch, encoded)
        return Forward.prefill(tokens, batch, causal=causal, logits=logits, source=encoded)

    def staged_forward(self, run: Forward) -> Staged:
        """Return the matrix products of any pass of a decoder, as `staged` does.

        Raises
        ------
        BitlatheError
            If the model generates no tokens, a sequence is longer than the model allows, or
            counters would pass 2^63.
        """
        try:
            if not isinstance(self.shape, Transformer):
                raise BitlatheError(
                    f"a step needs a model that generates tokens; this one is {self.kind}."
                )
            self.shape.check_decode("a step")
            self.shape.check_context(run.longest)
            return self._counted(staged_of(self.shape, run))
        except BitlatheError as error:
            raise BitlatheError(f"{self.name}: {error}") from None

    def _counted(self, staged: Staged) -> Staged:
        total = sum(gemm.macs * gemm.count for gemm in staged.gemms())
        if total >= COUNTER_LIMIT:
            raise BitlatheError(
                f"{total} multiply-accumulates do not fit the 64-bit counters; "
                "use a smaller context or batch."
            )
        return staged


_staged = lru_cache(maxsize=64, typed=True)(Model._staged)


def _known(what: str, value: object, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BitlatheError(unknown_name(what, str(value), known))
