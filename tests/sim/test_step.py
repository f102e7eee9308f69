"""What a server runs at once: equal to the phases it can be, less than its parts apart."""

import pytest

import bitlathe as bl
from bitlathe import BitlatheError, Step


def _run(step=None, *how, **more):
    kind = {"fidelity": "analytic", "mapper": "whole-buffer", "step": step}
    return bl.simulate("bitmod", "llama-3.2-1b", *how, **kind, **more)


def _costs(run):
    return [(x.name, x.count, x.cycles, x.dram_bits, x.energy_pj) for x in run.layers]


def test_a_step_that_is_a_phase_costs_what_the_phase_does():
    decode = _run({"decode": [{"context": 300, "sequences": 4}]})
    assert _costs(decode) == _costs(_run(None, "decode", 300, 4))
    prefill = _run({"prefill": [[128, 0], [128, 0]]})
    assert _costs(prefill) == _costs(_run(None, "prefill", 128, 2, causal=True, logits="last"))


def test_a_mixed_step_shares_weights():
    mixed = _run({"prefill": [[128, 64]], "decode": [300, 300]})
    apart = (_run({"prefill": [[128, 64]]}), _run({"decode": [300, 300]}))
    assert mixed.cycles < sum(run.cycles for run in apart)
    assert mixed.dram_bits["weight"] < sum(run.dram_bits["weight"] for run in apart)
    assert (mixed.phase, mixed.context, mixed.batch) == ("step", 300, 3)
    assert mixed.to_dict()["step"]["prefill"] == ({"new": 128, "cached": 64, "sequences": 1},)


def test_drafted_tokens_cost_less_than_steps_of_their_own():
    verified = _run({"decode": [300], "decode_tokens": 4})
    assert verified.cycles < 4 * _run({"decode": [300]}).cycles


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({}, "a step of nothing; give prefill"),
        ({"prefil": [[1, 0]]}, "unknown key 'prefil'; did you mean 'prefill'"),
        ({"prefill": [[0, 1]]}, r"prefill\.0\.new: input should be greater than or equal to 1"),
        ({"decode": [3.5]}, "decode"),
        ({"decode": [2], "decode_tokens": 4}, "decode"),
    ],
)
def test_wrong_steps_are_refused(step, said):
    with pytest.raises(BitlatheError, match=said):
        _run(step)


def test_a_step_says_what_phase_and_batch_would():
    with pytest.raises(BitlatheError, match="step: it says phase"):
        _run({"decode": [3]}, "decode")
    with pytest.raises(BitlatheError, match="needs a model that generates tokens"):
        bl.simulate("bitmod", "resnet-18", step=Step(decode=[3]))
