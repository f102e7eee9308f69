"""The command that calibrates a model's layers into a folder."""

import json
from pathlib import Path
from typing import Any

import click

from ..datatypes.base.errors import BitlatheError
from ..reports.options import PATH, known
from ..reports.terminal import print_json, print_table, progress_bar
from .base import json_option, main
from .guide import Listing

AS_JSON = "bitlathe.calibrate.json"


class _Calibrate(Listing):
    """The command; `--methods`, which comes before all others, knows of ``--json`` anywhere."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.meta[AS_JSON] = "--json" in args
        return super().parse_args(ctx, args)


@main.command(cls=_Calibrate)
@click.option(
    "--methods",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=lambda ctx, _, asked: _list_methods(ctx) if asked else None,
    help="List the methods and their settings, and leave.",
)
@click.argument("model")
@click.option("--method", required=True, help="gptq, awq, smoothquant ...: see --methods.")
@click.option(
    "--scheme",
    "schemes",
    multiple=True,
    help="Of weights; several, repeated, are choices within --budget.  [default: the method's]",
)
@click.option("--activations", help="Scheme of inputs, or none.  [default: the method's]")
@click.option("--out", type=PATH, required=True, help="Folder for the calibrated layers.")
@click.option(
    "--option",
    "--set",
    "options",
    multiple=True,
    help="KEY=VALUE, a setting of the method (--methods lists them), repeatable.",
)
@click.option(
    "--budget",
    help="Of all layers together: bits a weight (2.5) or a size (40MiB); each takes one of several "
    "--scheme, or as many blocks of bitstack.",
)
@click.option(
    "--allocation",
    callback=known(lambda: ("program", "sort")),
    default="program",
    show_default=True,
    help="How a budget is shared out: for the least sum of errors, or by importance.",
)
@click.option("--tokens", type=int, help="Tokens to calibrate on.  [default: 2048]")
@click.option("--context", type=int, help="Tokens of a window.  [default: 512]")
@click.option("--text", type=PATH, help="UTF-8 text.  [default: pydoc's]")
@json_option
def calibrate(
    model: str,
    method: str,
    schemes: tuple[str, ...],
    activations: str | None,
    out: Path,
    options: tuple[str, ...],
    budget: str | None,
    allocation: str,
    *,
    as_json: bool,
    **asked: Any,
) -> None:
    """Calibrate a model's linear layers into a folder.

    Those of its blocks, by a method of calibration.

    MODEL is smollm2-135m or a Hugging Face folder of a Llama-like model. A block is calibrated on
    what the calibrated blocks before it hand on; each layer is written as it is done, and a run
    that was cut off goes on where it was. The folder is read by `accuracy --calibrated` and
    `simulate --model`.
    """
    from ..workloads.calibration import calibrate_model
    from ..workloads.lm.choices import Budget

    if budget is None and allocation != "program":
        raise BitlatheError("--allocation: it is how a budget is shared out; give --budget as well")
    given = {k: value for k, value in asked.items() if value is not None}
    chosen: dict[str, Any] = {}
    for key, value in map(_option, options):
        if key in chosen:
            raise BitlatheError(f"--option {key} is given twice; give it once")
        chosen[key] = value
    with progress_bar() as show:
        made = calibrate_model(
            *(model, method, schemes or None, activations),
            out=out,
            budget=None if budget is None else Budget(text=budget, rule=allocation),
            options=chosen,
            progress=show,
            **given,
        )
    rows = [{"layer": name, **row} for name, row in made.facts["layers"].items()]
    if as_json:
        print_json({**made.facts, "layers": rows})
        return
    columns = ("layer", "chosen", "bits_per_weight", "relative_error", "rounded_error")
    print_table(rows, title=f"{made.model}, {made.title}", columns=columns)
    click.echo(str(out))


def _option(text: str) -> tuple[str, Any]:
    """Return the key and value of ``KEY=VALUE``; numbers, true, false and lists are JSON."""
    key, equals, value = text.partition("=")
    if not equals or not key.isidentifier():
        raise BitlatheError(f"--option {text!r}: write KEY=VALUE, such as damping=0.01")
    try:
        found: Any = json.loads(value)
    except (ValueError, RecursionError):
        found = value
    return key, tuple(found) if isinstance(found, list) else found


def _list_methods(context: click.Context) -> None:
    """Print each method and its settings: which values they take, what they are by default."""
    from dataclasses import asdict

    from ..datatypes.methods.table import METHODS

    if context.meta[AS_JSON]:
        told = ("name", "summary", "source", "scheme", "activation_scheme")
        print_json(
            [
                {key: getattr(method, key) for key in told}
                | {"settings": [asdict(each) for each in method.settings]}
                for method in METHODS.values()
            ]
        )
        context.exit()
    for method in METHODS.values():
        inputs = method.activation_scheme
        beside = "" if inputs == "none" else f", inputs {inputs}"
        click.echo(f"{method.name}: {method.summary} [{method.scheme}{beside}]")
        for each in method.settings:
            default = _shown(each.default)
            click.echo(f"    {each.name}={default} ({each.takes}): {each.text}")
    context.exit()


def _shown(value: Any) -> str:
    """Return a default as it is written after KEY=."""
    return json.dumps(list(value) if isinstance(value, tuple) else value)
