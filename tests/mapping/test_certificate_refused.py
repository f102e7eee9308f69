"""Certificates that do not hold are refused, each with a sentence that says why."""

import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from bitlathe.arch.hierarchy import OPERANDS, Axis, Hierarchy, Memory, Port
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.certify import certificate
from bitlathe.mapping.mapped import Asked
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.operands import OperandBits
from bitlathe.mapping.proof.record import ProofError
from bitlathe.mapping.proof.verify import check
from bitlathe.mapping.search import search
from bitlathe.sim.map_certificate import check_certificate
from bitlathe.workloads.conv_shape import ConvShape

PORTS = (
    Port(direction="read", width_bits=Fraction(32), read_pj=1.25),
    Port(direction="write", width_bits=Fraction(100, 3), write_pj=0.1),
)
CHIP = Hierarchy(
    memories=(
        Memory(name="dram", holds=OPERANDS, size_bits=None, ports=PORTS, latency_cycles=3),
        Memory(name="buffer", holds=OPERANDS, size_bits=2048, ports=PORTS, optional=("weight",)),
        Memory(
            name="sums", holds=("output",), size_bits=None, words=2, ports=PORTS, per=("x", "y")
        ),
    ),
    axes=(Axis(name="x", size=3, dims=("n", "k")), Axis(name="y", size=2, dims=("m",))),
    units=("x", "y"),
    unit_pj=0.5,
    static_pj=0.75,
)
OTHER = replace(CHIP, axes=(Axis(name="x", size=3, dims=("m", "k")), *CHIP.axes[1:]))
LAYER = Loops.product(6, 10, 12)
BITS = OperandBits(
    weight=Fraction(17, 4), input=Fraction(8), output=Fraction(8), partial=20,
    weight_code=Fraction(4),
)  # fmt: skip
ASKED = Asked(layer=LAYER, bits=BITS, hierarchies=(CHIP, OTHER))


@cache
def text() -> str:
    best = search(LAYER, BITS, CHIP, "edp")
    data = certificate(LAYER, BITS, (CHIP, OTHER), best.mapping, CHIP, objective="edp", budget=100)
    return json.dumps(data)


def test_it_holds_as_it_is(tmp_path: Path) -> None:
    verdict = check(text())
    assert 1 <= verdict.value / verdict.bound < 2
    file = tmp_path / "proof.json"
    file.write_text(text())
    assert check_certificate(file, ASKED) == verdict


def split_of(data: Any) -> list[Any]:
    """A part that is split in two."""
    return next(
        way["tree"] for row in data["proof"] for way in row["ways"] if len(way["tree"]) == 5
    )


def first_leaf(tree: Any, kind: str) -> list[Any] | None:
    if tree[0] == kind:
        return tree  # type: ignore[no-any-return]
    if len(tree) < 5:
        return None
    return first_leaf(tree[3], kind) or first_leaf(tree[4], kind)


def leaf(data: Any, kind: str = "floor") -> list[Any]:
    """The first leaf of a kind below a split."""
    leaves = (
        first_leaf(way["tree"], kind) for row in data["proof"] for way in row["ways"]
        if len(way["tree"]) == 5
    )  # fmt: skip
    return next(each for each in leaves if each)


SHAPE = ConvShape(
    in_channels=4, out_channels=3, size=(5, 4), kernel=(3, 3), stride=(2, 1), padding=(1, 1)
)
CONV = Loops.conv(SHAPE)


@cache
def convolution() -> str:
    best = search(CONV, BITS, CHIP, "edp")
    data = certificate(CONV, BITS, (CHIP, OTHER), best.mapping, CHIP, objective="edp", budget=50)
    return json.dumps(data)


def set_at(*path: Any, to: Any) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = to

    return change


def times(factor: Fraction, *path: str) -> Callable[[Any], None]:
    def change(data: Any) -> None:
        for key in path[:-1]:
            data = data[key]
        data[path[-1]] = str(Fraction(data[path[-1]]) * factor)

    return change


def tile(data: Any, index: int, by: int) -> None:
    loops = [loop for level in data["mapping"]["levels"] for loop in level["loops"]]
    loops[index][1] += by


def dims(data: Any) -> None:
    for chip in data["chips"]:
        chip["axes"][0]["dims"] = ["k"]


CHANGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "bound raised": (times(Fraction(1001, 1000), "bound"), "bound is"),
    "bound lowered": (times(Fraction(999, 1000), "bound"), "bound is"),
    "bound of nothing": (set_at("bound", to=0), "must be more than 0"),
    "bound below nothing": (set_at("bound", to="-1"), "must be more than 0"),
    "bound a float": (set_at("bound", to=1.5), "floating point"),
    "bound infinite": (set_at("bound", to=float("inf")), "floating point"),
    "bound over nothing": (set_at("bound", to="1/0"), "must be a number such as"),
    "a floor raised": (
        lambda d: leaf(d).__setitem__(1, leaf(d)[1] + 1),
        r"proof(\[1\]|) is .* derived",
    ),
    "a floor without its figure": (lambda d: leaf(d).pop(1), "has 2 entries; derived"),
    "a floor true": (lambda d: leaf(d).__setitem__(1, True), r"proof(\[1\]|) is .* derived"),
    "no room where there is": (
        lambda d: leaf(d).__setitem__(slice(None), ["room", leaf(d)[2]]),
        "derived anew there are 3",
    ),
    "a part of fewer choices": (
        lambda d: leaf(d).__setitem__(2, leaf(d)[2] - 1),
        r"part of the proof\[2\] is",
    ),
    "another order of ways": (
        lambda d: next(r for r in d["proof"] if len(r["ways"]) > 1)["ways"].reverse(),
        "each once, in order",
    ),
    "more words in a memory": (
        set_at("chips", 0, "memories", 2, "words", to=5),
        "figures.chips|formula",
    ),
    "a dimension that the layer lacks": (
        lambda d: d["chips"][1]["axes"][1]["dims"].append("b"),
        r"figures.chips\[1\].places",
    ),
    "units idle": (
        lambda d: d["figures"]["mapping"]["unrolled"][0].__setitem__(3, 9),
        r"figures.mapping.unrolled\[0\]\[3\] is 9",
    ),
    "many tiles as one": (
        lambda d: split_of(d).__setitem__(slice(None), ["all"]),
        "must have one choice of tiles",
    ),
    "a part dropped": (lambda d: split_of(d).pop(), "must have 5 entries"),
    "a part is its sibling": (
        lambda d: split_of(d).__setitem__(slice(None), split_of(d)[3]),
        "a part of the proof|a split of the proof|bound is",
    ),
    "a part narrowed": (lambda d: split_of(d).__setitem__(2, 1000), "not one of several tiles"),
    "a part empty": (lambda d: split_of(d).__setitem__(4, []), "must be a list"),
    "a part unknown": (lambda d: split_of(d).__setitem__(4, ["best"]), "must have 5 entries"),
    "a split at no tier": (lambda d: split_of(d).__setitem__(0, 7), "at tier 7, which is none"),
    "a split over nothing": (lambda d: split_of(d).__setitem__(1, "q"), "of 'q' at tier 1"),
    "all ways without parts": (lambda d: d["proof"][0]["ways"].clear(), r"\[0\].rest is"),
    "a way there twice": (
        lambda d: d["proof"][0]["ways"].append(d["proof"][0]["ways"][0]),
        "each once, in order",
    ),
    "a way that is none": (
        lambda d: d["proof"][0]["ways"][0].__setitem__("way", [["x", "n", 9]]),
        "ways of the space",
    ),
    "a storage dropped": (lambda d: d["proof"].pop(), "proof has 3 entries"),
    "a storage twice": (lambda d: d["proof"].__setitem__(1, d["proof"][0]), "one for each storage"),
    "a dataflow dropped": (lambda d: d["chips"].pop(), "figures.chips has 2 entries"),
    "no dataflow": (lambda d: d["chips"].clear(), "there are 0 chips"),
    "a smaller axis": (set_at("chips", 0, "axes", 1, "size", to=1), "more on axis"),
    "an axis of fewer dimensions": (dims, "cannot unroll|which is no way|bound is|cost"),
    "a memory that need not be passed": (
        set_at("chips", 0, "memories", 1, "optional", to=[]),
        "must keep weights",
    ),
    "a smaller memory": (set_at("chips", 0, "memories", 1, "size_bits", to=100), "do not fit"),
    "one tile only": (
        set_at("chips", 0, "memories", 1, "double_buffered", to=False),
        "not two|bound is|the formula|has room|is not one",
    ),
    "cheaper clocks": (set_at("cost", "cycles", to=1), "cost.cycles is 1; derived"),
    "clocks as text": (set_at("cost", "cycles", to="9"), "cost.cycles is '9'"),
    "cheaper energy": (times(Fraction(1, 2), "cost", "total_pj"), "cost.total_pj is"),
    "a port left out": (lambda d: d["cost"]["ports"].pop(), "cost.ports has"),
    "a memory's energy left out": (lambda d: d["cost"]["energy_pj"].popitem(), "is missing"),
    "less traffic": (set_at("traffic", "bits", to="1"), "traffic.bits is"),
    "a higher floor": (set_at("traffic", "floor_bits", to=10**9), "traffic.floor_bits is"),
    "another formula": (set_at("traffic", "formula", to="my own"), "traffic.formula is"),
    "the rest of a storage raised": (
        lambda d: d["proof"][0].update(rest=str(Fraction(d["proof"][0]["rest"]) + 1)),
        r"proof\[0\].rest is",
    ),
    "more units than elements": (
        lambda d: d["mapping"]["spatial"].__setitem__(0, ["y", "m", 7]),
        "of m on 'y', and there are 6|more on axis",
    ),
    "another objective": (set_at("objective", to="energy"), "derived anew"),
    "an objective unknown": (set_at("objective", to="area"), "objective is 'area'"),
    "an objective of a list": (set_at("objective", to=[]), "objective is"),
    "another latency": (set_at("about", to="cycle-accurate"), "about is"),
    "another space": (set_at("space", "tiles", to="divisors"), "space.tiles is"),
    "another version": (set_at("certificate", to=1), "knows version 6"),
    "version true": (set_at("certificate", to=True), "knows version 6"),
    "a key more": (set_at("constraints", to=[]), "'constraints' is not one of its keys"),
    "a key less": (lambda d: d.pop("proof"), "'proof' is missing"),
    "a token more": (set_at("layer", "sizes", "m", to=7), "figures.layer"),
    "a wider weight": (set_at("layer", "bits", "weight", to=5), "figures.layer"),
    "a wider code": (set_at("layer", "code_bits", "weight", to=5), "more than all"),
    "a step of no clocks": (set_at("layer", "step_cycles", to=0), "must be more than 0"),
    "a size too large": (set_at("layer", "sizes", "m", to=1 << 40), "takes up to"),
    "a layer of two dimensions": (lambda d: d["layer"]["sizes"].pop("k"), "layer.sizes"),
    "a tile more": (lambda d: tile(d, 0, 1), "cost|fit|the mapping|bound is"),
    "a mapping that does not fit": (
        lambda d: d["mapping"]["levels"][0]["loops"].clear(),
        "do not fit|more than is unrolled",
    ),
    "no loops inside": (
        lambda d: d["mapping"]["levels"][-1].__setitem__("loops", []),
        "more than is unrolled|cost",
    ),
    "a mapping without units": (set_at("mapping", "spatial", to=[]), "more than is unrolled"),
    "more units than there are": (
        set_at("mapping", "spatial", to=[["x", "n", 4]]),
        "than its 3 units",
    ),
    "an unknown axis": (set_at("mapping", "spatial", to=[["z", "n", 2]]), "does not exist"),
    "a dimension that it cannot": (set_at("mapping", "spatial", to=[["y", "n", 2]]), "cannot"),
    "a loop over nothing": (
        lambda d: d["mapping"]["levels"][0]["loops"].append(["q", 1]),
        "a loop over 'q'",
    ),
    "a tile of nothing": (
        lambda d: d["mapping"]["levels"][0]["loops"].append(["m", 0]),
        "of at least 1",
    ),
    "another memory": (set_at("mapping", "levels", 0, "memory", to="disk"), "'disk'"),
    "a sum that skips its memory": (
        lambda d: d["mapping"]["levels"][-1].__setitem__("keeps", []),
        "must keep|doubled",
    ),
    "another chip": (set_at("mapping", "chip", to=2), "there are 2 chips"),
    "the other dataflow": (set_at("mapping", "chip", to=1), "cannot unroll|cost"),
    "two memories of one name": (
        set_at("chips", 0, "memories", 2, "name", to="buffer"),
        "names must differ|one name",
    ),
    "tables of no energy": (
        set_at("chips", 0, "table_units", to=["x"]),
        r"chips\[0\] has tables that take no energy",
    ),
    "a port of nothing": (
        lambda d: d["chips"][0]["memories"][1]["ports"][0].update(operands=[]),
        r"ports\[0\] serves no operand",
    ),
    "a number written otherwise": (
        set_at("layer", "bits", "weight", to="34/8"),
        "bits.weight is '34/8'; it must be written as 17/4",
    ),
    "a memory that all go past": (
        set_at("chips", 0, "memories", 1, "optional", to=["weight", "output"]),
        r"memories\[1\].must_keep has 2 entries",
    ),
    "units without one of their axes": (set_at("chips", 0, "units", to=["x"]), "figures"),
    "no port to read": (lambda d: d["chips"][0]["memories"][1]["ports"].pop(0), "ports that read"),
    "an outermost memory with a bound": (
        set_at("chips", 0, "memories", 0, "size_bits", to=9),
        "must have no bound",
    ),
}


@pytest.mark.parametrize("name", list(CHANGES))
def test_what_does_not_hold_is_refused(name: str) -> None:
    change, says = CHANGES[name]
    data = json.loads(text())
    change(data)
    assert json.dumps(data) != text()
    with pytest.raises(ProofError, match=says) as error:
        check(json.dumps(data))
    assert str(error.value).endswith(".")


OF_A_CONVOLUTION: dict[str, tuple[Callable[[Any], Any], str]] = {
    "no windows": (set_at("layer", "windows", to=[]), "has 0 entries; the layer has 2"),
    "a window without its size": (lambda d: d["layer"]["windows"][0].pop("size"), "is missing"),
    "a stride of nothing": (set_at("layer", "windows", 1, "stride", to=0), "at least 1"),
    "another border": (set_at("layer", "windows", 0, "padding", to=0), "figures"),
    "a smaller image": (set_at("layer", "windows", 0, "size", to=4), "figures"),
    "halos kept": (set_at("chips", 0, "memories", 1, "keep_halo", to=True), "figures"),
    "halos as text": (set_at("chips", 0, "memories", 1, "keep_halo", to="yes"), "true or false"),
    "a tap more": (set_at("layer", "sizes", "r", to=4), "figures"),
    "sizes of a product": (lambda d: d["layer"]["sizes"].pop("c"), "layer.sizes is"),
    "the space of a product": (
        lambda d: d["space"].update(orders="all of m, n and k between two tiers"),
        "space.orders is",
    ),
    "bound raised": (times(Fraction(1001, 1000), "bound"), "bound is"),
    "a floor raised": (
        lambda d: leaf(d).__setitem__(1, leaf(d)[1] + 1),
        r"proof(\[1\]|) is .* derived",
    ),
    "cheaper clocks": (set_at("cost", "cycles", to=1), "cost.cycles is 1; derived"),
    "less traffic": (set_at("traffic", "bits", to="1"), "traffic.bits is"),
}


@pytest.mark.parametrize("name", list(OF_A_CONVOLUTION))
def test_what_does_not_hold_of_a_convolution_is_refused(name: str) -> None:
    change, says = OF_A_CONVOLUTION[name]
    assert check(convolution()).parts
    data = json.loads(convolution())
    change(data)
    with pytest.raises(ProofError, match=says):
        check(json.dumps(data))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[]", "is not a certificate"),
        ("3", "is not a certificate"),
        ("{}", "is not a certificate"),
        ('{"cycles": 7, "mapping": {}}', "is not a certificate"),
        ('{"certificate": 6}', "is missing"),
        ('{"certificate": 1, "certificate": 1}', "a key twice"),
        ('{"certificate": NaN}', "floating point"),
        ("[" * 100_000, "is not JSON"),
        ('{"certificate": ' + "9" * 5000 + "}", "is not JSON|knows version"),
    ],
)
def test_what_is_no_certificate_is_said(content: str, says: str) -> None:
    with pytest.raises(ProofError, match=says):
        check(content)


def test_a_cut_file_is_not_json() -> None:
    for part in range(1, 20):
        with pytest.raises(ProofError):
            check(text()[: len(text()) * part // 20])


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "No such file"), (b"\xff\xfe\x00", "is not text"), (b"[]", "is not a certificate")],
)
def test_files_are_named(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "proof.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(BitlatheError, match=says) as error:
        check_certificate(file)
    assert str(file) in str(error.value)


def test_a_chip_that_can_more_is_another_chip(tmp_path: Path) -> None:
    """A proof about a quietly smaller chip holds, but not for the chip that is asked about."""
    file = tmp_path / "proof.json"
    file.write_text(text())
    wider = replace(CHIP, axes=(Axis(name="x", size=4, dims=("n", "k")), *CHIP.axes[1:]))
    for asked in (
        replace(ASKED, hierarchies=(CHIP,)),
        replace(ASKED, hierarchies=(wider, OTHER)),
        replace(ASKED, layer=Loops.product(6, 10, 13)),
    ):
        with pytest.raises(BitlatheError, match="holds for another one"):
            check_certificate(file, asked)


def test_layers_that_are_no_products_are_refused() -> None:
    layer = Loops.batched(2, 3, 4, sharing=2)
    with pytest.raises(BitlatheError, match="certificates are for products"):
        certificate(layer, BITS, (CHIP,), search(LAYER, BITS, CHIP).mapping, CHIP)
