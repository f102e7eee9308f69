"""When what is busy in a run: spans of the array, the vector unit and the memories' ports.

The layers of a run follow each other; identical ones are told once with their count. A timeline
lays them out: the first instance of each layer, then the second of those that have one, and so on,
which is the order of a transformer's blocks. Within a layer a unit's busy clocks are one span. That
of a product starts with it. A step of the vector unit ends with the clocks that the array waits for
it: what it does before that is beside the products ahead. A unit does one thing at a time: a span
that would start earlier starts where the one before it ends; what would outlast the run so is moved
ahead. A span says how much is busy, not which of a layer's clocks are.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from .run import Filled, LayerRun, Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A unit at work: on which layer's which instance, from which clock on, for how many clocks."""

    unit: str
    layer: str
    instance: int
    start_cycle: int
    cycles: int


LAYERS = "layers"
"""The track of the layers themselves; its spans sum to the clocks of the run."""


def instances(run: Run) -> Iterator[tuple[LayerRun, int]]:
    """Yield the layers of a run in the order of its blocks, each instance with its number."""
    for i in range(max((layer.count for layer in run.layers), default=0)):
        for layer in run.layers:
            if i < layer.count:
                yield layer, i


def spans(run: Run) -> Iterator[Span]:
    """Yield what is busy in a run, layer by layer.

    Parameters
    ----------
    run : Run
        A run whose layers all tell ``busy_cycles``: under mappings (`search`). Of others, the
        spans of the layers alone: a memory of which only the vector unit's steps are known would
        look idle.

    Yields
    ------
    Span
        The layer's own on the track `LAYERS`, then those of the units that work on it.
    """
    found = list(_from_the_front(run))
    limits: dict[str, int] = {}
    for place in range(len(found) - 1, -1, -1):
        span = found[place]
        start = min(span.start_cycle, limits.get(span.unit, run.cycles) - span.cycles)
        limits[span.unit] = start
        found[place] = span if start == span.start_cycle else replace(span, start_cycle=start)
    yield from found


def _from_the_front(run: Run) -> Iterator[Span]:
    """Yield what is busy, no span earlier than its layer asks for; some may outlast the run."""
    now, free = 0, Counter[str]()
    told = all(layer.busy_cycles is not None for layer in run.layers)
    for layer, i in instances(run):
        end = now + layer.cycles
        yield Span(unit=LAYERS, layer=layer.name, instance=i, start_cycle=now, cycles=layer.cycles)
        for unit, busy in (layer.busy_cycles or {}).items():
            if busy and told:
                start = max(free[unit], now if layer.unit is None else end - busy)
                free[unit] = start + busy
                yield Span(unit=unit, layer=layer.name, instance=i, start_cycle=start, cycles=busy)
        now = end


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What lies in a memory from one clock on, for how many clocks."""

    memory: str
    start_cycle: int
    cycles: int
    filled: Filled


def levels(run: Run) -> Iterator[Level]:
    """Yield what lies in the memories on the chip, layer by layer: tiles of those under mappings.

    As much of them as there is at most, through the whole layer; nothing while the vector unit
    works alone. Results that stay from layer to layer are no tiles, and are left out.

    Parameters
    ----------
    run : Run
        As for `spans`.
    """
    held = {id(layer): layer.held for layer in run.layers}
    sizes = {name: each.size_bits for some in held.values() for name, each in some.items()}
    now = 0
    for layer, _ in instances(run):
        for name, size in sizes.items() if layer.cycles else ():
            filled = held[id(layer)].get(name, Filled(0, size))
            yield Level(memory=name, start_cycle=now, cycles=layer.cycles, filled=filled)
        now += layer.cycles


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What goes over links from one clock on, for how many clocks."""

    links: str
    start_cycle: int
    cycles: int
    bits: int


def first_block(run: Run) -> list[Span]:
    """Return the spans of the first instance of each layer."""
    return [span for span in spans(run) if span.instance == 0]


def shares(run: Run) -> list[tuple[str, float]]:
    """Return the share of the run's clocks that each layer takes, layers of one name together."""
    clocks: Counter[str] = Counter()
    for layer in run.layers:
        clocks[layer.name] += layer.cycles * layer.count
    return [(name, cycles / run.cycles) for name, cycles in clocks.items()]


def bound(run: Run) -> list[tuple[str, float]]:
    """Return the share of the run's clocks that each unit binds, the most first (`Run.binds`).

    Nothing where no mapper chose loop nests.
    """
    return [(unit, clocks / run.cycles) for unit, clocks in run.binds.items() if clocks]


def trace(run: Run) -> dict[str, Any]:
    """Return a run as a trace in the JSON of Chrome's trace viewer, which Perfetto opens.

    Parameters
    ----------
    run : Run
        As for `spans`.
    """
    return trace_of(
        spans(run),
        run.clock_ghz,
        {"arch": run.arch, "model": run.model, "phase": run.phase},
        levels(run),
    )


def trace_of(
    some: Iterable[Span],
    clock_ghz: float,
    about: Mapping[str, str],
    filled: Iterable[Level] = (),
    sent: Iterable[Sent] = (),
) -> dict[str, Any]:
    """Return spans as a trace in the JSON of Chrome's trace viewer, which Perfetto opens.

    Complete events (``ph: X``) in microseconds, a thread for each unit, as Google's "Trace Event
    Format" describes them; clocks stand in ``args``. Counters (``ph: C``) tell the bits that lie in
    each memory, and the bits that go over links in a clock, on the mean.

    Parameters
    ----------
    some : iterable of Span
    clock_ghz : float
    about : mapping of str to str
        What ran: ``arch``, ``model`` and ``phase``.
    filled : iterable of Level
    sent : iterable of Sent
    """
    found = list(some)
    threads = {unit: i for i, unit in enumerate(dict.fromkeys(span.unit for span in found))}
    per_us = Fraction(clock_ghz) * 1000
    named = [
        {
            "ph": "M",
            "name": "process_name",
            "pid": 0,
            "args": {"name": f"{about['model']} on {about['arch']}"},
        }
    ]
    for unit, thread in threads.items():
        of = {"ph": "M", "pid": 0, "tid": thread}
        named += [
            {**of, "name": "thread_name", "args": {"name": unit}},
            {**of, "name": "thread_sort_index", "args": {"sort_index": thread}},
        ]
    events = [
        {
            "ph": "X",
            "name": span.layer,
            "pid": 0,
            "tid": threads[span.unit],
            "ts": float(span.start_cycle / per_us),
            "dur": float(span.cycles / per_us),
            "args": {
                "instance": span.instance,
                "start_cycle": span.start_cycle,
                "cycles": span.cycles,
            },
        }
        for span in found
    ]
    counted: list[tuple[str, int, dict[str, float]]] = [
        (f"{each.memory}: bits held", each.start_cycle, {"bits": each.filled.bits})
        for each in filled
    ]
    for each in sent:
        name, end = f"{each.links}: bits a clock", each.start_cycle + each.cycles
        counted.append((name, each.start_cycle, {"bits": each.bits / each.cycles}))
        counted.append((name, end, {"bits": 0}))
    counters = [
        {"ph": "C", "name": name, "pid": 0, "ts": float(at / per_us), "args": args}
        for name, at, args in counted
    ]
    return {
        "displayTimeUnit": "ns",
        "otherData": dict(about),
        "traceEvents": [*named, *events, *counters],
    }
