from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import ConvShape, load_model
from bitlathe.workloads.conv import conv_gemm
from naive import workloads_naive

few = st.integers(1, 4)
pair = st.tuples(few, few)


@given(few, few, few, st.tuples(st.integers(1, 12), st.integers(1, 12)), pair, pair, pair, pair)
def test_convolutions_match_a_loop(groups, inputs, outputs, size, kernel, stride, pad, dilation):
    sizes = {"size": size, "kernel": kernel, "stride": stride, "dilation": dilation}
    channels = {"in_channels": groups * inputs, "out_channels": groups * outputs, "groups": groups}
    high, wide = (
        workloads_naive.output_length(size[i], kernel[i], stride[i], pad[i], dilation[i])
        for i in (0, 1)
    )
    if high < 1 or wide < 1:
        with pytest.raises(BitlatheError, match="larger than the padded input"):
            ConvShape(padding=pad, **sizes, **channels)
        return
    touched = workloads_naive.touched_positions(**sizes, padding=pad, outputs=(high, wide))
    if not touched:
        with pytest.raises(BitlatheError, match="reads nothing but the padding"):
            ConvShape(padding=pad, **sizes, **channels)
        return
    shape = ConvShape(padding=pad, **sizes, **channels)
    gemm = conv_gemm(shape, "conv", images=2)
    assert (gemm.batch, gemm.sequences, gemm.m) == (groups, 2, 2 * high * wide)
    assert shape.output_size == (high, wide)
    assert gemm.macs == 2 * workloads_naive.convolution_macs(
        groups * inputs, groups * outputs, high, wide, *kernel, groups
    )
    assert gemm.output_elements == 2 * groups * outputs * high * wide
    assert gemm.distinct_input_elements == 2 * groups * inputs * len(touched)


# counted by hand: rows and columns that are read, times channels
@pytest.mark.parametrize(
    ("sizes", "elements"),
    [
        # 4 filters of 3 rows, 4 apart, read 12 of 16 rows
        ({"size": (16, 16), "in_channels": 4, "kernel": (3, 3), "stride": (4, 4)}, 12 * 12 * 4),
        # taps 0 and 2 of outputs 2 apart read the 8 even rows of 16
        (
            {"size": (16, 16), "in_channels": 4, "kernel": (2, 2), "stride": (2, 2),
             "dilation": (2, 2)},
            8 * 8 * 4,
        ),
        # a 1x1 filter reads each second row: 28 of 56
        ({"size": (56, 56), "in_channels": 64, "kernel": (1, 1), "stride": (2, 2)}, 784 * 64),
        # a 7x7 filter with stride 2 and padding 3 reads every row
        (
            {"size": (224, 224), "in_channels": 3, "kernel": (7, 7), "stride": (2, 2),
             "padding": (3, 3)},
            224 * 224 * 3,
        ),
    ],
)  # fmt: skip
def test_a_convolution_reads_what_it_touches(sizes, elements):
    shape = ConvShape(out_channels=8, **sizes)
    assert conv_gemm(shape, "conv").input_elements == elements
    assert conv_gemm(shape, "conv", images=3).input_elements == 3 * elements


@pytest.mark.parametrize(("model", "layer", "elements"), [
    ("resnet-18", "layer2.0.downsample", 784 * 64),
    ("resnet-50", "layer3.0.downsample", 1_605_632 // 16),  # 14 x 14 x 512
])  # fmt: skip
def test_a_strided_shortcut_reads_its_rows_only(model, layer, elements):
    (gemm,) = (g for g in load_model(model).graph() if g.name == layer)
    assert gemm.input_elements == gemm.m * gemm.k == elements


def test_a_filter_too_large_to_count_is_an_error():
    with pytest.raises(BitlatheError, match="at most 65536"):
        ConvShape(in_channels=1, out_channels=1, size=(2**20, 1), kernel=(2**17, 1))


def test_depthwise_convolution_is_one_product_per_channel():
    shape = ConvShape(
        in_channels=32, out_channels=32, size=(112, 112), kernel=(3, 3), padding=(1, 1), groups=32
    )
    gemm = conv_gemm(shape, "depthwise")
    assert (gemm.m, gemm.n, gemm.k, gemm.batch) == (112 * 112, 1, 9, 32)


NETWORK = """\
input: [3, 32, 32]
layers:
- {name: stem, out_channels: 8, kernel: [3, 5], stride: 2, padding: [1, 2], bias: true}
- {type: pool, kernel: 2}
- {name: left, out_channels: 8, kernel: 3, padding: 1, norm: true}
- {name: right, from: layer1, out_channels: 8, kernel: 1}
- {name: sum, type: add, from: [left, right]}
- {type: global_pool}
- {name: top, type: linear, out_channels: 10, bias: true}
"""


def test_own_network_as_yaml(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(NETWORK)
    model = load_model(path)
    assert (model.name, model.family, model.kind) == ("tiny", "convnet", "conv")
    sizes = {g.name: (g.m, g.n, g.k, g.batch, g.kind) for g in model.gemms(batch=2)}
    assert sizes == {
        "stem": (2 * 256, 8, 45, 1, "conv"),
        "left": (2 * 64, 8, 72, 1, "conv"),
        "right": (2 * 64, 8, 8, 1, "conv"),
        "top": (2, 10, 8, 1, "linear"),
    }
    assert {g.sequences for g in model.gemms(batch=2)} == {2}
    assert model.parameter_count == (8 * 45 + 8) + (8 * 72 + 16) + 64 + 90
    edges = {(a.name, b.name) for a, b in model.graph().edges}
    assert edges == {("stem", "left"), ("stem", "right"), ("left", "top"), ("right", "top")}


def test_words_of_pytorch(tmp_path):
    """The same network: padding that keeps the size, inputs and outputs of the linear layer."""
    other = tmp_path / "words.yaml"
    words = NETWORK.replace("kernel: 3, padding: 1, ", "kernel: 3, padding: same, ")
    words = words.replace("linear, out_channels: 10", "linear, in_features: 8, out_features: 10")
    assert len({NETWORK, words, words.replace("same", "1")}) == 3
    other.write_text(words)
    path = tmp_path / "tiny.yaml"
    path.write_text(NETWORK)
    assert load_model(other).gemms() == load_model(path).gemms()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[3, 32, 32]", "[3, 32]", ("yaml:1:", "[channels, height, width]")),
        ("[3, 32, 32]", "[0, 32, 32]", ("yaml:1:", "'input' is 0")),
        ("kernel: [3, 5]", "kernal: 3", ("yaml:3:", "'kernal'", "Did you mean 'kernel'?")),
        ("kernel: [3, 5], ", "", ("yaml:3:", "required key 'kernel'")),
        ("kernel: [3, 5]", "kernel: [3, 5, 1]", ("yaml:3:", "two [height, width]")),
        ("kernel: [3, 5]", "kernel: 99", ("yaml:3:", "larger than the padded input")),
        ("stride: 2", "stride: 0", ("yaml:3:", "'stride' is 0")),
        ("padding: [1, 2]", "padding: -1", ("yaml:3:", "'padding' is -1")),
        ("bias: true}\n- {type: pool", "bias: 1}\n- {type: pool", ("yaml:3:", "true or false")),
        ("type: pool", "type: pol", ("yaml:4:", "one of conv, pool")),
        ("from: layer1", "from: lyer1", ("yaml:6:", "Did you mean 'layer1'?")),
        (
            "from: layer1",
            "from: sum",
            ("yaml:6:", "circle, which no order runs: right reads sum re"),
        ),
        ("name: right", "name: left", ("yaml:6:", "two layers are called 'left'")),
        ("right, from: layer1, out_channels: 8", "right, out_channels: 4", ("yaml:7:", "unequal")),
        ("norm: true", "groups: 3", ("yaml:5:", "3 groups do not divide")),
        ("type: global_pool", "type: global_pool, from: [left, right]", ("exactly one",)),
        ("layers:", "layers: [", ("yaml:", "not valid YAML")),
        ("padding: [1, 2]", "padding: same", ("yaml:3:", "needs stride 1")),
        ("type: pool, kernel: 2", "type: relu", ("yaml:4:", "a key of the layer before")),
        ("linear, ", "linear, in_features: 9, ", ("yaml:9:", "'in_features' is 9", "reads 8")),
        ("linear, ", "linear, out_features: 10, ", ("yaml:9:", "not both")),
    ],
)
def test_errors_name_the_line(tmp_path, old, new, words):
    assert NETWORK.count(old) == 1
    path = tmp_path / "net.yaml"
    path.write_text(NETWORK.replace(old, new))
    with pytest.raises(BitlatheError) as caught:
        load_model(path)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("layers", ["[]", "[{type: global_pool}]"])
def test_a_network_without_weights_is_an_error(tmp_path, layers):
    path = tmp_path / "net.yaml"
    path.write_text(f"input: [3, 8, 8]\nlayers: {layers}\n")
    with pytest.raises(BitlatheError, match="no conv or linear layer"):
        load_model(path)


def test_a_layer_that_is_no_object(tmp_path):
    path = tmp_path / "net.json"
    path.write_text('{"input": [3, 8, 8],\n "layers": [\n 3]}')
    with pytest.raises(BitlatheError, match=r"net.json:3:2: 3 stands where an object"):
        load_model(path)


def test_the_network_in_the_guide(tmp_path):
    guide = Path(__file__).parents[2] / "docs" / "workloads.md"
    path = tmp_path / "guide.yaml"
    _, _, chapter = guide.read_text().partition("## Your own convolution network")
    path.write_text(chapter.split("```yaml\n")[1].split("```")[0])
    gemms = load_model(path).gemms()
    assert [g.batch for g in gemms] == [1, 32, 1, 1]
    assert gemms[-1].k == 32
