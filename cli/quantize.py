"""The command that puts tensors into number formats: errors, bits, and files of the result."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..datatypes.base.errors import BitlatheError
from ..reports.options import PATH
from ..reports.terminal import cell, print_json, print_table, progress_bar
from .base import json_option, main

if TYPE_CHECKING:
    from ..datatypes.checkpoints.rules import Rules

SHOWN = 8  # names of tensors passed over


@main.command()
@click.argument("file", type=PATH)
@click.option(
    "--scheme",
    "schemes",
    multiple=True,
    help="A scheme, e.g. int4_asym@g128; repeatable without --out.",
)
@click.option(
    "--rule",
    "rules",
    multiple=True,
    help="PATTERN=SCHEME for tensors by name, e.g. '*down_proj*=int8@channel'; the first decides.",
)
@click.option("--include", multiple=True, help="Pattern of names to quantize.  [default: all]")
@click.option("--exclude", multiple=True, help="Pattern of names to leave, e.g. '*embed*'.")
@click.option("--out", type=PATH, help="New folder for the quantized checkpoint.")
@click.option(
    "--layout", help="Of --out: bitlathe, compressed-tensors, torchao.  [default: bitlathe]"
)
@click.option("--plot", type=PATH, help="Draw error against bits (.png).")
@json_option
def quantize(
    file: Path,
    schemes: tuple[str, ...],
    rules: tuple[str, ...],
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    out: Path | None,
    layout: str | None,
    plot: Path | None,
    *,
    as_json: bool,
) -> None:
    """Quantize the tensors of FILE.

    Shown are the error and bits of each scheme; --out writes a folder of the result.

    FILE is a .npy, .npz, .safetensors or .gguf file, or a folder with safetensors files. --scheme
    may be given more than once: a table has a row for each. With --out the checkpoint is written,
    whole or not at all. See `bitlathe formats` for names, docs/datatypes.md for the grammar.

    The format of a scheme may be the path of a YAML file: --scheme my.yaml@g64.
    """
    from ..datatypes.checkpoints.rules import Rules
    from ..datatypes.schemes.scheme import Scheme

    parsed = [Scheme.parse(scheme) for scheme in schemes]
    by_name = [_rule(text) for text in rules]
    if not parsed and not by_name:
        raise BitlatheError("--scheme or --rule is needed, such as --scheme int4_asym@g128")
    if by_name and len(parsed) > 1:
        raise BitlatheError("--rule: give one --scheme, for tensors that no rule names, or none")
    defaults: list[Scheme | None] = [*parsed] if parsed else [None]
    chosen = [Rules.of(scheme, by_name, include, exclude) for scheme in defaults]
    if out is None:
        if layout:
            raise BitlatheError("--layout says how --out is written; give a folder as --out")
        _compare(file, chosen, plot, as_json=as_json)
        return
    if len(chosen) > 1 or plot:
        raise BitlatheError("--out: give one --scheme, and no --plot: both compare schemes")
    _write(file, out, chosen[0], layout or "bitlathe", as_json=as_json)


def _rule(text: str) -> tuple[str, str]:
    """Return pattern and scheme of ``PATTERN=SCHEME``."""
    pattern, equals, scheme = text.rpartition("=")
    if not equals or not pattern or not scheme:
        raise BitlatheError(f"--rule {text!r}: write PATTERN=SCHEME, such as '*down*=int8@channel'")
    return pattern, scheme


def _write(file: Path, out: Path, rules: "Rules", layout: str, *, as_json: bool) -> None:
    from ..datatypes.checkpoints.checkpoint import quantize_checkpoint

    with progress_bar() as show:
        made = quantize_checkpoint(file, out, rules, layout, progress=show)
    rows = [
        {**asdict(row), "bits_per_element": 8 * row.nbytes / row.elements}
        for row in made
        if row.scheme
    ]
    if as_json:
        print_json([asdict(row) for row in made])
        return
    print_table(rows, columns=["tensor", "scheme", "elements", "nbytes", "bits_per_element"])
    left = [row.tensor for row in made if not row.scheme]
    if left:
        click.echo(f"Left as they are, {_few(left)}")
    total = sum(row.nbytes for row in made)
    click.echo(f"{out}: {total:,} bytes of tensors")


def _few(names: list[str], why: str = "") -> str:
    shown = ", ".join(map(cell, names[:SHOWN])) + (", ..." if len(names) > SHOWN else "")
    return f"{len(names)}{f' ({why})' * bool(why)}: {shown}"


def _tensors(file: Path) -> dict[str, Any]:
    from ..datatypes.checkpoints.checkpoint import unquantized
    from ..datatypes.weights.read import read_tensors

    if not file.is_dir():
        return read_tensors(file)
    return {name: stored.values for name, stored in unquantized(file).items()}


def _labels(chosen: "list[Rules]") -> dict[str, str]:
    """Return what schemes are called, by their text; those that share a name keep the text."""
    schemes = {
        str(scheme): scheme.label
        for rules in chosen
        for scheme in (rules.scheme, *(own for _, own in rules.by_name))
        if scheme is not None
    }
    labels = list(schemes.values())
    return {text: label for text, label in schemes.items() if labels.count(label) == 1}


def _compare(file: Path, chosen: "list[Rules]", plot: Path | None, *, as_json: bool) -> None:
    """Print error and bits of the tensors, a table over all schemes."""
    from ..datatypes.study.compare import compare_by_name, quantizable

    tensors = _tensors(file)
    for rules in chosen:
        rules.check(tensors)
    named = {name for name in tensors if any(rules.of_tensor(name) for rules in chosen)}
    if not named:
        raise BitlatheError("--include, --exclude, --rule: they leave no tensor to quantize")
    ours = {name: array for name, array in tensors.items() if name in named}
    with progress_bar() as show:
        results = [compare_by_name(ours, rules.of_tensor) for rules in show(chosen, "schemes")]
    flat = [asdict(row) for rows in results for row in rows]
    labels = _labels(chosen)
    results = [
        [replace(row, scheme=labels.get(row.scheme, row.scheme)) for row in rows]
        for rows in results
    ]
    if plot:
        from ..reports.charts.formats import draw_error_against_bits

        draw_error_against_bits([asdict(rows[-1]) for rows in results], plot)
    if as_json:
        print_json(flat)
        return
    flat = [asdict(row) for rows in results for row in rows]
    print_table(flat, columns=[key for key in flat[0] if key != "term_error"])
    said = {row.scheme: row.term_error for rows in results for row in rows if row.term_error}
    for scheme, error in said.items():
        click.echo(f"{scheme}: terms are of its values rounded, by up to {error:.4g}.")
    passed = [n for n, array in tensors.items() if n not in named or not quantizable(array)]
    if passed:
        why = "vectors, integers, empty" + ", by pattern" * (len(named) < len(tensors))
        click.echo(f"Passed over {_few(passed, why)}")
    if plot:
        click.echo(str(plot))
