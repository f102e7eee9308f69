"""What a server runs at once: pieces of prompts beside sequences that generate."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from ..datatypes.base.yamlfile import Record, read_yaml, validate
from .transformer.forward import Forward, generating, prompt

MOST = 2**40
Size = Annotated[int, Field(ge=1, le=MOST)]


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


class Piece(Record):
    """Some tokens of a prompt, behind those of it that are cached; in so many sequences alike."""

    new: Size = Field(description="new tokens of a prompt")
    cached: Annotated[int, Field(ge=0, le=MOST)] = Field(
        default=0, description="tokens of it that are cached"
    )
    sequences: Size = Field(default=1, description="sequences alike")


class Generating(Record):
    """Sequences that generate, with so many tokens in view of the newest, itself included."""

    context: Size = Field(description="tokens in view of the newest, itself included")
    sequences: Size = Field(default=1, description="sequences alike")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """A cache given out in blocks of some tokens, after a step: no two sequences share one.

    Paging as in vLLM (arXiv 2309.06180, section 4.1): what the last block of a sequence does not
    hold yet is the waste.
    """

    block_tokens: int
    blocks: int
    used_tokens: int

    @property
    def held_tokens(self) -> int:
        """Tokens for which there is room."""
        return self.blocks * self.block_tokens

    @property
    def waste(self) -> float:
        """Share of the room that holds nothing."""
        return 1 - self.used_tokens / self.held_tokens

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return {
            "block_tokens": self.block_tokens,
            "blocks": self.blocks,
            "held_tokens": self.held_tokens,
            "used_tokens": self.used_tokens,
            "waste": self.waste,
        }


def _piece(value: Any) -> Any:
    """Read ``[new, cached]``, or a piece in full."""
    if isinstance(value, dict | Piece):
        return value
    if not isinstance(value, list | tuple) or len(value) != 2:
        raise ValueError("write [new, cached] tokens, e.g. [512, 0], or {new: 512, sequences: 2}")
    return {"new": value[0], "cached": value[1]}


def _generating(value: Any) -> Any:
    """Read a context, or sequences in full."""
    return {"context": value} if isinstance(value, int) and not isinstance(value, bool) else value


class Step(Record):
    """One step of a server: prompts, whole or in pieces, and sequences that generate.

    Attributes
    ----------
    prefill : tuple of Piece
        Of each prompt, or piece of one: ``[new, cached]`` tokens, or an object.
    decode : tuple of Generating
        Of each sequence that generates, its context, or an object.
    decode_tokens : int
        New tokens of each of these: more than one where drafted tokens are verified.
    logits : {"last", "all"}
        Tokens of a prompt that the output head works on.
    routing : tuple of int, optional
        How often tokens visit each expert of a mixture, relative to the others (`Model.routed`);
        all alike without.
    block_tokens : int, optional
        Tokens of a block of the cache, where it is given out in blocks (`Step.blocks`).

    Examples
    --------
    >>> Step(prefill=[[512, 1024]], decode=[300, {"context": 2000, "sequences": 7}]).sequences
    9
    """

    prefill: Annotated[
        tuple[Annotated[Piece, BeforeValidator(_piece)], ...], BeforeValidator(_tuple)
    ] = Field(
        default=(), description="prompts, or pieces of them: [new, cached] tokens, or an object"
    )
    decode: Annotated[
        tuple[Annotated[Generating, BeforeValidator(_generating)], ...], BeforeValidator(_tuple)
    ] = Field(default=(), description="sequences that generate: the context of each, or an object")
    decode_tokens: Size = Field(
        default=1,
        description="new tokens of each of these; more than one where drafts are verified",
    )
    logits: Literal["last", "all"] = Field(
        default="last", description="tokens of a prompt that the output head works on"
    )
    routing: (
        Annotated[tuple[Annotated[int, Field(ge=0, le=MOST)], ...], BeforeValidator(_tuple)] | None
    ) = Field(
        default=None,
        description="how often tokens visit each expert, relatively; all alike if left out",
    )
    block_tokens: Size | None = Field(
        default=None, description="tokens of a block of the cache, where it is paged"
    )

    @model_validator(mode="after")
    def _something_runs(self) -> "Step":
        if not self.prefill and not self.decode:
            raise ValueError("a step of nothing; give prefill: [[512, 0]], decode: [300], or both")
        return self

    @classmethod
    def read(cls, path: Path) -> "Step":
        """Read a step from a YAML or JSON file.

        Raises
        ------
        BitlatheError
            Unknown keys and impossible values, with file and line.
        """
        return validate(cls, read_yaml(path, "step file"))

    @property
    def sequences(self) -> int:
        """Sequences in all."""
        prompts = sum(each.sequences for each in self.prefill)
        return prompts + sum(each.sequences for each in self.decode)

    @property
    def grows(self) -> bool:
        """Whether a cache that is there already grows."""
        return bool(self.decode) or any(each.cached for each in self.prefill)

    @property
    def phase(self) -> Literal["prefill", "decode"]:
        """The phase for which a chip that differs by phase is arranged: prefill with any prompt."""
        return "prefill" if self.prefill else "decode"

    @property
    def blocks(self) -> Blocks | None:
        """What the cache takes where it is given out in blocks; None where it is not."""
        if self.block_tokens is None:
            return None
        size = self.block_tokens
        seen = [(each.new + each.cached, each.sequences) for each in self.prefill]
        seen += [(each.context, each.sequences) for each in self.decode]
        return Blocks(
            block_tokens=size,
            blocks=sum(-(-tokens // size) * times for tokens, times in seen),
            used_tokens=sum(tokens * times for tokens, times in seen),
        )

    @property
    def forward(self) -> Forward:
        """The forward pass."""
        prompts = (
            prompt(each.new, each.cached, each.sequences, logits=self.logits)
            for each in self.prefill
        )
        more = self.decode_tokens
        generate = (
            generating(f"decode[{i}]", each.context, more, each.sequences)
            for i, each in enumerate(self.decode)
        )
        return Forward.beside([*prompts, *generate])
