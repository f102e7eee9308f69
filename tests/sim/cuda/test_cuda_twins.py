"""CUDA kernels against their numba twins, bit for bit.

Without a device this file runs itself once more in numba's CUDA simulator, in a process of its own
because numba reads the switch when it is imported. With a device the tests run on it.
"""

import numpy as np
import pytest

from bitlathe.arch.numerics import PENumerics
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.kernels.cuda.launch import device_available
from bitlathe.sim.pe.bit_serial import bitserial_dot
from bitlathe.sim.pe.dequantize import table_matmul
from cuda_twins import on_device
from naive import pe_naive


@pytest.mark.skipif(device_available(), reason="there is a device")
def test_a_missing_device_is_explained():
    with pytest.raises(BitlatheError, match="use device='cpu'"):
        bitserial_dot([1.0], [1], device="cuda")


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks and grids so small that tiny inputs span several and threads stride over the rest."""
    from bitlathe.datatypes.kernels.cuda import launch
    from bitlathe.sim.cuda import bit_serial_kernels as bit_serial
    from bitlathe.sim.cuda import dequantize_kernels as dequantize

    run, exact, multiply = bit_serial.dots, bit_serial.exact_dots, dequantize.products
    monkeypatch.setattr(launch, "MAX_BLOCKS", 2)
    monkeypatch.setattr(bit_serial, "dots", lambda *a: run(*a, threads=2))
    monkeypatch.setattr(bit_serial, "exact_dots", lambda *a: exact(*a, threads=2))
    monkeypatch.setattr(dequantize, "products", lambda *a: multiply(*a, threads=(2, 1)))


def operands(rng, rows, length, low, high):
    activations = rng.standard_normal((rows, length)) * 2.0 ** rng.integers(-14, 12, (rows, length))
    activations[rng.random(activations.shape) < 0.1] = 0.0
    return activations.astype(np.float16), rng.integers(low, high, (rows, length))


def assert_twins(activations, weights, *arguments, **keywords):
    host = bitserial_dot(activations, weights, *arguments, **keywords)
    device = bitserial_dot(activations, weights, *arguments, device="cuda", **keywords)
    for one, other in zip(host, device, strict=True):
        np.testing.assert_array_equal(one, other)


@on_device
@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("numerics", ["hpca25", "aligned", "exact"])
@pytest.mark.parametrize("format", ["int8", "int6", "int3", "bitmod_fp4"])
def test_bit_serial_twins(format, numerics):
    rng = np.random.default_rng(1)
    if format == "bitmod_fp4":
        activations, picks = operands(rng, 6, 11, 0, 10)
        grid = np.array([0, 1, -2, 3, 4, -6, 8, 10, -12, 16])
        assert_twins(activations, grid[picks], format, numerics)
        return
    half = 1 << (int(format[3:]) - 1)
    activations, weights = operands(rng, 6, 11, -half, half)
    assert_twins(activations, weights, format, numerics)
    assert_twins(activations, weights, format, numerics, lanes=8, skip_zero_terms=True)
    assert_twins(activations[:, None], weights[None, :2], format, numerics)


@on_device
@pytest.mark.usefixtures("small_blocks")
def test_bit_serial_twins_with_any_numerics():
    rng = np.random.default_rng(2)
    for i in range(12):
        floor = bool(i & 1)
        numerics = PENumerics(
            guard_bits=int(rng.integers(0, 9)),
            reference=str(rng.choice(["lanes", "lanes_and_accumulator"])),
            gate_zero_terms=bool(i & 4),
            alignment="floor" if floor else "sticky",
            rounding=str(rng.choice(["floor", "nearest_even"])),
            overflow=str(rng.choice(["wrap", "saturate"])),
            accumulator_bits=int(rng.integers(4, 23)),
            sum_bits=int(rng.integers(22, 30)) if floor and i & 2 else None,
            exponent_bits=int(rng.integers(6, 9)),
        )
        activations, weights = operands(rng, 5, 8, -128, 128)
        assert_twins(activations, weights, "int8", numerics)


@on_device
@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("gate", [False, True])
def test_bit_serial_twins_beside_massive_activations(gate):
    """Half of the weights zero, whole chunks of zeros; see `gate_zero_terms`."""
    rng = np.random.default_rng(4)
    activations, weights = operands(rng, 8, 12, -128, 128)
    activations[rng.random((8, 12)) < 0.2] = 60000.0
    weights[rng.random((8, 12)) < 0.5] = 0
    weights[:, 4:8] = 0
    for overflow, rounding in (("wrap", "floor"), ("saturate", "nearest_even")):
        numerics = PENumerics(gate_zero_terms=gate, overflow=overflow, rounding=rounding)
        for skip in (False, True):
            assert_twins(activations, weights, "int8", numerics, skip_zero_terms=skip)
    lowest = PENumerics(
        accumulator_bits=4, guard_bits=0, rounding="floor", exponent_bits=5, gate_zero_terms=gate
    )
    assert_twins(np.array([[1.875, 448, 448, 0, 448]]), np.array([[-1, 0, 0, 0, 0]]), "int8",
                 lowest, activation="fp8_e4m3")  # fmt: skip


@on_device
@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("alignment", ["floor", "sticky"])
def test_bit_serial_twins_at_the_ends_of_the_exponent(overflow, alignment):
    """Sums that saturate or wrap, of both signs; see `test_pe_edges.py`."""
    for rounding in ("floor", "nearest_even"):
        numerics = PENumerics(
            accumulator_bits=4, exponent_bits=5, overflow=overflow, alignment=alignment,
            rounding=rounding, sum_bits=22 if alignment == "floor" else None,
        )  # fmt: skip
        activations = np.repeat([[448.0], [-448.0], [1.5], [0.0]], 64, axis=1)
        activations[2:, 40:44] = 448.0
        weights = np.full((4, 64), -128)
        assert_twins(activations, weights, "int8", numerics, activation="fp8_e4m3")


@on_device
@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("numerics", ["hpca25", "aligned"])
def test_bit_serial_twins_at_every_distance(numerics):
    """A sum, then a pair that cancels further and further up: only the shifts show."""
    rng = np.random.default_rng(5)
    weights = rng.integers(-8, 8, (31, 8))
    weights[:, 5] = weights[:, 4]
    activations = rng.uniform(-2, 2, (31, 8))
    activations[:, 4] = np.minimum(2.0 ** (np.arange(31) - 15) * 1.5, 65504)
    activations[:, 5] = -activations[:, 4]
    activations[:, 6:] = 2.0**-24
    assert_twins(activations.astype(np.float16), weights, "int4", numerics)


def accumulator_states(parameters):
    """Mantissa, exponent, incoming sum and reference at every end: int64 arrays."""
    width, sum_bits = parameters[5], parameters[6]
    top, end = 1 << (width - 1), 1 << (max(sum_bits, width) - 1)
    mantissas = {-top, 1 - top, top - 1, -(top // 2), -1, 0, 1, 3}
    sums = {-(2**22), -5, -1, 0, 1, 4, 2**22 - 1, end - 1, end, -end, -end - 1, end - top}
    shifts = {0, 1, 2, width - 2, width - 1, width, width + 1, width + 2, 24, 25, 50}
    states = [
        (man, exp, more, reference)
        for man in mantissas for more in sums if abs(more) < 2**23 for shift in shifts
        for exp, reference in ((1, 1 + shift), (1 + shift, 1))
    ]  # fmt: skip
    return np.array(states, np.int64).T.copy()


@on_device
@pytest.mark.parametrize("width", [4, 15, 24])
@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize(
    ("alignment", "sum_bits"), [("floor", None), ("floor", 24), ("sticky", None)]
)
def test_the_accumulators_twin_at_every_end(width, overflow, alignment, sum_bits):
    """The step of the kernel on its own, one thread, against the CPU's."""
    from numba import cuda

    from bitlathe.sim.cuda.bit_serial_kernels import combine, larger, normalize
    from bitlathe.sim.pe.bit_serial import kernel_parameters
    from bitlathe.sim.pe.bit_serial_kernels import accumulate
    from bitlathe.sim.pe.operands import ACTIVATIONS

    @cuda.jit
    def steps(men, exps, sums, references, parameters, man_out, exp_out):
        for i in range(men.size):
            total, below = combine(men[i], exps[i], sums[i], references[i], parameters)
            exp = larger(references[i], exps[i])
            man_out[i], exp_out[i] = normalize(total, below, exp, parameters)

    for rounding in ("floor", "nearest_even"):
        numerics = PENumerics(
            accumulator_bits=width, overflow=overflow, alignment=alignment, sum_bits=sum_bits,
            rounding=rounding,
        )  # fmt: skip
        parameters = kernel_parameters(numerics, ACTIVATIONS["fp16"], 4, 6)
        states = accumulator_states(parameters)
        outputs = [cuda.to_device(np.zeros(states.shape[1], np.int64)) for _ in range(2)]
        steps[1, 1](*map(cuda.to_device, states), parameters, *outputs)
        found = np.stack([out.copy_to_host() for out in outputs])
        expected = np.array([accumulate(*state, parameters) for state in states.T]).T
        np.testing.assert_array_equal(found, expected)


def test_launches_cover_all_items_and_no_more_blocks_than_there_are():
    from bitlathe.datatypes.kernels.cuda.launch import MAX_BLOCKS, blocks_for

    assert [blocks_for(n, 128) for n in (1, 127, 128, 129, 256, 257)] == [1, 1, 1, 2, 2, 3]
    assert MAX_BLOCKS == 65_535
    assert blocks_for(65_535 * 128, 128) == blocks_for(65_535 * 128 + 1, 128) == 65_535


@on_device
def test_exact_twins_at_the_edge_of_64_bits():
    """The largest exact sum that is taken, and the refusal of the next larger one."""
    weights = np.full((1, 256), -128)
    activations = np.full((1, 256), 65504.0)
    assert_twins(activations, weights, "int8", "exact")
    wide = np.full((1, 4), 2.0**100)
    with pytest.raises(BitlatheError, match="could pass its 64-bit integers"):
        bitserial_dot(wide, weights[:, :4], "int8", "exact", activation="bf16", device="cuda")
    small = np.full((1, 4), 2.0**-100)
    assert_twins(small, weights[:, :4], "int8", "exact", activation="bf16")


@on_device
def test_bit_serial_equals_the_naive_twin():
    rng = np.random.default_rng(3)
    activations, weights = operands(rng, 6, 8, -8, 8)
    dot = bitserial_dot(activations, weights, "int4", "hpca25", device="cuda")
    for i in range(6):
        expected = pe_naive.bitserial_dot(
            activations[i].tolist(), weights[i].tolist(), "int4", "hpca25"
        )
        assert (dot.mantissa[i], dot.exponent[i], dot.value[i], dot.cycles[i]) == expected


@on_device
def test_empty_shapes():
    empty = bitserial_dot(np.zeros((2, 0)), np.zeros((2, 0)), device="cuda")
    assert empty.cycles.tolist() == [0, 0]
    assert bitserial_dot(np.zeros((0, 4)), np.zeros((0, 4)), device="cuda").value.shape == (0,)
    out = table_matmul(np.zeros((2, 0)), np.zeros((3, 0), int), [0.0], np.zeros((3, 0)),
                       device="cuda")  # fmt: skip
    assert out.tolist() == [[0.0] * 3] * 2


def product_case(seed, length=21):
    rng = np.random.default_rng(seed)
    activations = rng.standard_normal((3, length)).astype(np.float16)
    codes = rng.integers(0, 16, (5, length))
    grids = rng.standard_normal((4, 16)).astype(np.float32)
    shape = (5, -(-length // 8))
    scales = rng.random(shape).astype(np.float32)
    return activations, codes, grids, scales, rng.integers(0, 4, shape)


@pytest.mark.parametrize("seed", range(5))
def test_table_product_equals_fractions(seed):
    activations, codes, grids, scales, choices = product_case(seed)
    got = table_matmul(activations, codes, grids, scales, choices=choices, group=8)
    expected = pe_naive.table_product(activations, codes, grids, choices, scales, 8)
    np.testing.assert_array_equal(got, expected)
    wide = np.repeat(scales, 8, axis=1)[:, :21] * grids[np.repeat(choices, 8, 1)[:, :21], codes]
    np.testing.assert_allclose(got, activations.astype(np.float64) @ wide.T, atol=1e-5)


@on_device
@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("seed", range(5))
def test_table_product_twins(seed):
    activations, codes, grids, scales, choices = product_case(seed)
    host = table_matmul(activations, codes, grids, scales, choices=choices, group=8)
    device = table_matmul(
        activations, codes, grids, scales, choices=choices, group=8, device="cuda"
    )
    np.testing.assert_array_equal(host, device)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"activations": [[np.nan, 1.0]]}, "activations: nan at index"),
        ({"scales": [[np.inf]]}, "scales: inf"),
        ({"scales": [[1.0, 1.0]]}, r"shape \(1, 1\) is needed"),
        ({"codes": [[0, 2]]}, r"0\.\.1 is right"),
        ({"choices": [[1]]}, "choices: 1 at index"),
        ({"codes": [0, 1]}, "codes .N, K."),
        ({"codes": [[0.5, 1.0]]}, "integers"),
        ({"group": 0}, "at least 1"),
        ({"device": "gpu"}, "device 'gpu'"),
    ],
)
def test_bad_tables_are_explained(change, words):
    good = {"activations": [[1.0, 2.0]], "codes": [[0, 1]], "grids": [0.0, 1.0], "scales": [[1.0]]}
    with pytest.raises(BitlatheError, match=words):
        table_matmul(**(good | change))
