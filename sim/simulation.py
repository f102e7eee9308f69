"""Run a model on a chip: formats by policy, layers in order, totals."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..arch import Arch, load_arch, resolve
from ..arch.schema import check_supported
from ..datatypes.base.errors import BitlatheError, unknown_name
from ..datatypes.base.yamlfile import Document, validate
from ..mapping.keep import Plan, layer_counts, nothing_kept
from ..mapping.mappers import NEST_MAPPERS, SEARCHES
from ..workloads import Gemm, Model, Source, Step, load_model
from ..workloads.conv import ConvNet
from ..workloads.in_place import without_a_place
from ..workloads.order import Order, each_alone, ordered, steps_of
from ..workloads.products import Products
from ..workloads.sizes import COUNTER_LIMIT
from ..workloads.transformer import Staged
from ..workloads.vector_step import VectorStep
from .beside import beside_steps
from .chip import Chip
from .fused.choose import with_fusion
from .fused.conv_chains import conv_groups
from .fused.conv_choose import Network, with_fused_convolutions
from .fused.groups import groups_of
from .fused.listed import apart_in_lists, edges_of
from .kept import STAY_INSTEAD, Between, with_kept
from .mappers import AUTO, MAPPERS, mapper_for, why_a_rule
from .plan import plan_of
from .policy import calibrated_caches, idle_rules, labels_by_kind, layer_bits, with_numbers
from .remarks import remarks_of
from .results import results_of
from .run import LayerRun, Run
from .rung import RUNGS, Bits, Rung
from .vector import with_vector

FIDELITIES = tuple(RUNGS)


def simulate(
    arch: Arch | str | Path,
    model: Model | Source,
    phase: str = "prefill",
    context: int | None = None,
    batch: int = 1,
    fidelity: str = "cycle",
    mapper: str = AUTO,
    *,
    causal: bool = False,
    logits: str | None = None,
    weights: Mapping[str, Any] | None = None,
    bandwidth: bool = False,
    step: Step | Mapping[str, Any] | None = None,
    fusion: bool = True,
) -> Run:
    """Simulate a model on a chip.

    Parameters
    ----------
    arch : Arch, str or Path
        A chip, or what `load_arch` takes.
    model : Model, str, path, mapping or sequence
        A model, or what `load_model` takes: a name, a file, a list of `Gemm`.
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
    mapper : {"auto", "search", "search-cycles", "search-energy", "whole-buffer", \
"hpca25-whole-buffer", "bitfusion", "ant-os", "ant-ws"}
        How layers are laid on the chip: their best loop nests for the product of energy and
        clocks, for clocks, or for energy; or by a rule (the last three: `mapping.bitfusion`).
        ``auto``: the chip's own mapper, or ``search``, or ``whole-buffer`` on chips that a nest
        does not describe (`sim.mappers.why_no_search`).
    causal : bool
        Skip, in prefill, the attention products that the causal mask hides.
    logits : {"last", "all"}, optional
        Tokens of a prefill that the output head works on; the chip's ``accounting.logits`` by
        default.
    weights : mapping of str to (N, K) array or QuantizedTensor, optional
        Weights by layer name, for chips that skip zero terms: their terms are counted, in the
        layer's scheme. Other layers, and chips that skip nothing, do without.
    step : Step or mapping, optional
        What a server runs at once (`workloads.step`), in the place of phase, context and batch:
        its prompts are causal. The chip is as in prefill if there is any prompt.
    bandwidth : bool
        Report the DRAM bandwidth that each layer and the model need (`cycle.bandwidth`): of layers
        that are not fused.
    fusion : bool
        Fuse attention, MLPs and convolutions on the chip where the run is better so (`sim.fused`):
        under a search, on chips with a vector unit.

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
    rung = RUNGS[fidelity]
    if bandwidth and rung.required is None:
        raise BitlatheError(f"bandwidth: only fidelity 'cycle' reports it, not {fidelity!r}")
    network = model if isinstance(model, Model) else load_model(model)
    given, served = load_arch(arch), served_step(step)
    if served is not None:
        check_step_alone((phase, context, batch, causal, logits))
        phase, causal = served.phase, True
        if served.routing is not None:
            network = network.routed(served.routing)
    resolved, network = with_numbers(resolve(given, phase=phase, model=network.name), network)
    seen: int | None
    if served is not None:
        forward = served.forward
        logits, staged, seen = served.logits, network.staged_forward(forward), forward.longest
    else:
        logits = resolved.accounting.logits if logits is None else logits
        staged = network.staged(phase, context, batch, causal, logits)
        seen = network.context_of(context)
    gemms = network.products(staged)
    check_supported(resolved)
    no_search = why_a_rule(resolved, mapper)
    chip, mapper = Chip.of(resolved), mapper_for(resolved, mapper)

    if bandwidth:
        _check_bandwidth(resolved, mapper)
    weights = _named_layers(weights or {}, gemms)
    by_rows = mapper not in NEST_MAPPERS
    grows = phase == "decode" or (served is not None and served.grows)
    moved = without_a_place(staged) if resolved.execution.keep_outputs else frozenset[str]()
    calibrated = calibrated_caches(resolved, network, staged, grows=grows)
    results, staged = results_of(
        resolved,
        network,
        staged,
        grows=grows,
        by_rows=by_rows,
        mapper=mapper,
    )
    asked = _Asked.of(chip, rung, mapper, network, staged, gemms, moved)
    fusion = fusion and not bandwidth
    if fusion and asked.fuses and not any(groups_of(gemms, asked.steps, asked.edges)):
        asked = replace(
            asked, convolutions=asked.convolutions or _listed_chains(asked, network, batch)
        )
    bits = {
        step.gemm: layer_bits(
            resolved,
            step.gemm,
            weights.get(step.gemm.name),
            results.of(step.gemm),
            by_rows=by_rows,
        )
        for step in steps_of((*asked.order, *asked.kept_order))
    }
    plan = nothing_kept(asked.order) if asked.nests else plan_of(resolved, asked.order, bits, moved)
    layers, unfused = _layers(asked, plan, bits, fusion=fusion)
    if fusion and asked.fuses and isinstance(network.shape, Products):
        unfused = {**unfused, **apart_in_lists(staged.before, asked.steps, layers)}
    left_out = () if resolved.vector_unit is not None else (step.name for step in asked.steps)
    unscaled = (f"{gemm.name}_scales" for gemm, each in bits.items() if each.unscaled)
    run = Run(
        arch=resolved.name,
        model=network.name,
        phase="step" if served else phase,
        context=seen,
        batch=served.sequences if served else batch,
        fidelity=fidelity,
        mapper=mapper,
        no_search=no_search,
        clock_ghz=resolved.technology.clock_ghz,
        area_um2=chip.area_um2,
        layers=layers,
        causal=causal,
        logits=logits,
        step=_told(served, network) if served else None,
        tokens=served.forward.rows if served else network.tokens_of(phase, context, batch),
        first_token=not served and phase == "prefill" and network.generates,
        unpriced=resolved.pe.unpriced,
        uncounted=tuple(dict.fromkeys((*left_out, *unscaled, *network.beside))),
        settings=given.settings,
        formats=labels_by_kind(resolved, gemms),
        idle_rules=idle_rules(resolved, gemms),
        calibrated=calibrated,
        unfused=unfused,
        remarks=remarks_of(chip, bits),
    )
    _check_counters(run)
    return _with_bandwidth(run, rung, chip, plan, bits) if bandwidth else run


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What runs on a chip: layers in an order, the steps between them, how they are laid.

    Attributes
    ----------
    chip, rung, mapper
        The mapper is one that runs (`mapper_for`).
    order, kept_order : Order
        The layers as they run, and in the order of execution where results may stay.
    steps, every_step : tuple of VectorStep
        What stands behind the layers of ``order``; the same of ``kept_order``.
    edges : tuple of (str, str)
        Names of a product and of one that reads its results, of transformers.
    convolutions : Network or None
        A convolution network, each layer by itself.
    moved : frozenset of str
        Layers whose results may not stay (`without_a_place`).
    """

    chip: Chip
    rung: Rung
    mapper: str
    order: Order
    kept_order: Order
    steps: tuple[VectorStep, ...]
    every_step: tuple[VectorStep, ...]
    edges: tuple[tuple[str, str], ...]
    convolutions: Network | None
    moved: frozenset[str]

    @classmethod
    def of(
        cls,
        chip: Chip,
        rung: Rung,
        mapper: str,
        network: Model,
        staged: Staged,
        gemms: tuple[Gemm, ...],
        moved: frozenset[str],
    ) -> "_Asked":
        keeps, nests = chip.arch.execution.keep_outputs, mapper in NEST_MAPPERS
        in_order = (keeps and not nests) or rung.overlaps(chip)
        each = gemms if staged.layers else tuple(product.gemm for product in staged.before)
        extra, alone = (beside_steps(chip.arch.beside, some) for some in (gemms, each))
        return cls(
            chip=chip,
            rung=rung,
            mapper=mapper,
            order=ordered(staged) if in_order else each_alone(gemms),
            kept_order=ordered(staged) if keeps and nests else (),
            steps=staged.steps + alone if in_order else network.vector_steps(staged) + extra,
            every_step=staged.steps + alone,
            edges=edges_of(network, staged),
            convolutions=Network(products=staged.before, steps=staged.steps)
            if isinstance(network.shape, ConvNet)
            else None,
            moved=moved,
        )

    @property
    def nests(self) -> bool:
        """Whether each layer runs under mappings."""
        return self.mapper in NEST_MAPPERS

    @property
    def fuses(self) -> bool:
        """Whether layers may be fused: under a search, on a chip that can."""
        return self.chip.arch.vector_unit is not None and self.mapper in SEARCHES


def _layers(
    asked: _Asked, plan: Plan, bits: Bits, *, fusion: bool
) -> tuple[tuple[LayerRun, ...], dict[str, str]]:
    """Return the layers of a run with those of the vector unit, and why groups are apart."""
    chip, rung, mapper, steps = asked.chip, asked.rung, asked.mapper, asked.steps
    fuses, fused, time_of = fusion and asked.fuses, None, rung.time_of_nest
    counts = {gemm: count for (gemm, _), count in layer_counts(plan).items()}
    if fuses and asked.convolutions is None:

        def alone(gemm: Gemm) -> LayerRun:
            return rung.mapped(chip, gemm, bits[gemm], mapper, count=counts[gemm])

        fused = with_fusion(chip, steps, counts, alone, bits, mapper, time_of(), asked.edges)
        layers = fused.layers
    else:
        layers = rung.run(chip, plan, bits, mapper)
        if fuses and asked.convolutions is not None:
            each = dict(zip(counts, layers, strict=True))
            fused = with_fused_convolutions(chip, asked.convolutions, each, bits, mapper, time_of())
            layers = fused.layers
        elif chip.arch.vector_unit is not None:
            layers = with_vector(chip, steps, layers)
    unfused = {} if fused is None else fused.reasons
    if not asked.kept_order:
        return layers, unfused
    between = Between(steps=asked.every_step, moved=asked.moved)
    kept = with_kept(chip, asked.kept_order, bits, between, rung, mapper, layers, fused)
    left = {each.name for each in kept if each.fused}
    groups = (each.name for each in layers if each.fused and each.name not in left)
    return kept, {**unfused, **dict.fromkeys(groups, STAY_INSTEAD)}


def _listed_chains(asked: _Asked, network: Model, batch: int) -> Network | None:
    """Return a traced network with each layer by itself, where it has chains of convolutions."""
    alone = network.each_alone()
    if alone is None:
        return None
    found = alone.staged(batch=batch)
    if next(conv_groups(found.before, found.steps), None) is None:
        return None
    _, staged = results_of(asked.chip.arch, alone, found, mapper=asked.mapper)
    return Network(products=staged.before, steps=staged.steps)


def _check_bandwidth(arch: Arch, mapper: str) -> None:
    """Refuse to find the bandwidth of layers whose results stay under a search."""
    if arch.execution.keep_outputs and mapper in SEARCHES:
        raise BitlatheError(
            f"bandwidth: with mapper {mapper!r} it is that of layers that keep nothing; take "
            "execution.keep_outputs out of the chip, or use mapper 'whole-buffer'."
        )


def check_step_alone(asked: tuple[Any, ...]) -> None:
    """Refuse a phase, context, batch, mask or logits beside a step, which says them.

    Raises
    ------
    BitlatheError
        If one of them is given.
    """
    if asked != ("prefill", None, 1, False, None):
        raise BitlatheError("step: it says phase, context, batch, mask and logits; leave them.")


def served_step(step: Step | Mapping[str, Any] | None) -> Step | None:
    """Return what a server runs at once, read from plain data where it is not a Step yet."""
    if step is None or isinstance(step, Step):
        return step
    return validate(Step, Document(source="step", data=dict(step), marks={}))


def _told(step: Step, network: Model) -> dict[str, Any]:
    """Return a step as plain data, with the blocks of its cache where it is given out in blocks."""
    told = step.model_dump(exclude_none=True)
    if step.blocks is None:
        return told
    held = step.blocks.held_tokens * network.block_elements
    return {**told, "cache_blocks": {**step.blocks.to_dict(), "held_elements": held}}


def _choice(argument: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise BitlatheError(unknown_name(argument, value, known))


def _named_layers(weights: Mapping[str, Any], gemms: Iterable[Gemm]) -> Mapping[str, Any]:
    """Return weights by layer, if there are such layers."""
    known = [gemm.name for gemm in gemms]
    for name in weights:
        if name not in known:
            raise BitlatheError(f"weights: {unknown_name('layer', str(name), known)}")
    return weights


def _with_bandwidth(run: Run, rung: Rung, chip: Chip, plan: Plan, bits: Bits) -> Run:
    """Return a run that says what DRAM bandwidth its layers and all of it need."""
    assert rung.required is not None
    needed, most = rung.required(chip, plan, bits, run.mapper)
    layers = tuple(
        replace(layer, required_bits_per_clock=needed.get(layer.name)) for layer in run.layers
    )
    return replace(run, layers=layers, required_bits_per_clock=most)


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
