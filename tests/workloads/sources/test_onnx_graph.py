"""ONNX files: sizes against onnx's own shape inference and its reference evaluator."""

import math
import warnings
from collections import Counter

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import bitlathe as bl
from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads.order import execution_order, steps_of

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnx.reference")
helper, FLOAT, INT8, INT64 = onnx.helper, 1, 3, 7


def weight(name, *shape, kind=FLOAT):
    zeros = np.zeros(shape, {FLOAT: np.float32, INT8: np.int8, INT64: np.int64}[kind])
    return onnx.numpy_helper.from_array(zeros, name)


def save(folder, nodes, inputs, outputs, weights, *, domains=(), name="net.onnx", opset=23):
    """Write a model: inputs and outputs by name, with shapes of sizes, names or None."""
    ends = [
        [helper.make_tensor_value_info(n, kind, shape) for n, (kind, shape) in values.items()]
        for values in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, "g", *ends, initializer=weights)
    imports = [helper.make_opsetid(d, v) for d, v in (("", opset), *domains)]
    path = folder / name
    onnx.save(helper.make_model(graph, opset_imports=imports, ir_version=10), path)
    return path


def node(op, inputs, output, name="", domain="", **how):
    return helper.make_node(op, inputs.split(), [output], name=name, domain=domain, **how)


def encoder(folder, tokens=6):
    """Write two layers of attention with shared keys, by hand, and a head."""
    shapes = [
        onnx.numpy_helper.from_array(np.array(v, np.int64), n)
        for n, v in {
            "heads": [1, tokens, 4, 8], "kv": [1, tokens, 2, 8], "wide": [1, 2, 2, tokens, 8],
            "four": [1, 4, tokens, 8], "flat": [1, tokens, 32], "two": [2],
        }.items()
    ]  # fmt: skip
    nodes, weights, x = [], list(shapes), "x"
    for i in range(2):
        p = f"/layers.{i}"
        for n, out in (("q", 32), ("k", 16), ("v", 16), ("o", 32)):
            weights.append(weight(f"layers.{i}.{n}.weight", 32, out))
        nodes += [
            node("MatMul", f"{x} layers.{i}.q.weight", f"q{i}", f"{p}/q/MatMul"),
            node("MatMul", f"{x} layers.{i}.k.weight", f"k{i}", f"{p}/k/MatMul"),
            node("MatMul", f"{x} layers.{i}.v.weight", f"v{i}", f"{p}/v/MatMul"),
            node("Reshape", f"q{i} heads", f"qh{i}"),
            node("Transpose", f"qh{i}", f"qt{i}", perm=[0, 2, 1, 3]),
        ]
        for n in "kv":
            nodes += [
                node("Reshape", f"{n}{i} kv", f"{n}h{i}"),
                node("Transpose", f"{n}h{i}", f"{n}t{i}", perm=[0, 2, 1, 3]),
                node("Unsqueeze", f"{n}t{i} two", f"{n}u{i}"),
                node("Expand", f"{n}u{i} wide", f"{n}e{i}"),
                node("Reshape", f"{n}e{i} four", f"{n}f{i}"),
            ]
        nodes += [
            node("Transpose", f"kf{i}", f"kx{i}", perm=[0, 1, 3, 2]),
            node("MatMul", f"qt{i} kx{i}", f"s{i}", f"{p}/MatMul"),
            node("Softmax", f"s{i}", f"p{i}"),
            node("MatMul", f"p{i} vf{i}", f"m{i}", f"{p}/MatMul_1"),
            node("Transpose", f"m{i}", f"mt{i}", perm=[0, 2, 1, 3]),
            node("Reshape", f"mt{i} flat", f"mr{i}"),
            node("MatMul", f"mr{i} layers.{i}.o.weight", f"o{i}", f"{p}/o/MatMul"),
            node("Add", f"{x} o{i}", f"x{i}"),
        ]
        x = f"x{i}"
    weights.append(weight("lm_head.weight", 32, 50))
    nodes.append(node("MatMul", f"{x} lm_head.weight", "y", "/lm_head/MatMul"))
    return save(
        folder, nodes, {"x": (FLOAT, [1, tokens, 32])}, {"y": (FLOAT, [1, tokens, 50])}, weights
    )


def test_attention_by_hand(tmp_path):
    model = bl.load_model(encoder(tmp_path))
    found = [(g.name, g.m, g.n, g.k, g.batch, g.count) for g in model.gemms()]
    assert found == [
        ("layers.*.q", 6, 32, 32, 1, 2),
        ("layers.*.k", 6, 16, 32, 1, 2),
        ("layers.*.v", 6, 16, 32, 1, 2),
        ("layers.*.attention_qk", 2 * 6, 6, 8, 2, 2),
        ("layers.*.attention_av", 2 * 6, 8, 6, 2, 2),
        ("layers.*.o", 6, 32, 32, 1, 2),
        ("lm_head", 6, 50, 32, 1, 1),
    ]
    assert [g.role for g in model.gemms()] == [
        *("linear",) * 3, "scores", "mix", "linear", "head"
    ]  # fmt: skip
    assert model.weight_count == model.parameter_count == 2 * 32 * 96 + 32 * 50
    steps = list(steps_of(execution_order(model)))[3:6]
    assert [(s.inputs, s.weights) for s in steps] == [
        (("layers.*.q",), ("layers.*.k",)),
        (("layers.*.attention_qk",), ("layers.*.v",)),
        (("layers.*.attention_av",), ()),
    ]


def test_from_file_to_table(tmp_path):
    path = encoder(tmp_path)
    done = CliRunner().invoke(main, ["simulate", "--arch", "bitmod", "--model", str(path)])
    assert done.exit_code == 0, done.output
    assert "layers.*.attention_qk" in done.output
    assert "layers.*.attention_qk.softmax" in done.output
    assert "layers.*.o.add" in done.output
    assert "not counted (no unit" not in done.output


small = st.integers(1, 3)


@given(
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(small, small),
    strides=st.tuples(small, small),
    dilations=st.tuples(small, small),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    auto=st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
    group=st.integers(1, 2),
)
def test_convolutions_have_the_outputs_that_onnx_infers(
    tmp_path_factory, size, kernel, strides, dilations, pads, auto, group
):
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    total = [pads[i] + pads[i + 2] if auto == "NOTSET" else 0 for i in (0, 1)]
    if any(r > s + t for r, s, t in zip(reach, size, total, strict=True)):
        return
    how = {"pads": pads} if auto == "NOTSET" else {"auto_pad": auto}
    path = save(
        tmp_path_factory.mktemp("o"),
        [node("Conv", "x w", "y", strides=strides, dilations=dilations, group=group, **how)],
        {"x": (FLOAT, [2, 4, *size])},
        {"y": (FLOAT, None)},
        [weight("w", 6, 4 // group, *kernel)],
    )
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    out = [d.dim_value for d in graph.output[0].type.tensor_type.shape.dim]
    problem = ""
    try:
        (gemm,) = bl.load_model(path).gemms()
    except BitlatheError as error:
        problem = str(error)
    if problem:
        assert "reads nothing but the padding" in problem
        return
    assert (gemm.m, gemm.n * gemm.batch) == (out[0] * out[2] * out[3], out[1])
    assert gemm.macs == math.prod(out) * (4 // group) * math.prod(kernel)
    assert gemm.conv.output_size == tuple(out[2:])
    if auto == "NOTSET" and pads[:2] == pads[2:]:
        assert gemm.conv.size == size
        assert gemm.conv.padding == tuple(pads[:2])


MATRICES = {
    # operator: its inputs with their shapes, attributes, domain, m x n x k x batch
    "MatMul": ("x:2,3,8 w:8,5", {}, "", (6, 5, 8, 1)),
    "left": ("w:5,8 x:2,8,3", {}, "", (6, 5, 8, 1)),
    "vector": ("x:8 w:8,5", {}, "", (1, 5, 8, 1)),
    "experts": ("x:4,3,8 w:4,8,5", {}, "", (3, 5, 8, 4)),
    "broadcast": ("x:2,4,3,8 w:4,8,5", {}, "", (2 * 3, 5, 8, 4)),
    "Gemm": ("x:8,3 w:5,8", {"transA": 1, "transB": 1}, "", (3, 5, 8, 1)),
    "MatMulInteger": ("x:3,8:i w:8,5:i", {}, "", (3, 5, 8, 1)),
    "MatMulNBits": ("x:2,3,8 w:5,1,4:i s:5", {"N": 5, "K": 8, "bits": 4, "block_size": 16},
                    "com.microsoft", (6, 5, 8, 1)),
    "FusedMatMul": ("x:3,8 w:5,8", {"transB": 1}, "com.microsoft", (3, 5, 8, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", MATRICES)
def test_matrix_products_of_every_operator(tmp_path, name):
    given_inputs, how, domain, sizes = MATRICES[name]
    op = name if name[0].isupper() else "MatMul"
    inputs, weights = {}, []
    for each in given_inputs.split():
        called, shape, *kind = each.split(":")
        shape = [int(n) for n in shape.split(",")]
        if called == "x":
            inputs["x"] = (INT8 if kind else FLOAT, shape)
        else:
            weights.append(weight(called, *shape, kind=INT8 if kind else FLOAT))
    names = " ".join(each.split(":")[0] for each in given_inputs.split())
    path = save(
        tmp_path, [node(op, names, "y", domain=domain, **how)], inputs, {"y": (FLOAT, None)},
        weights, domains=[(domain, 1)] if domain else [],
    )  # fmt: skip
    (gemm,) = bl.load_model(path).gemms()
    m, n, k, batch = sizes
    assert (gemm.m, gemm.n, gemm.k, gemm.batch, gemm.stationary) == (m, n, k, batch, "weight")
    assert gemm.name == "w"
    if not domain:
        from onnx.reference import ReferenceEvaluator

        run = ReferenceEvaluator(str(path))
        shape = tuple(inputs["x"][1])
        kind = np.float32 if inputs["x"][0] == FLOAT else np.int8
        (out,) = run.run(None, {"x": np.zeros(shape, kind)})
        assert gemm.output_elements == out.size


def test_quantized_and_transposed_convolutions_and_recurrent_layers(tmp_path):
    scalars = [weight(n) for n in ("s0", "s1", "s2")]
    zeros = [weight(n, kind=INT8) for n in ("z0", "z1", "z2")]
    quantized = node("QLinearConv", "x s0 z0 w s1 z1 s2 z2", "y", kernel_shape=[3, 3])
    path = save(
        tmp_path, [quantized], {"x": (INT8, [1, 4, 8, 8])}, {"y": (INT8, None)},
        [weight("w", 6, 4, 3, 3, kind=INT8), *scalars, *zeros],
    )  # fmt: skip
    (gemm,) = bl.load_model(path).gemms()
    assert (gemm.m, gemm.n, gemm.k, gemm.kind) == (36, 6, 36, "conv")
    path = save(
        tmp_path, [node("ConvTranspose", "x w", "y", strides=[2, 2], group=2)],
        {"x": (FLOAT, [1, 4, 5, 5])}, {"y": (FLOAT, None)}, [weight("w", 4, 3, 4, 4)],
    )  # fmt: skip
    (gemm,) = bl.load_model(path).gemms()
    assert (gemm.m, gemm.n, gemm.k, gemm.batch) == (25, 48, 2, 2)
    path = save(
        tmp_path, [node("LSTM", "x w r", "y", "/rnn/LSTM", hidden_size=6)],
        {"x": (FLOAT, [5, 3, 4])}, {"y": (FLOAT, None)},
        [weight("w", 2, 24, 4), weight("r", 2, 24, 6)],
    )  # fmt: skip
    model = bl.load_model(path)
    assert [(g.name, g.m, g.n, g.k, g.count) for g in model.gemms()] == [
        ("rnn.input.*", 15, 24, 4, 2), ("rnn.state.*", 3, 24, 6, 10)
    ]  # fmt: skip
    assert model.weight_count == 2 * 24 * 10


def test_the_attention_operator(tmp_path):
    how = {"q_num_heads": 4, "kv_num_heads": 2, "is_causal": 1}
    for shapes, given_how in (
        ([[1, 4, 6, 8], [1, 2, 6, 8], [1, 2, 6, 8]], {"is_causal": 1}),
        ([[1, 6, 32], [1, 6, 16], [1, 6, 16]], how),
    ):
        inputs = {n: (FLOAT, shape) for n, shape in zip("qkv", shapes, strict=True)}
        path = save(
            tmp_path, [node("Attention", "q k v", "y", **given_how)], inputs,
            {"y": (FLOAT, None)}, [],
        )  # fmt: skip
        scores, mix = bl.load_model(path).gemms()
        assert (scores.m, scores.n, scores.k, scores.batch) == (12, 6, 8, 2)
        assert scores.macs == mix.macs == 4 * 8 * (6 * 7 // 2)


def named(folder, **how):
    return save(
        folder, [node("MatMul", "x w", "y", "/up/MatMul")],
        {"x": (FLOAT, ["batch", "tokens", 8])}, {"y": (FLOAT, ["batch", "tokens", 5])},
        [weight("w", 8, 5)], **how,
    )  # fmt: skip


def test_named_sizes_are_given_or_asked_for(tmp_path):
    path = named(tmp_path)
    model = bl.from_onnx(path, {"batch": 2, "tokens": 3}, name="mine")
    assert (model.name, [(g.name, g.m) for g in model.gemms()]) == ("mine", [("up", 6)])
    for read, words in (
        (lambda: bl.load_model(path), r"net.onnx: node '/up/MatMul' \(MatMul\): the shape of "
         r"'x' is batch x tokens x 8. State .*from_onnx\(path, \{'batch': 1, 'tokens': 1\}\)"),
        (lambda: bl.from_onnx(path, {"batch": 2}), "the shape of 'x' is 2 x tokens x 8"),
        (lambda: bl.from_onnx(path, {"batches": 2}), "called 'batches'; those without"),
        (lambda: bl.from_onnx(path, {"batch": 0}), "the size of 'batch' is 0; it must"),
    ):  # fmt: skip
        with pytest.raises(BitlatheError, match=words) as caught:
            read()
        assert str(caught.value).startswith(str(tmp_path))


def test_nodes_that_no_order_runs(tmp_path):
    """A circle is told node by node, each before the one that it feeds; else the one to move."""
    first, last = node("MatMul", "q w", "p", "one"), node("Relu", "r", "y", "end")
    two, three = node("Add", "p x", "r", "two"), node("Neg", "r", "q", "three")
    both = {"x": (FLOAT, [2, 8])}, {"y": (FLOAT, None)}, [weight("w", 8, 8)]
    circle = "node 'two' (Add) -> node 'three' (Neg) -> node 'one' (MatMul) -> node 'two' (Add)"
    for nodes, says in (
        ([first, two, three, last], f"circle, which no order runs: {circle}; give"),
        ([node("Add", "x r", "r", "self"), node("Relu", "r", "y")],
         "circle, which no order runs: node 'self' (Add) -> node 'self' (Add)"),
        ([last, node("MatMul", "x w", "p", "one"), two],
         "node 'end' (Relu) reads 'r', which node 'two' (Add) makes further down; put nodes"),
    ):  # fmt: skip
        path = save(tmp_path, nodes, *both)
        with pytest.raises(BitlatheError) as caught:
            bl.load_model(path)
        assert says in str(caught.value)
        assert str(caught.value).startswith(f"{path}: ")


def test_what_a_file_may_not_be(tmp_path):
    unknown = save(
        tmp_path, [node("Mystery", "x", "z", domain="own"), node("MatMul", "z w", "y", "last")],
        {"x": (FLOAT, [2, 8])}, {"y": (FLOAT, None)}, [weight("w", 8, 5)], domains=[("own", 1)],
        name="unknown.onnx",
    )  # fmt: skip
    fused = save(
        tmp_path, [node("GroupQueryAttention", "x", "y", "/a", domain="com.microsoft")],
        {"x": (FLOAT, [2, 8])}, {"y": (FLOAT, None)}, [], domains=[("com.microsoft", 1)],
        name="fused.onnx",
    )  # fmt: skip
    branch = helper.make_graph(
        [node("MatMul", "x w", "b")], "b", [], [helper.make_tensor_value_info("b", FLOAT, None)]
    )
    either = save(
        tmp_path, [node("If", "c", "y", then_branch=branch, else_branch=branch)],
        {"x": (FLOAT, [2, 8]), "c": (9, [])}, {"y": (FLOAT, None)}, [weight("w", 8, 5)],
        name="either.onnx",
    )  # fmt: skip
    nothing = save(tmp_path, [node("Relu", "x", "y")], {"x": (FLOAT, [2])}, {"y": (FLOAT, [2])}, [],
                   name="nothing.onnx")  # fmt: skip
    (tmp_path / "text.onnx").write_text("no model")
    (tmp_path / "empty.onnx").write_bytes(b"")
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(unknown.read_bytes()[:40])
    for path, words in (
        (unknown, "node 'last' (MatMul): the shape of 'z' is unknown. State the sizes"),
        (fused, "node '/a' (GroupQueryAttention): its products are not read; export the model"),
        (either, "node 0 (If): what it multiplies depends on data"),
        (nothing, "it multiplies no matrices"),
        (tmp_path / "text.onnx", "cannot be read as ONNX"),
        (tmp_path / "empty.onnx", "the file is empty"),
        (cut, "cannot be read as ONNX"),
    ):
        with pytest.raises(BitlatheError) as caught:
            bl.load_model(path)
        assert words in str(caught.value)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("outputs", [["y"], ["inner", "y"]])
def test_outputs_of_the_graph_leave_the_model(tmp_path, outputs):
    nodes = [node("MatMul", "x up", "inner"), node("MatMul", "inner down", "y")]
    weights = [weight("up", 8, 16), weight("down", 16, 4)]
    shapes = {"inner": (FLOAT, (3, 16)), "y": (FLOAT, (3, 4))}
    ends = {name: shapes[name] for name in outputs}
    path = save(tmp_path, nodes, {"x": (FLOAT, (3, 8))}, ends, weights)
    leaves = [step.leaves for step in steps_of(execution_order(bl.load_model(path)))]
    assert leaves == [len(outputs) == 2, True]


def asked(model):
    """Count the elements of each operation, and those that are read."""
    found = Counter()
    for step in model.shape.steps:
        found["read"] += sum(each.elements for each in step.reads) * step.count
        for operation in step.operations:
            found[operation] += step.elements * step.count
    return found


def test_steps_are_those_of_the_module_that_was_exported(tmp_path):
    """What torch traces and what it writes as ONNX ask the vector unit for the same."""
    torch = pytest.importorskip("torch")
    nn = torch.nn
    layer = nn.TransformerEncoderLayer(16, 4, 24, batch_first=True)
    images = [nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Hardswish()]
    images += [
        nn.AvgPool2d(2),
        nn.Flatten(2),
        nn.LayerNorm(16),
        nn.Linear(16, 4),
        nn.LogSoftmax(-1),
    ]
    for module, shape in (
        (nn.TransformerEncoder(layer, 2), (2, 5, 16)),
        (nn.Sequential(*images), (2, 3, 8, 8)),
        (nn.RNN(6, 5), (3, 2, 6)),
    ):
        path, inputs = tmp_path / "net.onnx", torch.zeros(shape)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(module.eval(), (inputs,), path, dynamo=False, opset_version=17)
        exported, traced = bl.load_model(path), bl.from_torch(module, inputs)
        assert exported.shape.beside == ()
        ours, theirs = asked(exported), asked(traced)
        for found in (ours, theirs):  # the largest of a window and a sum are one comparison each
            found["add"] += found.pop("relu", 0)
        assert ours == theirs


def test_what_no_unit_does_is_named(tmp_path):
    nodes = [
        node("MatMul", "x w", "u"),
        node("Own", "u", "v", domain="own"),
        node("NonZero", "v", "i"),
    ]
    nodes += [node("Tanh", "u", "t"), node("Pow", "t two", "y")]
    two = onnx.numpy_helper.from_array(np.float32([2.0]), "two")
    ends = {"y": (FLOAT, (3, 4)), "i": (INT64, None)}
    path = save(
        tmp_path, nodes, {"x": (FLOAT, (3, 8))}, ends, [weight("w", 8, 4), two],
        domains=[("own", 1)],
    )  # fmt: skip
    model = bl.load_model(path)
    assert model.beside == ("Own", "NonZero")
    assert [(s.name, s.operations, s.elements, s.after) for s in model.shape.steps] == [
        ("w.tanh", ("tanh",), 12, ("w",)), ("w.multiply", ("multiply",), 12, ("w",)),
    ]  # fmt: skip
    run = bl.simulate("bitmod", model, mapper="whole-buffer", fidelity="analytic")
    assert run.uncounted == ("Own", "NonZero")


@pytest.mark.parametrize(
    ("nodes", "opset", "expected"),
    [
        ([("Div", "one u", "y")], 23, [(("special",), 24, 6)]),  # as Reciprocal
        ([("Div", "u one", "y")], 23, []),
        ([("Tanh", "u", "t"), ("Sum", "u t x", "y")], 23,
         [(("tanh",), 24, 6), (("add", "add"), 24, 6)]),
        ([("Min", "u x one", "y")], 23, [(("relu",), 24, 6)]),
        ([("Softmax", "u", "y")], 23, [(("softmax",), 24, 6)]),
        ([("Softmax", "u", "y")], 11, [(("softmax",), 24, 2)]),  # of all axes from the second
        ([("ArgMax", "u", "y")], 23, [(("relu",), 24, 12)]),
    ],
)  # fmt: skip
def test_operations_of_operators_by_hand(tmp_path, nodes, opset, expected):
    made = [node("MatMul", "x w", "u"), *(node(*each) for each in nodes)]
    argmax = nodes[-1][0] == "ArgMax"
    ends = {"y": (INT64, (1, 3, 4)) if argmax else (FLOAT, (2, 3, 4))}
    one = onnx.numpy_helper.from_array(np.float32([1.0]), "one")
    path = save(
        tmp_path, made, {"x": (FLOAT, (2, 3, 4))}, ends, [weight("w", 4, 4), one], opset=opset
    )
    steps = bl.load_model(path).shape.steps
    assert [(s.operations, s.elements, s.rows) for s in steps] == expected


@pytest.mark.parametrize(
    ("nodes", "direct"),
    [
        ([node("Relu", "p", "q")], True),
        ([node("Identity", "p", "r"), node("Cast", "r", "q", to=FLOAT)], True),
        ([node("Flatten", "p", "r"), node("Reshape", "r whole", "q")], True),
        ([node("Transpose", "p", "q", perm=[0, 1, 3, 2])], False),
        ([node("Reshape", "p turned", "r"), node("Transpose", "r", "q", perm=[0, 3, 1, 2])], False),
        ([node("Slice", "p one four rows", "r"), node("Pad", "r edge", "q")], False),
        ([helper.make_node("Split", ["p"], ["r", "s"], axis=1, num_outputs=2),
          node("Concat", "s r", "q", axis=1)], False),
        ([node("Transpose", "p", "r", perm=[0, 1, 3, 2]), node("Add", "p r", "q")], False),
        ([node("Softmax", "p", "q")], True),
        ([node("Softmax", "p", "q", axis=2)], False),
    ],
)  # fmt: skip
def test_what_a_node_reads_is_another_s_results_in_their_places_or_not(tmp_path, nodes, direct):
    """As onnx's own evaluator leaves numbers where they were; a softmax by its axis."""
    says = {"whole": [1, 4, 4, 4], "turned": [1, 4, 4, 4], "one": [1], "four": [4], "rows": [2],
            "edge": [0, 0, 0, 0, 0, 0, 1, 0]}  # fmt: skip
    stated = [onnx.numpy_helper.from_array(np.array(v, np.int64), n) for n, v in says.items()]
    ends = [helper.make_tensor_value_info(name, FLOAT, (1, 4, 4, 4)) for name in "pq"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], stated)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    numbers = np.arange(1, 65, dtype=np.float32).reshape(1, 4, 4, 4)
    (made,) = onnx.reference.ReferenceEvaluator(model).run(None, {"p": numbers})
    assert np.array_equal(made, numbers) == (direct and nodes[0].op_type != "Softmax")
    whole = [node("Conv", "x a", "p", "first"), *nodes, node("Conv", "q a", "y", "last")]
    path = save(
        tmp_path, whole, {"x": (FLOAT, [1, 4, 4, 4])}, {"y": (FLOAT, None)},
        [weight("a", 4, 4, 1, 1), *stated], opset=18,
    )  # fmt: skip
    found = bl.load_model(path).shape.alone.entries
    assert [(entry.inputs, entry.direct) for entry in found][1] == (("first",), direct)
