"""When what is busy in a step of a system: stages that compute and exchange, links between them.

Of the slowest copy of the model: each micro-batch of each stage is a span of computing, one of the
exchanges within the stage, and one of the link to the next stage. A stage takes a micro-batch when
it has come and the one before has left (`stages`); computing and exchanges of a micro-batch are one
span each, whatever their order within it. Between the spans of a stage it waits: the bubble.
"""

from collections.abc import Iterator

from ..timeline import Span
from .run import SystemRun
from .stages import machines, starts

COMPUTE, EXCHANGE, SEND, WAIT = "compute", "exchange", "send", "wait"


def spans(run: SystemRun) -> Iterator[Span]:
    """Yield what is busy in a step, micro-batch by micro-batch.

    Parameters
    ----------
    run : SystemRun

    Yields
    ------
    Span
        Units are ``stage 0``, ``stage 0: links``, ``0 to 1``; what they do stands in the place of
        the layer, the number of the micro-batch in that of the instance.
    """
    each = (stages for count, stages in run.schedule for _ in range(count))
    for i, (stages, begin) in enumerate(zip(each, starts(machines(run.schedule)), strict=True)):
        for number, clocks in enumerate(stages):
            start = begin[2 * number]
            parts = [
                (f"stage {number}", COMPUTE, start, clocks.compute),
                (f"stage {number}: links", EXCHANGE, start + clocks.compute, clocks.exchange),
            ]
            if number + 1 < len(stages):
                begins = begin[2 * number + 1]
                parts.append((f"{number} to {number + 1}", SEND, begins, clocks.send))
            for unit, does, at, cycles in parts:
                if cycles:
                    yield Span(unit=unit, layer=does, instance=i, start_cycle=at, cycles=cycles)


def shares(run: SystemRun) -> list[tuple[str, float]]:
    """Return the shares of all stages' clocks in a step: computing, exchanging, waiting."""
    total = run.cycles * len(run.stage_cycles)
    compute, exchange = (
        sum(count * sum(getattr(each, part) for each in stages) for count, stages in run.schedule)
        for part in (COMPUTE, EXCHANGE)
    )
    found = [(COMPUTE, compute), (EXCHANGE, exchange), (WAIT, total - compute - exchange)]
    return [(name, clocks / total) for name, clocks in found]
