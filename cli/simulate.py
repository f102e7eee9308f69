"""The command that runs a model on a chip or a system, and how it prints a run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..datatypes.base.errors import BitlatheError
from ..reports.options import PATH, known, logits, mappers, rungs
from ..reports.terminal import cost_lines, print_json, print_table, working
from .base import (
    FIDELITY,
    MAPPER,
    PICTURES,
    batch_option,
    budget_option,
    check_drawing,
    check_place,
    chip_settings,
    json_option,
    main,
    note,
    phase_option,
    settings_option,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..sim import Run
    from ..sim.timeline import Level, Sent, Span
    from ..workloads import Model, Step


@main.command()
@click.option("--arch", required=True, help="A shipped chip or system, or the path of a YAML file.")
@click.option("--model", required=True, help="A shipped model or a file: config.json, list, graph.")
@click.option("--part", help="A part run alone: a tower, e.g. vision; or text, no image.")
@phase_option
@click.option("--context", type=int, help="Tokens.  [default: 256; fixed by vision models]")
@batch_option
@click.option(
    "--fidelity",
    callback=known(rungs),
    default="cycle",
    show_default=True,
    help=FIDELITY,
)
@click.option(
    "--mapper",
    callback=known(mappers),
    default="auto",
    show_default=True,
    help=MAPPER,
)
@budget_option
@click.option(
    "--formats",
    callback=known(lambda: ("chip", "checkpoint")),
    default="chip",
    show_default=True,
    help="Whose formats: the chip's, or as the model's checkpoint stores it (quantization_config).",
)
@click.option("--causal", is_flag=True, help="Skip what the causal mask hides in prefill.")
@click.option(
    "--logits",
    callback=known(logits),
    help="Tokens of the head: last or all.  [default: the chip's]",
)
@click.option(
    "--step",
    type=PATH,
    help="File of what a server runs at once, in place of phase, context and batch.",
)
@click.option(
    "--timeline", type=PATH, help="Write when each unit is busy: a picture, or .json for Perfetto."
)
@click.option("--bandwidth", is_flag=True, help="Report the DRAM bandwidth each layer needs.")
@click.option(
    "--fusion/--no-fusion",
    default=True,
    help="Fuse attention, MLPs and convolutions where the run is better (default).",
)
@settings_option
@json_option
def simulate(
    arch: str,
    model: str,
    part: str | None,
    phase: str,
    context: int | None,
    batch: int,
    fidelity: str,
    mapper: str,
    budget: int | None,
    formats: str,
    settings: tuple[str, ...],
    *,
    causal: bool,
    logits: str | None,
    bandwidth: bool,
    fusion: bool,
    step: Path | None,
    timeline: Path | None,
    as_json: bool,
) -> None:
    """Simulate a model on a chip: clocks, energy and area.

    By component and by layer; a system of chips by stage and exchange. See `bitlathe archs` and
    `bitlathe models` for names.
    """
    from ..arch import load_arch
    from ..arch.system import is_system
    from ..mapping.budget import node_budget
    from ..mapping.mappers import SEARCHES
    from ..sim import simulate as run_model
    from ..workloads import Step, load_model

    if timeline and timeline.suffix not in (*PICTURES, ".json"):
        raise BitlatheError(
            f"--timeline: {timeline.name} ends in none of .json, {', '.join(PICTURES)}."
        )
    if budget is not None and mapper not in ("auto", *SEARCHES):
        raise BitlatheError(
            f"--budget is of a search, and mapper {mapper} is a rule; leave it out."
        )
    check_drawing("--timeline", timeline)
    check_place("--timeline", timeline)
    given, network = chip_settings(settings), load_model(model)
    network = network if part is None else network.part(part)
    for remark in network.notes:
        note(f"{network.name}: {remark}")
    if formats == "checkpoint":
        given = _as_stored(arch, network, given)
    served = None if step is None else Step.read(step)
    asked = (network, phase, context, batch, fidelity, mapper)
    if is_system(arch):
        if bandwidth:
            raise BitlatheError("--bandwidth: of one chip; give --arch a chip.")
        with node_budget(budget):
            _simulate_system(
                *(arch, given, asked, causal, logits, served),
                fusion=fusion,
                as_json=as_json,
                timeline=timeline,
            )
        return
    with working("simulate"), node_budget(budget):
        run = run_model(
            *(load_arch(arch, given), *asked),
            causal=causal,
            logits=logits,
            bandwidth=bandwidth,
            step=served,
            fusion=fusion,
        )
    if timeline:
        _write_timeline(run, timeline)
    if as_json:
        print_json(run.to_dict())
        return
    _print_run(run)


def _as_stored(arch: str, network: "Model", given: dict[str, Any]) -> dict[str, Any]:
    """Return settings of a chip by which it stores a model as its checkpoint does."""
    from ..arch import load_arch
    from ..arch.stored import runnable
    from ..arch.system import is_system

    stored = dict(network.stored_formats)
    if is_system(arch) or "formats.rules" in given:
        return {**stored, **given}
    kinds = {key: value for key, value in given.items() if not key.startswith("formats")}
    settings, notes = runnable(load_arch(arch, kinds), stored)
    for remark in notes:
        note(f"{network.name}: {remark}")
    return {**settings, **given}


def _far(run: "Run") -> dict[str, float]:
    """Return how far the mappings of layers may be from the best, where a search was ended."""
    far: dict[str, float] = {}
    for layer in run.layers:
        for part in layer.mapping or ():
            if part.get("within"):
                far[layer.name] = max(far.get(layer.name, 1.0), part["within"])
    return far


def _counted_otherwise(run: "Run") -> list[str]:
    """Return the layers that a search counts otherwise than they are (`search.counts_all`)."""
    parts = ((layer.name, part) for layer in run.layers for part in layer.mapping or ())
    return list(
        dict.fromkeys(
            name
            for name, part in parts
            if not part["optimal"] and part["within"] is None and part["search_seconds"]
        )
    )


def _print_run(run: "Run") -> None:
    """Print a run for readers: layers, totals, what binds, what is not counted."""
    context_of = "" if run.context is None else f", context {run.context}"
    print_table(run.rows(), title=f"{run.model} on {run.arch}: {run.phase}{context_of}")
    click.echo(f"{run.cycles:,} clocks, {run.seconds * 1e3:,.3f} ms at {run.clock_ghz:g} GHz")
    click.echo(_served(run))
    if run.stalls:
        shown = ", ".join(f"{cause} {clocks:,}" for cause, clocks in run.stalls.items())
        click.echo(f"stalls (clocks): {shown}")
    if run.binds:
        shares = {at: 100 * clocks / run.cycles for at, clocks in run.binds.items()}
        shown = ", ".join(f"{at} {share:.1f} %" for at, share in shares.items())
        click.echo(f"bound by (share of clocks): {shown}")
    if groups := dict.fromkeys(
        ", ".join(each.fused["layers"]) for each in run.layers if each.fused
    ):
        click.echo(f"fused on the chip: {'; '.join(groups)}")
    if run.no_search:
        click.echo(f"mapper {run.mapper}, a rule, no search: {run.no_search}")
    if far := _far(run):
        shown = ", ".join(f"{name} {within:.4f} x" for name, within in far.items())
        click.echo(f"search ended by its budget (--budget), at most so far from the best: {shown}")
    if left := _counted_otherwise(run):
        click.echo(
            "best as the search counts them, which leaves out kept halos, what stays on the chip "
            f"and bits too fine for it, so not proven: {', '.join(left)}"
        )
    _print_remarks(run)
    if run.step is not None and (blocks := run.step.get("cache_blocks")):
        click.echo(
            f"cache: {blocks['blocks']:,} blocks of {blocks['block_tokens']:,} tokens, room for "
            f"{blocks['held_elements']:,} elements, {100 * blocks['waste']:.1f} % of it wasted"
        )
    if run.required_bits_per_clock is not None:
        click.echo(f"DRAM bandwidth needed: {run.required_bits_per_clock:,} bits per clock")
    click.echo("\n".join(cost_lines(run.energy_pj, run.area_um2)))


def _print_remarks(run: "Run") -> None:
    """Print what a run leaves apart, does not price or count, and takes as known."""
    for name, why in run.unfused.items():
        click.echo(f"left apart: {name}: {why}")
    if run.unpriced:
        click.echo(f"not priced (pe.unpriced of the chip): {', '.join(run.unpriced)}")
    if run.idle_rules:
        click.echo(f"about no layer of this run: {', '.join(run.idle_rules)}")
    for remark in run.calibrated:
        click.echo(f"K/V cache: {remark}")
    for remark in run.remarks:
        click.echo(f"scales and codes: {remark}")
    if run.uncounted:
        click.echo(f"not counted (no unit is asked for it): {', '.join(run.uncounted)}")


def _write_timeline(run: "Run", path: Path) -> None:
    """Write when what is busy: a trace (.json), or a picture of the first block and the whole."""
    from ..sim.timeline import bound, first_block, levels, shares, spans

    whole = path.suffix == ".json"
    about = {"arch": run.arch, "model": run.model, "phase": run.phase}
    words = "first instance of each layer"
    some = list(spans(run) if whole else first_block(run))
    wholes = {"whole run": shares(run), "bound by": bound(run)}
    wholes = {name: parts for name, parts in wholes.items() if parts}
    end = max((each.start_cycle + each.cycles for each in some), default=0)
    filled = [each for each in levels(run) if whole or each.start_cycle < end]
    _write_spans(some, wholes, run.clock_ghz, about, words, path, filled)


def _write_spans(
    some: "Sequence[Span]",
    wholes: "Mapping[str, Sequence[tuple[str, float]]]",
    clock_ghz: float,
    about: dict[str, str],
    words: str,
    path: Path,
    filled: "Sequence[Level]" = (),
    sent: "Sequence[Sent]" = (),
) -> None:
    from json import dumps

    from ..reports.charts.timeline import Bar, Fill, draw_timeline
    from ..sim.timeline import trace_of

    try:
        if path.suffix == ".json":
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dumps(trace_of(some, clock_ghz, about, filled, sent)), encoding="utf-8")
            return
        scale = clock_ghz * 1e3
        bars = [
            Bar(each.unit, each.layer, each.start_cycle / scale, each.cycles / scale)
            for each in some
        ]
        title = f"{about['model']} on {about['arch']}: {about['phase']}"
        fills = [
            Fill(
                f"{each.memory}: filled",
                each.start_cycle / scale,
                each.cycles / scale,
                each.filled.bits / each.filled.size_bits,
            )
            for each in filled
            if each.filled.size_bits
        ]
        draw_timeline(bars, wholes, title, f"{words}, us", path, fills)
    except OSError as err:
        raise BitlatheError(f"--timeline: cannot write {path}: {err.strerror}.") from None


def _served(run: "Run") -> str:
    """Return what those who serve ask of a run: speed, energy, power, utilization."""
    words = [f"{run.power_w:.3g} W", f"{100 * run.utilization:.1f} % of the array's MACs (MFU)"]
    if run.tokens_per_second is not None and run.energy_per_token_pj is not None:
        millijoules = run.energy_per_token_pj / 1e9
        if run.time_to_first_token_s is not None:
            words = [f"first token after {run.time_to_first_token_s * 1e3:,.3f} ms", *words]
        words = [f"{run.tokens_per_second:,.4g} tokens/s", f"{millijoules:,.4g} mJ a token", *words]
    return ", ".join(words)


def _simulate_system(
    name: str,
    settings: dict[str, Any],
    asked: tuple[Any, ...],
    causal: bool,
    logits: str | None,
    step: "Step | None",
    *,
    fusion: bool,
    as_json: bool,
    timeline: Path | None,
) -> None:
    from ..arch import load_arch, load_system
    from ..reports.systems.show import print_run
    from ..sim import simulate as run_model
    from ..sim.system.timeline import inside, levels, sent, shares, spans

    system = load_system(name)
    if settings:
        system = system.of_chip(load_arch(system.arch, settings))
    with working("simulate"):
        run = run_model(system, *asked, causal=causal, logits=logits, step=step, fusion=fusion)
    if timeline:
        about = {"arch": run.system, "model": run.model, "phase": run.phase}
        words = "micro-batches of the slowest copy"
        total = sum(run.binds.values())
        bound = [(unit, clocks / total) for unit, clocks in run.binds.items() if clocks]
        wholes = {"whole run": shares(run), **({"bound by": bound} if bound else {})}
        whole = timeline.suffix == ".json"
        some = [*spans(run), *(inside(run) if whole else ())]
        filled, moved = (list(levels(run)), list(sent(run))) if whole else ([], [])
        _write_spans(some, wholes, run.clock_ghz, about, words, timeline, filled, moved)
    if as_json:
        print_json(run.to_dict())
        return
    for line in print_run(run):
        click.echo(line)
