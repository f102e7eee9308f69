"""When what is busy in a step of a system: stages that compute and exchange, links between them.

Of the slowest copy of the model: each micro-batch of each stage is a span of computing, one of the
exchanges within the stage, and one of the link to the next stage. A stage takes a micro-batch when
it has come and the one before has left (`stages`); computing and exchanges of a micro-batch are one
span each, whatever their order within it. Between the spans of a stage it waits: the bubble.
Beside them stand what is busy on a stage's slowest chip, what lies in its memories, and what links
carry.
"""

from collections.abc import Iterator
from dataclasses import replace

from ..run import Run
from ..timeline import Level, Sent, Span
from ..timeline import levels as of_chip
from ..timeline import spans as on_chip
from .run import SystemRun
from .stages import StageClocks, machines, starts

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
    for i, number, clocks, start, onward in _placed(run):
        parts = [
            (f"stage {number}", COMPUTE, start, clocks.compute),
            (_within(number), EXCHANGE, start + clocks.compute, clocks.exchange),
        ]
        if onward is not None:
            parts.append((_onward(number), SEND, onward, clocks.send))
        for unit, does, at, cycles in parts:
            if cycles:
                yield Span(unit=unit, layer=does, instance=i, start_cycle=at, cycles=cycles)


def _placed(run: SystemRun) -> Iterator[tuple[int, int, StageClocks, int, int | None]]:
    """Yield micro-batch, stage, its clocks, when it starts, and when the link to the next does."""
    each = (stages for count, stages in run.schedule for _ in range(count))
    for i, (stages, begin) in enumerate(zip(each, starts(machines(run.schedule)), strict=True)):
        for number, clocks in enumerate(stages):
            last = number + 1 == len(stages)
            yield i, number, clocks, begin[2 * number], None if last else begin[2 * number + 1]


def _within(stage: int) -> str:
    return f"stage {stage}: links"


def _onward(stage: int) -> str:
    return f"{stage} to {stage + 1}"


def sent(run: SystemRun) -> Iterator[Sent]:
    """Yield what one group of chips of each stage sends over links, spread over those spans.

    Parameters
    ----------
    run : SystemRun
    """
    for _, number, clocks, start, onward in _placed(run):
        parts = [(_within(number), start + clocks.compute, clocks.exchange, clocks.exchange_bits)]
        if onward is not None:
            parts.append((_onward(number), onward, clocks.send, clocks.send_bits))
        for links, at, cycles, bits in parts:
            if cycles:
                yield Sent(links=links, start_cycle=at, cycles=cycles, bits=bits)


def levels(run: SystemRun) -> Iterator[Level]:
    """Yield what lies in the memories of the chip that each stage waits for, layer by layer.

    Its layers as if exchanges followed them all, as in `spans`.

    Parameters
    ----------
    run : SystemRun
    """
    for _, number, clocks, start, _ in _placed(run):
        for level in of_chip(_slowest(run, number, clocks)):
            yield replace(
                level,
                memory=f"stage {number}: {level.memory}",
                start_cycle=start + level.start_cycle,
            )


def inside(run: SystemRun) -> Iterator[Span]:
    """Yield what is busy on the chip that each stage waits for: layers, array, unit, memories.

    Its layers as if exchanges followed them all, as in `spans`: theirs sum to its computing.

    Parameters
    ----------
    run : SystemRun

    Yields
    ------
    Span
        Units are ``stage 0: array`` and so on; instances count on from micro-batch to micro-batch.
    """
    for i, number, clocks, start, _ in _placed(run):
        slowest = _slowest(run, number, clocks)
        times = max(layer.count for layer in slowest.layers)
        for span in on_chip(slowest):
            yield replace(
                span,
                unit=f"stage {number}: {span.unit}",
                start_cycle=start + span.start_cycle,
                instance=i * times + span.instance,
            )


def _slowest(run: SystemRun, number: int, clocks: StageClocks) -> Run:
    """Return the run of a stage's share that takes its clocks for a micro-batch."""
    own = (share for share in run.shares if share.stage == number)
    return next(each for share in own for each, _ in share.runs if each.cycles == clocks.compute)


def shares(run: SystemRun) -> list[tuple[str, float]]:
    """Return the shares of all stages' clocks in a step: computing, exchanging, waiting."""
    total = run.cycles * len(run.stage_cycles)
    compute, exchange = (
        sum(count * sum(getattr(each, part) for each in stages) for count, stages in run.schedule)
        for part in (COMPUTE, EXCHANGE)
    )
    found = [(COMPUTE, compute), (EXCHANGE, exchange), (WAIT, total - compute - exchange)]
    return [(name, clocks / total) for name, clocks in found]
