"""The one entry: a model on a chip, or on a system of chips."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, overload

from ..arch import Arch
from ..arch.system import System
from ..datatypes.base.errors import BitlatheError
from ..workloads import Model, Source, Step
from . import simulation
from .run import Run
from .system.run import SystemRun
from .system.simulation import simulate_system


@overload
def simulate(
    arch: Arch | str | Path,
    model: Model | Source,
    phase: str = ...,
    context: int | None = ...,
    batch: int = ...,
    fidelity: str = ...,
    mapper: str = ...,
    *,
    causal: bool = ...,
    logits: str | None = ...,
    weights: Mapping[str, Any] | None = ...,
    bandwidth: bool = ...,
    step: Step | Mapping[str, Any] | None = ...,
    fusion: bool = ...,
) -> Run: ...


@overload
def simulate(
    arch: System,
    model: Model | Source,
    phase: str = ...,
    context: int | None = ...,
    batch: int = ...,
    fidelity: str = ...,
    mapper: str = ...,
    *,
    causal: bool = ...,
    logits: str | None = ...,
    step: Step | Mapping[str, Any] | None = ...,
    fusion: bool = ...,
) -> SystemRun: ...


def simulate(
    arch: Arch | System | str | Path, model: Model | Source, *args: Any, **options: Any
) -> Run | SystemRun:
    """Simulate a model on a chip, or on a system of chips.

    Parameters
    ----------
    arch : Arch, System, str or Path
        A chip, or what `load_arch` takes; a system of chips is one that `load_system` gives.
    model : Model, str, path, mapping or sequence
        A model, or what `load_model` takes: a name, a file, a list of `Gemm`.
    *args, **options
        ``phase``, ``context``, ``batch``, ``fidelity``, ``mapper``, and by name ``causal``,
        ``logits``, ``step``, ``fusion``, ``weights``, ``bandwidth``: as in
        `sim.simulation.simulate`; the last two are of chips only. The batch of a system is that of
        all its chips.

    Returns
    -------
    Run or SystemRun
        Clocks, energy, area, layers; of a system its shares, exchanges and stages.

    Raises
    ------
    BitlatheError
        Unknown names, impossible sizes, counters beyond 2^63, a model that cannot be divided so.

    Examples
    --------
    >>> simulate("hpca25/fp16", "opt-1.3b", "decode", 256).phase
    'decode'
    """
    if not isinstance(arch, System):
        return simulation.simulate(arch, model, *args, **options)
    for name in ("weights", "bandwidth"):
        if options.pop(name, None):
            raise BitlatheError(f"{name}: of one chip; run a share of the model on the plain chip.")
    return simulate_system(arch, model, *args, **options)
