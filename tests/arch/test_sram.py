"""SRAM tables: exact at their points, between neighbors elsewhere, errors outside, banks: auto."""

import csv
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.arch.components import FOLDER
from bitlathe.arch.sram import Macro, bank_cost, least_banks, sram_cost
from bitlathe.datatypes.base.errors import BitlatheError


def _rows(name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((FOLDER / name).read_text().splitlines()))


DEVICES = _rows("sram_cacti7_devices.csv")
HP28 = [r for r in _rows("sram_cacti7_hp.csv") if r["tech_nm"] == "28"]
POINTS = {(int(r["bank_bytes"]), int(r["bus_bits"])): float(r["read_pj"]) for r in HP28}
SIZES = sorted({size for size, _ in POINTS})
BUSES = sorted({bus for _, bus in POINTS})
STUDY = Macro.of("cacti7_hp", node_nm=28)


def read_pj(size_bytes: float, bus_bits: float) -> float:
    return sram_cost(STUDY, size_bytes=size_bytes, banks=1, port_bits=bus_bits).read_pj  # type: ignore[arg-type]


@pytest.mark.parametrize("point", POINTS)
def test_table_points_are_exact(point: tuple[int, int]) -> None:
    assert read_pj(*point) == POINTS[point]


@pytest.mark.parametrize("row", DEVICES[:: len(DEVICES) // 150])
@pytest.mark.parametrize("kelvin", [300, 360])
def test_points_of_the_devices_are_exact(row: dict[str, str], kelvin: int) -> None:
    macro = Macro.of(
        "cacti7",
        node_nm=int(row["tech_nm"]),
        device=row["device"],
        temperature_k=kelvin,
        ports=len(row["ports"]) // 2,  # 1r1w or 1rw
    )
    size, bus = int(row["bank_bytes"]), int(row["bus_bits"])
    keys = ("read_pj", "write_pj", "area_mm2", "access_ns", "cycle_ns", f"leakage_mw_{kelvin}k")
    assert bank_cost(macro, size, bus) == tuple(float(row[key]) for key in keys)


def test_the_two_tables_agree_where_they_meet() -> None:
    """High performance at 360 K, a read and a write port, is the table of the BitMoD study."""
    hot = Macro.of("cacti7", node_nm=28, device="hp", temperature_k=360)
    known = {(int(r["bank_bytes"]), int(r["bus_bits"])) for r in DEVICES}
    both = [point for point in POINTS if point in known]
    assert len(both) > 40
    for point in both:
        assert bank_cost(hot, *point) == pytest.approx(bank_cost(STUDY, *point), rel=1e-4)


@pytest.mark.parametrize(
    ("device", "read", "cold", "hot", "cycle"),
    [
        ("hp", 11.5993, 13.4043, 42.6, 0.338671),
        ("lop", 6.99737, 2.31562, 22.8, 1.03043),
        ("lstp", 14.9717, 0.0103535, 0.032, 1.48412),
    ],
)
def test_a_bank_of_64_kib(device: str, read: float, cold: float, hot: float, cycle: float) -> None:
    """28 nm, 64 bits, a read and a write port: figures read off the runs."""
    at = {
        kelvin: sram_cost(
            Macro.of("cacti7", node_nm=28, device=device, temperature_k=kelvin),
            size_bytes=65536,
            banks=1,
            port_bits=64,
        )
        for kelvin in (300, 360)
    }
    assert (at[300].read_pj, at[300].leakage_mw, at[300].cycle_ns) == (read, cold, cycle)
    assert at[360].leakage_mw == pytest.approx(hot, rel=0.02)
    assert replace(at[360], leakage_mw=cold) == at[300]  # nothing else knows the temperature


def test_banks_are_accessed_together() -> None:
    one = sram_cost(STUDY, size_bytes=65536, banks=1, port_bits=64)
    eight = sram_cost(STUDY, size_bytes=524288, banks=8, port_bits=512)
    assert eight.read_pj == 8 * one.read_pj
    assert eight.leakage_mw == 8 * one.leakage_mw
    assert eight.area_um2 == pytest.approx(8 * one.area_um2)
    assert eight.cycle_ns == one.cycle_ns


def test_a_narrow_port_leaves_some_of_the_narrowest_buses_unused() -> None:
    eight = sram_cost(STUDY, size_bytes=524288, banks=8, port_bits=20)
    assert eight == sram_cost(STUDY, size_bytes=524288, banks=8, port_bits=64)


@given(
    st.integers(0, len(SIZES) - 2),
    st.sampled_from(BUSES),
    st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted),
)
def test_monotone_between_neighboring_sizes(i: int, bus: int, places: list[float]) -> None:
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
def test_monotone_between_neighboring_ports(size: int, i: int, places: list[float]) -> None:
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
        ({"size_bytes": 2**30}, "use between 4096 and 4096 banks"),
        ({"size_bytes": 2**30 + 1}, "more than 4096 of the largest banks .* use a smaller buffer"),
        ({"port_bits": 4096}, "use a port of at most 512 bits, or more banks"),
        ({"node_nm": 7}, "it has 22, 28, 45, 65 nm"),
    ],
)
def test_outside_the_table_is_an_error(changes: dict[str, int], message: str) -> None:
    good = {"size_bytes": 65536, "banks": 1, "port_bits": 64} | changes
    macro = replace(STUDY, node_nm=good.pop("node_nm", 28))
    with pytest.raises(BitlatheError, match=message):
        sram_cost(macro, **good)


def test_small_banks_have_narrow_buses() -> None:
    """A bank of 256 bytes has at most 64 bits, one of 512 at most 128."""
    macro = Macro.of("cacti7", node_nm=28)
    assert sram_cost(macro, size_bytes=512, banks=1, port_bits=128).area_um2 > 0
    said = r"a bus of 128 bits, beyond SRAM table 'cacti7' \(64 bits for banks of 300 bytes\)"
    with pytest.raises(BitlatheError, match=said):
        sram_cost(macro, size_bytes=300, banks=1, port_bits=128)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"table": "cacti7_lstp", "ports": 2},
            "SRAM table 'cacti7_lstp' was made for one port, not for ports: 2; use ports: 1, or "
            "component: cacti7.",
        ),
        (
            {"table": "cacti7_hp", "device": "lop"},
            "SRAM table 'cacti7_hp' was made for hp, the chip's technology.device is lop; use "
            "component: cacti7, or leave out technology.device.",
        ),
        (
            {"table": "cacti7_hp", "temperature_k": 300},
            "SRAM table 'cacti7_hp' was made for 360 K, the chip's technology.temperature_k is "
            "300 K; use component: cacti7, or leave out technology.temperature_k.",
        ),
    ],
)
def test_a_table_knows_what_it_was_made_for(asked: dict[str, object], said: str) -> None:
    with pytest.raises(BitlatheError) as caught:
        Macro.of(node_nm=28, **asked)  # type: ignore[arg-type]
    assert str(caught.value) == said


@given(
    device=st.sampled_from(["hp", "lop", "lstp"]),
    ports=st.sampled_from([1, 2]),
    kib=st.sampled_from([1, 4, 24, 64, 512, 2048]),
    port_bits=st.integers(1, 4096),
    clock_ghz=st.sampled_from([0.25, 0.5, 1.0, 2.0]),
)
def test_the_fewest_banks_that_meet_the_clock(
    device: str, ports: int, kib: int, port_bits: int, clock_ghz: float
) -> None:
    """Against a search by hand: 1, 2, 4 ... banks, the first whose cycle fits."""
    macro = Macro.of("cacti7", node_nm=28, device=device, ports=ports)
    right = None
    for banks in (2**i for i in range(13)):
        try:
            cost = sram_cost(macro, size_bytes=kib * 1024, banks=banks, port_bits=port_bits)
        except BitlatheError:
            continue
        if cost.cycle_ns <= 1 / clock_ghz:
            right = banks
            break
    asked = {"size_bytes": kib * 1024, "port_bits": port_bits, "clock_ghz": clock_ghz}
    if right is None:
        with pytest.raises(BitlatheError, match=r"takes an access every|use "):
            least_banks(macro, **asked)  # type: ignore[arg-type]
    else:
        assert least_banks(macro, **asked) == right  # type: ignore[arg-type]


def test_no_number_of_banks_keeps_up() -> None:
    """The fastest bank of lstp at 28 nm: 0.375 ns, a file of 256 bytes and more."""
    macro = Macro.of("cacti7", node_nm=28, device="lstp")
    with pytest.raises(BitlatheError) as caught:
        least_banks(macro, size_bytes=65536, port_bits=256, clock_ghz=4.0)
    said = str(caught.value)
    assert said.startswith("no number of banks of device 'lstp' takes an access every 0.25 ns; ")
    assert said.endswith("or another technology.device (hp is the fastest).")
