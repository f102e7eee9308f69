"""A request is the sum of its passes: tower, prompt, answer."""

import json
import math
from pathlib import Path

import pytest
from click.testing import CliRunner

import bitlathe as bl
from bitlathe.__main__ import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.request import simulate_request

TOWERS = Path(__file__).parents[1] / "workloads" / "towers.json"
LLAVA = json.loads(TOWERS.read_text())["models"]["llava-0"]["config"]
HOW = {"fidelity": "analytic", "mapper": "whole-buffer"}


def test_the_sum_of_its_passes():
    model = bl.load_model(LLAVA)
    tower = model.part("vision")
    request = simulate_request("bitmod", model, 5, images=2, answer=3, batch=4, **HOW)
    prompt = 5 + 2 * tower.image_tokens
    alone = [
        bl.simulate("bitmod", tower, batch=8, **HOW),
        bl.simulate("bitmod", model, "prefill", prompt, 4, causal=True, logits="last", **HOW),
        bl.simulate("bitmod", model, "decode", prompt + 1, 4, **HOW),
        bl.simulate("bitmod", model, "decode", prompt + 2, 4, **HOW),
    ]
    assert request.prompt == prompt
    assert [phase.name for phase in request.phases] == ["vision", "prefill", "decode"]
    assert [len(phase.runs) for phase in request.phases] == [1, 1, 2]
    assert request.cycles == sum(run.cycles for run in alone)
    assert request.energy_pj["total"] == pytest.approx(
        math.fsum(run.energy_pj["total"] for run in alone), rel=1e-12
    )
    assert request.first_token_seconds == pytest.approx(alone[0].seconds + alone[1].seconds)
    assert request.token_seconds == pytest.approx((alone[2].seconds + alone[3].seconds) / 2)
    assert [phase.tokens for phase in request.phases] == [8 * tower.image_tokens, 4 * prompt, 8]
    assert sum(row["share"] for row in request.rows()) == pytest.approx(1)


def test_text_alone_and_no_answer():
    request = simulate_request("bitmod", "opt-1.3b", 7, **HOW)
    assert [phase.name for phase in request.phases] == ["prefill"]
    assert request.token_seconds is None
    assert "token_seconds" not in request.to_dict()


@pytest.mark.parametrize(
    ("model", "sizes", "words"),
    [
        (LLAVA, {"text": 0}, "the prompt is empty"),
        (LLAVA, {"images": -1}, "images is -1"),
        (LLAVA, {"answer": 0}, "answer is 0"),
        (LLAVA, {"answer": 10**9}, "at most 100000 tokens"),
        (LLAVA, {"batch": 0}, "batch is 0"),
        (LLAVA, {"text": 2.5}, "text is 2.5"),
        ("opt-1.3b", {"images": 1}, "no part 'vision'; parts it has: none"),
        ("bert-base", {}, "a request needs a decoder"),
        ("resnet-18", {}, "a request needs a decoder"),
        ("opt-1.3b", {"text": 2048, "answer": 2}, "2048 tokens only"),
    ],
)
def test_requests_that_cannot_be(model, sizes, words):
    with pytest.raises(BitlatheError) as caught:
        simulate_request("bitmod", model, **sizes, **HOW)
    assert words in str(caught.value)


def test_the_command(tmp_path):
    path = tmp_path / "llava.json"
    path.write_text(json.dumps(LLAVA))
    asked = ["request", "--arch", "bitmod", "--model", str(path), "--images", "1", "--answer", "2"]
    asked += ["--text", "3", "--fidelity", "analytic", "--mapper", "whole-buffer"]
    shown = CliRunner().invoke(main, asked)
    assert shown.exit_code == 0, shown.output
    assert "first token after" in shown.output
    assert "vision" in shown.output
    found = json.loads(CliRunner().invoke(main, [*asked, "--json"]).output)
    assert found["cycles"] == sum(phase["cycles"] for phase in found["phases"])
