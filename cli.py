"""The command line: ``bitlathe COMMAND``. Every command has ``--json`` for machines."""

from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import __version__
from .datatypes.base.errors import BitlatheError, to_install, unknown_name
from .reports.options import (
    PATH,
    Commands,
    dataflows,
    known,
    listed,
    logits,
    mappers,
    objectives,
    phases,
    rungs,
    scopes,
    sizes,
)
from .reports.terminal import print_json, print_table, progress_bar

if TYPE_CHECKING:
    from .arch import Arch
    from .sim import Run
    from .workloads import Model, Step

PICTURES = (".png", ".svg", ".pdf")  # what `trace` draws, beside its .csv
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")
settings_option = click.option(
    "--set", "settings", multiple=True, help="KEY=VALUE in the chip, e.g. array.rows=64."
)
batch_option = click.option(
    "--batch", type=int, default=1, show_default=True, help="Sequences or images."
)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="bitlathe")
def main() -> None:
    """Co-design toolkit for low-bit inference hardware.

    Pick a number format and a chip: see what the format does to accuracy, and what the chip costs
    in time, energy and area.
    """


def _note(text: str) -> None:
    """Print a remark where it does not mix with results."""
    click.echo(f"Note: {text}", err=True)


@main.command()
@click.argument("name", required=False)
@settings_option
@json_option
def archs(name: str | None, settings: tuple[str, ...], *, as_json: bool) -> None:
    """List the shipped chips, or show one: memories, axes, area, leakage; or a system of chips.

    NAME is a chip of the list, a system, or the path of a YAML file.
    """
    from .arch import arch_names, load_arch, load_system
    from .arch.system import is_system

    if name is not None and is_system(name):
        from .reports.systems.show import system_lines

        system = load_system(name)
        if settings:
            system = system.of_chip(load_arch(system.arch, _settings(settings)))
        if as_json:
            print_json(system.model_dump())
            return
        click.echo("\n".join(system_lines(system)))
        return
    if name is not None:
        _show_chip(load_arch(name, _settings(settings)), as_json=as_json)
        return
    if settings:
        raise BitlatheError(
            "--set: name a chip to set it in, e.g. archs bitmod --set array.rows=64."
        )
    rows = []
    for shipped in arch_names():
        arch = load_arch(shipped)
        rows.append(
            {
                "name": shipped,
                "title": arch.title,
                "pe": arch.pe.kind,
                "lanes": arch.pe.lanes,
                "rows": arch.array.rows,
                "columns": arch.array.columns,
                "weights": arch.formats.linear.weight.label,
                "kv_cache": arch.formats.attention.weight.label,
            }
        )
    if as_json:
        print_json(rows)
    else:
        print_table(rows)


def _show_chip(chip: "Arch", *, as_json: bool) -> None:
    from .arch.describe import chip_dict, chip_lines, memory_rows, shown_hierarchies

    if as_json:
        print_json(chip_dict(chip))
        return
    for flow, hierarchy in shown_hierarchies(chip):
        print_table(memory_rows(hierarchy), title=f"{chip.title}, dataflow {flow}")
        axes = (f"{x.name} {x.size} ({', '.join(x.dims)})" for x in hierarchy.axes)
        click.echo(f"axes: {'; '.join(axes)}\n")
    for line in chip_lines(chip):
        click.echo(line)


@main.command()
@click.argument("name", required=False)
@click.option("--context", type=int, default=2048, show_default=True, help="Tokens in view.")
@click.option("--plot", type=PATH, help="Draw one layer: a .png, .svg or .pdf file.")
@json_option
def models(name: str | None, context: int, plot: Path | None, *, as_json: bool) -> None:
    """List the shipped models, or show one: matrices, parameters, work and cache of a token.

    NAME is a model of the list or a file that `simulate` takes.
    """
    from .workloads import load_model, model_names

    if name is not None:
        _show_model(load_model(name), context, plot, as_json=as_json)
        return
    if plot:
        raise BitlatheError("--plot: name a model to draw, e.g. models llama-3.1-8b.")
    rows = []
    for shipped in model_names():
        model = load_model(shipped)
        rows.append(
            {
                "name": shipped,
                "family": model.family,
                "parameters": model.parameter_count,
                "decode": model.has_decode,
            }
        )
    if as_json:
        print_json(rows)
    else:
        print_table(rows)


def _show_model(model: "Model", context: int, plot: Path | None, *, as_json: bool) -> None:
    from .workloads.describe import block, figures, layer_rows, lines, matrix_rows

    if plot:
        from .reports.charts.block import draw_block

        draw_block(*block(model), model.name, plot)
    if as_json:
        data = {"layers": layer_rows(model), "matrices": matrix_rows(model)}
        print_json(figures(model, context) | data)
        return
    if layers := layer_rows(model):
        print_table(layers, title=f"{model.name} ({model.family})")
    print_table(matrix_rows(model), title="matrices")
    for line in lines(model, context):
        click.echo(line)


@main.command()
@click.argument("name", required=False)
@click.option("--plot", type=PATH, help="Draw its values on number lines.")
@json_option
def formats(name: str | None, plot: Path | None, *, as_json: bool) -> None:
    """List the number formats, or show one: its values, codes and bit-serial terms.

    NAME is a format of the list or the path of a YAML file that describes one of your own.
    """
    from .datatypes.study.listing import describe_format, list_formats

    if plot:
        from .reports.charts.formats import draw_number_lines

        if name is None:
            raise BitlatheError("--plot: name a format to draw, e.g. formats bitmod_fp4.")
        draw_number_lines([name], plot)
    if name is None:
        rows = list_formats()
        if as_json:
            print_json(rows)
        else:
            print_table(rows)
        return
    description = describe_format(name)
    if as_json:
        print_json(description)
        return
    for member in description["formats"]:
        print_table(member["codes"], title=f"{member['name']}, {member['bits']} bits")
        if member["term_error"]:
            click.echo(
                f"Terms are of the values rounded to multiples of {member['term_unit']:g}, the "
                f"fixed point of a bit-serial PE: the largest error is {member['term_error']:.4g}."
            )


@main.command()
@click.argument("file", type=PATH)
@click.option(
    "--scheme", "schemes", multiple=True, required=True, help="A scheme, e.g. bitmod_fp4@g128/int8."
)
@click.option("--plot", type=PATH, help="Draw error against bits (.png).")
@json_option
def quantize(file: Path, schemes: tuple[str, ...], plot: Path | None, *, as_json: bool) -> None:
    """Quantise the tensors of FILE (.npy, .npz, .safetensors, .gguf): error and bits per scheme.

    The format of a scheme may be the path of a YAML file: --scheme my.yaml@g64.
    """
    from dataclasses import asdict

    from .datatypes.schemes.scheme import Scheme
    from .datatypes.study.compare import compare, quantizable
    from .datatypes.weights.read import read_tensors

    parsed = [Scheme.parse(scheme) for scheme in schemes]
    tensors = read_tensors(file)
    with progress_bar() as show:
        results = [compare(tensors, [scheme]) for scheme in show(parsed, "schemes")]
    if plot:
        from .reports.charts.formats import draw_error_against_bits

        draw_error_against_bits([asdict(rows[-1]) for rows in results], plot)
    flat = [asdict(row) for rows in results for row in rows]
    if as_json:
        print_json(flat)
        return
    print_table(flat, columns=[key for key in flat[0] if key != "term_error"])
    for scheme, rows in zip(parsed, results, strict=True):
        if error := rows[0].term_error:
            click.echo(f"{scheme}: terms are of its values rounded, by up to {error:.4g}.")
    if passed := [name for name, array in tensors.items() if not quantizable(array)]:
        few = ", ".join(passed[:8]) + (", ..." if len(passed) > 8 else "")
        click.echo(f"Passed over {len(passed)} (vectors, integers, empty): {few}")
    if plot:
        click.echo(str(plot))


@main.command()
@click.option("--model", required=True, help="smollm2-135m, minilm-l6, or a Hugging Face folder.")
@click.option(
    "--scheme", "schemes", multiple=True, required=True, help="A scheme, e.g. bitmod_fp4@g128/int8."
)
@click.option("--tokens", type=int, help="Tokens to predict.  [default: 8000]")
@click.option("--context", type=int, help="Tokens of a window.  [default: 512]")
@click.option("--text", type=PATH, help="UTF-8 text.  [default: pydoc's]")
@click.option("--cache", type=PATH, help="Folder where measures are kept.")
@json_option
def accuracy(
    model: str,
    schemes: tuple[str, ...],
    tokens: int | None,
    context: int | None,
    text: Path | None,
    cache: Path | None,
    *,
    as_json: bool,
) -> None:
    """Run a language model with quantised weights: perplexity, divergence, errors.

    The linear layers of its blocks are quantised; embedding and output head stay. Of the sentence
    encoder minilm-l6: errors of weights, layer outputs and embeddings, and retrieval. A measure is
    kept by the content of weights, text, scheme and code, and not taken twice.
    """
    from dataclasses import asdict

    from .datatypes.base.slugs import slug
    from .workloads import accuracy as lm
    from .workloads.embedding import NAME, embedding_accuracy

    chosen = {"tokens": tokens, "context": context, "text": text}
    given: dict[str, Any] = {k: value for k, value in chosen.items() if value is not None}
    encoder = slug(model) == NAME
    if encoder and given:
        raise BitlatheError(f"--{next(iter(given))}: {NAME} embeds fixed passages; leave it out.")
    with progress_bar() as show:
        rows: list[dict[str, Any]]
        if encoder:
            made = embedding_accuracy(schemes, cache=cache, progress=show)
            rows, words = [asdict(row) for row in made], []
            title = f"{NAME}, {rows[0]['passages']} passages of {rows[0]['text']}"
        else:
            found = lm.accuracy(model, schemes, cache=cache, progress=show, **given)
            rows, words, first = [asdict(row) for row in found], lm.remarks(found), found[0]
            title = (
                f"{first.model}, {first.tokens:,} tokens of {first.text}, context {first.context}"
            )
    if as_json:
        print_json(rows)
        return
    apart = {"model", "text", "tokens", "context", "window_nll", "ranked", "passages"}
    print_table(rows, title=title, columns=[key for key in rows[0] if key not in apart])
    for word in words:
        click.echo(word)


def _settings(pairs: Iterable[str]) -> dict[str, Any]:
    from .arch.loader import parse_setting

    return dict(parse_setting(pair) for pair in pairs)


@main.command()
@click.option("--arch", required=True, help="A shipped chip or system, or the path of a YAML file.")
@click.option("--model", required=True, help="A shipped model or a file: config.json, list, graph.")
@click.option("--part", help="A tower of the model, run alone, e.g. vision.")
@click.option(
    "--phase",
    callback=known(phases),
    default="prefill",
    show_default=True,
    help="prefill or decode.",
)
@click.option("--context", type=int, help="Tokens.  [default: 256; fixed by vision models]")
@batch_option
@click.option(
    "--fidelity",
    callback=known(rungs),
    default="cycle",
    show_default=True,
    help="Rung: cycle or analytic.",
)
@click.option(
    "--mapper",
    callback=known(mappers),
    default="auto",
    show_default=True,
    help="Best loop nests (search, search-cycles, search-energy), or a rule: see docs/mapping.md.",
)
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
    "--timeline", type=PATH, help="Write when what is busy: a picture, or .json for Perfetto."
)
@click.option("--bandwidth", is_flag=True, help="Tell the DRAM bandwidth that layers need.")
@click.option("--fusion/--no-fusion", default=True, help="Fuse attention where it pays (default).")
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
    """Simulate a model on a chip or a system: clocks, energy and area, by component and layer."""
    from .arch import load_arch
    from .arch.system import is_system
    from .sim import simulate as run_model
    from .workloads import Step, load_model

    if timeline and timeline.suffix not in (*PICTURES, ".json"):
        raise BitlatheError(
            f"--timeline: {timeline.name} ends in none of .json, {', '.join(PICTURES)}."
        )
    given, network = _settings(settings), load_model(model)
    network = network if part is None else network.part(part)
    if formats == "checkpoint":
        given = {**network.stored_formats, **given}
    for note in network.notes:
        _note(f"{network.name}: {note}")
    served = None if step is None else Step.read(step)
    asked = (network, phase, context, batch, fidelity, mapper)
    if is_system(arch):
        if bandwidth:
            raise BitlatheError("--bandwidth: of one chip; give --arch a chip.")
        if timeline:
            raise BitlatheError("--timeline: of one chip; give --arch a chip.")
        _simulate_system(
            *(arch, given, asked, causal, logits, served), fusion=fusion, as_json=as_json
        )
        return
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
    if run.unpriced:
        click.echo(f"not priced (pe.unpriced of the chip): {', '.join(run.unpriced)}")
    if run.uncounted:
        click.echo(f"not counted (no vector unit): {', '.join(run.uncounted)}")
    if run.required_bits_per_clock is not None:
        click.echo(f"DRAM bandwidth needed: {run.required_bits_per_clock:,} bits per clock")
    for label, parts, scale, unit in (
        ("energy", run.energy_pj, 1e6, "uJ"),
        ("area", run.area_um2, 1e6, "mm2"),
    ):
        shown = ", ".join(f"{name} {value / scale:,.3f}" for name, value in parts.items())
        click.echo(f"{label} ({unit}): {shown}")


def _write_timeline(run: "Run", path: Path) -> None:
    """Write when what is busy: a trace (.json), or a picture of the first block and the whole."""
    from json import dumps

    from .sim.timeline import first_block, shares, trace

    if path.suffix == ".json":
        path.write_text(dumps(trace(run)), encoding="utf-8")
        return
    from .reports.charts.timeline import Bar, draw_timeline

    scale = run.clock_ghz * 1e3
    bars = [
        Bar(each.unit, each.layer, each.start_cycle / scale, each.cycles / scale)
        for each in first_block(run)
    ]
    draw_timeline(bars, shares(run), f"{run.model} on {run.arch}: {run.phase}", "us", path)


def _served(run: "Run") -> str:
    """Return what those who serve ask of a run: speed, energy, power, utilization."""
    words = [f"{run.power_w:.3g} W", f"{100 * run.utilization:.1f} % of the array's MACs (MFU)"]
    if run.tokens_per_second is not None and run.energy_per_token_pj is not None:
        millijoules = run.energy_per_token_pj / 1e9
        words = [f"{run.tokens_per_second:,.4g} tokens/s", f"{millijoules:,.4g} mJ a token", *words]
    return ", ".join(words)


@main.command()
@click.option("--arch", required=True, help="A shipped chip or the path of a YAML file.")
@click.option("--model", required=True, help="A shipped model or the path of a config.json.")
@click.option("--out", type=PATH, required=True, help="Folder for the tables.")
@click.option(
    "--batch",
    callback=listed,
    default="0,1,4,16,64",
    show_default=True,
    help="Sequences that generate.",
)
@click.option(
    "--context", callback=listed, default="512,2048,8192", show_default=True, help="Tokens in view."
)
@click.option(
    "--chunk",
    callback=listed,
    default="0,512,2048",
    show_default=True,
    help="New tokens of a prompt beside them.",
)
@click.option(
    "--cached",
    callback=listed,
    default="0",
    show_default=True,
    help="Tokens of the prompt that are cached.",
)
@click.option("--profile", is_flag=True, help="Write an LLMServingSim profile of the chip too.")
@click.option("--hardware", help="Its name of the chip.  [default: the chip's]")
@click.option("--variant", help="Its name of the number formats.  [default: from the formats]")
@click.option("--fidelity", callback=known(rungs), default="analytic", show_default=True)
@click.option("--mapper", callback=known(mappers), default="auto", show_default=True)
@settings_option
@json_option
def table(
    arch: str,
    model: str,
    out: Path,
    batch: tuple[int, ...],
    context: tuple[int, ...],
    chunk: tuple[int, ...],
    cached: tuple[int, ...],
    hardware: str | None,
    variant: str | None,
    fidelity: str,
    mapper: str,
    settings: tuple[str, ...],
    *,
    profile: bool,
    as_json: bool,
) -> None:
    """Tabulate what steps of a server take on a chip: latency, energy, power, what binds.

    A step is sequences that generate, beside a piece of a prompt: one row of steps.csv for each
    combination of sizes, e.g. table --arch bitmod --model llama-2-7b --out tables --batch 1,8.
    """
    from .arch import load_arch
    from .reports.serving.grid import Grid
    from .reports.serving.table import Names, tabulate, write
    from .workloads import load_model

    for option, given in (("--hardware", hardware), ("--variant", variant)):
        if given is not None and not profile:
            raise BitlatheError(f"{option}: it names a folder of a profile; add --profile.")
    grid = Grid(batches=batch, contexts=context, chunks=chunk, cached=cached)
    names = Names(hardware=hardware, variant=variant) if profile else None
    chip, network = load_arch(arch, _settings(settings)), load_model(model)
    with progress_bar() as show:
        found = tabulate(
            *(chip, network, grid), profile=names, fidelity=fidelity, mapper=mapper, track=show
        )
    paths = write(found, out)
    if as_json:
        print_json({"steps": found.steps, "files": [str(path) for path in paths]})
        return
    print_table(found.steps, title=f"{network.name} on {chip.name}")
    for path in paths:
        click.echo(str(path))


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
) -> None:
    from .arch import load_arch, load_system
    from .reports.systems.show import print_run
    from .sim import simulate as run_model

    system = load_system(name)
    if settings:
        system = system.of_chip(load_arch(system.arch, settings))
    run = run_model(system, *asked, causal=causal, logits=logits, step=step, fusion=fusion)
    if as_json:
        print_json(run.to_dict())
        return
    for line in print_run(run):
        click.echo(line)


@main.command()
@click.option("--arch", required=True, help="A shipped system or the path of a YAML file.")
@click.option("--model", required=True, help="A shipped model or the path of a config.json.")
@click.option("--phase", callback=known(phases), default="decode", show_default=True)
@click.option("--context", type=int, help="Tokens.  [default: 256; fixed by vision models]")
@click.option(
    "--batch",
    type=int,
    default=64,
    show_default=True,
    help="Sequences: strong, of all chips; weak, of each.",
)
@click.option(
    "--chips",
    callback=listed,
    default="1,2,4,8,16,32,64,128,256,512,1024",
    show_default=True,
    help="Numbers of chips.",
)
@click.option(
    "--law", type=click.Choice(["strong", "weak", "both"]), default="both", show_default=True
)
@click.option("--fidelity", callback=known(rungs), default="analytic", show_default=True)
@click.option("--mapper", callback=known(mappers), default="auto", show_default=True)
@click.option("--plot", type=PATH, help="Draw it: a .png, .svg or .pdf file.")
@settings_option
@json_option
def scaling(
    arch: str,
    model: str,
    phase: str,
    context: int | None,
    batch: int,
    chips: tuple[int, ...],
    law: str,
    fidelity: str,
    mapper: str,
    plot: Path | None,
    settings: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Scale a model over chips of a system: the same sequences on more of them, or more of both.

    For each number of chips, all ways to divide the model are run; shown are the best and those
    of one way alone.
    """
    from .arch import load_arch, load_system
    from .reports.systems.chart import draw_scaling
    from .reports.systems.scaling import Work
    from .reports.systems.scaling import scaling as scale
    from .workloads import load_model

    system, network = load_system(arch), load_model(model)
    if settings:
        system = system.of_chip(load_arch(system.arch, _settings(settings)))
    work = Work(
        model=network,
        phase=phase,
        context=context,
        batch=batch,
        fidelity=fidelity,
        mapper=mapper,
    )
    laws: Any = ("strong", "weak") if law == "both" else (law,)
    with progress_bar() as show:
        points = scale(system, work, chips, laws, show)
    title = f"{network.name} on chips of {system.name}, {phase}, batch {batch}"
    if plot:
        draw_scaling(points, title, plot)
    rows = [point.row() for point in points]
    if as_json:
        print_json(rows)
        return
    print_table([row for row in rows if row["way"] == "best"], title=f"{title}: best of all ways")
    if plot:
        click.echo(str(plot))


@main.command("map")
@click.option("--arch", help="A shipped chip or the path of a YAML file.")
@click.option("--gemm", metavar="MxNxK", callback=sizes, help="Product to map.")
@click.option("--model", help="A shipped model or the path of a config.json, with --layer.")
@click.option("--layer", help="The model's layer to map, e.g. q_proj.")
@click.option(
    "--phase",
    callback=known(phases),
    default="prefill",
    show_default=True,
    help="prefill or decode.",
)
@click.option("--context", type=int, help="Of the model: tokens.  [default: 256]")
@batch_option
@click.option(
    "--objective",
    callback=known(objectives),
    default="cycles",
    show_default=True,
    help="What is least: cycles, energy or edp.",
)
@click.option("--mapping", "file", type=PATH, help="Your own: as --json has it, or a string.")
@click.option(
    "--constraint",
    "constraints",
    multiple=True,
    help="What the best must keep to, e.g. io.k=whole, weight.order=n,k,m, rows=k:32.",
)
@click.option("--certificate", type=PATH, help="A file to write: the mapping with a proof.")
@click.option("--parts", type=int, help="Parts of its space to bound at most.  [default: 12000]")
@click.option("--check", type=PATH, help="A certificate to check; --arch is not needed.")
@settings_option
@json_option
def map_command(
    arch: str | None,
    gemm: tuple[int, int, int] | None,
    model: str | None,
    layer: str | None,
    phase: str,
    context: int | None,
    batch: int,
    objective: Any,
    file: Path | None,
    constraints: tuple[str, ...],
    certificate: Path | None,
    parts: int | None,
    check: Path | None,
    settings: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Find the best mapping of a layer on a chip: its loops, what moves, what stalls.

    The layer is a product (--gemm), or a model's (--model and --layer).
    """
    from .arch import load_arch
    from .mapping.constraints import Constraints
    from .mapping.read import read_mapping
    from .sim.map_certificate import check_certificate, write_certificate
    from .sim.map_layer import layer_on, product_on

    if check is not None and (arch, gemm, model) == (None, None, None):
        _say_checked(check_certificate, check, as_json=as_json)
        return
    if arch is None:
        raise BitlatheError("map needs a chip: give --arch, or --check FILE.")
    if (gemm is None) == (model is None) or (model is None) != (layer is None):
        raise BitlatheError("map takes a product (--gemm), or a layer (--model and --layer).")
    if file is not None and constraints:
        raise BitlatheError("--constraint is for the search; leave it out with --mapping.")
    if constraints and certificate is not None:
        raise BitlatheError("--certificate is of the whole space; leave --constraint out.")
    kept_to = Constraints.of(*constraints)
    chip = load_arch(arch, _settings(settings))
    if gemm is not None:
        asked, name = product_on(chip, *gemm, phase), "x".join(map(str, gemm))
    else:
        from .workloads import load_model

        network = load_model(model or "")
        asked = layer_on(chip, network, layer or "", phase, context, batch)
        name = f"{layer} of {network.name}"
    if check is not None:
        _say_checked(check_certificate, check, asked, as_json=as_json)
        return
    found = asked.best(objective, kept_to) if file is None else asked.under(read_mapping(file))
    if certificate is not None:
        verdict = write_certificate(certificate, asked, found, objective, parts)
        _note(f"{certificate}: {verdict}")
    if as_json:
        print_json(found.to_dict())
        return
    print_table(found.nest(), title=f"{name} on {arch}")
    print_table(found.accesses(), title="elements moved")
    print_table(found.ports(), title="ports")
    for line in found.lines():
        click.echo(line)


def _say_checked(check: Any, *of: Any, as_json: bool) -> None:
    """Print what a certificate proves, or what does not hold: then the exit status is 1."""
    try:
        verdict = check(*of)
    except BitlatheError as err:
        click.echo(f"Error: {err}", err=True)
        raise SystemExit(1) from None
    if as_json:
        print_json(verdict.to_dict())
    else:
        click.echo(verdict)


@main.command()
@click.option("--gemm", metavar="MxNxK", callback=sizes, required=True, help="Product to run.")
@click.option("--array", metavar="RxC", callback=sizes, default="4x4", help="Rows x columns.")
@click.option("--kind", default="systolic", show_default=True, help="systolic or tile.")
@click.option(
    "--dataflow", callback=known(dataflows), help="Systolic: os, ws or is.  [default: ws]"
)
@click.option("--format", "weights", help="Tile: weight format.  [default: int8]")
@click.option("--lanes", type=int, help="Tile: weights per PE and clock.  [default: 4]")
@click.option("--group", type=int, help="Tile: weights per scale.  [default: 128]")
@click.option(
    "--skip",
    callback=known(scopes),
    help="Tile: skip zero terms; row, column, array or lane steps together.",
)
@click.option("--out", type=PATH, help="A .png, .svg, .pdf or .csv file to write.")
@json_option
def trace(
    gemm: tuple[int, int, int],
    array: tuple[int, int],
    kind: str,
    out: Path | None,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Show what an array does clock by clock.

    Systolic: fill, stream and drain. Tile (bit-serial): terms, waits, rescaling and drain.
    """
    kinds = {"systolic": ("dataflow",), "tile": ("weights", "lanes", "group", "skip")}
    if kind not in kinds:
        raise BitlatheError(f"--kind: systolic or tile, got {kind!r}")
    given = {name: value for name, value in options.items() if value is not None}
    for name in set(given) - set(kinds[kind]):
        option = "format" if name == "weights" else name
        raise BitlatheError(f"--{option}: not an option of --kind {kind}")
    if out is not None and out.suffix.lower() in PICTURES and find_spec("matplotlib") is None:
        hint = to_install("matplotlib", "report")  # before the array is compiled and run
        raise BitlatheError(f"--out {out}: pictures need matplotlib: {hint}")
    if kind == "systolic":
        from .sim.array.systolic.trace import timeline
        from .sim.array.systolic.trace import trace as run_trace

        flow = given.get("dataflow", "ws")
        text = run_trace(*gemm, *array, flow, out) if out or not as_json else ""
        line: Any = timeline(*gemm, *array, flow) if as_json else None
    else:
        from .sim.array.tile.trace import tile_timeline, trace_tile

        tile, weights = _tile(array, given), given.get("weights", "int8")
        text = trace_tile(*gemm, tile, weights, out) if out or not as_json else ""
        line = tile_timeline(*gemm, tile, weights) if as_json else None
    if as_json:
        print_json(_timeline(line))
    else:
        click.echo(text)


def _tile(array: tuple[int, int], given: dict[str, Any]) -> Any:
    from .sim.array.tile.model import TileArray

    return TileArray(
        rows=array[0],
        cols=array[1],
        lanes=given.get("lanes", 4),
        group_size=given.get("group", 128),
        skip_zero_terms="skip" in given,
        scope=given.get("skip", "array"),
    )


def _timeline(line: Any) -> dict[str, Any]:
    """Return a timeline as plain data: what each PE does in each clock, by the codes it names."""
    from dataclasses import fields

    found = {each.name: getattr(line, each.name) for each in fields(line)}
    facts = {key: v.tolist() if hasattr(v, "tolist") else v for key, v in found.items()}
    return {"cycles": len(facts["reads"]), **facts}


@main.command()
@click.argument("file", type=PATH)
@click.option("--out", type=PATH, help="Results folder.")
@click.option("--jobs", type=int, help="Processes.  [default: all cores]")
@click.option("--dask", help="Address of a Dask scheduler to run on instead.")
@click.option("--timeout", type=float, help="Seconds that a point may take.  [default: 3600]")
@click.option("--dry-run", is_flag=True, help="Print the size of the space and its first points.")
@click.option("--salvage", is_flag=True, help="First keep what is sound of a damaged store in OUT.")
@json_option
@click.pass_context
def sweep(
    ctx: click.Context,
    file: Path,
    out: Path | None,
    jobs: int | None,
    dask: str | None,
    timeout: float | None,
    *,
    dry_run: bool,
    salvage: bool,
    as_json: bool,
) -> None:
    """Walk the design space of a sweep FILE; what OUT already holds is not run again."""
    from .reports.explore import plan_sweep, run_sweep

    if missing := [name for name in ("matplotlib", "jinja2") if find_spec(name) is None]:
        needed = " and ".join(missing)  # said before hours of work, not after
        _note(f"the report of a sweep needs {needed}: {to_install(' '.join(missing), 'report')}.")
    if dry_run:
        plan = plan_sweep(file)
        print_json(plan.to_dict()) if as_json else click.echo(plan.text())
        return
    if out is None:
        raise BitlatheError("a sweep needs a folder for its results; give --out DIR.")
    try:
        done = run_sweep(
            file, out, jobs=jobs, dask=dask, timeout=timeout, say=_note, salvage=salvage
        )
    except KeyboardInterrupt:
        click.echo(
            f"Stopped. Finished points are safe in {out}; run the same command to go on.", err=True
        )
        ctx.exit(130)
    print_json(done.to_dict()) if as_json else click.echo(done.text())
    for line in done.reasons_text():
        click.echo(line, err=True)
    if done.failed:
        click.echo("Error: no point has results; failures.csv says why for each.", err=True)
        ctx.exit(1)
    if done.crashed:
        click.echo(
            f"Error: {done.crashed:,} of {done.points:,} points could not be computed; the same "
            "command tries them again.",
            err=True,
        )
        ctx.exit(3)


@main.command()
@click.argument("folder", type=PATH)
@click.option(
    "--accuracy",
    "tokens",
    type=click.IntRange(min=1),
    help="Measure the perplexity of models whose weights are at hand, over so many tokens.",
)
@json_option
def report(folder: Path, tokens: int | None, *, as_json: bool) -> None:
    """Write a sweep FOLDER's page, charts and tables."""
    from .reports.explore.accuracy import Wanted, measure_accuracy
    from .reports.page import report as write_report

    wanted = None if tokens is None else Wanted(tokens=tokens)
    notes: list[str] = []
    with progress_bar() as show:
        measures = measure_accuracy(folder, wanted, show)
        paths = [str(path) for path in write_report(folder, measures, notes.append)]
    for note in notes:
        _note(note)
    if as_json:
        print_json(paths)
    else:
        click.echo("\n".join(paths))


@main.command()
@click.argument("study")
@click.option("--out", type=PATH, help="Folder for the page and charts.")
@json_option
def reproduce(study: str, out: Path | None, *, as_json: bool) -> None:
    """Rebuild a published study: published beside reproduced beside corrected values."""
    known = ("bitmod-hpca25",)
    if study not in known:
        raise BitlatheError(unknown_name("study", study, known))
    from .reports.studies.bitmod_hpca25 import page
    from .reports.studies.bitmod_hpca25.study import reproduce as rebuild

    with progress_bar() as show:
        result = rebuild(show)
    paths = page.write(result, out) if out else []
    if as_json:
        print_json(result.rows)
        return
    page.print_tables(result)
    for path in paths:
        click.echo(str(path))


if __name__ == "__main__":
    main()
