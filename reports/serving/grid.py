"""The steps of a table: sequences that generate, beside a piece of a prompt."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from ...datatypes.base.errors import BitlatheError
from ...workloads import Step
from ...workloads.step import MOST, Generating, Piece


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step: ``batch`` sequences that see ``context`` tokens, and a piece of a prompt.

    The piece is ``chunk`` new tokens behind ``cached`` ones. What is not there has size 0.
    """

    batch: int
    context: int
    chunk: int
    cached: int

    @property
    def step(self) -> Step:
        """The step as `simulate` takes it."""
        piece = Piece(new=self.chunk, cached=self.cached) if self.chunk else None
        generating = Generating(context=self.context, sequences=self.batch) if self.batch else None
        return Step(
            prefill=() if piece is None else (piece,),
            decode=() if generating is None else (generating,),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Sizes whose combinations are the steps of a table.

    Attributes
    ----------
    batches : tuple of int
        Sequences that generate; 0 for prompts alone.
    contexts : tuple of int
        Tokens in view of the newest of each, itself included.
    chunks : tuple of int
        New tokens of a prompt; 0 for none.
    cached : tuple of int
        Tokens of the prompt that are cached before.

    Raises
    ------
    BitlatheError
        A list without sizes, a size below its least or more than once, or no step at all.
    """

    batches: tuple[int, ...] = (0, 1, 4, 16, 64)
    contexts: tuple[int, ...] = (512, 2048, 8192)
    chunks: tuple[int, ...] = (0, 512, 2048)
    cached: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        for name, least in (("batches", 0), ("contexts", 1), ("chunks", 0), ("cached", 0)):
            sizes = getattr(self, name)
            if not sizes:
                raise BitlatheError(f"{name}: no sizes; give at least one, as 1,4,16.")
            for size in sizes:
                if size < least:
                    raise BitlatheError(f"{name}: {size} is too small; the least is {least}.")
                if size > MOST:
                    raise BitlatheError(f"{name}: {size} is too large; the most is 2^40.")
                if sizes.count(size) > 1:
                    raise BitlatheError(f"{name}: {size} stands there twice; give each size once.")
        if not any(self.points()):
            raise BitlatheError("batches and chunks: only 0, which is no step; give another size.")

    def points(self) -> Iterator[Point]:
        """Yield the steps, each once: sizes of what is not there do not count."""
        seen = set()
        for batch, context, chunk, cached in product(
            self.batches, self.contexts, self.chunks, self.cached
        ):
            point = Point(
                batch=batch,
                context=context if batch else 0,
                chunk=chunk,
                cached=cached if chunk else 0,
            )
            if (batch or chunk) and point not in seen:
                seen.add(point)
                yield point

    @classmethod
    def within(cls, longest: int | None, **given: tuple[int, ...]) -> "Grid":
        """Return a grid whose sizes, where they are not given, a model of so many positions takes.

        Parameters
        ----------
        longest : int or None
            Tokens that the model has positions for; None for any number.
        **given : tuple of int
            Fields of the grid, which stay as they are.

        Examples
        --------
        >>> Grid.within(1024).contexts
        (512, 1024)
        """
        if longest is None:
            return cls(**given)
        plain, before = cls(), max(given.get("cached") or (0,))
        room = {"contexts": longest, "chunks": max(1, longest - before)}
        least = {
            name: tuple(dict.fromkeys(min(size, most) for size in getattr(plain, name)))
            for name, most in room.items()
        }
        return cls(**{**least, **given})

    @property
    def most_tokens(self) -> int:
        """New tokens of the largest step."""
        return max(self.batches) + max(self.chunks)

    @property
    def token_counts(self) -> tuple[int, ...]:
        """Powers of two, and the new tokens of the largest step."""
        most = self.most_tokens
        return (*(2**i for i in range((most - 1).bit_length())), most)
