"""Run a model on a chip: formats by policy, layers one by one, totals."""

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path

from ..arch import Arch, load_arch, resolve
from ..arch.schema import LayerFormats
from ..datatypes.errors import BitlatheError, unknown_name
from ..workloads import Gemm, Model, load_model
from .analytic import ChipCosts, LayerBits, area_um2
from .run import LayerRun, Run

RUNGS = {"analytic": (".analytic", "run_layer"), "cycle": (".cycle", "run_layer_cycle")}
FIDELITIES = tuple(RUNGS)
MAPPERS = ("whole-buffer",)
COUNTER_LIMIT = 2**53  # beyond it a count is no longer exact in JSON readers and in floats


def formats_for(arch: Arch, gemm: Gemm) -> LayerFormats:
    """Return the formats of a layer's operands by the chip's policy."""
    formats = arch.formats
    if gemm.kind.startswith("attention"):
        return formats.attention
    if gemm.kind == "conv":
        return formats.conv or formats.linear
    if gemm.name == "lm_head":
        return formats.lm_head or formats.linear
    return formats.linear


def layer_bits(arch: Arch, gemm: Gemm) -> LayerBits:
    """Return the stored bits of a layer's operands on a chip."""
    return LayerBits.of(arch, formats_for(arch, gemm), gemm)


def _choice(argument: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise BitlatheError(unknown_name(argument, value, known))


def _rung(fidelity: str) -> Callable[[Arch, Gemm, LayerBits, ChipCosts, str], LayerRun]:
    """Return the function of a rung; its module is loaded on use."""
    module, function = RUNGS[fidelity]
    rung: Callable[[Arch, Gemm, LayerBits, ChipCosts, str], LayerRun]
    rung = getattr(import_module(module, __package__), function)
    return rung


def simulate(
    arch: Arch | str | Path,
    model: Model | str | Path,
    phase: str = "prefill",
    context: int | None = None,
    batch: int = 1,
    fidelity: str = "cycle",
    mapper: str = "whole-buffer",
    *,
    causal: bool = False,
) -> Run:
    """Simulate a model on a chip.

    Parameters
    ----------
    arch : Arch, str or Path
        A chip, or what `load_arch` takes.
    model : Model, str or Path
        A model, or what `load_model` takes.
    phase : {"prefill", "decode"}
        All tokens of the context at once, or one new token that sees ``context`` tokens, itself
        among them.
    context : int, optional
        Tokens; 256 for text models, fixed by vision models.
    batch : int
        Sequences (images) at once.
    fidelity : {"cycle", "analytic"}
        Rung of the ladder of fidelity: events at clock resolution with stalls by cause, or
        closed forms.
    mapper : {"whole-buffer"}
        How layers are laid on the chip.
    causal : bool
        Skip, in prefill, the attention products that the causal mask hides.

    Returns
    -------
    Run
        Clocks, energy, area, layers.

    Raises
    ------
    BitlatheError
        Unknown names, impossible sizes, counters beyond 2^53.

    Examples
    --------
    >>> simulate("hpca25/fp16", "opt-1.3b", "decode", 256).phase
    'decode'
    """
    _choice("fidelity", fidelity, FIDELITIES)
    _choice("mapper", mapper, MAPPERS)
    network = model if isinstance(model, Model) else load_model(model)
    gemms = network.gemms(phase=phase, context=context, batch=batch, causal=causal)
    chip = resolve(load_arch(arch), phase=phase, model=network.name)
    costs = ChipCosts.of(chip)
    run_layer = _rung(fidelity)
    layers = tuple(run_layer(chip, gemm, layer_bits(chip, gemm), costs, mapper) for gemm in gemms)
    run = Run(
        arch=chip.name,
        model=network.name,
        phase=phase,
        context=network.context_of(context),
        batch=batch,
        fidelity=fidelity,
        mapper=mapper,
        clock_ghz=chip.technology.clock_ghz,
        area_um2=area_um2(chip, costs),
        layers=layers,
    )
    if run.cycles > COUNTER_LIMIT:
        raise BitlatheError(
            f"{network.name} with context {run.context} and batch {batch} takes {run.cycles:.3g} "
            f"clocks, beyond the exact range of counters (2^53); use a smaller context or batch."
        )
    return run
