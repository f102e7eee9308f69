"""The order in which a model's layers run, and whose results each of them reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from .conv import ConvNet
from .gemm import Gemm
from .model import Model
from .products import Products
from .transformer import Layers, Staged, Transformer

# stage of a transformer layer: the stages whose results are its inputs
_INPUTS = {
    "mix": ("scores",),
    "out": ("mix",),
    "router": ("out",),
    "mlp": ("out",),
    "experts": ("out", "router"),
    "down": ("mlp",),
    "experts_down": ("experts",),
}
_OF_ENTRY = ("query", "value")  # stages that read what the layer before left
_ROUTED = ("router", "experts", "experts_down")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One instance of a layer in the order of execution.

    Attributes
    ----------
    gemm : Gemm
        The product; its count is 1 where the order matters.
    inputs, weights : tuple of str
        Names of the layers whose latest results are its inputs, and its weight operand (K and V
        of attention). Where none has run yet, or none is named, they come from outside.
    parts : int
        Instances whose results are read together (experts); 1 elsewhere.
    """

    gemm: Gemm
    inputs: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    parts: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """Steps that run ``count`` times over."""

    count: int
    body: tuple[Step | Repeat, ...]


Order = tuple[Step | Repeat, ...]


def steps_of(order: Order) -> Iterator[Step]:
    """Yield the steps of an order, those of a Repeat once."""
    for node in order:
        if isinstance(node, Step):
            yield node
        else:
            yield from steps_of(node.body)


def execution_order(
    model: Model,
    phase: str = "prefill",
    context: int | None = None,
    batch: int = 1,
    causal: bool = False,
    logits: str = "all",
) -> Order:
    """Return a model's layers in the order in which they run, with what each one reads.

    Parameters
    ----------
    model : Model
        The network.
    phase, context, batch, causal, logits
        As in `Model.gemms`, which counts the same layers and checks these arguments.

    Notes
    -----
    Layers of a transformer that are alike run one after another, as the model's sizes hold no
    finer order; the experts of a layer run one by one. What is no matrix product (norms,
    activations, pooling, residual sums) takes no time here and passes dependencies on.

    Examples
    --------
    >>> from bitlathe.workloads import load_model
    >>> [s.gemm.name for s in steps_of(execution_order(load_model("opt-1.3b")))][:6]
    ['q_proj', 'k_proj', 'v_proj', 'attention_qk', 'attention_av', 'out_proj']
    """
    return ordered(model, model.staged(phase, context, batch, causal, logits))


def each_alone(gemms: Iterable[Gemm]) -> Order:
    """Return layers as steps that read nothing of each other's, equal ones together."""
    return tuple(Step(gemm=gemm) for gemm in gemms)


def ordered(model: Model, staged: Staged) -> Order:
    """Return the products of a pass (`Model.staged`) in the order of `execution_order`."""
    if isinstance(model.shape, ConvNet):
        return tuple(
            Step(gemm=gemm, inputs=layer.sources)
            for layer, (_, gemm) in zip(model.shape.layers, staged, strict=True)
        )
    if isinstance(model.shape, Products):
        return tuple(_listed(model.shape, staged))
    return _transformer(model.shape, staged)


def _listed(shape: Products, staged: Staged) -> Iterator[Step | Repeat]:
    """Yield the products of a list as they stand, those of a count one after another."""
    for entry, (_, gemm) in zip(shape.entries, staged, strict=True):
        one = replace(gemm, count=1)
        step = Step(gemm=one, inputs=entry.inputs, weights=entry.operands)
        yield step if gemm.count == 1 else Repeat(count=gemm.count, body=(step,))


def _transformer(shape: Transformer, staged: Staged) -> Order:
    order: list[Step | Repeat] = []
    left: tuple[str, ...] = ()
    for stage, gemm in staged:
        if stage == "embed":
            order.append(Step(gemm=gemm))
            left = (*left, gemm.name)
    for layers in shape.layers:
        mine = _of_layer(shape, layers, staged)
        order += _layer(shape, mine, left)
        ends = ("out", "down") if shape.family.parallel else ("down", "experts_down")
        left = _names(mine, *ends)
        if layers.count > 1:
            body = tuple(_layer(shape, mine, left))
            order.append(Repeat(count=layers.count - 1, body=body))
    heads: dict[str, str] = {}
    for stage, gemm in staged:
        kind, _, part = stage.partition(":")
        if kind in ("head", "tail"):
            inputs = left if kind == "head" else (heads[part],)
            order.append(Step(gemm=replace(gemm, count=1), inputs=inputs))
            heads[part] = gemm.name
    return tuple(order)


def _of_layer(shape: Transformer, layers: Layers, staged: Staged) -> list[tuple[str, Gemm]]:
    """Return the products of one of ``layers``: its window's attention, its kind of MLP."""
    windows = sorted({each.window for each in shape.layers}, key=lambda window: window or 0)
    mine, seen = [], {"scores": 0, "mix": 0}
    for stage, gemm in staged:
        kind = stage.partition(":")[0]
        if kind in seen:
            if seen[kind] == windows.index(layers.window):
                mine.append((kind, gemm))
            seen[kind] += 1
        elif kind in ("mlp", "down"):
            if gemm.name.startswith("shared_expert_") == layers.routed:
                mine.append((kind, gemm))
        elif kind not in ("embed", "head", "tail") and (layers.routed or kind not in _ROUTED):
            mine.append((kind, gemm))
    return mine


def _layer(
    shape: Transformer, mine: list[tuple[str, Gemm]], left: tuple[str, ...]
) -> list[Step | Repeat]:
    """Return the steps of one layer that reads what the layers ``left`` gave."""
    names = {stage: _names(mine, stage) for stage, _ in mine}
    query, key = names["query"][0], names["query"][-1]  # one matrix where they are fused
    value = names.get("value", (query,))
    steps: list[Step | Repeat] = []
    experts: dict[int, list[Step]] = {}  # by their rows: experts alike run one after another
    busy: dict[int, int] = {}
    for stage, gemm in mine:
        inputs = tuple(name for source in _INPUTS.get(stage, ()) for name in names.get(source, ()))
        if stage in _OF_ENTRY or (stage == "mlp" and shape.family.parallel):
            inputs = left
        step = Step(gemm=replace(gemm, count=1), inputs=inputs)
        if stage == "scores":
            step = replace(step, inputs=(query,), weights=(key,))
        elif stage == "mix":
            step = replace(step, weights=value)
        if stage in ("experts", "experts_down"):
            experts.setdefault(gemm.m, []).append(step)
            busy[gemm.m] = gemm.count // shape.routed_depth
        else:
            steps.append(step)
    for rows, body in experts.items():
        *into, out = body  # the results of all experts of a layer are read together
        parts = (*into, replace(out, parts=sum(busy.values())))
        steps.append(Repeat(count=busy[rows], body=parts))
    return steps


def _names(mine: list[tuple[str, Gemm]], *stages: str) -> tuple[str, ...]:
    """Return the names of the products of some stages, each once."""
    return tuple(dict.fromkeys(gemm.name for stage, gemm in mine if stage in stages))
