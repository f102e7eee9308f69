"""Commands that list and show what is shipped: chips, models, number formats."""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..datatypes.base.errors import BitlatheError
from ..reports.options import PATH
from ..reports.terminal import print_json, print_table
from .base import chip_settings, json_option, main, note, settings_option

if TYPE_CHECKING:
    from ..arch import Arch
    from ..workloads import Model


@main.command()
@click.argument("name", required=False)
@settings_option
@json_option
def archs(name: str | None, settings: tuple[str, ...], *, as_json: bool) -> None:
    """List the shipped chips and systems, or show one.

    Shown of a chip: memories, axes, area, leakage.

    NAME is a chip or a system of the list, or the path of a YAML file.
    """
    from ..arch import arch_names, load_arch, load_system
    from ..arch.system import is_system, system_names

    if name is not None and is_system(name):
        from ..reports.systems.show import system_lines

        system = load_system(name)
        if settings:
            system = system.of_chip(load_arch(system.arch, chip_settings(settings)))
        if as_json:
            print_json(system.model_dump())
            return
        click.echo("\n".join(system_lines(system)))
        return
    if name is not None:
        _show_chip(load_arch(name, chip_settings(settings)), as_json=as_json)
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
                "kv_cache": arch.formats.of("attention").weight.label,
            }
        )
    if as_json:
        print_json(rows)
    else:
        print_table(rows)
        click.echo(f"systems of chips: {', '.join(system_names())}")


def _show_chip(chip: "Arch", *, as_json: bool) -> None:
    from ..arch.describe import chip_dict, chip_lines, memory_rows, shown_hierarchies

    if as_json:
        print_json(chip_dict(chip))
        return
    for flow, hierarchy in shown_hierarchies(chip):
        print_table(memory_rows(hierarchy), title=f"{chip.title}, dataflow {flow}")
        axes = (f"{x.name} {x.size} ({', '.join(x.dims)})" for x in hierarchy.axes)
        click.echo(f"axes: {'; '.join(axes)}\n")
    for line in chip_lines(chip):
        click.echo(line)


_TOKENS = 2048


@main.command()
@click.argument("name", required=False)
@click.option(
    "--context", type=int, help="Tokens in view.  [default: 2048, or as many as the model takes]"
)
@click.option("--plot", type=PATH, help="Draw one layer: a .png, .svg or .pdf file.")
@click.option("--describe", metavar="NAME", help="The same as NAME.")
@json_option
def models(
    name: str | None, context: int | None, plot: Path | None, describe: str | None, *, as_json: bool
) -> None:
    """List the shipped models, or show one.

    Shown of a model: matrices, parameters, work and cache of a token, and a
    layer of each kind.

    NAME is a model of the list or a file that `simulate` takes.
    """
    from ..workloads import load_model, model_names

    if name is not None and describe is not None:
        raise BitlatheError(f"--describe {describe}: a model is named already, {name}; name one.")
    name = name or describe
    if name is not None:
        model = load_model(name)
        longest = getattr(model.shape, "longest_context", None)
        seen = min(_TOKENS, longest or _TOKENS) if context is None else context
        _show_model(model, seen, plot, as_json=as_json)
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
    from ..workloads.describe import block, figures, layer_rows, lines, matrix_rows

    last = lines(model, context)  # ahead of all output: no half of a page stands before an error
    if plot:
        from ..reports.charts.block import draw_block

        draw_block(*block(model), model.name, plot)
    if as_json:
        data = {"layers": layer_rows(model), "matrices": matrix_rows(model)}
        print_json(figures(model, context) | data)
        return
    if layers := layer_rows(model):
        print_table(layers, title=f"{model.name} ({model.family})")
    print_table(matrix_rows(model), title="matrices")
    for line in last:
        click.echo(line)
    if model.depth:
        from ..reports.charts.block import drawing

        click.echo("\none layer of each kind: products, outputs x inputs (x heads), + what follows")
        for line in drawing(*block(model)):
            click.echo(line)


@main.command()
@click.argument("name", required=False)
@click.option("--plot", type=PATH, help="Draw its values on number lines.")
@json_option
def formats(name: str | None, plot: Path | None, *, as_json: bool) -> None:
    """List the number formats, or show one.

    Shown of a format: its values, codes and bit-serial terms.

    NAME is a format of the list or the path of a YAML file that describes one of your own.
    """
    from ..datatypes.study.listing import describe_format, list_formats

    if plot:
        from ..reports.charts.formats import draw_number_lines

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
        counts = Counter(code["value"] for code in member["codes"])
        if twice := [v for v, n in counts.items() if isinstance(v, float) and v and n > 1]:
            note(f"{member['name']} has a value more than once: {', '.join(map(str, twice))}.")
        if member["term_error"]:
            click.echo(
                f"Terms are of the values rounded to multiples of {member['term_unit']:g}, the "
                f"fixed point of a bit-serial PE: the largest error is {member['term_error']:.4g}."
            )
