"""The order of execution: the layers that `Model.gemms` counts, each after what it reads."""

from collections import Counter
from dataclasses import replace

import pytest

from bitlathe.workloads import load_model
from bitlathe.workloads.model import model_names
from bitlathe.workloads.order import Repeat, Step, execution_order


def unrolled(order):
    for node in order:
        if isinstance(node, Step):
            yield node
        else:
            for _ in range(node.count):
                yield from unrolled(node.body)


def counted(gemms):
    total = Counter()
    for gemm in gemms:
        total[replace(gemm, name="", count=1)] += gemm.count
    return total


@pytest.mark.parametrize("name", model_names())
@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_the_same_layers_as_counted(name: str, phase: str) -> None:
    model = load_model(name)
    if phase == "decode" and not model.has_decode:
        return
    steps = list(unrolled(execution_order(model, phase)))
    assert counted(step.gemm for step in steps) == counted(model.gemms(phase))
    if model.kind != "conv":
        names = Counter(step.gemm.name for step in steps)
        expected = Counter()
        for gemm in model.gemms(phase):
            expected[gemm.name] += gemm.count
        assert names == expected


@pytest.mark.parametrize("name", model_names())
def test_a_layer_reads_what_the_graph_says(name: str) -> None:
    """Every edge of the graph is read, and every name that is read has run before."""
    model = load_model(name)
    order = execution_order(model)
    ran: set[str] = set()
    reads: set[tuple[str, str]] = set()
    for step in unrolled(order):
        assert ran.issuperset({*step.inputs, *step.weights}), step
        reads |= {(source, step.gemm.name) for source in (*step.inputs, *step.weights)}
        ran.add(step.gemm.name)
    edges = {(a.name, b.name) for a, b in model.graph().edges}
    assert edges <= reads
    if model.kind == "conv":
        assert edges == reads


def test_experts_run_one_by_one() -> None:
    order = execution_order(load_model("mixtral-8x7b"))
    (first,) = [node for node in order if isinstance(node, Repeat) and node.count == 8]
    assert [step.gemm.name for step in first.body][-1].startswith("expert_")
    assert [step.parts for step in first.body] == [1, 1, 8]
