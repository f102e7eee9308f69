"""Guided search: NSGA-II (Optuna) over the grid of a sweep, the same whatever the runner.

Each generation is asked for at once, evaluated in parallel and told in order, so the search takes
the same path with any number of workers, and takes it again from the store after a kill.
"""

import random
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

from ...datatypes.errors import BitlatheError
from .expr import lookup
from .spec import GuidedSampling, Space

# results of the points with these indices, None for a point without a usable result
Batch = Callable[[list[int]], list[dict[str, Any] | None]]

MAX_IDLE = 8  # generations without a new point, after which the rest is drawn at random


def guided(space: Space, sampling: GuidedSampling, evaluate: Batch) -> list[int]:
    """Search for the Pareto front under a budget.

    Parameters
    ----------
    space : Space
        The grid; every dimension with more than one value is a parameter of the search.
    sampling : GuidedSampling
        Budget (distinct points evaluated), seed, objectives, population.
    evaluate : callable
        Takes indices of points, returns their result rows (None: failed or ruled out).

    Returns
    -------
    list of int
        The indices evaluated, in order: never more than the budget, fewer only when the
        constraints leave fewer points.
    """
    optuna = _optuna()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = optuna.samplers.NSGAIISampler(
        population_size=sampling.population, seed=sampling.seed, mutation_prob=None
    )
    study = optuna.create_study(directions=_directions(sampling), sampler=sampler)
    budget = min(sampling.budget, space.size)
    scores: dict[int, tuple[float, ...] | None] = {}
    order: list[int] = []
    idle = 0
    while len(order) < budget and idle < MAX_IDLE:
        trials = [study.ask() for _ in range(sampling.population)]
        picked = [_pick(space, trial) for trial in trials]
        new = _unseen(space, picked, scores, budget - len(order))
        for index, row in zip(new, evaluate(new) if new else [], strict=True):
            scores[index] = None if row is None else _score(sampling, row)
        order += new
        idle = 0 if new else idle + 1
        for trial, index in zip(trials, picked, strict=True):
            score = scores.get(index)
            if score is None:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, score)
    rest = (i for i in draw(space, space.size, sampling.seed) if i not in scores)
    while len(order) < budget and (new := list(islice(rest, sampling.population))):
        new = new[: budget - len(order)]
        evaluate(new)
        order += new
    return order


def draw(space: Space, samples: int, seed: int) -> Iterator[int]:
    """Yield indices of distinct allowed points in a seeded random order.

    A Fisher-Yates shuffle that keeps only the places it has moved: memory grows with the draws.
    """
    rng = random.Random(seed)
    moved: dict[int, int] = {}
    drawn = 0
    for i in range(space.size):
        if drawn == samples:
            return
        j = rng.randrange(i, space.size)
        index, moved[j] = moved.get(j, j), moved.pop(i, i)
        if space.allowed(space.point(index)):
            drawn += 1
            yield index


def _optuna() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import optuna
    except ImportError:
        raise BitlatheError(
            "sampling nsga2 needs Optuna: pip install 'bitlathe[search]'."
        ) from None
    return optuna


def _directions(sampling: GuidedSampling) -> list[str]:
    return [{"min": "minimize", "max": "maximize"}[d] for d in sampling.objectives.values()]


def _pick(space: Space, trial: Any) -> int:
    """Let the sampler place a trial on each dimension; a dimension of one value needs none."""
    places = []
    for name, values in space.dimensions:
        many = len(values) > 1
        places.append(trial.suggest_int(name, 0, len(values) - 1) if many else 0)
    return space.index(places)


def _unseen(space: Space, picked: list[int], seen: dict[int, Any], limit: int) -> list[int]:
    """Return the new allowed points among those picked, in order; ruled-out ones are marked."""
    new: list[int] = []
    for index in picked:
        if index in seen or index in new:
            continue
        if not space.allowed(space.point(index)):
            seen[index] = None
            continue
        if len(new) < limit:
            new.append(index)
    return new


def _score(sampling: GuidedSampling, row: dict[str, Any]) -> tuple[float, ...]:
    return tuple(float(lookup(row, name)) for name in sampling.objectives)
