"""The command that maps a layer on a chip, and certifies it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from ..datatypes.base.errors import BitlatheError
from ..reports.options import PATH, known, objectives, sizes
from ..reports.terminal import print_json, print_table, working
from .base import (
    batch_option,
    budget_option,
    check_place,
    chip_settings,
    json_option,
    main,
    note,
    phase_option,
    settings_option,
)


@main.command("map")
@click.option("--arch", help="A shipped chip or the path of a YAML file.")
@click.option("--gemm", metavar="MxNxK", callback=sizes, help="Product to map.")
@click.option("--model", help="A shipped model or the path of a config.json, with --layer.")
@click.option(
    "--layer", help="The model's layer to map, e.g. q_proj; or fused ones, e.g. attention_qk+av."
)
@phase_option
@click.option("--context", type=int, help="Of the model: tokens.  [default: 256]")
@batch_option
@click.option(
    "--objective",
    callback=known(objectives),
    default="cycles",
    show_default=True,
    help="What to make least: cycles, energy or edp (their product).",
)
@click.option(
    "--mapping",
    "file",
    type=PATH,
    help="File of your own mapping: as --json prints it, or one line.",
)
@click.option(
    "--constraint",
    "constraints",
    multiple=True,
    help="What the best must keep to, e.g. io.k=whole, weight.order=n,k,m, rows=k:32.",
)
@budget_option
@click.option("--certificate", type=PATH, help="A file to write: the mapping with a proof.")
@click.option(
    "--parts", type=int, help="Of the proof: parts of the space to bound at most.  [default: 12000]"
)
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
    budget: int | None,
    certificate: Path | None,
    parts: int | None,
    check: Path | None,
    settings: tuple[str, ...],
    *,
    as_json: bool,
) -> None:
    """Find the best mapping of a layer on a chip, and its cost.

    Shown are its loops, what moves, what stalls. The layer is a product (--gemm), or a model's
    (--model and --layer).
    """
    from ..arch import load_arch
    from ..mapping.budget import node_budget
    from ..mapping.constraints import Constraints
    from ..sim.map_certificate import check_certificate, write_certificate
    from ..sim.map_group import group_on
    from ..sim.map_layer import layer_on, product_on

    asked_too: dict[str, object] = {
        "--mapping": file, "--certificate": certificate, "--parts": parts,
        "--constraint": constraints or None, "--budget": budget,
    }  # fmt: skip
    of_models = {"--context": context, "--batch": None if batch == 1 else batch}
    _refuse("beside --check", asked_too if check else {})
    _refuse("beside --gemm", of_models if gemm else {})
    _refuse("beside --mapping", {"--budget": budget} if file else {})
    _refuse("without --certificate", {} if certificate else {"--parts": parts})
    check_place("--certificate", certificate)
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
    chip = load_arch(arch, chip_settings(settings))
    if gemm is not None:
        asked, name = product_on(chip, *gemm, phase), "x".join(map(str, gemm))
    else:
        from ..workloads import load_model

        network = load_model(model or "")
        if "+" in (layer or ""):
            group = group_on(chip, network, layer or "", phase, context, batch)
            _refuse("beside fused layers", {"--mapping": file, "--constraint": constraints or None})
            with node_budget(budget):
                _map_group(group, f"{layer} of {network.name} on {arch}", objective, certificate,
                           parts, check, as_json=as_json)  # fmt: skip
            return
        asked = layer_on(chip, network, layer or "", phase, context, batch)
        name = f"{layer} of {network.name}"
    if check is not None:
        _say_checked(check_certificate, check, asked, as_json=as_json)
        return
    with working("map"), node_budget(budget):
        found = asked.best(objective, kept_to) if file is None else _under(asked, file)
    if certificate is not None:
        with working("certificate"):
            written = write_certificate(certificate, asked, found, objective, parts)
        note(f"{certificate}: {written}")
    _print_found(found, f"{name} on {arch}", "elements moved", as_json=as_json)


def _print_found(found: Any, title: str, moved: str, *, as_json: bool) -> None:
    """Print a mapping, or a group's schedule: its loops, what moves, ports, sentences."""
    if as_json:
        print_json(found.to_dict())
        return
    print_table(found.nest(), title=title)
    print_table(found.accesses(), title=moved)
    print_table(found.ports(), title="ports")
    for line in found.lines():
        click.echo(line)


def _map_group(
    group: Any,
    title: str,
    objective: Any,
    certificate: Path | None,
    parts: int | None,
    check: Path | None,
    *,
    as_json: bool,
) -> None:
    """Print fused layers under their best schedule, or certify that, or check a certificate."""
    from ..sim.map_certificate import check_certificate, write_group_certificate

    if check is not None:
        _say_checked(check_certificate, check, group, as_json=as_json)
        return
    with working("map"):
        found = group.best(objective)
    if certificate is not None:
        with working("certificate"):
            written = write_group_certificate(certificate, found, parts)
        note(f"{certificate}: {written}")
    _print_found(found, title, "products of the blocks", as_json=as_json)


def _under(asked: Any, file: Path) -> Any:
    """Return a layer under the mapping of a file, which errors name."""
    from ..mapping.read import read_mapping

    given = read_mapping(file)
    try:
        return asked.under(given)
    except BitlatheError as err:
        raise BitlatheError(f"{file}: {err}") from None


def _refuse(where: str, options: Mapping[str, object]) -> None:
    """Refuse options that say nothing there; None: not given.

    Raises
    ------
    BitlatheError
        One of them is given.
    """
    for name, value in options.items():
        if value is not None:
            raise BitlatheError(f"{name} says nothing {where}; leave it out.")


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
        click.echo("\n".join([str(verdict), *verdict.about]))
