"""A model in rows and sentences: its matrices, parameters, work and memory for a token."""

from collections.abc import Iterator
from typing import Any

from .gemm import Gemm
from .model import Model
from .transformer import Transformer

Rows = list[dict[str, Any]]


def matrix_rows(model: Model) -> Rows:
    """Return a row for each kind of weight matrix: outputs, inputs, how many, their elements.

    Of a transformer each expert counts; of other models one row stands for equal layers.
    """
    if not isinstance(model.shape, Transformer):
        return [_row(g.name, g.n, g.k, g.batch * g.count) for g in _weights(model)]
    found: dict[tuple[str, int, int], int] = {}
    for part, layers in model.shape.parts():
        for matrix, instances in part.matrices():
            key = matrix.name, matrix.outputs, matrix.inputs
            found[key] = found.get(key, 0) + instances * layers
    for matrix in (*model.shape.matrices_ahead(), *(head.matrix for head in model.shape.heads)):
        found[matrix.name, matrix.outputs, matrix.inputs] = 1
    return [_row(*key, count) for key, count in found.items()]


def _weights(model: Model) -> Iterator[Gemm]:
    phase = "prefill" if model.kind != "products" or not model.has_decode else "decode"
    return (gemm for gemm in model.gemms(phase) if gemm.stationary == "weight")


def _row(name: str, outputs: int, inputs: int, count: int) -> dict[str, Any]:
    elements = outputs * inputs * count
    return {
        "matrix": name, "outputs": outputs, "inputs": inputs, "count": count, "elements": elements
    }  # fmt: skip


def layer_rows(model: Model) -> Rows:
    """Return a row for each kind of layer of a transformer, in order: how many, of which parts."""
    if not isinstance(model.shape, Transformer):
        return []
    return [
        {
            "layers": layers.count,
            "parts": ", ".join(type(part).__name__ for part in layers.parts),
            "in parallel": layers.abreast > 1,
            "parameters of one": sum(part.parameter_count() for part in layers.parts)
            + layers.norm_parameters,
        }
        for layers in model.shape.layers
    ]


def figures(model: Model, context: int = 2048) -> dict[str, Any]:
    """Return what a model takes: parameters, and for a token work and memory.

    Parameters
    ----------
    model : Model
    context : int
        Tokens in view of the token whose multiply-accumulates are counted, itself included.

    Returns
    -------
    dict
        ``macs`` are those of one decoded token, or of one whole input where nothing is decoded;
        ``cache_elements_per_token`` and ``cache_elements`` of all layers, at ``context``;
        ``cache_bytes_per_token`` in 16 bits.
    """
    found: dict[str, Any] = {
        "name": model.name,
        "family": model.family,
        "kind": model.kind,
        "parameters": model.parameter_count,
        "weight_elements": model.weight_count,
    }
    if model.kind != "decoder":
        gemms = model.gemms("decode" if model.has_decode else "prefill")
        return {**found, "macs": sum(gemm.macs * gemm.count for gemm in gemms)}
    gemms = model.gemms("decode", context)
    return {
        **found,
        "context": context,
        "macs": sum(gemm.macs * gemm.count for gemm in gemms),
        "cache_elements_per_token": (each := model.cache_elements(2) - model.cache_elements(1)),
        "cache_bytes_per_token": 2 * each,
        "cache_elements": model.cache_elements(context),
        "state_elements": model.state_elements,
    }


def lines(model: Model, context: int = 2048) -> list[str]:
    """Return the figures of a model in sentences, and what is left out of it."""
    found = figures(model, context)
    work = "of one input"
    if "context" in found:
        work = f"of a token that sees {context:,}"
    text = [
        f"{found['parameters']:,} parameters, {found['weight_elements']:,} in matrices",
        f"{found['macs']:,} multiply-accumulates {work}",
    ]
    if "context" in found:
        each, held = found["cache_elements_per_token"], found["cache_elements"]
        text.append(
            f"cache: {each:,} elements a token, {held:,} at {context:,} tokens; in 16 bits "
            f"{2 * each:,} bytes a token, {2 * held:,}"
        )
    if found.get("state_elements"):
        text.append(f"states: {found['state_elements']:,} elements of a sequence of any length")
    for tower in model.towers:
        part = tower.name.rpartition(":")[2]
        text.append(
            f"part {part!r} ({tower.family}): {tower.parameter_count:,} of the parameters; "
            f"{'a sound' if part == 'audio' else 'an image'} takes "
            f"{tower.image_tokens:,} tokens of a prompt"
        )
    return [*text, *model.notes]


def block(model: Model, tokens: int = 1) -> tuple[Rows, list[tuple[str, str]]]:
    """Return one layer of each kind as a graph of products.

    Parameters
    ----------
    model : Model
    tokens : int
        Tokens of the pass.

    Returns
    -------
    nodes : list of dict
        ``name``, ``size`` as text, and ``then``: what follows on a vector unit.
    edges : list of (str, str)
        Names of what feeds what.
    """
    context = tokens if model.kind == "decoder" else None
    graph = model.graph(context=context)
    then: dict[str, list[str]] = {}
    for step in model.vector_steps(model.staged(context=context)):
        for name in step.after[-1:]:
            then.setdefault(name, []).append(step.name)
    nodes: dict[str, dict[str, Any]] = {}
    for gemm in graph:
        times = f" x {gemm.batch:,}" if gemm.batch > 1 else ""
        size, steps = f"{gemm.n:,} x {gemm.k:,}{times}", then.get(gemm.name, [])
        nodes[gemm.name] = {"name": gemm.name, "size": size, "then": steps}
    edges = dict.fromkeys((tail.name, head.name) for tail, head in graph.edges)
    return list(nodes.values()), list(edges)
