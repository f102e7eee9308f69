"""Commands on hardware: Verilog of a chip's PE, and whether all rungs agree."""

from pathlib import Path

import click

from ..datatypes.base.errors import BitlatheError
from ..reports.options import PATH
from ..reports.terminal import print_json, print_table, progress_bar
from .base import check_place, chip_settings, json_option, main, settings_option


@main.command()
@click.option("--arch", required=True, help="A shipped chip, or the path of a YAML file.")
@click.option("--out", type=PATH, required=True, help="Folder for the files.")
@click.option(
    "--rows",
    type=click.IntRange(1, 1_000_000),
    default=2000,
    show_default=True,
    help="Rows of the vectors: chunks of weights.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the vectors."
)
@click.option("--pes", help="ROWSxCOLUMNS of an array to write, 64 PEs at most.  [default: one PE]")
@settings_option
@json_option
def rtl(
    arch: str,
    out: Path,
    rows: int,
    seed: int,
    pes: str | None,
    settings: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Write a chip's PE as Verilog, with testbench and vectors.

    One folder for each weight format that the chip's layers have. The vectors are what the
    bit-exact model says, clock by clock: any Verilog simulator prints PASS.
    """
    from ..arch import load_arch
    from ..arch.pe import FpMacPE
    from ..sim.rtl.generate import DATAFLOWS, array_case, array_design, pe_case, pe_design
    from ..sim.rtl.testbench import files_of, write_files
    from ..sim.verify.run import subjects_of

    check_place("--out", out / "testbench.v")
    sides = None if pes is None else _sides(pes)
    written, folders = [], {}
    chip = load_arch(arch, chip_settings(settings))
    flows = chip.array.dataflows
    generated = ("os",) if chip.pe.kind == FpMacPE.kind else DATAFLOWS
    dataflow = next((flow for flow in flows if flow in generated), flows[0])  # else refused
    for name, pe, weight in subjects_of(chip):
        if sides is None:
            texts = files_of(pe_design(pe, weight), pe_case(pe, weight, rows, seed))
        else:
            case = array_case(pe, weight, sides, rows, seed, dataflow)
            texts = files_of(array_design(pe, weight, sides, dataflow), case)
        folder = out / (getattr(weight, "name", "") or pe.kind)
        folders[folder] = texts
        written.append({"name": name, "folder": str(folder), "files": sorted(texts)})
    for folder, texts in folders.items():  # nothing is written where one has no hardware
        write_files(folder, texts)
    others = [flow for flow in flows if flow != dataflow]
    if sides is not None and chip.array.kind == "systolic" and others:
        click.echo(
            f"The array that is written has dataflow {dataflow}; {', '.join(others)} is of another "
            "array (--set array.dataflow=os writes an output stationary one, ws a weight "
            "stationary one of integer PEs).",
            err=True,
        )
    if as_json:
        print_json(written)
        return
    for each in written:
        click.echo(f"{each['name']}: {each['folder']} ({len(each['files'])} files)")
    click.echo("In a folder: iverilog -g2005 -o sim *.v && vvp -n sim")


def _sides(text: str) -> tuple[int, int]:
    """Return the rows and columns in ``2x3``."""
    from ..sim.rtl.bit_serial_tile import MOST

    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise BitlatheError(f"--pes {text!r}: write ROWSxCOLUMNS, for example 2x3.")
    rows, columns = (int(part) for part in parts)
    if rows * columns > MOST:
        raise BitlatheError(f"--pes {text!r}: {rows * columns} PEs; give {MOST} at most.")
    return rows, columns


@main.command()
@click.option("--arch", help="A shipped chip, or the path of a YAML file.  [default: every PE]")
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda"]),
    help="What CUDA kernels run on: cpu is numba's simulator.  [default: a GPU, if there is one]",
)
@settings_option
@json_option
def verify(
    arch: str | None, device: str | None, settings: tuple[str, ...], *, as_json: bool
) -> None:
    """Run the same numbers on every rung and compare.

    Rungs: exact fractions, the bit-exact model, CUDA, generated hardware. Exit status 1 if any
    two disagree. What is not installed is named with how to install it.
    """
    from dataclasses import asdict

    from ..arch import load_arch
    from ..sim.verify.run import subjects_of
    from ..sim.verify.run import verify as compare

    if arch is None and settings:
        raise BitlatheError("--set: name a chip to set it in, e.g. --arch bitmod --set pe.lanes=8.")
    subjects = None if arch is None else subjects_of(load_arch(arch, chip_settings(settings)))
    with progress_bar() as show:
        found = compare(subjects, device=device, show=show)
    if as_json:
        keys = ("name", "rung", "against", "cases", "agree")
        checks = [{key: getattr(each, key) for key in keys} for each in found.checks]
        print_json({"checks": checks, "not_run": [asdict(each) for each in found.not_run]})
    else:
        print_table([asdict(each) for each in found.checks])
        for missing in found.not_run:
            click.echo(f"Not run: {missing.name}: {missing.why}")
    if not found.agree:
        raise SystemExit(1)
