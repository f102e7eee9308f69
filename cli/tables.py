"""Commands that run a model many times: steps of a server, numbers of chips."""

from pathlib import Path
from typing import Any

import click

from ..datatypes.base.errors import BitlatheError
from ..reports.options import PATH, known, listed, mappers, phases, rungs
from ..reports.terminal import print_json, print_table, progress_bar
from .base import FIDELITY, MAPPER, chip_settings, json_option, main, settings_option


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
    "--context",
    callback=listed,
    help="Tokens in view.  [default: 512,2048,8192, or as many as the model takes]",
)
@click.option(
    "--chunk",
    callback=listed,
    help="New tokens of a prompt beside them.  [default: 0,512,2048, or as many]",
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
@click.option(
    "--fidelity", callback=known(rungs), default="analytic", show_default=True, help=FIDELITY
)
@click.option("--mapper", callback=known(mappers), default="auto", show_default=True, help=MAPPER)
@settings_option
@json_option
def table(
    arch: str,
    model: str,
    out: Path,
    batch: tuple[int, ...],
    context: tuple[int, ...] | None,
    chunk: tuple[int, ...] | None,
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
    """Tabulate what steps of a server take on a chip.

    Latency, energy, power, what binds. A step is sequences that generate, beside a piece of a
    prompt: one row of steps.csv for each combination of sizes, e.g. table --arch bitmod --model
    llama-2-7b --out tables --batch 1,8.
    """
    from ..arch import load_arch
    from ..reports.serving.grid import Grid
    from ..reports.serving.table import Names, tabulate, write
    from ..workloads import load_model

    for option, given in (("--hardware", hardware), ("--variant", variant)):
        if given is not None and not profile:
            raise BitlatheError(f"{option}: it names a folder of a profile; add --profile.")
    names = Names(hardware=hardware, variant=variant) if profile else None
    chip, network = load_arch(arch, chip_settings(settings)), load_model(model)
    sizes = {"batches": batch, "contexts": context, "chunks": chunk, "cached": cached}
    chosen = {name: size for name, size in sizes.items() if size is not None}
    grid = Grid.within(getattr(network.shape, "longest_context", None), **chosen)
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


@main.command()
@click.option("--arch", required=True, help="A shipped system or the path of a YAML file.")
@click.option("--model", required=True, help="A shipped model or the path of a config.json.")
@click.option(
    "--phase",
    callback=known(phases),
    default="decode",
    show_default=True,
    help="prefill or decode.",
)
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
    "--law",
    type=click.Choice(["strong", "weak", "both"]),
    default="both",
    show_default=True,
    help="The same sequences on all chips (strong), or on each (weak).",
)
@click.option(
    "--fidelity", callback=known(rungs), default="analytic", show_default=True, help=FIDELITY
)
@click.option("--mapper", callback=known(mappers), default="auto", show_default=True, help=MAPPER)
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
    """Scale a model over more and more chips of a system.

    The same sequences on more chips (strong), or more of both (weak). For each number of chips,
    all ways to divide the model are run; shown are the best and those of one way alone.
    """
    from ..arch import load_arch, load_system
    from ..reports.systems.chart import draw_scaling
    from ..reports.systems.scaling import Work
    from ..reports.systems.scaling import scaling as scale
    from ..workloads import load_model

    system, network = load_system(arch), load_model(model)
    if settings:
        system = system.of_chip(load_arch(system.arch, chip_settings(settings)))
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
