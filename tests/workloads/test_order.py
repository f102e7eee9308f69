"""The order of execution: the layers that `Model.gemms` counts, each after what it reads."""

from collections import Counter
from dataclasses import replace

import pytest

from bitlathe.mapping.keep import keep_outputs, placed_steps
from bitlathe.mapping.whole_buffer import Traffic
from bitlathe.workloads import load_model
from bitlathe.workloads.load import model_names
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


def test_experts_with_more_rows_run_first() -> None:
    """101 tokens visit 8 experts 202 times; what all 8 leave is read together."""
    order = execution_order(load_model("mixtral-8x7b"), context=101)
    more, fewer = (node for node in order[:9] if isinstance(node, Repeat))
    assert [(node.count, node.body[0].gemm.m) for node in (more, fewer)] == [(2, 26), (6, 25)]
    for node in (more, fewer):
        assert [step.parts for step in node.body] == [1, 1, 8]
        assert node.body[-1].inputs == ("expert_gate_proj", "expert_up_proj")
    steps = list(unrolled(order))
    assert steps[-1].inputs == ("expert_down_proj",)
    assert counted(step.gemm for step in steps) == counted(
        load_model("mixtral-8x7b").gemms(context=101)
    )


def test_results_of_experts_are_never_kept() -> None:
    """What an expert leaves is a part of what the next layer reads; what it reads may stay."""
    order = execution_order(load_model("mixtral-8x7b"), context=101)
    one = Traffic(weight_bytes=1, input_bytes=1, output_bytes=1)
    kept = {
        (placed.step.gemm.name, placed.step.gemm.m, placed.kept.input, placed.kept.output)
        for placed, _ in placed_steps(keep_outputs(order, lambda gemm: one, 2**40))
        if placed.step.gemm.name.startswith("expert_")
    }
    assert kept == {
        entry
        for rows in (25, 26)
        for entry in (
            ("expert_gate_proj", rows, True, True),
            ("expert_up_proj", rows, True, True),
            ("expert_down_proj", rows, True, False),
        )
    }


@pytest.mark.parametrize("logits", ["all", "last"])
def test_the_head_is_the_one_asked_for(logits: str) -> None:
    model = load_model("gemma-3-1b")
    *_, head = unrolled(execution_order(model, context=9, logits=logits))
    assert head.gemm == model.gemms(context=9, logits=logits)[-1]
