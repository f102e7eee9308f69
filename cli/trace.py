"""The command that draws an array clock by clock."""

from pathlib import Path
from typing import Any

import click

from ..datatypes.base.errors import BitlatheError
from ..reports.options import PATH, dataflows, known, scopes, sizes
from ..reports.terminal import print_json
from .base import check_drawing, json_option, main


def _clocks(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """Read FIRST:END."""
    if value is None:
        return None
    first, colon, end = value.partition(":")
    if not (colon and first.isdecimal() and end.isdecimal()):
        raise BitlatheError(f"--clocks {value!r}: write FIRST:END, such as 0:400")
    return int(first), int(end)


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
@click.option(
    "--clocks", metavar="FIRST:END", callback=_clocks, help="What to draw.  [default: all]"
)
@click.option("--out", type=PATH, help="A .png, .svg, .pdf, .json or .csv file to write.")
@json_option
def trace(
    gemm: tuple[int, int, int],
    array: tuple[int, int],
    kind: str,
    out: Path | None,
    clocks: tuple[int, int] | None,
    *,
    as_json: bool,
    **options: Any,
) -> None:
    """Show what an array does clock by clock.

    Systolic: fill, stream and drain. Tile (bit-serial): terms, waits, rescaling and drain. Of more
    than 256 PEs a line shows a row; of more than 400 clocks give some. Perfetto opens the .json.
    """
    kinds = {"systolic": ("dataflow",), "tile": ("weights", "lanes", "group", "skip")}
    if kind not in kinds:
        raise BitlatheError(f"--kind: systolic or tile, got {kind!r}")
    given = {name: value for name, value in options.items() if value is not None}
    for name in set(given) - set(kinds[kind]):
        option = "format" if name == "weights" else name
        raise BitlatheError(f"--{option}: not an option of --kind {kind}")
    check_drawing("--out", out)
    if kind == "systolic":
        from ..sim.array.systolic.trace import timeline
        from ..sim.array.systolic.trace import trace as run_trace

        flow = given.get("dataflow", "ws")
        text = run_trace(*gemm, *array, flow, out, clocks) if out or not as_json else ""
        line: Any = timeline(*gemm, *array, flow, clocks=clocks) if as_json else None
    else:
        from ..sim.array.tile.trace import tile_timeline, trace_tile

        tile, weights = _tile(array, given), given.get("weights", "int8")
        text = trace_tile(*gemm, tile, weights, out, clocks) if out or not as_json else ""
        line = tile_timeline(*gemm, tile, weights, clocks) if as_json else None
    if as_json:
        print_json(_timeline(line))
    else:
        click.echo(text)


def _tile(array: tuple[int, int], given: dict[str, Any]) -> Any:
    from ..sim.array.tile.model import TileArray

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
