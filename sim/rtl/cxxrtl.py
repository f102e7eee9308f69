"""Compiled simulation: Yosys makes C++ of Verilog (CXXRTL), g++ a library, ctypes runs it."""

import ctypes
import hashlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.user_folder import kept_folder
from .rows import Events, Words, unpack, words_of
from .tools import HEADERS, missing_for_cxxrtl, run_tool, run_yosys, yosys_folder
from .verilog import Design

PASSES = (
    "hierarchy -check -top {top}",
    "proc",
    "flatten",
    "opt -full",
    "splitnets -driver",  # buses whose bits depend on each other would take several passes a clock
    "opt_clean",
    "write_cxxrtl design.cc",
)
DRIVER = r"""
#include "design.cc"
#include <cstdint>

template <size_t N> static const uint32_t *data(const value<N> &port) { return port.data; }
template <size_t N> static const uint32_t *data(const wire<N> &port) { return port.curr.data; }

// Runs `clocks` clocks after one of reset. A row of words stays at the inputs until it is taken.
extern "C" int64_t run(const uint32_t *rows, int64_t row_count, int64_t clocks,
                       uint32_t **values, int64_t **stamps, int64_t *counts, int64_t room) {
    cxxrtl_design::@TOP@ top;
    top.p_rst.set<bool>(true);
    top.p_clk.set<bool>(false); top.step();
    top.p_clk.set<bool>(true); top.step();
    top.p_rst.set<bool>(false);
    const bool straight = top.eval();  // gates settle in one pass, which a design has or has not
    static const uint32_t idle[@ROW_WORDS@] = {0};
    int64_t next = 0;
    for (int64_t clock = 0; clock < clocks; clock++) {
        const uint32_t *row = next < row_count ? rows + next * @ROW_WORDS@ : idle;
@SET@
        // A straight design takes an edge at once: outputs follow from what registers hold until
        // the commit, and nothing hears the clock fall. Others settle while it is low.
        if (straight) {
            top.p_clk.set<bool>(true); top.prev_p_clk.set<bool>(false); top.eval();
        } else {
            top.p_clk.set<bool>(false); top.step();
        }
@WATCH@
        if (next < row_count && (!(row[0] & 1) || @READY@)) next++;
        if (!straight) { top.p_clk.set<bool>(true); top.eval(); }
        top.commit();
    }
    return next;
}
"""


def _mangled(name: str) -> str:
    return "p_" + name.replace("_", "__")


def driver(design: Design) -> str:
    """Return the C++ that drives a design from arrays."""
    set_lines, watch, first = [], [], 0
    for port in design.inputs:
        for word in range(words_of(port.bits)):
            target = f"top.{_mangled(port.name)}.data[{word}]"
            set_lines.append(f"        {target} = row[{first + word}];")
        first += words_of(port.bits)
    for index, event in enumerate(design.events):
        width = sum(words_of(port.bits) for port in event.values)
        there = f"data(top.{_mangled(event.valid)})[0]"
        watch.append(f"        if ({there} && counts[{index}] < room) {{")
        watch.append(f"            uint32_t *to = values[{index}] + counts[{index}] * {width};")
        for port in event.values:
            for word in range(words_of(port.bits)):
                source = f"data(top.{_mangled(port.name)})[{word}]"
                watch.append(f"            *to++ = {source};")
        watch.append(f"            stamps[{index}][counts[{index}]++] = clock;")
        watch.append("        }")
    ready = f"data(top.{_mangled(design.ready)})[0]" if design.ready else "true"
    parts = {
        "TOP": _mangled(design.top),
        "ROW_WORDS": str(first),
        "SET": "\n".join(set_lines),
        "WATCH": "\n".join(watch),
        "READY": ready,
    }
    text = DRIVER
    for name, part in parts.items():
        text = text.replace(f"@{name}@", part)
    return text


def _cache() -> Path:
    """Return the folder of built simulations."""
    folder = kept_folder() / "rtl"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def build(design: Design, optimize: str = "-O1") -> Path:
    """Return the shared library that simulates a design, built unless it is there already.

    Parameters
    ----------
    design : Design
    optimize : str
        Option of the compiler: ``-O0`` builds sooner, ``-O3`` runs faster.

    Raises
    ------
    BitlatheError
        Tools are missing, or refuse the design.
    """
    lacking = missing_for_cxxrtl()
    if lacking is not None:
        raise BitlatheError(f"compiled simulation {lacking}")
    source = driver(design)
    key = hashlib.sha256("\0".join((design.text, source, optimize, *PASSES)).encode()).hexdigest()
    done = _cache() / f"{key[:32]}.so"
    if done.exists():
        return done
    with tempfile.TemporaryDirectory(dir=_cache()) as name:
        folder = Path(name)
        (folder / "design.v").write_text(design.text, encoding="utf-8")
        (folder / "driver.cc").write_text(source, encoding="utf-8")
        passes = [each.format(top=design.top) for each in PASSES]
        run_yosys(["read_verilog design.v", *passes], folder)
        include = yosys_folder() / HEADERS  # type: ignore[operator]
        flags = ["-std=c++14", optimize, "-shared", "-fPIC", f"-I{include}"]
        run_tool("g++", ["g++", *flags, "driver.cc", "-o", "design.so"], folder)
        os.replace(folder / "design.so", done)
    return done


def simulate(
    design: Design, rows: Words, clocks: int, *, optimize: str = "-O1"
) -> Mapping[str, Events]:
    """Run a design and return its events by the name of their valid port.

    Parameters
    ----------
    design : Design
    rows : (rows, words) ndarray of uint32
        Inputs as `rows.pack` makes them; after the last one the inputs are 0.
    clocks : int
        Clocks to run after the one of reset. Clock 0 is the one the first row is there in.
    optimize : str
        As in `build`.

    Returns
    -------
    dict of str to Events

    Raises
    ------
    BitlatheError
        Tools are missing, or the design took not all rows.
    """
    run = ctypes.CDLL(str(build(design, optimize))).run
    run.restype = ctypes.c_int64
    count = len(design.events)
    values = [
        np.zeros((clocks, sum(words_of(p.bits) for p in event.values)), np.uint32)
        for event in design.events
    ]
    stamps = [np.zeros(clocks, np.int64) for _ in design.events]
    counts = np.zeros(count, np.int64)
    pointers = [
        (ctypes.c_void_p * count)(*(array.ctypes.data for array in arrays))
        for arrays in (values, stamps)
    ]
    taken = run(
        ctypes.c_void_p(rows.ctypes.data),
        ctypes.c_int64(len(rows)),
        ctypes.c_int64(clocks),
        pointers[0],
        pointers[1],
        ctypes.c_void_p(counts.ctypes.data),
        ctypes.c_int64(clocks),
    )
    if taken != len(rows):
        raise BitlatheError(f"{design.top}: {taken} of {len(rows)} rows taken in {clocks} clocks")
    found = {}
    for event, each, when, n in zip(design.events, values, stamps, counts.tolist(), strict=True):
        found[event.valid] = Events(when[:n], unpack(event.values, each[:n]))
    return found
