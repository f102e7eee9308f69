"""The CUDA kernels on a real device, at sizes the simulator cannot reach; skipped without one."""

import os

import numpy as np
import pytest

from bitlathe.sim.cuda import launch
from bitlathe.sim.pe.bit_serial import bitserial_dot
from bitlathe.sim.pe.dequantise import table_matmul

pytestmark = pytest.mark.skipif(
    os.environ.get("NUMBA_ENABLE_CUDASIM") == "1" or not launch.device_available(),
    reason="no CUDA device",
)
GRIDS = {"int8": range(-128, 128), "int4": range(-8, 8), "int3": range(-4, 4),
         "fp4": [0, 1, 2, 3, 4, 6, 8, 12, -1, -2, -3, -4, -6, -8, -12, 10, -16]}  # fmt: skip


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("numerics", ["hpca25", "aligned", "exact"])
@pytest.mark.parametrize("format", GRIDS)
def test_bit_serial_on_a_quarter_of_a_million_groups(format, numerics, skip):
    rng = np.random.default_rng(1)
    shape = (1 << 18, 128)
    activations = rng.standard_normal(shape) * 2.0 ** rng.integers(-14, 12, shape)
    activations[rng.random(shape) < 0.05] = 0.0
    activations[rng.random(shape) < 0.02] = 60000.0
    weights = rng.choice(np.array(GRIDS[format], np.int8), shape)
    weights[rng.random(shape) < 0.2] = 0
    operands = activations.astype(np.float16), weights
    host = bitserial_dot(*operands, format, numerics, skip_zero_terms=skip)
    device = bitserial_dot(*operands, format, numerics, skip_zero_terms=skip, device="cuda")
    for one, other in zip(host, device, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("lanes", [1, 3, 16])
def test_bit_serial_with_shared_rows_and_odd_lengths(lanes):
    rng = np.random.default_rng(2)
    activations = rng.standard_normal((700, 1, 77)).astype(np.float16)
    weights = rng.integers(-128, 128, (1, 900, 77))
    host = bitserial_dot(activations, weights, "int8", lanes=lanes)
    device = bitserial_dot(activations, weights, "int8", lanes=lanes, device="cuda")
    for one, other in zip(host, device, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("m", "n", "k", "group"), [(300, 1100, 1024, 128), (7, 4099, 515, 32)])
@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_table_product_on_matrices_of_a_layer(m, n, k, group, kind):
    rng = np.random.default_rng(3)
    activations = rng.standard_normal((m, k)).astype(kind)
    shape = (n, -(-k // group))
    arguments = (
        rng.integers(0, 16, (n, k)),
        rng.standard_normal((4, 16)),
        rng.random(shape) * 2.0 ** rng.integers(-140, 10, shape),
    )
    options = {"choices": rng.integers(0, 4, shape), "group": group}
    host = table_matmul(activations, *arguments, **options)
    device = table_matmul(activations, *arguments, **options, device="cuda")
    np.testing.assert_array_equal(host.view(np.uint32), device.view(np.uint32))


def test_more_outputs_than_one_grid_has_threads():
    """Threads stride: 65,535 blocks along m are fewer than the rows of this product."""
    m = launch.MAX_BLOCKS * 8 + 1000
    activations = np.random.default_rng(4).standard_normal((m, 3)).astype(np.float16)
    arguments = [[0, 1, 2], [2, 0, 1]], [0.5, -1.5, 3.0], [[0.25], [2.0]]
    host = table_matmul(activations, *arguments)
    np.testing.assert_array_equal(host, table_matmul(activations, *arguments, device="cuda"))
