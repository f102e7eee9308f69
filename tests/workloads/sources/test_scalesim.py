"""Topologies of SCALE-Sim: layers of its public files, and loops over its addresses."""

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.workloads import load_model

HEADER = (
    "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, "
    "Strides,"
)


def read(folder, text, name="t.csv"):
    path = folder / name
    path.write_text(text)
    return load_model(path)


def test_convolutions_as_the_programs_files_have_them(tmp_path):
    # topologies/conv_nets of github.com/scalesim-project/scale-sim-v2: rows of Resnet50.csv, whose
    # own further columns state outputs of 110 x 110, 12100 in all; of alexnet.csv; of
    # mobilnet_paper.csv, with a remark behind the last comma, a row without it, and a fully
    # connected layer as a convolution of one pixel
    text = f"""{HEADER},,Eh,Ew,e2
,,,,,,,,,,,,
Conv1,224,224,7,7,3,64,2,,,110,110,12100
CB2a_2,56,56,3,3,64,64,1,,,,,
CB3a_1,56,56,1,1,256,128,2,,,,,
Conv1     ,224         ,224        ,11           ,11          ,3       ,96        ,4      ,
\tConv14_dw_0,14,14,3,3,1,1,1,#dw
Conv11,28,28,1,1,256,256,1
FC, 1, 1, 1, 1, 1024, 1000, 1,
"""
    model = read(tmp_path, text)
    gemms = model.gemms()
    assert [(g.name, g.m, g.n, g.k) for g in gemms] == [
        ("Conv1", 12100, 64, 147),
        ("CB2a_2", 54 * 54, 64, 576),
        ("CB3a_1", 29 * 29, 128, 256),
        ("Conv1", 55 * 55, 96, 363),
        ("Conv14_dw_0", 144, 1, 9),
        ("Conv11", 784, 256, 256),
        ("FC", 1, 1000, 1024),
    ]
    assert [g.conv.stride for g in gemms][:4] == [(2, 2), (1, 1), (2, 2), (4, 4)]
    assert len(model.notes) == 1
    assert model.notes[0].startswith(
        "windows reach past the input, as SCALE-Sim counts them: Conv1 (224 x 224 read as 225 x "
        "225), CB3a_1 (56 x 56 read as 57 x 57), Conv1 (224 x 224 read as 227 x 227), so"
    )
    assert gemms[2].distinct_input_elements == 256 * 29 * 29  # a stride of 2 reads a quarter


def test_products_by_m_n_k(tmp_path):
    # topologies/GEMM_mnk/gpt2.csv, whose rows end without a comma, and README_Sparsity.md
    model = read(tmp_path, "Layer,M,N,K\nQKT,1024,1024,64\nLinear1,1024,4800,1600\n")
    assert [(g.m, g.n, g.k, g.batch) for g in model.gemms()] == [
        (1024, 1024, 64, 1), (1024, 4800, 1600, 1)
    ]  # fmt: skip
    assert model.notes == ()
    text = "Layer Name, M, N, K, Sparsity,\nGEMM_1, 3, 5, 16, 3:4,\n\nGEMM_2, 1, 5, 16, 1,\n"
    sparse = read(tmp_path, text)
    assert [g.macs for g in sparse.gemms()] == [240, 80]
    assert sparse.notes == ("sparsity is not modeled: GEMM_1 (3:4) run as dense layers.",)
    assert read(tmp_path, "layer,m,n,k,batch,\na,1,2,3,12,\n").gemms()[0].batch == 12


def test_two_strides_sparsity_and_depthwise(tmp_path):
    columns = HEADER.replace("Strides", "Stride height, Stride width")
    (gemm,) = read(tmp_path, f"{columns}\na,9,9,3,3,2,4,2,1,\n").gemms()
    assert (gemm.conv.stride, gemm.m) == ((2, 1), 4 * 7)
    model = read(tmp_path, f"{HEADER} Sparsity,\nCONV_1, 5, 5, 3, 3, 2, 6, 1, 2:4,\n")
    assert model.notes == ("sparsity is not modeled: CONV_1 (2:4) run as dense layers.",)
    (depthwise,) = read(tmp_path, f"{HEADER}\nConvDP, 14, 14, 3, 3, 8, 1, 1,\n").gemms()
    assert (depthwise.batch, depthwise.m, depthwise.n, depthwise.k) == (8, 144, 1, 9)


sizes = st.integers(1, 24)


@given(sizes, sizes, st.integers(1, 5), st.integers(1, 5), st.integers(1, 6), st.data())
def test_a_layer_matches_a_loop_over_its_windows(tmp_path_factory, h, w, r, s, stride, data):
    """A window starts at each stride that is below input - filter + stride."""
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_text(f"{HEADER}\nx,{h},{w},{r},{s},2,3,{stride},\n")
    if r > h or s > w:
        with pytest.raises(BitlatheError, match="is larger than the input's"):
            load_model(path)
        return
    rows = list(range(0, h - r + stride, stride))
    columns = list(range(0, w - s + stride, stride))
    (gemm,) = load_model(path).gemms()
    assert (gemm.m, gemm.n, gemm.k) == (len(rows) * len(columns), 3, r * s * 2)
    seen = {(i + a, j + b) for i in rows for j in columns for a in range(r) for b in range(s)}
    assert gemm.distinct_input_elements == 2 * len(seen)
    beyond = any(i >= h or j >= w for i, j in seen)
    assert beyond == bool(load_model(path).notes)


WRONG = {
    HEADER: "t.csv: the topology has no layers below its header",
    f"{HEADER}\na,4,4,3,3,2,4,": "t.csv:2: required key 'strides' is missing",
    f"{HEADER}\na,4,4,3,3,2,0,1,": "t.csv:2: 'num filter' is 0; it must be from 1",
    f"{HEADER}\na,4,4,x,3,2,1,1,": "t.csv:2: 'filter height' is 'x'; it must be an integer",
    f"{HEADER}\na,4,2,3,3,2,1,1,": "layer 'a': a filter of width 3 is larger than the input's 2",
    "Layer,M,N,K,\na,1,2,,": "t.csv:2: required key 'k' is missing",
    "Layer,M,K,N,\na,1,2,3,": "t.csv:1: unknown column 'Layer' of a list of products",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_a_topology_may_not_say(tmp_path, text):
    with pytest.raises(BitlatheError) as caught:
        read(tmp_path, text)
    assert WRONG[text] in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))


def test_from_topology_to_table(tmp_path):
    path = tmp_path / "net.csv"
    path.write_text(f"{HEADER}\nConv1,30,30,3,3,8,16,2,\n")
    done = CliRunner().invoke(main, ["simulate", "--arch", "tpu-like", "--model", str(path)])
    assert done.exit_code == 0, done.output
    assert "Conv1" in done.output
    assert "15 x 15" not in done.output
    assert "225 x 16 x 72" in done.output
    assert "Note: net: windows reach past the input" in done.output
