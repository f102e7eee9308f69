"""`quantize(device="cuda")` gives the tensor of the CPU, bit for bit."""

import numpy as np
import pytest

import bitlathe as bl
from cuda_twins import SIMULATED, OnDevice, few_slots, on_device, take_by_interface


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    from bitlathe.datatypes.kernels.cuda import groups

    monkeypatch.setattr(groups, "THREADS", 8)
    few_slots(monkeypatch)


def assert_same(x, scheme, given=None, **options):
    """Compare with what comes of ``given``, the same tensor elsewhere."""
    host = bl.quantize(x, scheme, **options)
    device = bl.quantize(x if given is None else given, scheme, device="cuda", **options)
    for field in ("codes", "scales", "outer_scales", "zeros", "choices"):
        one, other = getattr(host.coded, field), getattr(device.coded, field)
        assert (one is None) == (other is None), field
        if one is not None:
            assert one.dtype == other.dtype, field
            np.testing.assert_array_equal(one, other, err_msg=field)
    assert (host.dtype, host.device) == (device.dtype, device.device)


def matrix(seed, shape):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * 2.0 ** rng.uniform(
        -6, 6, (shape[0],) + (1,) * (len(shape) - 1)
    )
    x[0] = rng.integers(-6, 7, shape[1:]) / 2
    x[1, : shape[1] // 2] = 0.0
    return x.astype(np.float32)


@on_device
@pytest.mark.parametrize(
    "scheme",
    ["int4@g16", "int8@g16/fp32", "nf4@g8", "fp4_e2m1@g16", "bitmod_fp4@g16", "bitmod_fp3@g8/fp32",
     "mxfp4", "mxfp8_e4m3", "mxint8", "int6"],
)  # fmt: skip
def test_scheme_twin(scheme):
    """Groups of which the last is short."""
    assert_same(matrix(1, (4, 37)), scheme)


class Fetched(OnDevice):
    """May be copied to the host."""

    def __array__(self, *_, **__):
        return self.array


@on_device
@pytest.mark.skipif(not SIMULATED, reason="`make device` has a tensor on a device")
def test_what_lies_on_the_device_is_not_copied_twin(monkeypatch):
    """But for groups of zeros, along another axis, or with scales that lose digits; NaN."""
    take_by_interface(monkeypatch)
    x = matrix(6, (4, 37)) + np.float32(0.25)
    for scheme in ("int4@g16", "nf4@channel/fp32", "bitmod_fp4@g16", "mxfp4"):
        assert_same(x, scheme, OnDevice(x))
    assert_same(x.reshape(4, 1, 37), "int4@g16", OnDevice(x.reshape(4, 1, 37)), rounding="away")
    for axis, other in ((-1, matrix(6, (4, 37))), (0, x), (-1, x * np.float32(1e-9))):
        with pytest.raises(AssertionError, match="copied to the host"):
            bl.quantize(OnDevice(other), "int4@g16", axis=axis, device="cuda")
        assert_same(other, "int4@g16/fp32", Fetched(other), axis=axis)
    for bad in (np.nan, np.inf):
        x[2, 3] = bad
        with pytest.raises(bl.BitlatheError, match=r"\(2, 3\)"):
            bl.quantize(Fetched(x), "int4@g16", device="cuda")


@on_device
def test_axis_and_rounding_twin():
    assert_same(matrix(2, (3, 5, 7)), "int4@g4", axis=1, rounding="away")
    assert_same(matrix(3, (3, 20)).astype(np.float16), "bitmod_fp4@g8")


@on_device
def test_nan_twin():
    x = matrix(4, (3, 20))
    x[2, 3] = np.nan
    assert_same(x, "int4@g8", nan="propagate")


@on_device
@pytest.mark.filterwarnings("ignore:.*underflows in fp16")
def test_extreme_groups_fall_back_twin():
    """A scale that float16 lacks, and errors too small for the kernels' sums."""
    x = matrix(5, (3, 16))
    x[2] *= np.float32(1e-20)
    assert_same(x, "int4@g8")
    assert_same(x, "bitmod_fp4@g8/fp32")


@on_device
def test_empty_tensor():
    assert_same(np.zeros((0, 16), np.float32), "int4@g8")


@on_device
@pytest.mark.parametrize(
    ("scheme", "kind"),
    [("int4_asym@g8", np.float32), ("olive4@g8", np.float32), ("int4@g8", np.float64),
     ("nvfp4", np.float32)],
)  # fmt: skip
def test_what_the_gpu_does_not_code_twin(scheme, kind):
    with pytest.raises(bl.BitlatheError, match=r"device 'cuda': .* needs device='cpu'"):
        bl.quantize(np.ones((2, 16), kind), scheme, device="cuda")


def test_an_unknown_device_is_refused():
    with pytest.raises(bl.BitlatheError, match="device"):
        bl.quantize(np.ones((2, 16)), "int4", device="tpu")
