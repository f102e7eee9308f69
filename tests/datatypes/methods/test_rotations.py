"""Rotations: orthogonal, undone, and those of the definition."""

import numpy as np
import pytest

from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.methods.calibrate import calibrate
from bitlathe.datatypes.methods.rotations import KINDS, Rotation


@pytest.mark.parametrize("inputs", [2, 6, 64, 96])
@pytest.mark.parametrize("kind", KINDS)
def test_rotations_are_orthogonal_and_undone(kind, inputs):
    rotation = Rotation.of(kind, inputs, seed=4)
    matrix = rotation.apply(np.eye(inputs))
    assert matrix @ matrix.T == pytest.approx(np.eye(inputs), abs=1e-12)
    x = np.random.default_rng(0).normal(size=(3, inputs))
    assert rotation.undo(rotation.apply(x)) == pytest.approx(x, abs=1e-12)
    other = Rotation.of(kind, inputs, seed=5).apply(np.eye(inputs))
    assert inputs < 64 or not np.allclose(matrix, other)


def test_hadamard_blocks_are_those_of_bits_in_common():
    rotation = Rotation.of("hadamard", 24, seed=0)
    assert rotation.block == 8
    wanted = np.zeros((24, 24))
    for i in range(24):
        for j in range(24):
            if i // 8 == j // 8:
                sign = -1 if bin(i % 8 & j % 8).count("1") % 2 else 1
                wanted[i, j] = sign * rotation.signs[i] / np.sqrt(8)
    assert rotation.apply(np.eye(24)) == pytest.approx(wanted, abs=1e-15)


def test_costs_of_rotations():
    turn = Rotation.of("hadamard", 24, seed=0)
    assert (turn.total_bits, turn.multiplies, turn.adds) == (24, 24, 24 * 3)
    turn = Rotation.of("orthogonal", 5, seed=0)
    assert (turn.total_bits, turn.multiplies, turn.adds) == (16 * 25, 25, 25)
    assert Rotation.of("orthogonal", 1, seed=0).apply(np.ones((1, 1))) in (1.0, -1.0)


def test_what_cannot_be_rotated_is_refused():
    with pytest.raises(BitlatheError, match="even number of inputs, got 9"):
        calibrate(np.ones((2, 9)), np.ones((2, 9)), "hadamard")
    with pytest.raises(BitlatheError, match="at most 8192 inputs, got 8193"):
        Rotation.of("orthogonal", 8193, 0)
    with pytest.raises(BitlatheError, match="tries is 0"):
        calibrate(np.ones((2, 8)), np.ones((2, 8)), "hadamard", tries=0)


def test_more_tries_are_never_worse():
    random = np.random.default_rng(1)
    w, x = random.standard_t(3, size=(8, 32)), random.standard_t(2, size=(50, 32))
    one, five = (calibrate(w, x, "hadamard", "int4@g32", tries=n) for n in (1, 5))
    assert five.relative_error <= one.relative_error < one.rounded_error
