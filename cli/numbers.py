"""Commands on numbers: what formats do to tensors and to models."""

from pathlib import Path
from typing import Any

import click

from ..datatypes.base.errors import BitlatheError
from ..reports.options import PATH
from ..reports.terminal import print_json, print_table, progress_bar
from .base import json_option, main

RUN = ("tokens", "context", "text")  # options of every row
KV = ("keys", "values", "keys_by", "values_by")


@main.command()
@click.option("--model", required=True, help="smollm2-135m, minilm-l6, or a Hugging Face folder.")
@click.option(
    "--scheme",
    "schemes",
    multiple=True,
    help="Of weights, e.g. int4_asym@g128; repeatable, a row each; none: as stored.",
)
@click.option("--calibrated", multiple=True, type=PATH, help="Folder of `calibrate`; repeatable.")
@click.option("--rule", "rules", multiple=True, help="[BLOCKS:]NAME=SCHEME of weights, repeatable.")
@click.option("--activations", help="Scheme of what enters linear layers, e.g. int8@channel.")
@click.option("--static", is_flag=True, help="Scales of activations are fixed beforehand.")
@click.option("--percentile", type=float, help="Of magnitudes, where activations are cut.")
@click.option("--keys", help="Scheme of keys, e.g. int4_asym@g32.")
@click.option("--values", help="Scheme of values.")
@click.option("--keys-by", help="Groups of keys: token or channel.  [default: token]")
@click.option("--values-by", help="Groups of values: token or channel.  [default: token]")
@click.option("--tokens", type=int, help="Tokens to predict.  [default: 8000]")
@click.option("--context", type=int, help="Tokens of a window.  [default: 512]")
@click.option("--text", type=PATH, help="UTF-8 text.  [default: pydoc's]")
@click.option("--cache", type=PATH, help="Folder where measures are kept.")
@json_option
def accuracy(
    model: str,
    schemes: tuple[str, ...],
    calibrated: tuple[Path, ...],
    cache: Path | None,
    *,
    as_json: bool,
    **asked: Any,
) -> None:
    """Measure a language model's perplexity under formats.

    Formats of weights, activations, keys and values. Beside it: divergence and errors. The linear
    layers of its blocks are quantized; embedding and output head stay. Of the sentence encoder
    minilm-l6: errors of weights, layer outputs and embeddings, and retrieval. A measure is kept by
    the content of weights, text, formats and code, and not taken twice.

    --rule 0,-1=int8@channel is about the first and last blocks, --rule down_proj=none about a
    layer by name, --rule 0-3:*_proj=fp16 about both; a later rule goes ahead of an earlier one.
    """
    from dataclasses import asdict

    from ..datatypes.base.slugs import slug
    from ..workloads import accuracy as lm
    from ..workloads.embedding import NAME, embedding_accuracy
    from ..workloads.lm.formats import Formats, scheme_or_none

    if not schemes and not calibrated:
        raise BitlatheError(
            "--scheme or --calibrated is needed, such as --scheme int4@g128 (none: weights as they "
            "are)"
        )
    given: dict[str, Any] = {
        k: v for k, v in asked.items() if v is not None and v is not False and v != ()
    }
    lost = next((k for k in given if k not in (*RUN, *KV, "activations")), None)
    if lost and not schemes:
        option = "rule" if lost == "rules" else lost.replace("_", "-")
        raise BitlatheError(
            f"--{option} goes with --scheme; layers of --calibrated are taken as they were made, "
            "behind inputs of --activations"
        )
    cut = next((k for k in ("static", "percentile") if k in given), None)
    if calibrated and cut:
        raise BitlatheError(
            f"--{cut}: layers of --calibrated find scales of their inputs as they come, uncut; "
            "leave it out, or measure --scheme alone"
        )
    encoder = slug(model) == NAME
    if encoder and (given or calibrated):
        first_given = next(iter(given), "calibrated")
        raise BitlatheError(
            f"--{first_given.replace('_', '-')}: {NAME} embeds fixed passages, weights alone "
            "quantized; leave it out."
        )
    with progress_bar() as show:
        rows: list[dict[str, Any]]
        if encoder:
            made = embedding_accuracy(schemes, cache=cache, progress=show)
            rows, words = [asdict(row) for row in made], []
            title = f"{NAME}, {rows[0]['passages']} passages of {rows[0]['text']}"
        else:
            run = {k: given.pop(k) for k in RUN if k in given}
            formats = [Formats.of(scheme, **given) for scheme in schemes]
            kv = Formats.of(None, **{k: v for k, v in given.items() if k in KV}).cache
            inputs = scheme_or_none(given.get("activations"))
            beside: dict[str, Any] = {"calibrated": calibrated, "inputs": inputs, "kv": kv}
            found = lm.accuracy(model, formats, **beside, cache=cache, progress=show, **run)
            rows, words, first = [asdict(row) for row in found], lm.remarks(found), found[0]
            title = (
                f"{first.model}, {first.tokens:,} tokens of {first.text}, context {first.context}"
            )
    if as_json:
        print_json(rows)
        return
    apart = {
        "model",
        "text",
        "tokens",
        "context",
        "window_nll",
        "ranked",
        "passages",
        "seen_tokens",
    }
    print_table(rows, title=title, columns=[key for key in rows[0] if key not in apart])
    for word in words:
        click.echo(word)
