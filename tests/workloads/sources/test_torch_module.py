"""Traced torch modules: torch's own counter of operations, the readers of configurations, loops."""

from dataclasses import dataclass
from typing import Any

import pytest

import bitlathe as bl
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads.order import execution_order, steps_of

torch = pytest.importorskip("torch")
nn, F = torch.nn, torch.nn.functional


class Attention(nn.Module):
    """Eight heads of queries over two of keys and values, in every way that people write it."""

    def __init__(self, how, *, causal=False):
        super().__init__()
        self.q, self.kv = nn.Linear(32, 32, bias=False), nn.Linear(32, 16, bias=False)
        self.o, self.how, self.causal = nn.Linear(32, 32), how, causal

    def forward(self, x):
        batch, tokens, _ = x.shape
        q = self.q(x).view(batch, tokens, 8, 4).transpose(1, 2)
        k, v = self.kv(x).view(batch, tokens, 2, 8).transpose(1, 2).split(4, -1)
        if self.how == "grouped":
            out = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal, enable_gqa=True)
        else:
            k, v = (
                t[:, :, None].expand(batch, 2, 4, tokens, 4).reshape(batch, 8, tokens, 4)
                for t in (k, v)
            )
            if self.how == "repeated":
                out = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
            else:
                out = torch.softmax(q @ k.mT / 2, -1) @ v
        return x + self.o(out.transpose(1, 2).reshape(batch, tokens, 32))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.lm_head = nn.Embedding(50, 16), nn.Linear(16, 50, bias=False)
        self.lm_head.weight = self.embed.weight

    def forward(self, ids):
        return self.lm_head(self.embed(ids))


class Functional(nn.Module):
    """Products outside of modules: weights on the left, vectors, einsum, convolution by hand."""

    def __init__(self):
        super().__init__()
        self.left, self.heads = nn.Parameter(torch.ones(6, 5)), nn.Parameter(torch.ones(3, 4, 7))
        self.taps = nn.Parameter(torch.ones(2, 1, 3))

    def forward(self, x):  # (5, 8)
        y = self.left @ x
        z = torch.einsum("hkn,bhk->bhn", self.heads, y.reshape(4, 3, 4))
        return F.conv1d(z.reshape(1, 2, -1), self.taps, groups=2)


def convolutions():
    return nn.Sequential(
        nn.Conv2d(4, 8, (3, 5), stride=(2, 1), padding=1, groups=2),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8),
        nn.ConvTranspose2d(8, 4, 4, stride=2, groups=2),
        nn.Flatten(2),
        nn.Conv1d(4, 6, 5, stride=2),
    )


def without_masks(gemms):
    return sum(g.m * g.n * g.k * g.batch * g.count for g in gemms)


def layer():
    return nn.TransformerEncoderLayer(16, 4, 24, batch_first=True)


CASES = {
    "mlp": (lambda: nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 4)), [(2, 3, 8)]),
    "vector": (lambda: nn.Linear(8, 12), [(8,)]),
    "convolutions": (convolutions, [(2, 4, 11, 12)]),
    "volumes": (lambda: nn.Conv3d(4, 8, (2, 3, 1), 2, (0, 1, 2), groups=2), [(2, 4, 6, 7, 8)]),
    "multihead": (lambda: nn.MultiheadAttention(16, 4), [(5, 2, 16), (7, 2, 16), (7, 2, 16)]),
    "encoder": (lambda: nn.TransformerEncoder(layer(), 3), [(2, 5, 16)]),
    "encoder, running": (lambda: nn.TransformerEncoder(layer(), 3).eval(), [(2, 5, 16)]),
    "grouped": (lambda: Attention("grouped"), [(2, 5, 32)]),
    "repeated": (lambda: Attention("repeated"), [(2, 5, 32)]),
    "by hand": (lambda: Attention("by hand"), [(2, 5, 32)]),
    "causal": (lambda: Attention("grouped", causal=True), [(2, 5, 32)]),
    "functional": (Functional, [(5, 8)]),
    "recurrent": (lambda: nn.LSTM(4, 6, 2), [(5, 3, 4)]),
}


@pytest.mark.filterwarnings("ignore:enable_nested_tensor", "ignore:TF32")
@pytest.mark.parametrize("name", CASES)
def test_torch_counts_the_same_multiplications(name):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    make, shapes = CASES[name]
    module, inputs = make(), [torch.ones(shape) for shape in shapes]
    model = bl.from_torch(module, *inputs)
    torch.backends.mha.set_fastpath_enabled(False)  # it hides products from the counter, too
    kept = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            module(*inputs)
    finally:
        torch.backends.mha.set_fastpath_enabled(True)
        torch._C._set_mkldnn_enabled(kept)
    assert without_masks(model.gemms()) * 2 == counter.get_total_flops() > 0
    assert model.parameter_count == sum(p.numel() for p in module.parameters())
    assert model.weight_count == sum(p.numel() for p in module.parameters() if p.dim() > 1)
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("how", ["grouped", "repeated", "by hand"])
def test_heads_that_share_keys_are_rows_of_one_product(how):
    model = bl.from_torch(Attention(how), torch.ones(2, 5, 32))
    q, kv, scores, mix, o = model.gemms()
    assert (scores.m, scores.n, scores.k, scores.batch) == (4 * 5, 5, 4, 2 * 2)
    assert (mix.m, mix.n, mix.k, mix.batch) == (4 * 5, 4, 5, 2 * 2)
    assert {g.stationary for g in (scores, mix)} == {"kv_cache"}
    assert [g.role for g in (q, kv, scores, mix, o)] == [
        "linear", "linear", "scores", "mix", "linear"
    ]  # fmt: skip
    steps = list(steps_of(execution_order(model)))
    assert [(s.inputs, s.weights) for s in steps[2:]] == [
        (("q",), ("kv",)), (("attention_qk",), ("kv",)), (("attention_av",), ())
    ]  # fmt: skip


def test_a_causal_mask_is_counted_exactly():
    *_, scores, mix, _ = bl.from_torch(
        Attention("grouped", causal=True), torch.ones(2, 5, 32)
    ).gemms()
    seen = sum(token + 1 for token in range(5)) * 4 * 4  # 4 heads of queries, 4 of keys
    assert (scores.macs, mix.macs) == (seen * 4, seen * 4)


def test_convolutions_keep_their_shapes():
    first, depthwise, transposed, last = bl.from_torch(
        convolutions(), torch.ones(2, 4, 11, 12)
    ).gemms()
    assert (first.conv.kernel, first.conv.stride, first.conv.groups) == ((3, 5), (2, 1), 2)
    assert (first.batch, first.sequences, first.m) == (2, 2, 2 * 6 * 10)
    assert (depthwise.conv.dilation, depthwise.batch) == ((2, 2), 8)
    assert (transposed.conv, transposed.m, transposed.n) == (None, 2 * 6 * 10, 2 * 16)
    assert (last.conv.size, last.conv.kernel) == ((1, 14 * 22), (1, 5))


def test_a_volume_reads_what_its_taps_touch():
    shape = (2, 4, 6, 7, 8)
    (gemm,) = bl.from_torch(*[CASES["volumes"][0](), torch.ones(shape)]).gemms()
    seen = set()
    for depth in range(3):
        for row in range(4):
            for column in range(6):
                for a in range(2):
                    for b in range(3):
                        at = (2 * depth + a, 2 * row + b - 1, 2 * column - 2)
                        if all(0 <= i < n for i, n in zip(at, shape[2:], strict=True)):
                            seen.add(at)
    assert gemm.m == 2 * 3 * 4 * 6
    assert gemm.distinct_input_elements == 2 * 4 * len(seen)


def test_layers_alike_are_one_with_a_count():
    stack = nn.Sequential(*[nn.Linear(8, 8) for _ in range(3)], nn.Linear(8, 4), nn.Linear(4, 8))
    model = bl.from_torch(stack, torch.ones(2, 8), name="stack")
    assert [(g.name, g.count, g.n) for g in model.gemms()] == [
        ("0", 3, 8),
        ("3", 1, 4),
        ("4", 1, 8),
    ]
    encoder = bl.from_torch(nn.TransformerEncoder(layer(), 3), torch.ones(2, 5, 16))
    assert [g.count for g in encoder.gemms()] == [3] * 6
    assert not encoder.beside  # what it does not multiply is asked of the vector unit

    class Rare(nn.Module):
        def __init__(self):
            super().__init__()
            self.into = nn.Linear(4, 4)

        def forward(self, x):
            return torch.cumprod(F.gelu(self.into(x)), -1).sort(-1).values

    assert set(bl.from_torch(Rare(), torch.empty(2, 4)).beside) == {"cumprod", "sort"}
    assert encoder.gemms()[0].name == "layers.*.self_attn.in_proj"
    again = nn.Linear(8, 8)
    twice = bl.from_torch(nn.Sequential(again, again), torch.ones(2, 8))
    assert (twice.gemms()[0].count, twice.weight_count) == (2, 64)


def test_names_and_sizes_of_products_outside_modules():
    model = bl.from_torch(Functional(), torch.ones(5, 8))
    assert [(g.name, g.m, g.n, g.k, g.batch) for g in model.gemms()] == [
        ("left", 8, 6, 5, 1), ("heads", 4, 7, 4, 3), ("taps", 40, 1, 3, 2)
    ]  # fmt: skip
    head = bl.from_torch(Tied(), torch.zeros(2, 3, dtype=torch.long)).gemms()[0]
    assert (head.name, head.role, head.n) == ("lm_head", "head", 50)


def test_a_transformer_is_what_its_configuration_says():
    """Of nn modules, against the reader of configurations: the same block as qwen2 has."""
    keys = {"model_type": "qwen2", "hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 50,
            "num_attention_heads": 8, "num_key_value_heads": 2, "intermediate_size": 8}  # fmt: skip
    read = bl.load_model(keys).gemms(context=5, batch=2)
    traced = bl.from_torch(Attention("grouped"), torch.ones(2, 5, 32)).gemms()
    sizes = {g.role: (g.m, g.n, g.k, g.batch) for g in read}
    assert all(sizes[g.role] == (g.m, g.n, g.k, g.batch) for g in traced if g.role != "linear")


def test_any_size_on_any_device_runs_on_a_chip():
    with torch.device("meta"):
        module = nn.Sequential(nn.Linear(2**17, 2**17), nn.Linear(2**17, 64))  # 64 GiB of weights
    before = {name: id(p) for name, p in module.named_parameters()}
    run = bl.simulate("bitmod", bl.from_torch(module, torch.empty(1, 2**17)), fidelity="analytic")
    assert [(layer.name, layer.n) for layer in run.layers] == [("0", 2**17), ("1", 64)]
    assert {name: id(p) for name, p in module.named_parameters()} == before
    assert not module._forward_hooks
    assert not module[0]._forward_pre_hooks


def test_more_inputs_at_once_share_the_weights():
    model = bl.from_torch(Attention("grouped"), torch.ones(1, 5, 32))
    several = bl.from_torch(Attention("grouped"), torch.ones(3, 5, 32))
    for one, many in zip(model.gemms(batch=3), several.gemms(), strict=True):
        assert (one.m, one.n, one.k, one.batch) == (many.m, many.n, many.k, many.batch)


class Chosen(nn.Module):
    """Each token's own expert, whose matrix is copied out of the stack."""

    def __init__(self):
        super().__init__()
        self.experts = nn.Parameter(torch.ones(4, 5, 8))

    def forward(self, x, which):
        return torch.bmm(self.experts[which], x.unsqueeze(-1)).squeeze(-1)


def test_experts_chosen_by_the_data_are_weights():
    model = bl.from_torch(Chosen(), torch.ones(6, 8), torch.zeros(6, dtype=torch.long))
    (gemm,) = model.gemms()
    assert (gemm.m, gemm.n, gemm.k, gemm.batch, gemm.stationary) == (1, 5, 8, 6, "weight")
    assert (gemm.name, model.parameter_count) == ("experts", 160)


def test_an_error_names_the_module_it_is_in():
    nested = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.ReLU(), DataDependent("nonzero")))
    with pytest.raises(
        BitlatheError, match=r"Sequential: shapes depend .*nonzero.default in 1\.1\)"
    ):
        bl.from_torch(nested, torch.ones(4, 8))
    nested[1][1] = nn.Linear(7, 3)
    with pytest.raises(BitlatheError, match=r"does not run on these inputs \(in 1\.1\)"):
        bl.from_torch(nested, torch.ones(4, 8))


class DataDependent(nn.Module):
    def __init__(self, how):
        super().__init__()
        self.inner, self.how = nn.Linear(8, 8), how

    def forward(self, x):
        if self.how == "nonzero":
            return self.inner(x[x.sum(-1) > 0])
        if self.how == "item":
            return self.inner(x) if x.sum() > 0 else x
        if self.how == "grouped":
            ends = torch.arange(1, 3, dtype=torch.int32)
            return torch._grouped_mm(x.bfloat16(), self.inner.weight[None].bfloat16(), ends)
        raise ValueError("a fault of its own\nand more")


LAZY = "bias has no shape yet|weight has no shape yet"


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize(
    ("module", "inputs", "words"),
    [
        (DataDependent("nonzero"), [(4, 8)], r"shapes depend on data \(aten.nonzero"),
        (DataDependent("item"), [(4, 8)], r"shapes depend on data \(aten._local_scalar_dense"),
        (DataDependent("fault"), [(4, 8)], "does not run on these inputs .*a fault of its own'?$"),
        (nn.Linear(8, 8), [(4, 7)], "Linear: the module does not run on these inputs"),
        (nn.Linear(8, 8), [], "missing 1 required positional argument"),
        (nn.ReLU(), [(4, 8)], "ReLU: it multiplies no matrices"),
        (nn.LazyLinear(8), [(4, 8)], LAZY),
    ],
)
def test_what_a_module_may_not_do(module, inputs, words, capfd):
    with pytest.raises(BitlatheError, match=words) as caught:
        bl.from_torch(module, *[torch.ones(shape) for shape in inputs])
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.skipif(not hasattr(torch, "_grouped_mm"), reason="of newer versions")
def test_products_of_unknown_rows_are_refused():
    with pytest.raises(BitlatheError, match=r"_grouped_mm.* is a product whose sizes"):
        bl.from_torch(DataDependent("grouped"), torch.ones(4, 8))


def test_what_is_no_module():
    with pytest.raises(BitlatheError, match=r"takes a torch.nn.Module, not 3"):
        bl.from_torch(3)
    with pytest.raises(BitlatheError, match=r"give bitlathe.from_torch\(module, example_input"):
        bl.load_model(nn.Linear(2, 3))


@dataclass(slots=True)
class Both:
    first: Any
    second: Any


@pytest.mark.parametrize("both", [False, True])
def test_what_the_module_gives_back_goes_to_dram_though_a_layer_reads_it(both):
    class TwoConvolutions(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = torch.nn.Conv2d(8, 16, 1), torch.nn.Conv2d(16, 8, 1)

        def forward(self, x):
            inner = self.first(x)
            return {"all": Both(inner, self.second(inner))} if both else self.second(inner)

    model = bl.from_torch(TwoConvolutions(), torch.empty(1, 8, 6, 6))
    assert [step.leaves for step in steps_of(execution_order(model))] == [both, True]
    chip = bl.load_arch("bitmod", {"execution.keep_outputs": True})
    for mapper in ("search", "whole-buffer"):
        run = bl.simulate(chip, model, fidelity="analytic", mapper=mapper, fusion=False)
        assert [layer.dram_bits["output"] > 0 for layer in run.layers] == [both, True]


def between(change):
    """Return the list of a module that changes the results of one product ahead of the next."""

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

        def forward(self, x):
            return self.last(change(self.first(x)))

    return bl.from_torch(Net(), torch.empty(8, 4, 8)).shape.alone


def halves(y):
    return torch.cat([y[..., 4:], y[..., :4]], -1)


def written(y):
    y[:, 1:3].zero_()
    return y


@pytest.mark.parametrize(
    "change",
    [
        lambda y: y.flatten().view(8, 4, 8),
        lambda y: y.clone().unsqueeze(0).squeeze(0).double().float(),
        lambda y: torch.nn.functional.dropout(y, training=False).contiguous().relu_(),
        lambda y: y.expand(8, 4, 8).reshape(4, 8, 8).add(1).view(8, 4, 8).sub(1),
        lambda y: y.transpose(0, 2),
        lambda y: y.permute(1, 0, 2).reshape(8, 4, 8),
        lambda y: y.reshape(8, 8, 4).mT.reshape(8, 4, 8).relu(),
        lambda y: y.roll(1, 1),
        lambda y: y.flip(0),
        lambda y: torch.nn.functional.pad(y[:, 1:], (0, 0, 0, 1)),
        halves,
        written,
        lambda y: torch.cat([y.relu(), y.relu()])[4:12],
        lambda y: y + y.roll(2, 0),
        lambda y: y * y.mean(-1, keepdim=True),
        lambda y: y[:1].expand(8, 4, 8) * 2,
    ],
)
def test_what_a_product_reads_is_another_s_results_in_their_places_or_not(change):
    """As the same calls leave numbers where they were, or do not."""
    numbers = torch.arange(1.0, 257.0).view(8, 4, 8)
    stay = torch.equal(change(numbers.clone()).flatten(), numbers.flatten())
    last = between(change).entries[1]
    assert last.inputs == ("first",)
    assert last.direct == stay


@pytest.mark.parametrize(("axis", "direct"), [(-1, True), (2, True), (1, False), (-2, False)])
def test_a_softmax_of_rows_leaves_results_in_their_places(axis, direct):
    found = between(lambda y: y.softmax(axis))
    assert [entry.direct for entry in found.entries] == [False, direct]
    assert not between(lambda y: y.mT.relu().mT).steps[0].direct
