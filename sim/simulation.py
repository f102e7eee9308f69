"""Run a model on a chip: formats by policy, layers one by one, totals."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache as memoized
from importlib import import_module
from pathlib import Path
from typing import Any

from ..arch import Arch, load_arch, resolve
from ..arch.schema import LayerFormats, Operand, check_held
from ..datatypes.base.errors import BitlatheError, unknown_name
from ..workloads import Gemm, Model, load_model
from ..workloads.gemm import COUNTER_LIMIT
from ..workloads.order import Order, execution_order
from .energy import ChipCosts, area_um2
from .layer_bits import LayerBits
from .layout import MAPPERS, mapper_of
from .run import LayerRun, Run

RUNGS = {"analytic": (".analytic", "run_layer"), "cycle": (".cycle.layer", "run_layer_cycle")}
FIDELITIES = tuple(RUNGS)
MANY_TOKENS = 2**20  # scales along so many tokens weigh next to nothing


def format_kind(gemm: Gemm) -> str:
    """Return the kind of layer by which a chip gives formats."""
    if gemm.kind.startswith("attention"):
        return "attention"
    return "lm_head" if gemm.name == "lm_head" else gemm.kind


def formats_of(arch: Arch, kind: str) -> LayerFormats:
    """Return the formats of a kind of layer; kinds without their own follow linear layers."""
    found: LayerFormats | None = getattr(arch.formats, kind)
    return found or arch.formats.linear


def formats_for(arch: Arch, gemm: Gemm) -> LayerFormats:
    """Return the formats of a layer's operands by the chip's policy."""
    return formats_of(arch, format_kind(gemm))


def format_labels(arch: Arch, kind: str) -> dict[str, str]:
    """Return the schemes of a kind of layer by operand, in words."""
    formats = formats_of(arch, kind)
    return {operand: getattr(formats, operand).label for operand in ("weight", "input", "output")}


@dataclass(frozen=True, slots=True)
class CacheBits:
    """Stored bits of a key, and of a value, in the K/V cache; bits of their code."""

    key: Fraction
    value: Fraction
    code: Fraction

    @classmethod
    def of(cls, arch: Arch, gemms: Iterable[Gemm], phase: str) -> "CacheBits | None":
        """Return the bits in which attention reads the cache, the most of any of its layers.

        A token that decode adds to the values brings no scale of its own where they are scaled
        along the tokens: it takes what an element of many tokens does. None without attention, and
        on chips that count as the BitMoD study, which writes keys and values as plain results.
        """
        if arch.published_accounting:
            return None
        stored = arch.formats.attention.weight
        keys = [gemm.k for gemm in gemms if gemm.kind == "attention_qk"]
        tokens = [gemm.k for gemm in gemms if gemm.kind == "attention_av"]
        if not keys or not tokens:
            return None
        if phase == "decode":
            tokens = [MANY_TOKENS]
        return cls(
            max(map(stored.bits_per_element, keys)),
            max(map(stored.bits_per_element, tokens)),
            stored.code_bits,
        )

    def of_outputs(self, gemm: Gemm, plain: Operand) -> tuple[Fraction, Fraction]:
        """Return the mean bits of a layer's results, of which some go into the cache; of codes."""
        cached = gemm.keys + gemm.values
        others = gemm.n - cached
        stored = gemm.keys * self.key + gemm.values * self.value
        stored += others * plain.bits_per_element(gemm.n)
        code = cached * self.code + others * plain.code_bits
        return stored / gemm.n, code / gemm.n


def layer_bits(
    arch: Arch, gemm: Gemm, weights: Any | None = None, cache: CacheBits | None = None
) -> LayerBits:
    """Return the stored bits of a layer's operands on a chip, and the clocks of its weights.

    ``weights`` (N, K) count where the chip skips zero terms; without, a stand-in does. Keys and
    values are written as attention reads them (``cache``).
    """
    formats = formats_for(arch, gemm)
    output = None
    if cache is not None and gemm.keys + gemm.values:
        output = cache.of_outputs(gemm, formats.output)
    return LayerBits.of(arch, formats, gemm, weights, output)


def _check_weights(weights: Mapping[str, Any], gemms: Iterable[Gemm]) -> None:
    known = [gemm.name for gemm in gemms]
    for name in weights:
        if name not in known:
            raise BitlatheError(f"weights: {unknown_name('layer', str(name), known)}")


def _choice(argument: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise BitlatheError(unknown_name(argument, value, known))


def _rung(fidelity: str) -> Callable[..., LayerRun]:
    """Return the function of a rung; its module is loaded on use."""
    module, function = RUNGS[fidelity]
    rung: Callable[..., LayerRun]
    rung = getattr(import_module(module, __package__), function)
    return rung


def _in_order(
    chip: Arch,
    order: Order,
    bits_of: Callable[[Gemm], LayerBits],
    costs: ChipCosts,
    mapper: str,
    fidelity: str,
) -> tuple[LayerRun, ...]:
    """Return a model's layers where what one does depends on the others."""
    from .in_order import plan_of, run_apart

    known = memoized(bits_of)
    plan = plan_of(chip, order, known)
    if fidelity == "cycle" and chip.execution.overlap_layers:
        from .cycle.model import run_overlapped

        return run_overlapped(chip, plan, known, costs, mapper)
    run_layer = _rung(fidelity)
    return run_apart(
        plan, lambda gemm, kept: run_layer(chip, gemm, known(gemm), costs, mapper, kept=kept)
    )


def _with_bandwidth(
    run: Run, chip: Arch, order: Order, bits_of: Callable[[Gemm], LayerBits]
) -> Run:
    """Return a run that says what DRAM bandwidth its layers and all of it need."""
    from .cycle.bandwidth import required_bits_per_clock
    from .in_order import plan_of

    known = memoized(bits_of)
    needed, most = required_bits_per_clock(chip, plan_of(chip, order, known), known, run.mapper)
    layers = tuple(
        replace(layer, required_bits_per_clock=needed[layer.name]) for layer in run.layers
    )
    return replace(run, layers=layers, required_bits_per_clock=most)


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
    logits: str | None = None,
    weights: Mapping[str, Any] | None = None,
    bandwidth: bool = False,
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
    mapper : {"whole-buffer", "hpca25-whole-buffer"}
        How layers are laid on the chip; a chip that names a mapper takes it for the first.
    causal : bool
        Skip, in prefill, the attention products that the causal mask hides.
    logits : {"last", "all"}, optional
        Tokens of a prefill that the output head works on; the chip's ``accounting.logits`` by
        default.
    weights : mapping of str to (N, K) array or QuantizedTensor, optional
        Weights by layer name, for chips that skip zero terms: their terms are counted, in the
        layer's scheme. Other layers, and chips that skip nothing, do without.
    bandwidth : bool
        Tell the DRAM bandwidth that each layer and the model need (`sim.bandwidth`).

    Returns
    -------
    Run
        Clocks, energy, area, layers.

    Raises
    ------
    BitlatheError
        Unknown names, impossible sizes, counters beyond 2^63.

    Examples
    --------
    >>> simulate("hpca25/fp16", "opt-1.3b", "decode", 256).phase
    'decode'
    """
    _choice("fidelity", fidelity, FIDELITIES)
    _choice("mapper", mapper, MAPPERS)
    network = model if isinstance(model, Model) else load_model(model)
    given_chip = load_arch(arch)
    chip = resolve(given_chip, phase=phase, model=network.name)
    logits = chip.accounting.logits if logits is None else logits
    gemms = network.gemms(phase, context, batch, causal, logits)
    check_held(chip)
    costs = ChipCosts.of(chip)
    run_layer = _rung(fidelity)
    given = dict(weights or {})
    _check_weights(given, gemms)

    cache = CacheBits.of(chip, gemms, phase)

    def bits_of(gemm: Gemm) -> LayerBits:
        return layer_bits(chip, gemm, given.get(gemm.name), cache)

    if bandwidth and fidelity != "cycle":
        raise BitlatheError(f"bandwidth: only fidelity 'cycle' tells it, not {fidelity!r}")
    overlapped = chip.execution.overlap_layers and fidelity == "cycle"
    order: Order = ()
    if overlapped or chip.execution.keep_outputs or bandwidth:
        order = execution_order(network, phase, context, batch, causal, logits)
    if overlapped or chip.execution.keep_outputs:
        layers = _in_order(chip, order, bits_of, costs, mapper, fidelity)
    else:
        layers = tuple(run_layer(chip, gemm, bits_of(gemm), costs, mapper) for gemm in gemms)
    run = Run(
        arch=chip.name,
        model=network.name,
        phase=phase,
        context=network.context_of(context),
        batch=batch,
        fidelity=fidelity,
        mapper=mapper_of(chip, mapper),
        clock_ghz=chip.technology.clock_ghz,
        area_um2=area_um2(chip, costs),
        layers=layers,
        causal=causal,
        logits=logits,
        unpriced=chip.pe.unpriced,
        settings=given_chip.settings,
        formats={
            kind: format_labels(chip, kind) for kind in dict.fromkeys(map(format_kind, gemms))
        },
    )
    _check_counters(run)
    return _with_bandwidth(run, chip, order, bits_of) if bandwidth else run


def _check_counters(run: Run) -> None:
    """Refuse a run with a counter that no 64-bit integer holds."""
    dram = sum(sum(layer.dram_bits.values()) * layer.count for layer in run.layers)
    sram = sum(sum(layer.sram_accesses.values()) * layer.count for layer in run.layers)
    for what, count in (("clocks", run.cycles), ("DRAM bits", dram), ("SRAM accesses", sram)):
        if count >= COUNTER_LIMIT:
            raise BitlatheError(
                f"{run.model} with context {run.context} and batch {run.batch} takes {count:.3g} "
                f"{what}, beyond the range of counters (2^63); use a smaller context or "
                "batch."
            )
