"""Nested scales: the slow twin, counted bits, presets that are levels, what is refused."""

import numpy as np
import pytest

import bitlathe as bl
from bitlathe.datatypes.base.jit import have_numba
from bitlathe.datatypes.coding.coders import coder_of, encode_fast
from bitlathe.datatypes.coding.job import GroupedMatrix, Job
from bitlathe.datatypes.formats.constructors import codebook
from bitlathe.datatypes.schemes.layout import Layout
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.datatypes.tensors.dequantize import compiled_values, group_values, less_minima
from bitlathe.datatypes.tensors.packing import stored_bytes, stream_sizes, streams_of
from bitlathe.tests.datatypes.coding.level_schemes import ELEMENTS, codes_of, random_scheme, twin

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def matrix(rng, rows, columns):
    x = rng.normal(size=(rows, columns)) * 10.0 ** rng.uniform(-3, 1)
    kind = rng.integers(5)
    if kind == 0:
        x = np.rint(x * 4) / 4
    if kind == 1:
        x[rng.random(x.shape) < 0.7] = 0
    if kind == 2:
        x[0] = 0
    if kind == 3:
        x = np.abs(x)
    return x.astype(np.float32)


def quantized(x, scheme):
    """The tensor; None where its numbers do not fit the scheme."""
    try:
        return bl.quantize(x, scheme)
    except bl.BitlatheError as problem:
        if "does not fit" in str(problem) or "unsigned" in str(problem):
            return None
        raise


@pytest.mark.parametrize("seed", range(12))
def test_random_schemes_are_what_the_slow_twin_says(seed):
    rng = np.random.default_rng(seed)
    done = 0
    while done < 8:
        scheme = random_scheme(rng)
        x = matrix(rng, int(rng.integers(1, 6)), int(rng.integers(1, 40)))
        q = quantized(x, scheme)
        if q is None:
            continue
        done += 1
        codes, values, scales, members, offsets = twin(x, scheme)
        told = f"{scheme} {x.shape}"
        raws = [q.raw[:, 0], *q.coded.upper_scales]
        assert codes_of(scheme.levels, raws, q.layout) == scales, told
        if scheme.offset:
            assert codes_of(scheme.offset.levels, q.coded.offsets, q.layout) == offsets, told
        if q.selectors is not None:
            assert q.selectors.tolist() == [members[at] for at in range(q.layout.groups)], told
        np.testing.assert_array_equal(q.codes, codes, err_msg=told)
        np.testing.assert_array_equal(q.dequantize(), values, err_msg=told)


def check_stored(scheme, x, path):
    """Whether a matrix fits a scheme; if so, that its counted bits are those of its file."""
    q = quantized(x, scheme)
    if q is None:
        return False
    sizes = stream_sizes(scheme, q.layout)
    streams = {name: -(-bits * count // 8) for name, (bits, count) in sizes.items()}
    assert {name: s.size for name, s in q.packed.items()} == streams
    assert q.nbytes == stored_bytes(scheme, q.layout)
    q.save(path)
    with path.open("rb") as file:
        header = int.from_bytes(file.read(8), "little")
    assert path.stat().st_size == 8 + header + sum(streams.values()), str(scheme)
    back = bl.QuantizedTensor.load(path)
    assert back.scheme == scheme
    np.testing.assert_array_equal(back.dequantize(), q.dequantize())
    return True


def test_counted_bits_are_the_stored_ones_for_two_thousand_schemes(tmp_path):
    rng = np.random.default_rng(7)
    for number in range(2000):
        scheme = random_scheme(rng)
        assert Scheme.parse(str(scheme)) == scheme
        rows, columns = (int(n) for n in rng.integers(1, 70, 2))
        layout = Layout.of((rows, columns), None, scheme.granularity)
        sizes = stream_sizes(scheme, layout)
        assert scheme.total_bits(columns, rows) == sum(a * b for a, b in sizes.values())
        if number % 20 == 0:
            check_stored(scheme, matrix(rng, 2, 24), tmp_path / "q.safetensors")


@pytest.mark.slow
def test_files_of_two_thousand_schemes_have_the_counted_bits(tmp_path):
    rng, done = np.random.default_rng(8), 0
    while done < 2000:
        rows, columns = (int(n) for n in rng.integers(1, 70, 2))
        x = matrix(rng, rows, columns)
        done += check_stored(random_scheme(rng), x, tmp_path / "q.safetensors")


def compare_compiled(seed, wanted, elements):
    """Code random matrices in random schemes by kernels and by numpy; all bits are the same."""
    rng, done = np.random.default_rng(seed), 0
    while done < wanted:
        scheme = random_scheme(rng, elements)
        x = matrix(rng, 5, 130)
        layout = Layout.of(x.shape, None, scheme.granularity)
        job = Job(data=GroupedMatrix(matrix=layout.matrix(x), layout=layout), scheme=scheme)
        try:
            slow = coder_of(scheme).encode(job)
        except bl.BitlatheError:
            continue
        fast = encode_fast(job, min_size=1)
        if fast is None:
            continue
        done += 1
        for name, stream in streams_of(slow).items():
            told = f"{scheme}: {name}"
            np.testing.assert_array_equal(streams_of(fast)[name], stream, err_msg=told)
        dtype, offset = np.dtype(np.float32), scheme.offset
        if offset is not None and offset.kind == "zero":
            continue  # whose values have no kernel
        values = group_values(slow, dtype)
        found = less_minima(fast, dtype) if offset else compiled_values(fast, dtype)
        np.testing.assert_array_equal(found, layout.join(values), err_msg=str(scheme))


@pytest.mark.skipif(not have_numba(), reason="needs numba")
def test_compiled_is_numpy():
    compare_compiled(1, 60, ("fp4_e2m1", "int4_full", "uint4", "if4"))


@pytest.mark.slow
@pytest.mark.skipif(not have_numba(), reason="needs numba")
def test_compiled_is_numpy_for_two_thousand_schemes():
    compare_compiled(2, 2000, ELEMENTS)


def test_nvfp4_is_two_levels():
    x = matrix(np.random.default_rng(3), 16, 64)
    for factor in (1, 1e-30, 1e30):
        a = bl.quantize(x * np.float32(factor), "nvfp4")
        b = bl.quantize(x * np.float32(factor), "fp4_e2m1@g16/fp8_e4m3@tensor/fp32")
        assert a.bits_per_element == b.bits_per_element
        np.testing.assert_array_equal(a.codes, b.codes)
        np.testing.assert_array_equal(a.scales, b.scales)


@pytest.mark.parametrize("fmt", [bl.format("lns8"), codebook("far", [-1.0, 8.0])])
def test_scales_without_a_sign_are_positive_where_their_format_has_no_0(fmt):
    x = matrix(np.random.default_rng(3), 4, 64)
    x[0], x[1] = 0, -0.0
    q = bl.quantize(x, Scheme.nested("int4", [("g8", fmt), ("tensor", "fp32")]))
    assert (q.scales > 0).all()
    assert not q.dequantize()[:2].any()


@pytest.mark.parametrize("rule", ["", "_ceil", "_even", "_rceil"])
@pytest.mark.parametrize("element", ["fp4_e2m1", "fp6_e3m2", "fp8_e4m3", "int4"])
def test_powers_of_two_follow_the_rules_of_ocp(rule, element):
    top = bl.format(element).max
    x = (np.random.default_rng(4).normal(size=(64, 128)) * top / 8).astype(np.float32)
    x[:4, ::32] = top * np.exp2(-np.arange(16.0)).reshape(4, 4)  # at the edges of the rules
    x = np.clip(x, -top, top)  # so that the tensor's scale is 1
    plain = bl.quantize(x, f"{element}@g32/e8m0{rule}")
    under = bl.quantize(x, f"{element}@g32/e8m0{rule}@tensor/fp32")
    np.testing.assert_array_equal(plain.scales, under.scales)
    np.testing.assert_array_equal(plain.codes, under.codes)


def test_rows_and_nan_and_files_go_with_levels():
    x = matrix(np.random.default_rng(5), 16, 64)
    for text in ("fp4_e2m1@g16/fp8_e4m3@tensor/fp32", "int4@b4x4/ue4m3fn@b8x32/fp32"):
        q = bl.quantize(x, text)
        np.testing.assert_array_equal(q[8:16].dequantize(), q.dequantize()[8:16])
        lost = x.copy()
        lost[3, 5] = np.nan
        back = bl.quantize(lost, text, nan="propagate").dequantize()
        assert np.isnan(back).sum() == 16
    with pytest.raises(bl.BitlatheError, match="cut a block of 8 rows"):
        q[4:8]
    with pytest.raises(bl.BitlatheError, match="no scale of int4@g4/uint4@g8/uint8 can be NaN"):
        bl.quantize(lost, "int4@g4/uint4@g8/uint8", nan="propagate")


def test_drawn_elements_are_right_on_average():
    x = matrix(np.random.default_rng(6), 4, 64)
    text = "uint4@g16/uint6@g64/fp16~fp16"
    total = np.zeros(x.shape)
    for seed in range(300):
        total += bl.quantize(x, text, rounding="stochastic", seed=seed).dequantize()
    step = bl.quantize(x, text).scales.max()
    inner = np.abs(total / 300 - x)[:, 1:-1]
    assert np.median(inner) < step / 20


@pytest.mark.parametrize("text", ["fp4_e2m1@g16/{}@tensor/fp32", "int4@g8/{}@g64/fp16-fp16"])
@pytest.mark.parametrize("scale", ["e0m2", "ue4m3fn", "uint6"])
def test_no_group_errs_more_for_a_searched_scale(text, scale):
    x = np.random.default_rng(1).standard_t(3, (8, 64)).astype(np.float32)

    def errors(name):
        q = bl.quantize(x, text.format(name))
        rest = np.square((x - q.dequantize()).astype(np.float64))
        return rest.reshape(-1, q.layout.block_columns).sum(axis=1)

    found, without = errors(f"{scale}_search"), errors(scale)
    assert (found <= without * (1 + 1e-9)).all()
    assert found.sum() < without.sum()


def test_groups_far_from_0_keep_their_range_beside_a_float_zero_point():
    x = np.random.default_rng(9).normal(1, 0.03, (16, 64)).astype(np.float32)
    near, far = (np.square(bl.quantize(x - c, "uint4@g64/fp16~fp16").dequantize() - x + c).sum()
                 for c in (1, 0))  # fmt: skip
    assert near * 0.99 < far < near * 1.01
    assert np.square(bl.quantize(x, "int4_asym@g64").dequantize() - x).sum() > 50 * far


def test_groups_of_equal_elements_come_back():
    x = np.full((4, 64), np.float32(-0.3))
    for text in (
        "uint4@g64/fp16~fp16",
        "uint8@g64/bf16~fp16",
        "fp4_e2m1@g16/fp16~int6",
        "uint4@g32/fp16-fp16",
        "q4_k",
    ):
        np.testing.assert_allclose(bl.quantize(x, text).dequantize(), x, rtol=2e-3)


@pytest.mark.parametrize("text", ["hif4", "q4_0", "int4@tensor/ue5m3", "razer"])
def test_scales_at_the_lower_end_are_warned_of(text):
    x = np.random.default_rng(8).normal(size=(2, 64)) * 1e-60
    with pytest.warns(UserWarning, match="underflows in (e6m2|fp16|ue5m3|fp32): stored as"):
        bl.quantize(x, text)


REFUSED = {
    "int4@g32/fp16~uint4": "zero points of uint4 do not reach from -7 to 7, the ends of int4",
    "uint8@g32/fp16~uint4": "zero points of uint4 do not reach from 0 to 255",
    "int4@g32/e5m3": "without a sign it is ue5m3",
    "int4@g32/e0m8_significand": "of which there are none",
    "int4@g32/e8m0@tensor/ue4m3_significand": "values from 1 to below 2, such as e0m8",
    "int4@g32/e4m3@tensor/fp32": "among levels it is written fp8_e4m3@tensor/fp32",
    "int4@g32/ue5m3@g48/fp16": "levels do not nest: scale fp16 is shared by g48",
    "int4@g32/ue5m3_searc": "unknown scale 'ue5m3_searc'; after ue5m3 may stand _nearest, _floor",
    "int4@g32/fp32_x@tensor/fp32": "unknown scale 'fp32_x'; after fp32 may stand",
    "int4@g32/uint8@g32/fp16": "not made of two or more whole groups of g32",
    "int4@channel/uint8@g32/fp16": "levels do not nest",
    "int4@g32/ue5m3_signed": "its format has no sign",
    "int4@g32/uint4_search/fp16": "must stand before it, as @gN or @tensor",
    "int4@g32/ue9m3@tensor/fp32": "unknown scale 'ue9m3'",
    "int4@g32/fp16-e8m0": "minimum e8m0: a minimum needs a format with 0",
    "int4@g32/fp16-ternary": "a minimum is rounded to nearest; write ternary_nearest",
    "int4@g32/fp16-e0m2": "a minimum needs a format with 0",
    "int4@g32/uint8@g64/fp16+mse": "write _search after the scales",
    "int4@g32/uint8@g64/fp16+paper": "no levels of scales",
    "mxfp4@g32/uint8@g64/fp16": "mxfp4 has scales of its own",
    "int4-fp16": "a scale must stand here",
    "int4@g32/fp16-": "nothing after '-'",
    "int4@g32/fp16_search@tensor/fp32": "a search tries formats of at most 8 bits",
    "int4@g32/uint8_even@tensor/fp32": "the rule 'even' is for powers of two",
    "int4@g32/uint8@tensor": "a '/' and a scale must follow 'tensor'",
    "int4@g4/uint8@g8/uint8@g16/uint8@g32/uint8@g64/uint8@g128/uint8@tensor/fp32": "7 levels",
    "int4@g32/fp16-fp16~fp16": "'~' out of place",
    "int4@g32/fp16-fp16_signed": "leave _signed out",
    "bitmod_fp4@g32/fp16-uint6@g64/fp16": "takes a minimum of one level",
    "int4@g32/fp16-fp16+p99": "a clip cuts the largest magnitude",
    "int4_asym@g32/uint8@g64/fp16": "int4_asym has scales of its own",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_cannot_be_is_refused_in_a_sentence(text):
    with pytest.raises(bl.BitlatheError) as problem:
        Scheme.parse(text)
    assert REFUSED[text] in str(problem.value)


def test_scales_that_do_not_fit_are_refused_by_level():
    x = np.full((2, 64), 1e9, np.float32)
    for text in ("int4@g32/ue5m3", "int4@g16/e1m0@g32/uint8", "int4@g32/uint8@channel/fp16"):
        with pytest.raises(bl.BitlatheError, match=r"does not fit .*put a level such as @tensor"):
            bl.quantize(x, text)
    with pytest.raises(bl.BitlatheError, match=r"the minimum of group 0, -1e.09, does not"):
        bl.quantize(x, "uint4@g32/fp32-fp16")
    with pytest.raises(bl.BitlatheError, match=r"is unsigned.*store a minimum"):
        bl.quantize(-x, "uint4@g32/uint8@channel/fp32")
