"""Libraries are read, gates run, and energies counted as by hand."""

from pathlib import Path

import numpy as np
import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.synthesis.energy import energy_pj
from bitlathe.sim.synthesis.gates import circuit_of, pack_streams, run_gates, unpack_streams
from bitlathe.sim.synthesis.liberty import read_library
from bitlathe.sim.synthesis.liberty_text import parse_function
from synthesis_cases import TINY, TOGGLE, TOGGLE_DESIGN, tiny


def test_a_library_is_read(tmp_path: Path) -> None:
    library = read_library(tiny(tmp_path))
    assert (library.name, library.voltage, sorted(library.cells)) == (
        "tiny", 2.0, ["DFF", "INV", "XOR"],
    )  # fmt: skip
    assert (library.inverter.name, library.register.name) == ("INV", "DFF")
    # four inverters are 1 pF: rise 3, fall 5 ns, and half a nanosecond of slew
    assert library.fanout_of_4 == (4.0, 0.5)
    table = library.cells["INV"].outputs[0].tables["delay"]
    assert table.at(np.array([0.0, 0.5, 1.0, 9.0]), 0.3).tolist() == [1.0, 2.5, 4.0, 4.0]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("A'", lambda a, b: not a),
        ("!(A B)", lambda a, b: not (a and b)),
        ("A ^ B", lambda a, b: a != b),
        ("A + B & !A", lambda a, b: a or (b and not a)),
        ("(A*B')|(A' B)", lambda a, b: a != b),
    ],
)
def test_functions_are_those_of_pins(text: str, value: object) -> None:
    from bitlathe.sim.synthesis.gates import evaluate

    bits = {"A": np.array([[0b0011]], np.uint64), "B": np.array([[0b0101]], np.uint64)}
    seen = int(evaluate(parse_function(text), bits.__getitem__)[0, 0]) & 15
    wanted = [value(a, b) for a, b in ((1, 1), (1, 0), (0, 1), (0, 0))]  # type: ignore[operator]
    assert [bool(seen >> i & 1) for i in range(4)] == wanted


@pytest.mark.parametrize("text", ["", "!", "(A", "A)", "A & "])
def test_what_is_no_function_is_refused(text: str) -> None:
    with pytest.raises(BitlatheError, match="function"):
        parse_function(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no group library"),
        ("{\n\n(", "line 3: '\\(' without a name"),
        ("module m; endmodule", "no cell library in the Liberty format"),
        (TINY.rstrip().removesuffix("}"), "does not end"),
        (TINY + "}", "a '}' too many"),
        (TINY.replace('"!A"', '"A"'), "no inverter"),
        (TINY.replace("ff (IQ, IQN)", "latch (IQ, IQN)"), "no D flip-flop"),
        (
            TINY.replace("area : 3", "area : big"),
            r"line \d+, cell \(\w+\): area is 'big'; a number",
        ),
        (TINY.replace("area : 3", "area : -3"), "area is '-3'; a number that is not negative"),
        (TINY.replace("area : ", "no_area : "), "no inverter with an area"),
        (
            TINY.replace('"1, 1", "5, 5"', '"1, 1"'),
            r"line \d+, \w+ \(\w+\): its indices and values",
        ),
        (TINY.replace('"1, 1", "5, 5"', '"1, 1", "5, nan"'), "a value is not finite"),
        (TINY.replace('"!A"', '"(!A"'), r"line \d+, pin \(Y\): function '\(!A': a '\)' is missing"),
        (TINY.replace("pin (A)", "pin ()", 1), r"line \d+, pin \(\): a name"),
        (TINY.replace('"1ns"', '"1 week"'), "time_unit: '1 week'"),
    ],
)
def test_a_file_that_is_no_library_is_refused(text: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(BitlatheError, match=why) as problem:
        read_library(tiny(tmp_path, text))
    assert "tiny.lib" in str(problem.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BitlatheError, match=r"none\.lib"):
        read_library(tmp_path / "none.lib")


@pytest.mark.parametrize("streams", [1, 63, 64, 65, 130])
def test_streams_are_bits_of_words(streams: int) -> None:
    bits = np.random.default_rng(streams).integers(0, 2, (streams, 3)).astype(np.uint8)
    packed = pack_streams(bits)
    assert packed.shape == (3, -(-streams // 64))
    np.testing.assert_array_equal(unpack_streams(packed, streams), bits)


def test_gates_toggle_and_take_the_energy_of_it(tmp_path: Path) -> None:
    library = read_library(tiny(tmp_path))
    rng = np.random.default_rng(1)
    clocks, streams = 40, 70
    a = rng.integers(0, 2, (clocks, streams, 1)).astype(np.uint8)
    circuit = circuit_of(TOGGLE, library)
    seen = run_gates(
        circuit,
        TOGGLE,
        library,
        TOGGLE_DESIGN,
        {"a": a},
        clocks=clocks,
        warm_up=1,
        watch=("q", "n"),
    )
    # q is the parity of what came before
    q = np.cumsum(a, axis=0, dtype=np.int64)[:-1] % 2
    np.testing.assert_array_equal(seen.seen["q"][1:], q)
    np.testing.assert_array_equal(seen.seen["n"], 1 - seen.seen["q"])

    def toggles(values: np.ndarray) -> int:
        return int((values[1:] != values[:-1]).sum())

    q = np.concatenate([np.zeros((1, streams, 1), np.int64), q])
    d = q ^ a
    counts = {3: toggles(a), 4: toggles(d), 5: toggles(q), 6: toggles(1 - q)}
    assert {net: seen.toggles[circuit.number[net]] for net in counts} == counts
    # C V^2 / 2 with V = 2: a 0.5 pF, d 0.125, q 0.25 + 0.5; the inverter takes 2 pJ a transition;
    # the clock 0.125 pF twice a clock
    joules = 2 * (0.5 * counts[3] + 0.125 * counts[4] + 0.75 * counts[5]) + 2 * counts[6]
    wanted = joules / ((clocks - 1) * streams) + 0.125 * 4
    assert energy_pj(circuit, library, TOGGLE, seen) == pytest.approx(wanted, rel=1e-12)


def test_a_loop_of_gates_is_refused(tmp_path: Path) -> None:
    from dataclasses import replace

    library = read_library(tiny(tmp_path))
    loop = replace(TOGGLE, cells=[("INV", {"A": 5, "Y": 6}), ("INV", {"A": 6, "Y": 5})])
    with pytest.raises(BitlatheError, match="2 gates of a loop"):
        circuit_of(loop, library)
