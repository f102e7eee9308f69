"""What a server runs at once: pieces of prompts beside sequences that generate."""

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

    new: Size
    cached: Annotated[int, Field(ge=0, le=MOST)] = 0
    sequences: Size = 1


class Generating(Record):
    """Sequences that generate, with so many tokens in view of the newest, itself included."""

    context: Size
    sequences: Size = 1


def _piece(value: Any) -> Any:
    """Read ``[new, cached]``, or a piece in full."""
    pair = isinstance(value, list | tuple) and len(value) == 2
    return {"new": value[0], "cached": value[1]} if pair else value


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

    Examples
    --------
    >>> Step(prefill=[[512, 1024]], decode=[300, {"context": 2000, "sequences": 7}]).sequences
    9
    """

    prefill: Annotated[
        tuple[Annotated[Piece, BeforeValidator(_piece)], ...], BeforeValidator(_tuple)
    ] = ()
    decode: Annotated[
        tuple[Annotated[Generating, BeforeValidator(_generating)], ...], BeforeValidator(_tuple)
    ] = ()
    decode_tokens: Size = 1
    logits: Literal["last", "all"] = "last"

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
