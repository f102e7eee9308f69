"""Products of quantized operands: CUDA kernels against numba's, and those against fractions."""

from fractions import Fraction
from functools import partial
from importlib import import_module

import numpy as np
import pytest

from bitlathe.arch.pe import FpMacPE, IntMacPE, LutPE
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.formats import catalogue
from bitlathe.sim.pe import mac, products
from bitlathe.sim.pe.dequantize import table_matmul
from bitlathe.sim.pe.products import Blocks
from cuda_calls import KERNELS
from cuda_twins import SIMULATED, OnDevice, assert_same, on_device, take_by_interface


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of 4 x 4 outputs and grids of two blocks, that small inputs span several of."""
    from bitlathe.datatypes.kernels.cuda import launch
    from bitlathe.sim.cuda import products_kernels as kernels

    side, each = 2, 2
    monkeypatch.setattr(launch, "MAX_BLOCKS", 2)
    monkeypatch.setattr(kernels, "SIDE", side)
    monkeypatch.setattr(kernels, "EACH", each)
    monkeypatch.setattr(kernels, "dual_grain_kernel", kernels.dual_grain_of(side, each))
    for name, *decoders in (("block_kernel", "looked_up", "looked_up"),
                            ("shifted_kernel", "byte_float", "shifted_float")):  # fmt: skip
        functions = [getattr(kernels, each_name) for each_name in decoders]
        monkeypatch.setattr(kernels, name, kernels.scaled_of(*functions, side, each))


def dual_grain(seed, m, n, k, group):
    """Operands whose weights reach both ends of 8 bits."""
    rng = np.random.default_rng(seed)
    shape = (n, -(-k // group))
    zeros = rng.integers(0, 16, shape)
    steps = rng.integers(1, 128 // np.maximum(zeros, 15 - zeros) + (zeros == 8), shape)
    return rng.integers(-128, 128, (m, k)), rng.integers(0, 16, (n, k)), zeros, steps


@on_device
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(("m", "n", "k", "group"), [(1, 1, 1, 1), (9, 11, 7, 3), (4, 13, 8, 4)])
def test_dual_grain_twin(m, n, k, group):
    assert_same(products.dual_grain_matmul, *dual_grain(1, m, n, k, group), group=group)


def test_dual_grain_is_the_product_of_integers():
    acts, codes, zeros, steps = dual_grain(2, 5, 6, 19, 4)
    wide = [np.repeat(each, 4, axis=1)[:, :19] for each in (zeros, steps)]
    weights = (codes - wide[0]) * wide[1]
    assert np.abs(weights).max() > 100
    out = products.dual_grain_matmul(acts, codes, zeros, steps, group=4)
    np.testing.assert_array_equal(out, acts @ weights.T)


def test_dual_grain_multiplies_what_the_coder_writes():
    """Integer product times the channel's scale is that of the dequantized weights."""
    from bitlathe import quantize

    rng = np.random.default_rng(3)
    weights = rng.standard_normal((4, 200)).astype(np.float32)
    coded = quantize(weights, "dgq4")
    acts = rng.integers(-128, 128, (3, 200))
    values = coded.dequantize().astype(np.float64)
    channel = coded.outer_scales.astype(np.float64)
    steps = np.rint(coded.scales / channel[:, None]).astype(int)
    out = products.dual_grain_matmul(acts, coded.codes, coded.zeros, steps) * channel
    np.testing.assert_allclose(out, acts @ values.T, rtol=1e-5, atol=1e-3)


def floats_of(format):
    """Codes of a format that are numbers."""
    values = np.asarray(catalogue.element(format).values)
    return np.flatnonzero(np.isfinite(values))


@on_device
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("format", ["fp8_e4m3", "fp8_e5m2"])
@pytest.mark.parametrize(("m", "n", "k", "group"), [(1, 2, 1, 1), (7, 9, 11, 4)])
def test_shifted_twin(format, m, n, k, group):
    assert_same(products.shifted_fp4_matmul, *shifted(4, format, m, n, k, group), group=group,
                format=format, activation_scales=np.linspace(0.1, 3, m))  # fmt: skip


def shifted(seed, format, m, n, k, group):
    rng = np.random.default_rng(seed)
    facts = products.BYTE_FLOATS[format]
    shifts = rng.integers(facts.lowest, facts.highest + 1, (n, -(-k // group)))
    acts = rng.choice(floats_of(format), (m, k))
    return acts, rng.integers(0, 16, (n, k)), shifts, rng.random(n)


@on_device
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("format", ["fp8_e4m3", "fp8_e5m2"])
def test_every_shifted_code_twin(format):
    """Each FP4 code with each shift, times 1: the value of the byte is exact."""
    facts = products.BYTE_FLOATS[format]
    spans = np.arange(facts.lowest, facts.highest + 1)
    codes, shifts = (each.reshape(-1, 1) for each in np.meshgrid(np.arange(16), spans))
    one = np.flatnonzero(np.asarray(catalogue.element(format).values) == 1.0)[:1]
    ones = np.ones(codes.size)
    found = products.shifted_fp4_matmul([one], codes, shifts, ones, group=1, format=format,
                                        device="cuda")  # fmt: skip
    fp4 = np.asarray(catalogue.element("fp4_e2m1").values)[codes] * 2.0**shifts
    np.testing.assert_array_equal(found[0], fp4[:, 0])
    assert set(fp4[:, 0]) <= set(catalogue.element(format).values)


@on_device
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize("format", ["fp8_e4m3", "fp8_e5m2"])
def test_every_activation_twin(format):
    codes = floats_of(format)
    found = products.shifted_fp4_matmul(codes[:, None], [[2]], [[0]], [1.0], format=format,
                                        device="cuda")  # fmt: skip
    np.testing.assert_array_equal(found[:, 0], np.asarray(catalogue.element(format).values)[codes])


def blocks(rng, rows, k, group, grids, scales):
    grids = np.atleast_2d(np.asarray(grids, np.float32))
    shape = (rows, -(-k // group))
    return Blocks(
        codes=rng.integers(0, grids.shape[1], (rows, k)),
        scales=rng.choice(scales, shape),
        grids=grids,
        choices=rng.integers(0, len(grids), shape),
    )


FP4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
RAZER = np.tile(FP4, (4, 1))
RAZER[:, 8] = (5, -5, 8, -8)
POWERS = 2.0 ** np.arange(-60, 40)
SMALL = np.array([v for v in catalogue.element("fp8_e4m3").values if v > 0])


@on_device
@pytest.mark.usefixtures("small_tiles")
@pytest.mark.parametrize(
    ("grids", "scales", "group"),
    [(FP4, POWERS, 4), (FP4, SMALL, 2), (RAZER, SMALL, 3),
     (np.arange(256) / 7, 10.0 ** np.arange(-42, 12), 5)],
)  # fmt: skip
def test_block_scaled_twin(grids, scales, group):
    rng = np.random.default_rng(5)
    sides = [blocks(rng, rows, 11, group, grids, scales) for rows in (7, 9)]
    assert_same(products.block_scaled_matmul, *sides, group=group)


@pytest.mark.parametrize(("grids", "scales"), [(FP4, POWERS[50:70]), (RAZER, SMALL)])
def test_block_scaled_product_within_its_bound(grids, scales):
    """Against fractions: blocks of FP4 are exact in float32; two roundings a block remain."""
    rng = np.random.default_rng(6)
    sides = [blocks(rng, 3, 21, 8, grids, scales) for _ in range(2)]
    got = products.block_scaled_matmul(*sides, group=8)
    values = [
        [[Fraction(float(side.grids[side.choices[r, k // 8], side.codes[r, k]]))
          * Fraction(float(side.scales[r, k // 8])) for k in range(21)] for r in range(3)]
        for side in sides
    ]  # fmt: skip
    for m in range(3):
        for n in range(3):
            terms = [a * w for a, w in zip(values[0][m], values[1][n], strict=True)]
            bound = sum(map(abs, terms)) * Fraction(2 * 3, 2**24)
            assert abs(Fraction(float(got[m, n])) - sum(terms)) <= bound


def calls_of_every_kernel():
    """By name a call on a device, for each kernel that the host starts in tiles."""
    from bitlathe.arch.pe import AntPE, FpMacPE, IntMacPE, LutPE, OlivePE
    from bitlathe.datatypes import kernels as on_cpu
    from bitlathe.datatypes.kernels.cuda import counts
    from bitlathe.datatypes.kernels.cuda import groups as on_gpu
    from bitlathe.sim.array.systolic.stack import simulate_stack
    from bitlathe.sim.pe import mac
    from bitlathe.sim.pe.bit_serial import bitserial_dot

    rng = np.random.default_rng(8)
    sides = [blocks(rng, rows, 5, 3, FP4, SMALL) for rows in (3, 7)]
    codes, scales = rng.integers(0, 16, (9, 11)), rng.random((9, 4))
    acts, weights = rng.integers(-7, 8, (3, 1, 11)), rng.integers(-7, 8, (9, 11))
    apart, small = rng.integers(-7, 8, (9, 11)), rng.integers(-7, 8, (4, 2, 3))
    book = catalogue.single("fp4_e2m1").grid
    x = rng.standard_normal((5, 12)).astype(np.float32)
    given = rng.random((5, 2)).astype(np.float32), np.zeros((5, 2), np.uint8)
    mixture = tuple(m.grid.book("even") for m in catalogue.element("bitmod_fp3").formats)

    def made(cpu, gpu, names):
        def run(device):
            found = gpu() if device == "cuda" else cpu()
            return tuple(getattr(found, name) for name in names)

        return run

    def stack(device):
        runs = simulate_stack(small, small.swapaxes(1, 2), 2, 2, "os", device=device)
        return tuple(each.outputs for each in runs)

    def call(function, *operands, **keywords):
        def run(device):
            found = function(*operands, device=device, **keywords)
            return tuple(map(np.asarray, found)) if isinstance(found, tuple) else (found,)

        return run

    planes, powers = rng.integers(0, 4, (9, 2, 6)), rng.integers(-3, 3, (9, 2))
    shifts, many = rng.integers(-2, 3, (9, 4)), rng.integers(0, 16, 600)
    return {
        "table": call(table_matmul, rng.random((3, 11)), codes, FP4, scales, group=3),
        "dual grain": call(products.dual_grain_matmul, *dual_grain(1, 3, 9, 11, 3), group=3),
        "blocks": call(products.block_scaled_matmul, *sides, group=3),
        "shifted": call(products.shifted_fp4_matmul, rng.integers(0, 99, (3, 11)), codes, shifts,
                        rng.random(9), group=3),
        "bit-serial": call(bitserial_dot, acts, weights, "int4", activation="int8"),
        "bit-serial apart": call(bitserial_dot, apart, weights, "int4", activation="int8"),
        "exact": call(bitserial_dot, acts, weights, "int4", "exact", activation="int8"),
        "integer": call(mac.int_mac_dot, acts, weights, IntMacPE(lanes=2)),
        "flint": call(mac.ant_dot, acts, codes, AntPE()),
        "pairs": call(mac.olive_dot, apart, abs(weights), OlivePE()),
        "float": call(mac.fp_mac_dot, acts, weights, FpMacPE()),
        "tables": call(mac.lut_tables, apart, LutPE(inputs=2)),
        "look-ups": call(mac.lut_matmul, acts[:, 0], planes, powers, LutPE(inputs=2)),
        "arrays": stack,
        "mixture": made(lambda: on_cpu.codebooks(x, mixture, 8),
                        lambda: on_gpu.codebooks(x, mixture, 8), ("codes", "scales", "choices")),
        "given": made(lambda: on_cpu.codebooks_given(x, (book.book("even"),), 8, *given),
                      lambda: on_gpu.codebooks_given(x, (book.book("even"),), 8, *given),
                      ("codes",)),
        "mx": made(lambda: on_cpu.mx(x, *book.float_parameters, 6.0, 8, "floor"),
                   lambda: on_gpu.mx(x, book.book("even"), 6.0, 1, 8), ("codes", "scales")),
        "counts": lambda device: (
            counts.code_counts(many, 16) if device == "cuda" else np.bincount(many, minlength=16),),
    }  # fmt: skip


class Few:
    """Stands for a kernel: fewer threads than it is launched with, for the simulator's sake."""

    def __init__(self, kernel):
        self.kernel = kernel

    def __getitem__(self, grid):
        _, threads, stream = grid
        if isinstance(threads, tuple):
            return self.kernel[(1, 1), (2, 2), stream]
        return self.kernel[1, 3, stream]


@pytest.fixture
def few_threads(monkeypatch):
    """A few threads for kernels whose threads stride over all there is; small shared arrays."""
    from bitlathe.datatypes.kernels.cuda import group_kernels

    strides = ("bytes", "shorts", "floats", "grains", "split", "rows", "bit_serial", "exact",
               "dequantize", "int", "flint", "pair", "float", "tables", "lookups", "code",
               "counts")  # fmt: skip
    for module, name in (KERNELS[each] for each in strides):
        place = import_module(module)
        monkeypatch.setattr(place, name, Few(getattr(place, name)))
    monkeypatch.setattr(group_kernels, "SLOTS", 2)


def run_within(monkeypatch, limit, call):
    """Return what a call gives, what it allocates, and its tiles as they start and end."""
    from bitlathe.datatypes.kernels.cuda import tiles

    allocate, finish, result = tiles.allocate, tiles._finish, tiles.Buffer.result
    sizes, order = [], []

    def room(self, wanted):
        if not order or order[-1] != ("start", self.stream):
            order.append(("start", self.stream))
        return result(self, wanted)

    with monkeypatch.context() as patch:
        patch.setattr(tiles, "ALIGNED", 8)
        patch.setattr(tiles, "memory_limit", lambda: limit)
        patch.setattr(tiles, "allocate", lambda n: sizes.append(n) or allocate(n))
        patch.setattr(tiles.Buffer, "result", room)
        patch.setattr(tiles, "_finish", lambda *a: order.append(("end", a[2])) or finish(*a))
        return call("cuda"), sizes, order


@on_device
@pytest.mark.usefixtures("small_tiles", "few_threads")
def test_every_twin_within_a_limit_of_memory(monkeypatch):
    """A byte less than a call takes at once: more tiles, the same bits, no more bytes than that.

    Two tiles are under way: the copies of the next one are asked for before the results of the
    one before are waited for.
    """
    for name, call in calls_of_every_kernel().items():
        whole, sizes, order = run_within(monkeypatch, 1 << 20, call)
        assert name == "look-ups" or [what for what, _ in order] == ["start", "end"], name
        limit = sum(sizes[:2]) - 1 if name != "look-ups" else max(sizes) + sizes[0]
        found, sizes, order = run_within(monkeypatch, limit, call)
        for one, other, right in zip(whole, found, call("cpu"), strict=True):
            np.testing.assert_array_equal(one, right, err_msg=name)
            np.testing.assert_array_equal(other, right, err_msg=name)
        if name == "look-ups":  # tables and look-ups, one after the other
            continue
        assert sum(sizes) <= limit, name
        assert len(sizes) == 3, name
        count = len(order) // 2
        streams = [stream for what, stream in order if what == "start"]
        assert count > 1, name
        assert len(set(streams)) == 2, name
        assert streams == [streams[n % 2] for n in range(count)], name
        assert [what for what, _ in order] == ["start", *["start", "end"] * (count - 1), "end"], (
            name
        )
        with pytest.raises(BitlatheError, match="bytes, more than the 40 allowed; set BITLATHE_CU"):
            run_within(monkeypatch, 40, call)


def operands_on_the_device():
    """By name: a product, its operands by name, as the device takes them, and what it is given."""
    from bitlathe.sim.pe.bit_serial import bitserial_dot

    rng = np.random.default_rng(9)
    acts, codes, zeros, steps = dual_grain(1, 2, 5, 7, 3)
    ints, wide = rng.integers(-128, 128, (2, 1, 140), np.int16), rng.integers(-8, 8, (3, 140))
    victims = (wide == 0) & (np.arange(140) % 2 == 0)
    sides = [blocks(rng, rows, 5, 3, FP4, SMALL) for rows in (2, 3)]
    sides = [s._replace(scales=s.scales.astype("f4"), choices=s.choices.astype("i2"),
                        codes=s.codes.astype("u1")) for s in sides]  # fmt: skip

    def block_product(device="cpu", **parts):
        both = [Blocks(grids=FP4, **{f: parts[side + f] for f in ("codes", "scales", "choices")})
                for side in ("left_", "right_")]  # fmt: skip
        return products.block_scaled_matmul(*both, group=3, device=device)

    return {
        "table": (partial(table_matmul, grids=FP4, group=3),
                  {"activations": rng.random((2, 7), np.float32), "codes": codes.astype("u1"),
                   "scales": rng.random((5, 3), np.float32),
                   "choices": np.zeros((5, 3), np.uint8)}),
        "dual grain": (partial(products.dual_grain_matmul, group=3),
                       {"activations": acts.astype("i1"), "codes": codes.astype("u1"),
                        "zeros": zeros.astype("u1"), "steps": steps.astype("u1")}),
        "shifted": (partial(products.shifted_fp4_matmul, group=3),
                    {"activations": rng.integers(0, 99, (2, 7), np.uint8),
                     "codes": codes.astype("u1"),
                     "shifts": rng.integers(-5, 7, (5, 3)).astype("i2"),
                     "scales": rng.random(5, np.float32)}),
        "blocks": (block_product,
                   {side + field: getattr(s, field)
                    for side, s in zip(("left_", "right_"), sides, strict=True)
                    for field in ("codes", "scales", "choices")}),
        "bit-serial": (partial(bitserial_dot, format="int4"),
                       {"activations": rng.standard_normal((2, 1, 7)).astype(np.float16),
                        "weights": rng.integers(-8, 8, (3, 7), np.int8)}),
        "integers": (partial(mac.int_mac_dot, pe=IntMacPE(accumulator_bits=14)),
                     {"activations": ints, "weights": wide.astype("i2")}),
        "flint": (mac.ant_dot, {"activations": ints, "codes": (wide + 8).astype("u1")}),
        "pairs": (mac.olive_dot, {"activations": ints,
                                  "codes": np.where(victims, 8, wide & 7 | 1).astype("u1")}),
        "floats": (partial(mac.fp_mac_dot, pe=FpMacPE(lanes=3, weight="fp4_e2m1")),
                   {"activations": rng.standard_normal((2, 1, 140)).astype("f2").astype("f4"),
                    "weights": rng.choice([-6, -0.5, 0, 1, 3], (3, 140)).astype("f4")}),
        "look-ups": (partial(mac.lut_matmul, pe=LutPE(inputs=2)),
                     {"activations": rng.standard_normal((2, 7)).astype("f2").astype("f4"),
                      "planes": rng.integers(0, 4, (3, 5, 4)).astype("i2"),
                      "scale_exponents": rng.integers(-64, 65, (3, 5)).astype("i2")}),
    }  # fmt: skip


@pytest.fixture
def interface(monkeypatch):
    """What lies on the device is taken by its interface, and never copied there."""
    from bitlathe.datatypes.kernels.cuda import launch, tiles

    copied = []
    take_by_interface(monkeypatch)
    sent = tiles.Buffer.put
    monkeypatch.setattr(tiles.Buffer, "put", lambda self, a: (
        launch.lies_on_device(a) or copied.append(a.nbytes), sent(self, a))[1])  # fmt: skip
    return copied


@on_device
@pytest.mark.skipif(not SIMULATED, reason="`make device` has tensors on a device")
@pytest.mark.usefixtures("small_tiles", "few_threads")
def test_operands_on_the_device_are_not_copied_twin(interface):
    for name, (function, operands) in operands_on_the_device().items():
        right = function(**operands)
        lying = {key: OnDevice(value) for key, value in operands.items()}
        interface.clear()
        found = function(**lying, device="cuda")
        if name in ("table", "dual grain", "shifted", "blocks"):
            found = found.copy_to_host()
            assert max(interface) <= 64, name
        # the checks' own count of 8 bytes, tables, numbers of pairs are all that goes there
        if name == "look-ups":  # the sums in the tables come to the host, too, as what is copied
            assert not {each.nbytes for each in operands.values()} & {*interface}
        elif name != "bit-serial":
            assert max(interface) <= 128, name
        for one, other in zip(np.atleast_1d(found), np.atleast_1d(right), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
        mixed = {key: value if key in ("codes", "planes", "weights", "right_codes") else lying[key]
                 for key, value in operands.items()}  # fmt: skip
        found = function(**mixed, device="cuda")
        for one, other in zip(np.atleast_1d(found), np.atleast_1d(right), strict=True):
            np.testing.assert_array_equal(one, other, err_msg=name)
        with pytest.raises(BitlatheError, match="lies on a GPU and is not taken"):
            function(**lying)


@on_device
@pytest.mark.skipif(not SIMULATED, reason="`make device` has tensors on a device")
@pytest.mark.parametrize(
    ("call", "name", "change", "words"),
    [
        ("table", "activations", np.full((2, 7), np.nan, np.float32), "nan at index .* not fi"),
        ("table", "codes", np.full((5, 7), 16, np.uint8), r"16 at index \(0, 0\) .*0\.\.15 is"),
        ("table", "codes", np.zeros((7, 5), np.uint8).T, "without gaps is needed"),
        ("table", "scales", np.ones((5, 3)), "matrix of float32 without gaps is"),
        ("dual grain", "steps", np.full((5, 3), 127, np.uint8), "codes: the weight at index"),
        ("shifted", "activations", np.full((2, 7), 0xFF, np.uint8), "stands for NaN or infinity"),
        ("shifted", "shifts", np.full((5, 3), 7, np.int16), r"-5\.\.6 is right"),
        ("blocks", "left_choices", np.ones((2, 2), np.int16), r"0\.\.0 is right"),
        ("bit-serial", "activations", np.full((2, 1, 7), np.inf, np.float16), "inf at index"),
        ("bit-serial", "weights", np.full((3, 7), 8, np.int8), "8 at index .* PE's grid"),
        ("integers", "activations", np.full((2, 1, 140), 128, np.int16), r"-128\.\.127 is right"),
        ("integers", "weights", np.ones((3, 140), np.int8), "matrix of int16 without gaps is"),
        ("integers", "weights", np.ones((), np.int16), "matrix of int16 without gaps is"),
        ("flint", "codes", np.full((3, 140), 16, np.uint8), r"16 at index .*0\.\.15 is right"),
        ("pairs", "codes", np.array([[1] * 139 + [16]], np.uint8), r"16 at index .0, 139. is"),
        ("pairs", "codes", np.array([[1] * 138 + [8, 0]], np.uint8), r"0 at index .0, 139. is"),
        ("pairs", "codes", np.array([[1] * 138 + [8, 8]], np.uint8), r"8 at index .0, 138. is"),
        ("pairs", "codes", np.array([[1] * 140 + [8]], np.uint8), r"8 at index .0, 140. is"),
        ("floats", "weights", np.full((3, 140), 1.25, np.float32), "1.25 at .* a value of fp4"),
        ("floats", "weights", np.full((3, 140), 6.5, np.float32), "6.5 at .* a value of fp4"),
        ("floats", "activations", np.full((2, 1, 140), np.inf, np.float32), "inf at .* of fp16"),
        ("floats", "activations", np.full((2, 1, 140), np.nan, np.float32), "nan at .* of fp16"),
        ("look-ups", "planes", np.full((3, 5, 4), 4, np.int16), r"0\.\.3 is right"),
        ("look-ups", "scale_exponents", np.full((3, 5), 65, np.int16), r"-64\.\.64 is right"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("interface", "few_threads")
def test_wrong_operands_on_the_device_are_named_twin(call, name, change, words):
    function, operands = operands_on_the_device()[call]
    lying = {key: OnDevice(value) for key, value in (operands | {name: change}).items()}
    with pytest.raises(BitlatheError, match=words):
        function(**lying, device="cuda")


@pytest.mark.parametrize("limit", [400, 700, 2000, 1 << 20])
@pytest.mark.parametrize("apart", [False, True])
def test_tiles_of_pairs_hold_each_pair_once(monkeypatch, limit, apart):
    """The operands that a tile is given are those of its pairs; as many as the limit allows."""
    from bitlathe.datatypes.kernels.cuda import tiles

    monkeypatch.setattr(tiles, "ALIGNED", 8)
    monkeypatch.setattr(tiles, "memory_limit", lambda: limit)
    left, right = np.arange(60).reshape(20, 3), np.arange(100, 160).reshape(20, 3)
    rows, columns = (np.arange(20),) * 2 if apart else np.indices((20, 20)).reshape(2, -1)
    sums = np.zeros(rows.size, np.int64)
    made = tiles.pair_tiles((left, right, rows, columns), "rcij", (sums,))
    for (a, b, i, j), (result,) in made:
        result.take(a[i, 0] * 1000 + b[j, 0])
    np.testing.assert_array_equal(sums, left[rows, 0] * 1000 + right[columns, 0])
    sizes = [tiles.taken(each.inputs) + tiles.taken(each.results) for each in made]
    assert sum(sorted(sizes)[-2:]) <= limit
    assert len(made) == 1 or limit < sum(sizes)


def test_the_limit_of_memory_is_a_number(monkeypatch):
    from bitlathe.datatypes.kernels.cuda.tiles import memory_limit

    assert memory_limit() == 1 << 30
    monkeypatch.setenv("BITLATHE_CUDA_MIB", "2")
    assert memory_limit() == 2 << 20
    for text in ("", "0", "1.5", "-1", "much"):
        monkeypatch.setenv("BITLATHE_CUDA_MIB", text)
        with pytest.raises(BitlatheError, match="BITLATHE_CUDA_MIB="):
            memory_limit()


@on_device
def test_empty_products():
    assert products.dual_grain_matmul(
        np.zeros((2, 0), int), np.zeros((3, 0), int), np.zeros((3, 0), int), np.zeros((3, 0), int),
        device="cuda",
    ).tolist() == [[0] * 3] * 2  # fmt: skip
    side = Blocks(codes=np.zeros((2, 0), int), scales=np.zeros((2, 0)), grids=[0.0, 1.0])
    assert products.block_scaled_matmul(side, side, device="cuda").tolist() == [[0.0] * 2] * 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"activations": [[1, 200]]}, "does not fit 8 bits"),
        ({"codes": [[0, 16]]}, r"0\.\.15 is right"),
        ({"codes": [0, 1]}, "codes .N, K."),
        ({"zeros": [[1, 1]]}, r"shape \(1, 1\) is needed"),
        ({"codes": [[15, 0]], "steps": [[40]]}, "group 0 of row 0 has the weight -280"),
        ({"device": "gpu"}, "device 'gpu'"),
        ({"group": 0}, "at least 1"),
    ],
)
def test_bad_dual_grains_are_explained(change, words):
    good = {"activations": [[1, 2]], "codes": [[0, 1]], "zeros": [[7]], "steps": [[2]]}
    with pytest.raises(BitlatheError, match=words):
        products.dual_grain_matmul(**(good | change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"activations": [[0x7F]]}, "NaN"),
        ({"shifts": [[7]]}, r"-5\.\.6 is right"),
        ({"shifts": [7]}, "shifts: integers of shape"),
        ({"scales": [np.nan]}, "scales: nan"),
        ({"format": "fp4_e2m1"}, "fp8_e4m3 or fp8_e5m2"),
    ],
)
def test_bad_shifts_are_explained(change, words):
    good = {"activations": [[56]], "codes": [[1]], "shifts": [[0]], "scales": [1.0]}
    with pytest.raises(BitlatheError, match=words):
        products.shifted_fp4_matmul(**(good | change))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"scales": [[np.inf]]}, "weights.scales: inf"),
        ({"scales": [[1.0, 1.0]]}, r"weights.scales: shape \(1, 1\)"),
        ({"codes": [[0, 2]]}, r"weights.codes: .* 0\.\.1 is right"),
        ({"choices": [[1]]}, r"weights.choices: .* 0\.\.0 is right"),
        ({"codes": [[0]]}, "are needed, got"),
    ],
)
def test_bad_blocks_are_explained(change, words):
    good = Blocks(codes=[[0, 1]], scales=[[1.0]], grids=[0.0, 1.0])
    with pytest.raises(BitlatheError, match=words):
        products.block_scaled_matmul(good, good._replace(**change))
