"""Run a model on a system of chips: each share on the plain chip, exchanges between, stages."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...arch.silicon import areas_um2
from ...arch.system import System
from ...datatypes.base.errors import BitlatheError
from ...workloads import Model, Source, Step, load_model
from ...workloads.sizes import check_size
from ..energy import timed_energy_pj
from ..run import with_total
from ..simulation import check_step_alone, served_step
from .asked import Asked, Known
from .copy import Copy, merged
from .loads import replicas
from .notes import notes_of
from .run import ShareRun, SystemRun


def simulate_system(
    system: System,
    model: Model | Source,
    phase: str = "prefill",
    context: int | None = None,
    batch: int = 1,
    fidelity: str = "cycle",
    mapper: str = "auto",
    *,
    causal: bool = False,
    logits: str | None = None,
    step: Step | Mapping[str, Any] | None = None,
    fusion: bool = True,
    known: Known | None = None,
) -> SystemRun:
    """Simulate a model on a system of chips.

    Parameters
    ----------
    system : System
    model : Model, str, path, mapping or sequence
    phase, context, batch, fidelity, mapper, causal, logits
        As in `sim.simulate`; the batch is that of all chips.
    step : Step or mapping, optional
        As in `sim.simulate`, on systems that divide a model by tensor and pipeline only; all of it
        is one micro-batch.
    fusion : bool
        As in `sim.simulate`.
    known : dict, optional
        Shares that were run before on the same chip, context and options, and will be.

    Raises
    ------
    BitlatheError
        As `sim.simulate`, and of a model, batch or step that cannot be divided into so many parts.
    """
    network = model if isinstance(model, Model) else load_model(model)
    served = served_step(step)
    if served is not None:
        check_step_alone((phase, context, batch, causal, logits))
        _check_step(system)
        if served.routing is not None:
            network = network.routed(served.routing)
            served = served.model_copy(update={"routing": None})
    asked = Asked(
        system=system,
        whole=network,
        phase=phase,
        context=context,
        step=served,
        logits=logits,
        causal=causal,
        options={"fidelity": fidelity, "mapper": mapper, "fusion": fusion},
        known={} if known is None else known,
    )
    alike = replicas(system.parallel, 1 if served else check_size("batch", batch))
    copies = [Copy(asked=asked, replica=each, copies=n) for each, n in alike.items()]
    slowest = max(copies, key=lambda each: each.cycles)
    kinds = [share for copy in copies for share in copy.shares]
    first = kinds[0].runs[0][0]
    areas = {name: system.chips * area for name, area in areas_um2(asked.arch).items()}
    return SystemRun(
        system=system.name,
        arch=first.arch,
        model=network.name,
        phase=first.phase,
        context=first.context,
        batch=first.batch if served else batch,
        fidelity=fidelity,
        mapper=first.mapper,
        clock_ghz=first.clock_ghz,
        chips=system.chips,
        parallel={**system.parallel.degrees, "micro_batches": slowest.micro_batches},
        cycles=slowest.cycles,
        interval_cycles=max(copy.interval_cycles for copy in copies),
        stage_cycles=slowest.stage_cycles,
        tokens=sum(copy.tokens for copy in copies),
        first_token=first.first_token,
        shares=tuple(kinds),
        collectives=merged(each for copy in copies for each in copy.collectives),
        idle_pj=_idle_pj(asked, kinds, slowest.cycles),
        area_um2=with_total(areas),
        replicated=copies[0].replicated(),
        notes=tuple(notes_of(asked.arch, network, system.parallel, kinds)),
        schedule=slowest.schedule,
    )


def _idle_pj(asked: Asked, kinds: Sequence[ShareRun], cycles: int) -> dict[str, float]:
    """Return what chips take by the clock while they do not compute."""
    waiting = [(timed_energy_pj(asked.chip, cycles - each.cycles), each.chips) for each in kinds]
    return {name: math.fsum(pj[name] * chips for pj, chips in waiting) for name in waiting[0][0]}


def _check_step(system: System) -> None:
    parallel = system.parallel
    for key in ("data", "expert", "micro_batches"):
        given = getattr(parallel, key) or 1
        if given > 1:
            raise BitlatheError(
                f"step: its sequences are not divided among chips, and parallel.{key} is {given}; "
                "use 1, or give phase, context and batch."
            )
