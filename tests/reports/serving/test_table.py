"""Tables of a server's steps: each row is a run, and profiles sum to the steps they come from."""

import csv
from dataclasses import replace
from fractions import Fraction

import pytest
import yaml
from click.testing import CliRunner

from bitlathe import Gemm, simulate
from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.reports.serving.grid import Grid, Point
from bitlathe.reports.serving.profile import layer_times, place_of
from bitlathe.reports.serving.table import Names, tabulate, write
from bitlathe.workloads import load_model

SMALL = Grid(batches=(0, 1, 4), contexts=(64, 96), chunks=(0, 16), cached=(0, 32))
LLAMA = {
    "model_type": "llama", "hidden_size": 256, "intermediate_size": 512, "vocab_size": 1000,
    "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
}  # fmt: skip
MIXTRAL = {**LLAMA, "model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}
CHIP = "bitmod"


@pytest.fixture(scope="module")
def table():
    return tabulate(CHIP, LLAMA, SMALL, profile=Names())


def lines(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_grid_has_each_step_once():
    points = list(SMALL.points())
    assert len(points) == len(set(points)) == 2 + 4 + 8  # prompts, sequences, both
    assert points[0] == Point(batch=0, context=0, chunk=16, cached=0)
    assert all(point.batch or point.chunk for point in points)
    assert SMALL.token_counts == (1, 2, 4, 8, 16, 20)
    assert Grid(batches=(1,), chunks=(0,)).token_counts == (1,)


def test_sizes_that_nobody_gave_are_those_of_the_model():
    """Learned positions end: OPT's at 2048, GPT-2's at 1024."""
    opt = Grid.within(load_model("opt-125m").shape.longest_context)
    assert (opt.contexts, opt.chunks) == ((512, 2048), (0, 512, 2048))
    gpt2 = Grid.within(1024, contexts=(8192,), cached=(0, 100))
    assert (gpt2.contexts, gpt2.chunks) == ((8192,), (0, 512, 924))
    assert Grid.within(load_model("llama-3.2-1b").shape.longest_context) == Grid()


def test_a_row_is_a_run(table):
    """In units told by the columns' names; a pure decode and a pure prompt are those of phases."""
    rows = {(r["batch"], r["context"], r["chunk"], r["cached"]): r for r in table.steps}
    decode, mixed = rows[4, 96, 0, 0], rows[4, 96, 16, 32]
    run = simulate(CHIP, LLAMA, "decode", 96, batch=4, fidelity="analytic")
    assert decode["cycles"] == run.cycles
    assert decode["latency_us"] == pytest.approx(run.cycles / run.clock_ghz / 1e3, rel=1e-12)
    assert decode["energy_uj"] == pytest.approx(run.energy_pj["total"] / 1e6, rel=1e-12)
    watts = decode["energy_uj"] / decode["latency_us"]
    assert decode["power_w"] == pytest.approx(watts, rel=1e-12)
    assert decode["tokens"] == 4
    assert decode["tokens_per_second"] == pytest.approx(4e6 / decode["latency_us"], rel=1e-12)
    assert decode["energy_per_token_uj"] == pytest.approx(decode["energy_uj"] / 4, rel=1e-12)
    step = {"prefill": [[16, 32]], "decode": [96] * 4}
    assert mixed["cycles"] == simulate(CHIP, LLAMA, step=step, fidelity="analytic").cycles
    assert mixed["tokens"] == 20
    prompt = simulate(
        CHIP, LLAMA, "prefill", 16, causal=True, logits="last", fidelity="analytic"
    )  # fmt: skip
    assert rows[0, 0, 16, 0]["cycles"] == prompt.cycles


def step_us(table, layers, batch, context):
    """Return a decode's time as a simulator walks the catalog: each layer of a block in turn."""
    dense = {
        row["layer"]: row["time_us"] for row in table.profile["dense"] if row["tokens"] == batch
    }
    sequences = {
        row["layer"]: row["time_us"]
        for row in table.profile["per_sequence"]
        if row["sequences"] == batch
    }
    (view,) = (
        row["time_us"]
        for row in table.profile["attention"]
        if (row["n_decode"], row["kv_decode"], row["prefill_chunk"]) == (batch, context - 1, 0)
    )
    feed = [row["time_us"] for row in table.profile.get("moe", []) if row["tokens"] == batch]
    feed = feed or [dense[name] for name in ("gate_up_proj", "act_fn", "down_proj")]
    block = [dense[name] for name in ("layernorm", "qkv_proj", "rotary_emb")]
    block += [view, dense["o_proj"], dense["layernorm"], *feed]
    head = [dense["embedding"], dense["final_layernorm"], *sequences.values()]
    return layers * sum(block) + sum(head)


@pytest.mark.parametrize("config", [LLAMA, MIXTRAL], ids=["dense", "experts"])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_profile_sums_to_its_steps(config, batch):
    """LLMServingSim adds up what it looks up; at the table's own sizes that is the step."""
    table = tabulate(
        CHIP, config, Grid(batches=(batch,), contexts=(64,), chunks=(0,)), profile=Names()
    )  # fmt: skip
    (row,) = table.steps
    assert step_us(table, 3, batch, 64) == pytest.approx(row["latency_us"], rel=1e-9)


def test_experts_in_use_are_told():
    table = tabulate(
        CHIP, MIXTRAL, Grid(batches=(16,), contexts=(64,), chunks=(0,)), profile=Names()
    )  # fmt: skip
    used = {row["tokens"]: row["activated_experts"] for row in table.profile["moe"]}
    assert used[1] == 2  # each token visits two
    assert used[16] == 4


def test_files_are_those_of_the_layout(table, tmp_path):
    paths = write(table, tmp_path)
    folder = next(path.parent for path in paths if path.name == "meta.yaml")
    assert folder.relative_to(tmp_path).parts[0] == "bitmod"
    assert {path.name for path in (folder / "tp1").iterdir()} == {
        "dense.csv", "per_sequence.csv", "attention.csv"
    }  # fmt: skip
    views = lines(folder / "tp1" / "attention.csv")
    assert list(views[0]) == [
        "layer", "prefill_chunk", "prefill_key", "n_decode", "kv_decode", "decode_q_len", "time_us"
    ]  # fmt: skip
    mixed = [row for row in views if row["prefill_key"] == "40.0" and row["n_decode"] == "4"]
    assert {row["kv_decode"] for row in mixed} == {"63", "95"}  # 32 cached, half of 16 new
    meta = yaml.safe_load((folder / "meta.yaml").read_text())
    assert meta["engine_effective"] == {"max_num_batched_tokens": 20, "max_num_seqs": 4}
    assert [Fraction(row["latency_us"]) for row in lines(tmp_path / "steps.csv")] == [
        Fraction(str(row["latency_us"])) for row in table.steps
    ]


def test_names_are_chosen(tmp_path):
    grid = Grid(batches=(1,), contexts=(64,), chunks=(0,))
    table = tabulate(CHIP, LLAMA, grid, profile=Names(hardware="NPU-X", variant="w4"))
    folders = {path.parent for path in write(table, tmp_path) if path.name == "meta.yaml"}
    (folder,) = folders
    assert folder.parts[-1] == "w4"
    assert folder.parts[-3] == "NPU-X"


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"batches": ()}, "batches: no sizes; give at least one, as 1,4,16."),
        ({"contexts": (0,)}, "contexts: 0 is too small; the least is 1."),
        ({"batches": (2**40 + 1,)}, "batches: 1099511627777 is too large; the most is 2^40."),
        ({"chunks": (5, 5)}, "chunks: 5 stands there twice; give each size once."),
        ({"batches": (0,), "chunks": (0,)}, "batches and chunks: only 0, which is no step"),
    ],
)
def test_a_grid_of_nothing_is_refused(sizes, said):
    with pytest.raises(BitlatheError, match=said[:40]):
        Grid(**sizes)


def test_layers_without_a_place_are_refused_before_the_grid_runs():
    model = load_model("gpt2")
    run = simulate(CHIP, model, "decode", 16, fidelity="analytic")
    assert layer_times(run)["qkv_proj"] > 0
    odd = replace(run, layers=(replace(run.layers[0], name="kv_b_proj_keys"),))
    with pytest.raises(BitlatheError, match="layer 'kv_b_proj_keys' has no place"):
        layer_times(odd)


@pytest.mark.parametrize(
    ("layer", "place"),
    [
        ("attention_qk_local", "attention"),
        ("softmax_local", "attention"),
        ("o_proj_norms", "layernorm"),
        ("expert_down_proj_residual", "layernorm"),
        ("shared_expert_gate", None),
    ],
)
def test_places(layer, place):
    if place is None:
        with pytest.raises(BitlatheError):
            place_of(layer)
    else:
        assert place_of(layer) == place


def test_a_list_of_products_has_no_steps():
    with pytest.raises(BitlatheError, match="a step needs a model that generates tokens"):
        tabulate(CHIP, [Gemm(name="p", m=4, n=4, k=4)], SMALL)


def command(tmp_path, *more):
    words = ["table", "--arch", CHIP, "--model", "opt-125m", "--out", str(tmp_path / "out")]
    return CliRunner().invoke(main, [*words, *more])


def test_the_command_prints_and_writes(tmp_path):
    done = command(tmp_path, "--batch", "1,2", "--context", "16", "--chunk", "0", "--profile")
    assert done.exit_code == 0, done.output
    assert "opt-125m on bitmod" in done.output
    assert len(lines(tmp_path / "out" / "steps.csv")) == 2
    assert "meta.yaml" in done.output


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--batch", "1,x"], "write whole numbers with commas, as 1,4,16."),
        (["--variant", "w4"], "--variant: it names a folder of a profile; add --profile."),
        (["--profile", "--hardware", "a/b"], "hardware: 'a/b' is not the name of one folder"),
    ],
)
def test_bad_options_are_refused(tmp_path, more, said):
    done = command(tmp_path, *more)
    assert done.exit_code != 0
    assert said in done.output
    assert not (tmp_path / "out").exists()
