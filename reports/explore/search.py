"""Guided search over the chips of a sweep: NSGA-II (Optuna), then the neighbors of the fronts.

A candidate is a chip with its settings and schemes. It is evaluated on every workload of the sweep:
a search that could choose the workload would choose the cheapest. NSGA-II, which sees each
objective as its geometric mean over the workloads, spends the first eighth of the budget; then come
the unseen neighbors (one place on one axis) of each workload's own front, widest gaps first, and
where there are none left, candidates at random.

Candidates are asked for by the generation, evaluated in parallel and told in order, so the search
takes the same path with any number of workers, and again from the store after a kill.
"""

import random
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from math import exp, inf, log
from statistics import fmean
from typing import Any

from ...datatypes.base.errors import BitlatheError, to_install
from .expressions import lookup
from .pareto import pareto_front
from .space import Space
from .sweepfile import GuidedSampling

# results of the points with these indices, None for a point without a usable result
Batch = Callable[[list[int]], list[dict[str, Any] | None]]
Places = tuple[int, ...]
Scores = list[tuple[float, ...] | None]  # the objectives of one candidate on each workload

MAX_IDLE = 8  # generations of NSGA-II without a new candidate, after which it is given up
EVOLVED = 1 / 8  # of the budget, by NSGA-II
GENERATIONS = 12  # what a budget is divided into; fewer find less
POPULATIONS = (8, 40)
TINY = 1e-30


def guided(space: Space, sampling: GuidedSampling, evaluate: Batch) -> int:
    """Search for the Pareto front of each workload under a budget.

    Parameters
    ----------
    space : Space
        The grid; every dimension of the chip with more than one value is a parameter of the search.
    sampling : GuidedSampling
        Budget (distinct points evaluated), seed, objectives, population.
    evaluate : callable
        Takes indices of points, returns their result rows (None: failed or ruled out). It never
        gets more points than the budget; fewer only when the constraints leave fewer, or the rest
        does not cover a candidate.

    Returns
    -------
    int
        How many points were met that a constraint on the point alone rules out.
    """
    search = _Search(space, sampling, evaluate)
    size = _population(space, sampling)
    _evolve(search, space, sampling, size)
    rng = random.Random(sampling.seed)
    others = map(space.places, shuffled(space.candidates, sampling.seed))
    while not search.spent:
        picked = _neighbors(search, rng)[:size] or list(islice(others, size))
        if not picked:
            break
        search.measure(picked)
    return search.ruled_out


class _Search:
    """What a search has evaluated: the scores of each candidate on each workload."""

    def __init__(self, space: Space, sampling: GuidedSampling, evaluate: Batch) -> None:
        self.scores: dict[Places, Scores] = {}
        self.used = self.ruled_out = 0
        self.spent = False
        self.lengths = [len(values) for _, values in space.chip_dimensions]
        self.minimize = [direction == "min" for direction in sampling.objectives.values()]
        self._space, self._evaluate = space, evaluate
        self._budget, self._objectives = sampling.budget, tuple(sampling.objectives)

    def measure(self, candidates: Iterable[Places]) -> bool:
        """Evaluate the candidates not seen before while the budget lasts; say if there were any."""
        chosen: dict[Places, list[int]] = {}
        points: list[int] = []
        for candidate in candidates:
            if candidate in self.scores or candidate in chosen:
                continue
            allowed = self._allowed(candidate)
            if self.used + len(points) + len(allowed) > self._budget:
                self.spent = True
                break
            chosen[candidate] = allowed
            points += allowed
        rows = dict(zip(points, self._evaluate(points), strict=True)) if points else {}
        for candidate, allowed in chosen.items():
            self.scores[candidate] = [self._score(rows.get(i)) for i in self._points(candidate)]
            self.ruled_out += self._space.workloads - len(allowed)
        self.used += len(points)
        self.spent |= self.used == self._budget
        return bool(chosen)

    def _points(self, candidate: Places) -> range:
        first = self._space.candidate(candidate) * self._space.workloads
        return range(first, first + self._space.workloads)

    def _allowed(self, candidate: Places) -> list[int]:
        """Return the candidate's points that no constraint on the point alone rules out."""
        verdicts = ((i, self._space.verdict(self._space.point(i))) for i in self._points(candidate))
        return [i for i, met in verdicts if met is not False]

    def _score(self, row: dict[str, Any] | None) -> tuple[float, ...] | None:
        return None if row is None else tuple(lookup(row, name) for name in self._objectives)

    def fronts(self) -> Iterator[list[Places]]:
        """Yield the candidates on the front of each workload, those with the widest gaps first."""
        for scores in zip(*self.scores.values(), strict=True):
            known = [(c, s) for c, s in zip(self.scores, scores, strict=True) if s is not None]
            if not known:
                continue
            mask = pareto_front([score for _, score in known], self.minimize)
            front = [pair for pair, chosen in zip(known, mask, strict=True) if chosen]
            gaps = _gaps([score for _, score in front])
            order = sorted(range(len(front)), key=lambda i: -gaps[i])
            yield [front[i][0] for i in order]


def _gaps(scores: Sequence[tuple[float, ...]]) -> list[float]:
    """Return how far apart the neighbors of each score are, as ratios (crowding distances)."""
    gaps = [0.0] * len(scores)
    for values in ([log(_positive(v)) for v in column] for column in zip(*scores, strict=True)):
        order = sorted(range(len(values)), key=values.__getitem__)
        span = values[order[-1]] - values[order[0]] or 1.0
        gaps[order[0]] = gaps[order[-1]] = inf
        for below, i, above in zip(order, order[1:], order[2:], strict=False):
            gaps[i] += (values[above] - values[below]) / span
    return gaps


def _evolve(search: _Search, space: Space, sampling: GuidedSampling, size: int) -> None:
    """Spend the first part of the budget on NSGA-II."""
    optuna = _optuna()
    sampler = optuna.samplers.NSGAIISampler(population_size=size, seed=sampling.seed)
    directions = ["minimize" if less else "maximize" for less in search.minimize]
    study = optuna.create_study(directions=directions, sampler=sampler)
    # ends of fronts are often ends of axes
    search.measure([tuple(0 for _ in search.lengths), tuple(n - 1 for n in search.lengths)])
    idle = 0
    while idle < MAX_IDLE and not search.spent and search.used < EVOLVED * sampling.budget:
        trials = [study.ask() for _ in range(size)]
        picked = [_places(trial, search.lengths) for trial in trials]
        idle = 0 if search.measure(picked) else idle + 1
        for trial, candidate in zip(trials, picked, strict=True):
            score = overall(search.scores.get(candidate, []))
            failed = optuna.trial.TrialState.FAIL if score is None else None
            study.tell(trial, score, state=failed)


def _places(trial: Any, lengths: Sequence[int]) -> Places:
    """Let the sampler place a trial on each dimension; a dimension of one value needs none."""
    return tuple(
        trial.suggest_int(str(i), 0, length - 1) if length > 1 else 0
        for i, length in enumerate(lengths)
    )


def overall(scores: Sequence[tuple[float, ...] | None]) -> list[float] | None:
    """Return the geometric mean of each objective over the workloads, None if one has no score.

    A whole number counts as 1 at least, so that no stalls on one workload do not hide the others'.

    Examples
    --------
    >>> [round(v, 9) for v in overall([(2.0, 0), (8.0, 100)])]
    [4.0, 10.0]
    """
    known = [score for score in scores if score is not None]
    if not known or len(known) < len(scores):
        return None
    return [exp(fmean(log(_positive(v)) for v in values)) for values in zip(*known, strict=True)]


def _positive(value: float) -> float:
    return max(value, 1 if isinstance(value, int) else TINY)


def _neighbors(search: _Search, rng: random.Random) -> list[Places]:
    """Return the unseen neighbors of the candidates on the fronts, one of each in turns."""
    lanes = []
    for front in search.fronts():
        each = [list(_steps(candidate, search.lengths)) for candidate in front]
        for near in each:
            rng.shuffle(near)
        lanes.append([c for c in _in_turns(each) if c not in search.scores])
    rng.shuffle(lanes)
    return _in_turns(lanes)


def _in_turns(lanes: Iterable[Iterable[Places]]) -> list[Places]:
    """Return the first of each lane, then the second, and so on; each candidate once."""
    turns = zip_longest(*lanes)
    return list(dict.fromkeys(c for turn in turns for c in turn if c is not None))


def _steps(candidate: Places, lengths: Sequence[int]) -> Iterator[Places]:
    """Yield the places one step away on one dimension."""
    for i, length in enumerate(lengths):
        for place in (candidate[i] - 1, candidate[i] + 1):
            if 0 <= place < length:
                yield (*candidate[:i], place, *candidate[i + 1 :])


def _population(space: Space, sampling: GuidedSampling) -> int:
    """Return the candidates of a generation."""
    low, high = POPULATIONS
    by_budget = sampling.budget // space.workloads // GENERATIONS
    return sampling.population or max(low, min(high, by_budget))


def shuffled(size: int, seed: int) -> Iterator[int]:
    """Yield ``range(size)`` in a seeded random order.

    A Fisher-Yates shuffle that keeps only the places it has moved: memory grows with the draws.
    """
    rng = random.Random(seed)
    moved: dict[int, int] = {}
    for i in range(size):
        j = rng.randrange(i, size)
        index, moved[j] = moved.get(j, j), moved.pop(i, i)
        yield index


def _optuna() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna
    except ImportError:
        raise BitlatheError(
            f"sampling nsga2 needs Optuna: {to_install('optuna', 'search')}."
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
