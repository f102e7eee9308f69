"""A transformer: embeddings, layers of parts, and the matrices behind the last layer."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from ...datatypes.base.errors import BitlatheError
from ..gemm import Gemm
from ..sizes import check_size
from .forward import DEFAULT_CONTEXT, Forward
from .matrix import Matrix, Table
from .part import Norm, Part

P = TypeVar("P", bound=Part)
Kind = Literal["decoder", "encoder", "vision", "encoder-decoder"]
GENERATING = ("decoder", "encoder-decoder")  # kinds of models that have a decode phase


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """Layers that are alike.

    Attributes
    ----------
    count : int
        How many.
    parts : tuple of Part
        In the order of execution: each reads what the one before leaves.
    abreast : int
        The first parts, so many of them, read the layer's input side by side instead, and what
        they leave is added up: all parts (GPT-J), or attention and a state space (Falcon-H1).
    norm : {"rms_norm", "layer_norm"}
    norm_count : int
        Norms of the hidden width in one layer.
    norm_parameters : int
        Parameters of these norms, all together.
    stored : int or None
        How many of the layers have weights of their own, which the others share (ALBERT); None:
        all.
    numbers : tuple of int
        Which layers of the model they are, from 0.
    told_apart : bool
        Whether their products say so, and are not merged with those of other layers.
    """

    count: int
    parts: tuple[Part, ...]
    abreast: int = 1
    norm: Norm = "rms_norm"
    norm_count: int = 0
    norm_parameters: int = 0
    stored: int | None = None
    numbers: tuple[int, ...] = ()
    told_apart: bool = False

    @property
    def copies(self) -> int:
        """Number of layers with weights of their own."""
        return self.count if self.stored is None else self.stored

    @property
    def turns(self) -> tuple[tuple[Part, ...], ...]:
        """The parts in turn, those together that read the same input."""
        first, others = self.parts[: self.abreast], self.parts[self.abreast :]
        return (*((first,) if first else ()), *((part,) for part in others))

    @property
    def rank(self) -> tuple[int, ...]:
        """Where its products stand among those of other layers."""
        return tuple(part.rank for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A matrix behind the last layer.

    Attributes
    ----------
    matrix : Matrix
        Its stage is "head" if it reads what the last layer leaves; "tail:x" reads what "head:x"
        leaves.
    tokens : {"all", "one", "logits"}
        All tokens, one of each sequence, or as many as logits are wanted of.
    norm : int
        Parameters of a norm behind it.
    words : bool
        Whether its outputs are the vocabulary.
    rows_each : int or None
        Rows of each sequence, where these are not its tokens: patches of an image, say.
    """

    matrix: Matrix
    tokens: Literal["all", "one", "logits"] = "one"
    norm: int = 0
    words: bool = False
    rows_each: int | None = None

    def rows(self, run: Forward) -> int:
        """Return the tokens of a pass that it works on."""
        if self.rows_each is not None:
            return run.sequences * self.rows_each
        return {"all": run.rows, "one": run.sequences, "logits": run.logits}[self.tokens]


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image cut into patches, each of which a matrix makes a token.

    ``beside``: a text model attends to its tokens; in the prompt is but a placeholder.
    """

    channels: int
    height: int
    width: int
    patch_height: int
    patch_width: int
    other_tokens: int = 1
    patch_bias: bool = True
    beside: bool = False

    @property
    def patches(self) -> int:
        """Patches of an image."""
        return (self.height // self.patch_height) * (self.width // self.patch_width)

    @property
    def patch_inputs(self) -> int:
        """Values of one patch."""
        return self.channels * self.patch_height * self.patch_width

    @property
    def tokens(self) -> int:
        """Tokens of an image: its patches, and others such as the class token."""
        return self.patches + self.other_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Stem:
    """A convolution of a sequence's input, as a product of im2col, or of another input of it.

    Attributes
    ----------
    matrix : Matrix
        Its filters; the inputs are those of all taps.
    rows : int
        Outputs along the sequence.
    elements : int
        Distinct elements that it reads of a sequence.
    conv : bool
        Whether it is one after all, and not the product of each row by itself.
    begins : bool
        Whether it reads what comes in, and not what the one before leaves.
    """

    matrix: Matrix
    rows: int
    elements: int
    conv: bool = True
    begins: bool = False

    def gemm(self, sequences: int) -> Gemm:
        """Return the product for some sequences."""
        gemm = self.matrix.gemm(sequences * self.rows, sequences)
        if not self.conv:
            return gemm
        return replace(gemm, kind="conv", input_elements=sequences * self.elements)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transformer:
    """The sizes of a transformer.

    Attributes
    ----------
    kind : {"decoder", "encoder", "vision"}
        Whether it generates tokens, reads a text at once, or an image.
    hidden : int
        Width of what goes from layer to layer.
    layers : tuple of Layers
        The layers, those alike in one entry.
    ahead : tuple of Matrix
        Matrices between the embeddings and the first layer, of all tokens.
    stems : tuple of Stem
        Convolutions ahead of the first layer.
    encoder : Transformer or None
        What reads the source of an encoder-decoder model.
    heads : tuple of Head
        The matrices behind the last layer.
    tables : tuple of Table
        Embeddings; that of the words comes first.
    tied : bool
        Whether the head of words is the table of words.
    norm : {"rms_norm", "layer_norm"}
    final_norms : int
        Norms behind the last layer.
    normed_tokens : int or None
        Tokens of a sequence that these take; None: those of the output head.
    vectors : int
        Parameters outside the layers that are neither matrix nor table: norms, class tokens.
    image : Image or None
        What a vision model reads.
    sound_tokens : int or None
        Tokens of the sound that an encoder reads.
    longest_context : int or None
        Most tokens that the position embeddings allow; None without learned positions.
    """

    kind: Kind
    hidden: int
    layers: tuple[Layers, ...]
    ahead: tuple[Matrix, ...] = ()
    stems: tuple[Stem, ...] = ()
    encoder: "Transformer | None" = None
    heads: tuple[Head, ...] = ()
    tables: tuple[Table, ...] = ()
    tied: bool = False
    norm: Norm = "rms_norm"
    final_norms: int = 0
    normed_tokens: int | None = None
    vectors: int = 0
    image: Image | None = None
    sound_tokens: int | None = None
    longest_context: int | None = None

    @property
    def depth(self) -> int:
        """Number of layers."""
        return sum(layers.count for layers in self.layers)

    @property
    def in_order(self) -> tuple[Layers, ...]:
        """The kind of each layer, from the first to the last."""
        found = {number: layers for layers in self.layers for number in layers.numbers}
        return tuple(found[number] for number in sorted(found))

    def told_apart(self, groups: Iterable[frozenset[int]]) -> "Transformer":
        """Return the same model, whose products are not merged across groups of layers.

        Parameters
        ----------
        groups : iterable of frozenset of int
            Numbers of layers; a layer may be in several groups, or in none.
        """
        apart = list(groups)
        found: list[Layers] = []
        for layers in self.layers:
            kinds: dict[tuple[bool, ...], list[int]] = {}
            for number in layers.numbers:
                kinds.setdefault(tuple(number in group for group in apart), []).append(number)
            shared = layers.stored
            for numbers in kinds.values():
                stored = None if shared is None else min(shared, len(numbers))
                shared = None if shared is None else shared - (stored or 0)
                found.append(
                    replace(
                        layers,
                        count=len(numbers),
                        stored=stored,
                        numbers=tuple(numbers),
                        told_apart=True,
                    )
                )
        return replace(self, layers=tuple(found))

    @property
    def vocabulary(self) -> int:
        """Words that are told apart; 0 for images and sounds."""
        return sum(table.rows for table in self.tables if table.name == "words")

    @property
    def fixed_tokens(self) -> int | None:
        """Tokens of an image or a sound; None for text."""
        return self.image.tokens if self.image else self.sound_tokens

    @property
    def tokens_left(self) -> int:
        """Tokens of an image that a tower leaves for a text model; 0 where there is no image."""
        if self.image is None:
            return 0
        if self.image.beside:
            return 1
        last = self.heads[-1].rows_each if self.heads else None
        return self.image.tokens if last is None else last

    def stored_parts(self) -> Iterator[tuple[Part, int]]:
        """Yield the parts of all layers, each with the number of times that it is stored."""
        for layers in self.layers:
            for part in layers.parts:
                yield from part.stored(layers.copies)

    def parts(self) -> Iterator[tuple[Part, int]]:
        """Yield the parts of all layers, each with the number of layers that have it."""
        for layers in self.layers:
            for part in layers.parts:
                yield part, layers.count

    def only(self, kind: type[P]) -> P:
        """Return the part of a kind that all layers with such a part have alike.

        Raises
        ------
        BitlatheError
            If there is none, or more than one.
        """
        found = list(dict.fromkeys(part for part, _ in self.parts() if isinstance(part, kind)))
        if len(found) != 1:
            raise BitlatheError(
                f"the layers have {len(found)} kinds of {kind.__name__}; one is needed here."
            )
        return found[0]

    @property
    def patches(self) -> Stem | None:
        """The convolution that makes a patch a token; None for text."""
        if self.image is None or self.patch_matrix is None:
            return None
        rows, inputs = self.image.patches, self.image.patch_inputs
        return Stem(matrix=self.patch_matrix, rows=rows, elements=rows * inputs)

    @property
    def patch_matrix(self) -> Matrix | None:
        """The matrix that makes a patch a token; None for text."""
        if self.image is None:
            return None
        return Matrix(
            stage="embed",
            name="patch_embedding",
            outputs=self.hidden,
            inputs=self.image.patch_inputs,
            bias=self.image.patch_bias,
        )

    def weight_count(self) -> int:
        """Elements of all weight matrices: every expert, the head even if it is tied."""
        outside = [*self.matrices_ahead(), *(head.matrix for head in self.heads)]
        inside = sum(part.weight_count() * count for part, count in self.stored_parts())
        inside += self.encoder.weight_count() if self.encoder else 0
        return inside + sum(matrix.elements for matrix in outside)

    def parameter_count(self) -> int:
        """All parameters: matrices, embeddings, norms and biases; a tied head once."""
        total = sum(part.parameter_count() * count for part, count in self.stored_parts())
        total += sum(layers.norm_parameters * layers.copies for layers in self.layers)
        total += sum(table.elements for table in self.tables) + self.vectors
        total += sum(matrix.parameters for matrix in self.matrices_ahead())
        total += self.encoder.parameter_count() if self.encoder else 0
        for head in self.heads:
            total += head.matrix.parameters + head.norm
            if self.tied and head.words:
                total -= head.matrix.elements  # the head's matrix is the embedding
        return total

    def matrices_ahead(self) -> Iterator[Matrix]:
        """Yield the matrices ahead of the first layer."""
        yield from self.ahead
        yield from (stem.matrix for stem in self.stems)
        if self.patch_matrix:
            yield self.patch_matrix

    def cache_elements(self, context: int) -> int:
        """Return the elements that all layers keep of a sequence of ``context`` tokens."""
        return sum(part.cache_elements(context) * count for part, count in self.parts())

    def source_elements(self, source: int) -> int:
        """Return the elements that all layers keep of a source of ``source`` tokens."""
        return sum(part.source_elements(source) * count for part, count in self.parts())

    def state_elements(self) -> int:
        """Return the elements that all layers keep of a sequence, however long it is."""
        return sum(part.state_elements * count for part, count in self.parts())

    def check_decode(self, asked: str = "phase 'decode'") -> None:
        """Raise unless the model generates tokens, as what is asked needs.

        Raises
        ------
        BitlatheError
            If it does not.
        """
        if self.kind not in GENERATING:
            raise BitlatheError(
                f"{asked} needs a model that generates tokens; this one is "
                f"{self.kind}-only and reads its whole input at once: use phase 'prefill'."
            )

    def check_causal(self) -> None:
        """Raise unless the model's attention can be causal.

        Raises
        ------
        BitlatheError
            If it attends both ways.
        """
        if self.kind not in GENERATING:
            raise BitlatheError(
                f"causal=True needs a decoder; this {self.kind} model attends both ways."
            )

    def check_source(self, source: int | None) -> int:
        """Return the tokens of a source when ``source`` are asked for; 0 without an encoder.

        Raises
        ------
        BitlatheError
            If the model has no encoder, or one that is fixed to another number or ends before.
        """
        if self.encoder is None:
            if source is not None:
                raise BitlatheError(
                    f"source is {source}, but this {self.kind} model has no encoder. Leave it out."
                )
            return 0
        try:
            return self.encoder.check_context(source)
        except BitlatheError as error:
            raise BitlatheError(str(error).replace("context", "source")) from None

    def check_context(self, context: int | None) -> int:
        """Return the tokens in view when ``context`` are asked for; 256 by default.

        Raises
        ------
        BitlatheError
            If the model is fixed to another number, or its positions end before.
        """
        if self.fixed_tokens is not None:
            if context is not None and context != self.fixed_tokens:
                raise BitlatheError(
                    f"context is {context}, but a vision model's is fixed by its image: "
                    f"{self.fixed_tokens} tokens. Leave context out."
                    if self.image
                    else f"context is {context}, but a sound has {self.fixed_tokens} tokens. Leave "
                    "context out."
                )
            return self.fixed_tokens
        tokens = check_size("context", DEFAULT_CONTEXT if context is None else context)
        longest = self.longest_context
        if longest is not None and tokens > longest:
            raise BitlatheError(
                f"context is {tokens}, but the model has learned positions for {longest} tokens "
                "only."
            )
        return tokens
