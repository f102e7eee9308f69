"""What a sweep file asks for: its space on its evaluator, how many points, the first of them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.files import read_text
from .checks import simulator
from .evaluator import Evaluator
from .points import column_of
from .search import shuffled
from .shards import Shard, shared
from .space import Space, constrained, parse_sweep
from .spelling import spelled
from .sweepfile import axis_keys

FIRST = 5
WALKED = 500_000


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep file that was read and checked: its text and folder, its space, what runs on it."""

    text: str
    folder: Path
    space: Space
    evaluator: Evaluator

    @property
    def results(self) -> list[str]:
        """The result columns."""
        return list(self.evaluator.columns(self.space.file.fidelity))

    @property
    def settings(self) -> list[str]:
        """The columns that set a key of the chip, the one that is solved for last."""
        solved = [self.space.file.iso.solve] if self.space.file.iso else []
        return [*(column_of(key) for keys in self.space.settings for key in keys), *solved]

    @property
    def columns(self) -> list[str]:
        """All columns of a finished point."""
        return list(dict.fromkeys([*self.space.columns, *self.settings, *self.results]))


def read_sweep(path: Path, evaluator: Evaluator | None = None) -> Sweep:
    """Read a sweep file; without an evaluator its points are for the simulator.

    Raises
    ------
    BitlatheError
        With file, line, column and remedy for each problem.
    """
    text = read_text(path, "sweep file")
    space = spelled(parse_sweep(text, str(path)), path.parent)
    if evaluator is None:
        evaluator = simulator(space, path.parent)
    columns = evaluator.columns(space.file.fidelity)
    space = constrained(space, columns, evaluator.chip_keys, evaluator.chip_values)
    return Sweep(text=text, folder=path.parent, space=space, evaluator=evaluator)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What ``--dry-run`` shows: sizes and the first points.

    ``size`` counts the product of all lists, ``points`` what is evaluated: after the constraints
    that points alone decide (None when the space is too large to walk), samples or budget.
    """

    size: int
    points: int | None
    dimensions: dict[str, int]
    first: list[dict[str, Any]]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON."""
        return asdict(self)

    def text(self) -> str:
        """Return the preview for people."""
        product = " x ".join(f"{count} {name}" for name, count in self.dimensions.items())
        count = "not counted" if self.points is None else f"{self.points:,}"
        lines = [f"space: {self.size:,} points ({product})", f"to evaluate: {count}"]
        lines += [", ".join(f"{k}={v}" for k, v in row.items()) for row in self.first]
        return "\n".join(lines)


def plan_sweep(
    path: str | Path, evaluator: Evaluator | None = None, *, shard: str | None = None
) -> Preview:
    """Return the size of a sweep file's space and its first points; nothing is evaluated.

    Raises
    ------
    BitlatheError
        A bad sweep file (file, line, column), or no such shard of it.
    """
    space = read_sweep(Path(path), evaluator).space
    return _preview(space, share_of(space, shard))


def share_of(space: Space, shard: str | None) -> Shard | None:
    """Return which shard a text names; None without one.

    Raises
    ------
    BitlatheError
        It names none, or the sweep cannot be shared out.
    """
    share = None if shard is None else Shard.parse(shard)
    if share is not None and space.file.sampling.nsga2 is not None:
        raise BitlatheError(
            f"{space.document.where(('sampling',))}: nsga2 chooses points by the results of those "
            "before, which a shard does not see; sample the grid or at random, or run the search "
            "with --jobs or --dask."
        )
    return share


def planned_points(space: Space, share: Shard | None = None) -> int:
    """Return the points to evaluate, all or a shard's, if no constraint rules any out."""
    planned = _planned(space)
    return planned if share is None else share.count(planned)


def _planned(space: Space) -> int:
    sampling = space.file.sampling
    if sampling.random is not None:
        return min(sampling.random.samples, space.size)
    if sampling.nsga2 is not None:
        budget = min(sampling.nsga2.budget, space.size)
        return budget - budget % space.workloads
    return space.size


def _preview(space: Space, share: Shard | None = None) -> Preview:
    """Return the size of a space and its first points, all or a shard's."""
    planned = planned_points(space, share)
    walked = space.size <= WALKED or not space.early
    sampling = space.file.sampling
    drawn = sampling.random is not None
    order: Iterable[int] = shared(range(space.size if walked else 0), None if drawn else share)
    if sampling.random is not None:
        order = islice(shuffled(space.size, sampling.random.seed), WALKED)
    met = (p for p in map(space.point, order) if space.verdict(p) is not False)
    kept = shared(met, share if drawn else None)
    first = [space.row(point) for point in islice(kept, min(FIRST, planned))]
    points: int | None = planned
    if space.early and sampling.nsga2 is None and not drawn:
        points = len(first) + sum(1 for _ in kept) if walked else None
    return Preview(
        size=space.size,
        points=points,
        dimensions={
            ", ".join(map(column_of, axis_keys(name))): len(values)
            for name, values in space.dimensions
        },
        first=first,
    )
