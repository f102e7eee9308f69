"""Component tables: exact at their points, between neighbours elsewhere, errors outside."""

import csv

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.arch.components import (
    FOLDER,
    component_names,
    dram_component,
    pe_component,
    sram_cost,
)
from bitlathe.datatypes.errors import BitlatheError

TABLE = (FOLDER / "sram_cacti7_hp.csv").read_text().splitlines()
POINTS = {
    (int(r["bank_bytes"]), int(r["bus_bits"])): float(r["read_pj"])
    for r in csv.DictReader(TABLE)
    if r["tech_nm"] == "28"
}
SIZES = sorted({size for size, _ in POINTS})
BUSES = sorted({bus for _, bus in POINTS})


def read_pj(size_bytes: float, bus_bits: float) -> float:
    cost = sram_cost("cacti7_hp", node_nm=28, size_bytes=size_bytes, banks=1, port_bits=bus_bits)
    return cost.read_pj


@pytest.mark.parametrize("point", POINTS)
def test_table_points_are_exact(point: tuple[int, int]) -> None:
    assert read_pj(*point) == POINTS[point]


def test_banks_are_accessed_together() -> None:
    one = sram_cost("cacti7_hp", node_nm=28, size_bytes=65536, banks=1, port_bits=64)
    eight = sram_cost("cacti7_hp", node_nm=28, size_bytes=524288, banks=8, port_bits=512)
    assert eight.read_pj == 8 * one.read_pj
    assert eight.leakage_mw == 8 * one.leakage_mw
    assert eight.area_um2 == pytest.approx(8 * one.area_um2)
    assert eight.cycle_ns == one.cycle_ns


@given(
    st.integers(0, len(SIZES) - 2),
    st.sampled_from(BUSES),
    st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
)
def test_monotone_between_neighbouring_sizes(i: int, bus: int, places: list[float]) -> None:
    low, high = SIZES[i], SIZES[i + 1]
    near, far = (low + int((high - low) * p) for p in places)
    a, b = read_pj(near, bus), read_pj(far, bus)
    first, last = POINTS[low, bus], POINTS[high, bus]
    assert min(first, last) * (1 - 1e-12) <= a <= max(first, last) * (1 + 1e-12)
    assert (b - a) * (last - first) >= -1e-9 * last * first


@given(
    st.sampled_from(SIZES),
    st.integers(0, len(BUSES) - 2),
    st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
)
def test_monotone_between_neighbouring_ports(size: int, i: int, places: list[float]) -> None:
    low, high = BUSES[i], BUSES[i + 1]
    a, b = (read_pj(size, low + (high - low) * p) for p in places)
    first, last = POINTS[size, low], POINTS[size, high]
    assert min(first, last) * (1 - 1e-12) <= a <= max(first, last) * (1 + 1e-12)
    assert (b - a) * (last - first) >= -1e-9 * last * first


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"size_bytes": 1024}, "less than the smallest bank"),
        ({"size_bytes": 64 * 2**20}, "use between 256 and"),
        ({"port_bits": 4096}, "use a port of 8 to 512 bits"),
        ({"port_bits": 1}, "use a port of 8 to 512 bits"),
        ({"node_nm": 7}, "it has 22, 28, 45, 65 nm"),
    ],
)
def test_outside_the_table_is_an_error(changes: dict[str, int], message: str) -> None:
    good = {"node_nm": 28, "size_bytes": 65536, "banks": 1, "port_bits": 64}
    with pytest.raises(BitlatheError, match=message):
        sram_cost("cacti7_hp", **(good | changes))


def test_every_component_has_a_source() -> None:
    for name in component_names("pe"):
        assert pe_component(name).source
    for name in component_names("dram"):
        assert dram_component(name).source


def test_unknown_component_names_the_near_ones() -> None:
    with pytest.raises(BitlatheError, match="did you mean 'bitmod_study'"):
        pe_component("bitmod_studdy")
