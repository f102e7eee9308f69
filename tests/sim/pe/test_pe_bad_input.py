"""Bad input to every function of the PEs: told, or defined; never a number out of thin air."""

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.arch import load_arch
from bitlathe.arch.pe import AntPE, BitSerialPE, FpMacPE, IntMacPE, LutPE, OlivePE
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.array.tile.model import TileArray, group_clocks
from bitlathe.sim.pe.bit_serial import bitserial_dot
from bitlathe.sim.pe.dequantize import table_matmul
from bitlathe.sim.pe.mac import (
    ant_dot,
    fp_mac_dot,
    int_mac_dot,
    lut_matmul,
    lut_tables,
    olive_dot,
)
from bitlathe.sim.pe.rescale import bitserial_matmul, group_timing, rescale

A, W = np.ones((2, 4), np.float16), np.ones((2, 4), np.int64)
RAGGED = [[1.0], [1.0, 2.0]]
BIG = np.array([2**63], np.uint64)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: bitserial_dot(RAGGED, [[1]]), "activations: its rows differ in length"),
        (lambda: bitserial_dot(A, RAGGED), "weights: its rows differ in length"),
        (lambda: bitserial_dot(np.ma.masked_array(A, mask=True), W), "masked arrays"),
        (lambda: bitserial_dot(A, W, lanes=True), r"lanes is .*, must be a whole number 1\.\.16"),
        (
            lambda: bitserial_dot(A, W, max_bsig="x"),
            r"max_bsig is .*, must be a whole number 0\.\.24",
        ),
        (lambda: bitserial_dot(A, W, activation=["fp16"]), "unknown activation format"),
        (lambda: bitserial_dot(A * np.float16(np.inf), W), r"inf at index \(0, 0\)"),
        (lambda: bitserial_dot(A, np.full((2, 4), 2**63, np.uint64)), "not on the PE's grid"),
        (lambda: bitserial_dot(A[:, :3], W), "must be equally long"),
        (
            lambda: bitserial_matmul(A, W, group=1.5),
            r"group is .*, must be a whole number of at least 1",
        ),
        (
            lambda: bitserial_matmul(A, W, group_gap=-1),
            r"group_gap is .*, must be a whole number of at least 0",
        ),
        (
            lambda: bitserial_matmul(A, W, [[1], [1]], scale_bits=1.5),
            r"scale_bits is .*, must be a whole number",
        ),
        (lambda: group_timing("a", 2), r"group is .*, must be a whole number"),
        (lambda: group_timing(8, 1.5), r"terms is .*, must be a whole number"),
        (lambda: group_timing(2**60, 4), r"more than 2\^53 clocks"),
        (lambda: rescale([np.nan], [1]), "mantissa: integers are needed"),
        (lambda: rescale([1, 2], [1, 2, 3]), r"scale: shape \(3,\) does not broadcast"),
        (lambda: rescale([-(2**63)], [1]), "at most 32 bits"),
        (lambda: rescale(BIG, [1]), "at most 32 bits"),
        (lambda: int_mac_dot(RAGGED, [1]), "differ in length"),
        (lambda: int_mac_dot(BIG, [1]), "does not fit 8 bits"),
        (lambda: int_mac_dot([1], [1], FpMacPE()), "pe: IntMacPE is needed"),
        (lambda: fp_mac_dot([1], [1], IntMacPE()), "pe: FpMacPE is needed"),
        (lambda: fp_mac_dot([1], [np.nan]), r"weights: nan at index \(0,\)"),
        (lambda: lut_tables([[1.0]], OlivePE()), "pe: LutPE is needed"),
        (lambda: lut_matmul([[np.inf]], [[[1]]], [[0]]), "inf at index"),
        (lambda: ant_dot([1], [1], OlivePE()), "pe: AntPE is needed"),
        (lambda: olive_dot([1], [1], AntPE()), "pe: OlivePE is needed"),
        (lambda: olive_dot([1, 2], [1]), "must be equally long"),
        (lambda: table_matmul([["a"]], [[0]], [1.0], [[1.0]]), "real numbers are needed"),
        (
            lambda: table_matmul([[1.0]], [[0]], [1.0], [[1.0]], group=1.5),
            r"group is .*, must be a whole number",
        ),
        (lambda: table_matmul([[1.0]], [[0]], [1.0], RAGGED), "scales: its rows differ"),
        (lambda: BitSerialPE(numerics="aligned"), "a PENumerics"),
        (lambda: BitSerialPE(skip_sync="rows"), "did you mean 'row'"),
        (lambda: BitSerialPE(activation="fp12"), "did you mean 'fp16'"),
        (lambda: FpMacPE(accumulator="fp64"), "Known: .*fp32"),
        (lambda: FpMacPE(product="fp64"), "Known: .*fp32"),
        (lambda: LutPE(table="int8"), "Known: .*fp16"),
        (lambda: AntPE(mac=3), r"AntPE\.mac: an IntMacPE"),
        (lambda: OlivePE(mac=FpMacPE()), r"OlivePE\.mac: an IntMacPE"),
        (
            lambda: group_clocks(np.ones((2, 3), bool), TileArray(rows=1, cols=1)),
            r"shape \(N, K, terms\)",
        ),
        (
            lambda: group_clocks(np.ones((0, 3, 2), bool), TileArray(rows=1, cols=1)),
            "without zeros",
        ),
        (
            lambda: group_clocks(
                np.ones((2, 3, 2), bool), TileArray(rows=1, cols=1), np.ones((2, 4), bool)
            ),
            r"shape \(M, 3\)",
        ),
    ],
)
def test_bad_input_is_told(call, words):
    with pytest.raises(BitlatheError, match=words):
        call()


def test_zero_sizes_and_short_groups_are_defined():
    assert bitserial_dot(A[:0], W[:0]).value.shape == (0,)
    assert bitserial_dot(A[:, :0], W[:, :0]).value.tolist() == [0, 0]
    assert bitserial_matmul(A[:0], W).outputs.shape == (0, 2)
    np.testing.assert_array_equal(bitserial_matmul(A, W, group=3).outputs, np.full((2, 2), 4))
    assert int_mac_dot([], []) == 0
    assert fp_mac_dot([], []) == 0
    assert olive_dot([1, 2, 3], [1, 2, 3]) == 14
    assert lut_tables(np.ones((2, 0))).shape == (2, 0, 256)
    assert group_timing(0, 2).compute_cycles == 0


@pytest.mark.parametrize(
    ("bits_per_clock", "context", "what"),
    [(256.0, 2**22, "DRAM bits"), (1e-4, 2**18, "clocks")],
)
def test_counters_beyond_2_to_63_are_refused(bits_per_clock, context, what):
    """4 M tokens read V of 1 GiB a head 4,096 times over; 2^63 clocks at a bit in 10,000 clocks."""
    chip = load_arch("bitmod", {"dram.bits_per_clock": bits_per_clock})
    with pytest.raises(BitlatheError, match=rf"{what}.* beyond the range of counters \(2\^63\)"):
        bl.simulate(chip, "llama-2-7b", "prefill", context, 1, "analytic", "whole-buffer")
