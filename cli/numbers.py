"""Commands on numbers: what formats do to tensors and to models."""

from pathlib import Path
from typing import Any

import click

from ..datatypes.base.errors import BitlatheError
from ..reports.options import PATH
from ..reports.terminal import print_json, print_table, progress_bar
from .base import json_option, main


@main.command()
@click.argument("file", type=PATH)
@click.option(
    "--scheme",
    "schemes",
    multiple=True,
    required=True,
    help="A scheme, e.g. int4_asym@g128; repeatable.",
)
@click.option("--plot", type=PATH, help="Draw error against bits (.png).")
@json_option
def quantize(file: Path, schemes: tuple[str, ...], plot: Path | None, *, as_json: bool) -> None:
    """Quantize the tensors of FILE: error and bits per scheme.

    FILE is a .npy, .npz, .safetensors or .gguf file. --scheme may be given more than once: a table
    has a row for each. See `bitlathe formats` for names, docs/datatypes.md for the grammar.

    The format of a scheme may be the path of a YAML file: --scheme my.yaml@g64.
    """
    from dataclasses import asdict

    from ..datatypes.schemes.scheme import Scheme
    from ..datatypes.study.compare import compare, quantizable
    from ..datatypes.weights.read import read_tensors

    parsed = [Scheme.parse(scheme) for scheme in schemes]
    tensors = read_tensors(file)
    with progress_bar() as show:
        results = [compare(tensors, [scheme]) for scheme in show(parsed, "schemes")]
    if plot:
        from ..reports.charts.formats import draw_error_against_bits

        draw_error_against_bits([asdict(rows[-1]) for rows in results], plot)
    flat = [asdict(row) for rows in results for row in rows]
    if as_json:
        print_json(flat)
        return
    print_table(flat, columns=[key for key in flat[0] if key != "term_error"])
    for scheme, rows in zip(parsed, results, strict=True):
        if error := rows[0].term_error:
            click.echo(f"{scheme}: terms are of its values rounded, by up to {error:.4g}.")
    if passed := [name for name, array in tensors.items() if not quantizable(array)]:
        few = ", ".join(passed[:8]) + (", ..." if len(passed) > 8 else "")
        click.echo(f"Passed over {len(passed)} (vectors, integers, empty): {few}")
    if plot:
        click.echo(str(plot))


@main.command()
@click.option("--model", required=True, help="smollm2-135m, minilm-l6, or a Hugging Face folder.")
@click.option(
    "--scheme",
    "schemes",
    multiple=True,
    required=True,
    help="A scheme, e.g. int4_asym@g128; repeatable.",
)
@click.option("--tokens", type=int, help="Tokens to predict.  [default: 8000]")
@click.option("--context", type=int, help="Tokens of a window.  [default: 512]")
@click.option("--text", type=PATH, help="UTF-8 text.  [default: pydoc's]")
@click.option("--cache", type=PATH, help="Folder where measures are kept.")
@json_option
def accuracy(
    model: str,
    schemes: tuple[str, ...],
    tokens: int | None,
    context: int | None,
    text: Path | None,
    cache: Path | None,
    *,
    as_json: bool,
) -> None:
    """Measure a language model's perplexity with quantized weights.

    Beside it: divergence and errors. The linear layers of its blocks are quantized; embedding
    and output head stay. Of the sentence encoder minilm-l6: errors of weights, layer outputs
    and embeddings, and retrieval. A measure is kept by the content of weights, text, scheme and
    code, and not taken twice.
    """
    from dataclasses import asdict

    from ..datatypes.base.slugs import slug
    from ..workloads import accuracy as lm
    from ..workloads.embedding import NAME, embedding_accuracy

    chosen = {"tokens": tokens, "context": context, "text": text}
    given: dict[str, Any] = {k: value for k, value in chosen.items() if value is not None}
    encoder = slug(model) == NAME
    if encoder and given:
        raise BitlatheError(f"--{next(iter(given))}: {NAME} embeds fixed passages; leave it out.")
    with progress_bar() as show:
        rows: list[dict[str, Any]]
        if encoder:
            made = embedding_accuracy(schemes, cache=cache, progress=show)
            rows, words = [asdict(row) for row in made], []
            title = f"{NAME}, {rows[0]['passages']} passages of {rows[0]['text']}"
        else:
            found = lm.accuracy(model, schemes, cache=cache, progress=show, **given)
            rows, words, first = [asdict(row) for row in found], lm.remarks(found), found[0]
            title = (
                f"{first.model}, {first.tokens:,} tokens of {first.text}, context {first.context}"
            )
    if as_json:
        print_json(rows)
        return
    apart = {"model", "text", "tokens", "context", "window_nll", "ranked", "passages"}
    print_table(rows, title=title, columns=[key for key in rows[0] if key not in apart])
    for word in words:
        click.echo(word)
