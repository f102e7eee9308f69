"""The command that calibrates a model's layers into a folder."""

import json
from pathlib import Path
from typing import Any

import click

from ..datatypes.base.errors import BitlatheError
from ..reports.options import PATH
from ..reports.terminal import print_json, print_table, progress_bar
from .base import json_option, main


@main.command()
@click.argument("model")
@click.option("--method", required=True, help="gptq, awq, smoothquant ...: see docs/methods.md.")
@click.option("--scheme", help="Of weights.  [default: the method's]")
@click.option("--activations", help="Scheme of inputs, or none.  [default: the method's]")
@click.option("--out", type=PATH, required=True, help="Folder for the calibrated layers.")
@click.option("--option", "options", multiple=True, help="KEY=VALUE of the method, repeatable.")
@click.option("--tokens", type=int, help="Tokens to calibrate on.  [default: 2048]")
@click.option("--context", type=int, help="Tokens of a window.  [default: 512]")
@click.option("--text", type=PATH, help="UTF-8 text.  [default: pydoc's]")
@json_option
def calibrate(
    model: str,
    method: str,
    scheme: str | None,
    activations: str | None,
    out: Path,
    options: tuple[str, ...],
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

    given = {k: value for k, value in asked.items() if value is not None}
    chosen: dict[str, Any] = {}
    for key, value in map(_option, options):
        if key in chosen:
            raise BitlatheError(f"--option {key} is given twice; give it once")
        chosen[key] = value
    with progress_bar() as show:
        made = calibrate_model(
            *(model, method, scheme, activations),
            out=out,
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
