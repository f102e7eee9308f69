"""What a notebook shows: short reprs, HTML without anything unescaped, data frames, drawings."""

from dataclasses import replace
from html.parser import HTMLParser
from typing import Any, get_type_hints

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.base.notebook import flat, frame, html
from bitlathe.mapping.nest import Level
from bitlathe.sim.map_layer import product_on


@pytest.fixture(scope="module")
def run() -> Any:
    products = [bl.Gemm(name="<a>", m=4, n=32, k=64, count=3), bl.Gemm(name="b", m=4, n=8, k=32)]
    return bl.simulate("bitmod", products, fidelity="analytic", mapper="whole-buffer")


@pytest.fixture(scope="module")
def tensor() -> Any:
    return bl.quantize(np.random.default_rng(0).normal(size=(4, 64)), "bitmod_fp4@g32/int8")


@pytest.fixture(scope="module")
def shown(run: Any, tensor: Any) -> dict[str, Any]:
    chip = bl.load_arch("bitmod")
    return {
        "Run": run,
        "QuantizedTensor": tensor,
        "Scheme": tensor.scheme,
        "Format": bl.format("fp4_e2m1"),
        "Arch": chip,
        "Model": bl.load_model("opt-125m"),
        "Mapped": product_on(chip, 4, 32, 64, "prefill").best(),
    }


class Tags(HTMLParser):
    """Collects tags and text; every tag that is opened is closed in its turn."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + " "


NAMES = ["Run", "QuantizedTensor", "Scheme", "Format", "Arch", "Model", "Mapped"]


@pytest.mark.parametrize("name", NAMES)
def test_a_repr_is_short_and_html_is_whole(name: str, shown: dict[str, Any]) -> None:
    text = repr(shown[name])
    assert text.startswith(f"{name}(")
    assert len(text) < 120
    tags = Tags()
    tags.feed(shown[name]._repr_html_())
    assert tags.open == []
    assert len(tags.text) > 40


def test_figures_in_html_are_those_of_the_object(run: Any, tensor: Any) -> None:
    tags = Tags()
    tags.feed(run._repr_html_())
    assert "<a>" in tags.text
    assert f"{run.cycles:,}" in tags.text
    assert f"{float(tensor.bits_per_element):.4g}" in tensor._repr_html_()
    assert "fp4_e2m1" in bl.format("fp4_e2m1")._repr_html_()
    assert "bit_serial" in bl.load_arch("bitmod")._repr_html_()


def test_a_mapping_is_shown_by_its_memories_and_loops(shown: dict[str, Any]) -> None:
    mapping, tags = shown["Mapped"].mapping, Tags()
    text = repr(mapping)
    assert all(text.count(level.memory) == 1 for level in mapping.levels)
    assert f"; {len(mapping.loops)} loops; " in text
    deep = replace(mapping, levels=tuple(Level(memory=f"memory {i}", keeps=()) for i in range(20)))
    assert len(text) < 120
    assert len(repr(deep)) < 120
    tags.feed(mapping._repr_html_())
    assert tags.open == []
    assert all(f"for {loop.dim} by {loop.tile:,} " in tags.text for loop in mapping.loops)
    assert all(level.memory in tags.text for level in mapping.levels)


@pytest.mark.parametrize("name", ["fp32", "fp16", "posit8", "e8m0", "int2"])
def test_any_format_is_shown(name: str) -> None:
    """Also those with too many values for a table, or none kept."""
    fmt = bl.format(name)
    assert isinstance(fmt, bl.Format)
    assert repr(fmt).startswith(f"Format('{name}', {fmt.bits} bits")
    assert len(fmt._repr_html_()) < 10_000


def test_studies_and_systems_are_shown() -> None:
    from bitlathe.reports.studies.published import STUDIES
    from bitlathe.reports.studies.result import Result

    kinds = {name: get_type_hints(each.reproduce)["return"] for name, each in STUDIES.items()}
    assert all(issubclass(kind, Result) for kind in kinds.values())
    rows = [{"model": "<a>", "mj": float(i)} for i in range(50)]
    study = kinds["shiftaddllm-energy"](rows=rows, objections=[{"why": "b"}], simulated=[])
    assert repr(study) == "shiftaddllm_energy.Reproduction(50 rows, 1 objections, 0 simulated)"
    assert study.to_frame().to_dict("records") == rows
    assert list(study.to_frame("objections")["why"]) == ["b"]
    with pytest.raises(BitlatheError, match="unknown table 'row'; did you mean 'rows'"):
        study.to_frame("row")
    means = {"published": {"speed": 2.0}, "corrected": {"speed": 1.5}}
    named = kinds["bitfusion-isca18"](rows=rows, networks=[], means=means, objections=[])
    assert list(named.to_frame("means").itertuples(index=False, name=None)) == [
        ("published", 2.0),
        ("corrected", 1.5),
    ]
    pair = bl.simulate(
        bl.load_system("bitmod-pair"),
        "opt-125m",
        context=8,
        fidelity="analytic",
        mapper="whole-buffer",
    )
    assert len(pair.to_frame()) == len(pair.rows())
    for found in (study, pair):
        assert len(repr(found)) < 120
        tags = Tags()
        tags.feed(found._repr_html_())
        assert tags.open == []
        assert len(tags.text) > 40
    assert "<a>" not in study._repr_html_()
    assert "of 50 rows" in study._repr_html_()
    assert f"{pair.cycles:,}" in pair._repr_html_()


def test_html_is_escaped() -> None:
    text = html("<script>", {"a&b": "<i>", "none": None}, [{"<k>": "<v>", "n": 1234}], [])
    assert "<script>" not in text
    assert "<i>" not in text
    assert "<v>" not in text
    assert "1,234" in text
    assert "none" not in text


def test_a_frame_of_a_run_sums_to_its_totals(run: Any) -> None:
    found = run.to_frame()
    assert list(found["name"]) == ["<a>", "b"]
    assert found["cycles"].sum() == run.cycles
    assert found["energy_pj.total"].sum() == pytest.approx(run.energy_pj["total"], rel=1e-12)
    dram = [column for column in found if column.startswith("dram_bits.")]
    assert found[dram].sum().sum() == run.dram_bits["total"]


def test_frames_of_the_others(shown: dict[str, Any]) -> None:
    values = shown["Format"].to_frame()
    assert list(values["value"]) == shown["Format"].values.tolist()
    layers = shown["Model"].to_frame()
    assert list(layers["name"]) == [gemm.name for gemm in shown["Model"].gemms()]
    assert shown["Arch"].to_frame()["array.rows"][0] == 32
    assert len(shown["Mapped"].to_frame()) == len(shown["Mapped"].accesses())
    scheme, tensor = shown["Scheme"], shown["QuantizedTensor"]
    grids = scheme.to_frame().groupby("format", sort=False)["value"].apply(list)
    assert dict(grids) == {fmt.name: fmt.values.tolist() for fmt in scheme.formats}
    assert [scheme.formats[i].name for i in tensor.choices.ravel()] == list(
        tensor.to_frame()["format"]
    )
    zeros = bl.quantize(np.arange(64.0).reshape(2, 32), "int4_asym@g16")
    for place, row in zeros.to_frame().set_index(["axis 0", "axis 1"]).iterrows():
        assert (row["scale"], row["zero"]) == (zeros.scales[place], zeros.zeros[place])
    assert frame([]).empty
    assert flat({"a": {"b": {}}, "c": [1]}) == {"c": [1]}


def test_drawings_show_the_figures(run: Any, tensor: Any) -> None:
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    axes = run.plot()
    assert sum(bar.get_width() for bar in axes.patches) == run.cycles
    assert len(tensor.plot().patches) == len(np.unique(tensor.matrix))
    line = bl.format("int4").plot(axes=plt.subplots()[1]).lines[0]
    assert list(line.get_xdata()) == list(range(-7, 8))
    plt.close("all")


def test_numpy_takes_a_tensor_for_its_values(tensor: Any) -> None:
    np.testing.assert_array_equal(np.asarray(tensor), tensor.dequantize("float64"))
    assert np.asarray(tensor, dtype=np.float16).dtype == np.float16
    assert np.abs(tensor).shape == (4, 64)
    assert np.asarray(bl.quantize(np.ones((2, 32), np.float32), "int4@g32")).dtype == np.float32
    with pytest.raises(ValueError, match="computed anew"):
        np.asarray(tensor, copy=False)


def test_names_at_the_root() -> None:
    assert {"int4", "nvfp4"} <= set(bl.formats())
    assert bl.sweep is bl.reports.explore.sweep.run_sweep
    assert callable(bl.report)
    torch = pytest.importorskip("torch")
    assert bl.fake_quantize(torch.ones(2, 32), "int4@g32").shape == (2, 32)


def test_without_pandas_to_frame_says_so(monkeypatch: pytest.MonkeyPatch, run: Any) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pandas", None)
    with pytest.raises(BitlatheError, match="pip install pandas"):
        run.to_frame()
