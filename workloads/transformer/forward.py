"""A forward pass: how many tokens of which sequences a model computes, and what they can see."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ...datatypes.base.errors import BitlatheError
from ..sizes import check_size

DEFAULT_CONTEXT = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Sequences alike: each computes ``new`` tokens behind ``cached`` ones.

    ``logits`` of the new tokens, the last ones, go through the output head. ``encodes``: their
    source is read in this pass, by a model that has an encoder.
    """

    new: int
    cached: int = 0
    sequences: int = 1
    logits: int = 1
    encodes: bool = False

    @property
    def rows(self) -> int:
        """New tokens of all the sequences."""
        return self.new * self.sequences

    @property
    def seen(self) -> int:
        """Tokens in view of the last one, itself included."""
        return self.cached + self.new


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """One forward pass of a model: what all linear layers do together.

    Attributes
    ----------
    groups : tuple of Group
        The sequences; no two groups are alike.
    causal : bool
        Whether attention skips what the causal mask hides.
    stacked : bool
        Whether the rows count as those of equal sequences (`Gemm.sequences`), rather than as
        tokens of one batch.
    source : int
        Tokens of each sequence's source, for models with an encoder.
    """

    groups: tuple[Group, ...]
    causal: bool = False
    stacked: bool = False
    source: int = 0

    @classmethod
    def prefill(
        cls, tokens: int, batch: int, *, causal: bool, logits: str, source: int = 0
    ) -> "Forward":
        """Return the pass over all tokens of some sequences at once.

        Parameters
        ----------
        tokens, batch : int
            Tokens of a sequence, and sequences.
        causal : bool
            Whether attention skips what the causal mask hides.
        logits : {"last", "all"}
            Tokens that the output head works on.
        source : int
            Tokens of each source, which is read by an encoder.
        """
        wanted = 1 if logits == "last" else tokens
        group = Group(new=tokens, sequences=batch, logits=wanted, encodes=source > 0)
        return cls(groups=(group,), causal=causal, stacked=True, source=source)

    @classmethod
    def decode(cls, context: int, batch: int, source: int = 0) -> "Forward":
        """Return the pass over one more token of ``batch`` sequences, the ``context``-th."""
        group = Group(new=1, cached=context - 1, sequences=batch)
        return cls(groups=(group,), source=source)

    @classmethod
    def step(
        cls,
        prefill: Iterable[tuple[int, int]],
        decode: Iterable[int],
        *,
        decode_tokens: int = 1,
        logits: str = "last",
        source: int = 0,
    ) -> "Forward":
        """Return what a server computes at once: pieces of prompts beside sequences that decode.

        Parameters
        ----------
        prefill : iterable of (int, int)
            Of each prompt: new tokens, and those cached before.
        decode : iterable of int
            Of each sequence that generates: tokens in view of the last new one, itself included.
        decode_tokens : int
            New tokens of each of these: more than one where drafted tokens are verified.
        logits : {"last", "all"}
            Tokens of a prompt that the output head works on. It works on all tokens that
            ``decode`` asks for.
        source : int
            Tokens of each source; prompts with nothing cached read theirs.

        Raises
        ------
        BitlatheError
            If a size is not an integer, too small, or nothing is asked for.
        """
        more = check_size("decode_tokens", decode_tokens)
        groups = [
            prompt(new, cached, logits=logits, source=source)
            for new, cached in (_pair(f"prefill[{i}]", piece) for i, piece in enumerate(prefill))
        ]
        groups += [generating(f"decode[{i}]", context, more) for i, context in enumerate(decode)]
        return cls.beside(groups, source)

    @classmethod
    def beside(cls, some: Iterable[Group], source: int = 0) -> "Forward":
        """Return what a server computes at once; groups that are alike become one.

        Raises
        ------
        BitlatheError
            If there is no group.
        """
        found: Counter[Group] = Counter()
        for group in some:
            found[replace(group, sequences=1)] += group.sequences
        if not found:
            raise BitlatheError(
                "a step of nothing: give prefill=[(new, cached), ...], decode=[context, ...] or "
                "both."
            )
        groups = tuple(replace(group, sequences=count) for group, count in found.items())
        alike = len(groups) == 1 and groups[0].new > 1
        return cls(groups=groups, causal=True, stacked=alike, source=source)

    @property
    def rows(self) -> int:
        """New tokens of all sequences: rows of every linear layer."""
        return sum(group.rows for group in self.groups)

    @property
    def sequences(self) -> int:
        """Number of sequences."""
        return sum(group.sequences for group in self.groups)

    @property
    def logits(self) -> int:
        """Tokens that the output head works on."""
        return sum(group.logits * group.sequences for group in self.groups)

    @property
    def sources(self) -> int:
        """Number of sources that are read."""
        return sum(group.sequences for group in self.groups if group.encodes)

    def of_encoder(self) -> "Forward":
        """Return the pass of the encoder over the sources that are read."""
        group = Group(new=self.source, sequences=self.sources, logits=self.source)
        return Forward(groups=(group,), stacked=True)

    @property
    def equal_sequences(self) -> int:
        """Sequences that share the rows of a linear layer equally, as `Gemm.sequences` counts."""
        return self.sequences if self.stacked else 1

    @property
    def longest(self) -> int:
        """Most tokens in view of any sequence."""
        return max(group.seen for group in self.groups)


def prompt(
    new: int, cached: int, sequences: int = 1, *, logits: str = "last", source: int = 0
) -> Group:
    """Return prompts, or pieces of them, as a group.

    Parameters
    ----------
    new, cached : int
        Tokens of each: new ones, and those cached before.
    sequences : int
    logits : {"last", "all"}
        Tokens that the output head works on.
    source : int
        Tokens of each source; prompts with nothing cached read theirs.
    """
    wanted, encodes = new if logits == "all" else 1, source > 0 and cached == 0
    return Group(new=new, cached=cached, sequences=sequences, logits=wanted, encodes=encodes)


def generating(where: str, context: object, new: int, sequences: int = 1) -> Group:
    """Return sequences that generate as a group.

    Parameters
    ----------
    where : str
        What is said to be wrong.
    context : int
        Tokens in view of the last new one, itself included.
    new : int
        New tokens of each.
    sequences : int

    Raises
    ------
    BitlatheError
        If the context is no whole number, or less than the new tokens.
    """
    seen = check_size(where, context)
    if seen < new:
        raise BitlatheError(
            f"{where} is {seen}, fewer than the {new} new tokens of decode_tokens, which are among "
            f"those in view; give a context of at least {new}, or fewer decode_tokens."
        )
    cached = seen - new
    return Group(new=new, cached=cached, sequences=sequences, logits=new)


def _pair(what: str, piece: object) -> tuple[int, int]:
    if not isinstance(piece, (tuple, list)) or len(piece) != 2:
        raise BitlatheError(f"{what} is {piece!r}; give (new tokens, cached tokens), as (512, 0).")
    return check_size(f"{what}: new", piece[0]), check_size(f"{what}: cached", piece[1], least=0)
