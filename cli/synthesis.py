"""The command that measures generated hardware: area, energy and clock from a cell library."""

from pathlib import Path
from typing import Any

import click

from ..datatypes.base.errors import BitlatheError
from ..reports.options import PATH
from ..reports.terminal import print_json, print_table, progress_bar
from .base import check_place, chip_settings, json_option, main, settings_option

UNPRICED = {"pe.area_source": "published", "pe.energy_pj": 0.0, "pe.area_um2": 0.0}


def _chip(arch: str, given: dict[str, Any]) -> Any:
    """Return a chip; one whose PE waits to be measured without its cost."""
    from ..arch import load_arch

    try:
        return load_arch(arch, given)
    except BitlatheError as problem:
        if "pe.area_source: no synthesis" not in str(problem):
            raise
        left = {key: value for key, value in given.items() if key != "pe.area_source"}
        return load_arch(arch, left | UNPRICED)


@main.command()
@click.option(
    "--arch", help="A shipped chip, or the path of a YAML file.  [default: what is shipped]"
)
@click.option(
    "--liberty", type=PATH, help="A cell library.  [default: osu018, as Debian packages it]"
)
@click.option("--out", type=PATH, help="A YAML file for the results.")
@settings_option
@json_option
def synthesize(
    arch: str | None,
    liberty: Path | None,
    out: Path | None,
    settings: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Measure PEs as gates: area, energy, longest path.

    Generated hardware is mapped to a cell library and run on real operands. Figures are 28 nm
    equivalents by one constant a library, with its error on published blocks. Results are kept
    where chips with `pe: {area_source: synthesis}` find them.
    """
    from dataclasses import asdict

    from ..arch.synthesized import pe_key, write_results
    from ..sim.synthesis.liberty import default_library, read_library
    from ..sim.synthesis.measure import measure
    from ..sim.synthesis.shipped import SHIPPED
    from ..sim.verify.run import subjects_of

    if arch is None and settings:
        raise BitlatheError("--set: name a chip to set it in, e.g. --arch bitmod --set pe.lanes=8.")
    check_place("--out", out)
    subjects = SHIPPED if arch is None else subjects_of(_chip(arch, chip_settings(settings)))
    library = read_library(liberty or default_library())
    with progress_bar() as show:
        calibration, results = measure(show(list(subjects), "gates"), library)
    constants = results.library
    rows: list[dict[str, Any]] = []
    blocks: list[dict[str, Any]] = []
    for (name, pe, _), found in zip(subjects, results.pes, strict=True):
        rows += [
            {
                "name": name,
                "weight": found.weight,
                "part": part,
                "um2": round(constants.area_um2(figures), 1),
                "registers": figures.registers,
                "pj": round(constants.energy_pj(figures), 4),
                "fo4": round(constants.depth(figures), 1),
            }
            | ({"pe": pe_key(pe)} if as_json else {})
            for part, figures in found.parts.items()
        ]
        blocks += [
            {
                "name": name,
                "weight": found.weight,
                "block": block,
                "um2": round(constants.area_um2(figures), 1),
                "registers": figures.registers,
            }
            | ({"pe": pe_key(pe)} if as_json else {})
            for block, figures in found.blocks.items()
        ]
    if out is not None:
        out.write_text(write_results(results), encoding="utf-8")
    if as_json:
        known = {block.name: asdict(block) for block in calibration.blocks}
        print_json({"library": constants.model_dump(), "errors": calibration.errors,
                    "errors_with_border": calibration.held_errors,
                    "errors_of_energy": calibration.energy_errors, "published": known,
                    "parts": rows, "blocks": blocks})  # fmt: skip
        return
    print_table(rows)
    print_table(blocks)
    click.echo(
        f"{constants.name}: {constants.units_per_um2:.2f} units of area for 1 um2 at 28 nm, "
        f"{constants.pj_per_pj:.1f} pJ for 1 pJ; operands: {constants.operands}"
    )
    for what, errors in (
        ("area on published blocks", calibration.errors),
        ("the same with registers at their borders, not fitted", calibration.held_errors),
        ("energy on these", calibration.energy_errors),
    ):
        wrong = ", ".join(f"{name} {error:+.0%}" for name, error in errors.items())
        click.echo(f"Error of the {what}: {wrong}")
