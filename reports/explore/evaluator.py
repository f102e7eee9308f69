"""What a sweep runs on each point, as a protocol: the simulator, or anything else."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from .points import Point


class Evaluator(Protocol):
    """What a sweep runs: picklable, the same result for the same key on any machine.

    The first four members are to be written; a subclass inherits the others, which say that there
    is nothing else that results depend on.
    """

    @property
    def version(self) -> str:
        """Digest of what results depend on beside the point."""

    def columns(self, fidelity: str) -> Sequence[str]:
        """Return the result columns of a rung, in the order of the tables."""

    def key(self, point: Point) -> str:
        """Return the digest of everything the point's result depends on."""

    def __call__(self, point: Point) -> dict[str, Any]:
        """Return the results of a point as a flat mapping of numbers and strings.

        What stands under `store.LAYERS` is no column: a mapping with ``roofline`` (`rows.roofline`)
        where a mapper chose loop nests ``mappings`` (`nests.kept`), and, for points that keep whole
        tables, ``columns`` and ``rows``.
        """

    @property
    def content(self) -> str:
        """Digest of what the evaluator carries, which tells one sweep from another."""
        return ""

    @property
    def chip_keys(self) -> Collection[str]:
        """The keys of chips that constraints may name beside the axes."""
        return ()

    def chip_values(self, point: Point, keys: Collection[str]) -> Mapping[str, Any]:
        """Return those of some keys that a point's chip has, with their values."""
        return {}

    def described(self, settings: Collection[Any] = ()) -> Mapping[str, Any]:
        """Return what the store shall keep of files, where ``settings`` are all values set."""
        return {}
