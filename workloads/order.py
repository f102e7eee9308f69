"""The order in which a model's layers run, and whose results each of them reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from .gemm import Gemm
from .model import Model
from .transformer.matrix import ENTRY, Product
from .transformer.products import LayerProducts, Staged


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
    leaves : bool
        Whether its results are some of the model's, whoever reads them besides.
    direct : bool
        As of `Product`: whether its inputs lie as the layers ahead made them.
    """

    gemm: Gemm
    inputs: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    parts: int = 1
    leaves: bool = False
    direct: bool = True


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
    return ordered(model.staged(phase, context, batch, causal, logits))


def each_alone(gemms: Iterable[Gemm]) -> Order:
    """Return layers as steps that read nothing of each other's, equal ones together."""
    return tuple(Step(gemm=gemm) for gemm in gemms)


def ordered(staged: Staged) -> Order:
    """Return the products of a pass (`Model.staged`) in the order of `execution_order`."""
    order: list[Step | Repeat] = [] if staged.source is None else [*ordered(staged.source)]
    encoded = () if staged.source is None else staged.source.exits
    for product in staged.before:
        step, count = _step(product, product.inputs), product.gemm.count
        order.append(step if count == 1 else Repeat(count=count, body=(step,)))
    left = tuple(product.gemm.name for product in staged.before)
    for layer in staged.layers:
        order += _layer(layer, left, encoded)
        left = layer.exits
        if layer.layers.count > 1:
            order.append(Repeat(count=layer.layers.count - 1, body=_layer(layer, left, encoded)))
    for product in staged.after:
        inputs = (left if source == ENTRY else (source,) for source in product.inputs)
        order.append(_step(product, tuple(name for names in inputs for name in names)))
    return tuple(order)


def _step(product: Product, inputs: tuple[str, ...]) -> Step:
    return Step(
        gemm=replace(product.gemm, count=1),
        inputs=tuple(name for name in inputs if name != ENTRY),
        weights=product.weights,
        parts=product.parts,
        leaves=product.leaves,
        direct=product.direct,
    )


def _layer(layer: LayerProducts, left: tuple[str, ...], encoded: tuple[str, ...]) -> Order:
    """Return the steps of one layer that reads what ``left`` gave, and ``encoded`` an encoder."""
    steps: list[Step | Repeat] = []
    resolved = layer.resolved(left, encoded)
    for (_, count), alike in groupby(resolved, key=lambda each: _instances(each[0])):
        body = tuple(_step(product, inputs) for product, inputs in alike)
        steps += body if count is None else [Repeat(count=count, body=body)]
    return tuple(steps)


def _instances(product: Product) -> tuple[int, int | None]:
    """Return what products that run over and over together have alike, None where they do not."""
    routed = product.stage in ("experts", "experts_down")
    return (product.gemm.m, product.gemm.count) if routed else (0, None)
