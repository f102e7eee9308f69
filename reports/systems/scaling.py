"""How a model scales with the chips of a system: the same work on more chips, or more work."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...arch.system import DEGREES, System
from ...datatypes.base.errors import BitlatheError
from ...sim.system.run import SystemRun
from ...sim.system.simulation import simulate_system
from ...workloads import Model
from ...workloads.sharding import Place, shard
from ...workloads.slices import Slice

Law = Literal["strong", "weak"]
BEST = "best"
Track = Callable[[Sequence[Any], str], Iterable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is run: of strong scaling ``batch`` sequences on all chips, of weak so many a chip."""

    model: Model
    phase: str = "decode"
    context: int | None = None
    batch: int = 64
    fidelity: str = "analytic"
    mapper: str = "auto"

    def on(self, chips: int, law: Law) -> int:
        """Return the sequences of so many chips."""
        return self.batch * chips if law == "weak" else self.batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A system of so many chips, divided in one way, and what it takes.

    ``way``: the one degree that all chips make, or ``best``: of all ways to divide the model, the
    one with the shortest step (strong), or most tokens a second (weak).
    """

    law: Law
    way: str
    run: SystemRun
    speedup: float

    @property
    def efficiency(self) -> float:
        """Speedup over the chips."""
        return self.speedup / self.run.chips

    def row(self) -> dict[str, Any]:
        """Return a flat record."""
        run = self.run
        degrees = {name: run.parallel[name] for name in DEGREES}
        return {
            "law": self.law,
            "way": self.way,
            "chips": run.chips,
            **degrees,
            "batch": run.batch,
            "step_ms": run.seconds * 1e3,
            "tokens_per_second": run.tokens_per_second,
            "speedup": self.speedup,
            "efficiency": self.efficiency,
            "bubble": run.bubble,
            "mj_a_token": run.energy_pj["total"] / run.tokens / 1e9,
        }


def divisions(model: Model, chips: int, batch: int) -> Iterator[dict[str, int]]:
    """Yield the ways to divide a model and so many sequences among chips.

    Parameters
    ----------
    model : Model
    chips : int
    batch : int

    Examples
    --------
    >>> from bitlathe.workloads import load_model
    >>> list(divisions(load_model("gemma-3-1b"), 8, 1))[0]
    {'tensor': 1, 'pipeline': 8, 'expert': 1, 'data': 1}
    """
    for sizes in _factors(chips, len(DEGREES)):
        degrees = dict(zip(DEGREES, sizes, strict=True))
        if degrees["expert"] * degrees["data"] <= batch and _possible(model, degrees):
            yield degrees


def _factors(total: int, many: int) -> Iterator[tuple[int, ...]]:
    """Yield the tuples of so many whole numbers whose product is the total, ascending."""
    if many == 1:
        yield (total,)
        return
    for first in range(1, total + 1):
        if total % first == 0:
            yield from ((first, *rest) for rest in _factors(total // first, many - 1))


def _possible(model: Model, degrees: dict[str, int]) -> bool:
    place = Place(
        tensor=Slice(parts=degrees["tensor"]),
        stage=Slice(parts=degrees["pipeline"]),
        expert=Slice(parts=degrees["expert"]),
    )
    try:
        shard(model, place)
    except BitlatheError:
        return False
    return True


def scaling(
    system: System, work: Work, chips: Sequence[int], laws: Sequence[Law], track: Track | None
) -> list[Point]:
    """Return how work scales with chips: divided in the best way, and in one way only.

    Parameters
    ----------
    system : System
        Its chip and links; each group of chips has such links of its own.
    work : Work
    chips : sequence of int
        Numbers of chips.
    laws : sequence of {"strong", "weak"}
    track : callable, optional
        Shows the progress of a sequence.

    Raises
    ------
    BitlatheError
        Of a number of chips below 1, that stands twice, or among which the model cannot be divided
        in any way.
    """
    show = track or (lambda each, _: each)
    _check_chips(chips)
    known: dict[Any, Any] = {}
    found: list[Point] = []
    for law in laws:
        alone = _run(system, work, {}, work.on(1, law), known)
        for many in show(chips, f"{law} scaling"):
            batch = work.on(many, law)
            runs = [
                (degrees, _run(system, work, degrees, batch, known))
                for degrees in divisions(work.model, many, batch)
            ]
            if not runs:
                raise BitlatheError(
                    f"chips: {work.model.name} with {batch} sequences cannot be divided among "
                    f"{many} chips; use fewer, or a larger batch."
                )
            found += _points(law, many, runs, alone)
    return found


def _check_chips(chips: Sequence[int]) -> None:
    for many in chips:
        if many < 1:
            raise BitlatheError(f"chips: {many} is too small; the least is 1.")
        if chips.count(many) > 1:
            raise BitlatheError(f"chips: {many} stands there twice; give each number once.")


def _points(
    law: Law, chips: int, runs: list[tuple[dict[str, int], SystemRun]], alone: SystemRun
) -> Iterator[Point]:
    """Yield the best of all ways, and the ways of one degree alone."""

    def speedup(run: SystemRun) -> float:
        if law == "strong":
            return alone.cycles / run.cycles
        return run.tokens_per_second / alone.tokens_per_second

    best = max((run for _, run in runs), key=speedup)
    yield Point(law=law, way=BEST, run=best, speedup=speedup(best))
    for degrees, run in runs:
        for name, size in degrees.items():
            if size == chips:
                yield Point(law=law, way=name, run=run, speedup=speedup(run))


def _run(
    system: System, work: Work, degrees: dict[str, int], batch: int, known: dict[Any, Any]
) -> SystemRun:
    return simulate_system(
        *(system.divided(**degrees), work.model, work.phase, work.context, batch),
        *(work.fidelity, work.mapper),
        known=known,
    )
