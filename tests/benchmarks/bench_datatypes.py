"""Times of the datatypes kernels on one matrix, as multiples of a memory copy of it.

    .venv/bin/python tests/benchmarks/bench_datatypes.py [--size 4096] [--repeat 7] [--peers]

Everything is timed in this one run, interleaved, on float32 of shape (size, size). The time of
a job is the median of its CPU times on one thread, and so is that of the copy; both write into
memory already touched. The gain of two threads is of least wall-clock times; that of the two
compiled copies is what the memory allows. A second table times what a user calls, `quantize` and
the methods of formats, results in fresh memory, all threads' CPU time. With --peers the same
jobs are timed in torch and ml_dtypes, one thread.
"""

import argparse
import time
from functools import partial
from statistics import median

import numpy as np
from numba import njit

from bitlathe.datatypes import kernels
from bitlathe.datatypes.formats.catalogue import element
from bitlathe.datatypes.kernels.base.threads import over_rows
from bitlathe.datatypes.kernels.streams.dequantize import dequantize
from bitlathe.datatypes.quantize import quantize

FP3 = (0.0, 1.0, 2.0, 4.0)
FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def books(name):
    made = element(name)
    formats = getattr(made, "formats", (made,))
    return tuple(
        kernels.make_book(f.grid.values, f.grid.codes, f.grid.tie_up("even"), f.negative_zero)
        for f in formats
    )


@njit(nogil=True)
def _copy_rows(x, out):
    for r in range(x.shape[0]):
        for i in range(x.shape[1]):
            out[r, i] = np.float32(x[r, i])


def copy_rows(x, threads, out=None):
    """Copy a matrix as float32: what the memory gives to one thread and to two."""
    made = np.zeros(x.shape, np.float32) if out is None else out
    over_rows(lambda a, b: _copy_rows(x[a:b], made[a:b]), *x.shape, threads)
    return made


def dequantizing(x):
    """Jobs from codes, or packed streams, to values."""
    codes = (x.view(np.uint32) & 15).astype(np.uint8)
    stream, shape = kernels.pack(codes, 4), x.shape
    table = np.stack([np.array(b.values * 2)[:16] for b in books("bitmod_fp4")])
    rng = np.random.default_rng(1)

    def of(group, packed=None, **more):
        count = shape[0] * -(-shape[1] // group)
        if more.get("choices"):
            more["choices"] = rng.integers(0, len(table), count).astype(np.uint8)
        if more.get("zeros"):
            more["zeros"] = rng.integers(0, 16, count).astype(np.uint8)
        facts = (table, rng.random(count), group)
        if packed:
            return partial(dequantize, packed=(4, shape), **more), (stream, *facts)
        return partial(dequantize, **more), (codes, *facts)

    return [
        ("4-bit codes -> float32 g128", 3, *of(128)),
        ("the same, four tables", 3, *of(128, choices=True)),
        ("the same, zero points", 3, *of(128, zeros=True)),
        ("the same, g32", 3, *of(32)),
        ("the same, float16 out", 3, *of(128, dtype="float16")),
        ("packed 4 bits -> float32 g128", 3, *of(128, packed=True)),
        ("packed 4 bits -> float32 g32", 3, *of(32, packed=True)),
    ]


def irregular():
    """Four codebooks of 16 values without any order to make use of."""
    rng = np.random.default_rng(1)
    grids = (np.sort(rng.standard_normal(16)) for _ in range(4))
    return tuple(kernels.make_book(g, range(16), np.arange(1, 16) % 2 == 0) for g in grids)


def jobs(x, threads):
    """(name, goal in copies, call)."""
    four, nf4 = books("bitmod_fp4"), books("nf4")
    e4m3 = kernels.encode_float(x, 4, 3, 7, 448.0)
    e2m1 = kernels.pack_e2m1(x)
    codes = e4m3 & 7
    packed = kernels.pack(codes, 3)
    listed = [
        ("float32 -> float32, compiled", None, copy_rows, (x,)),
        ("bytes -> float32, compiled", None, copy_rows, (codes,)),
        ("bitmod_fp4 g128", 6, kernels.bitmod, (x, FP4, (5.0, 8.0), 128)),
        ("bitmod_fp3 g128", 6, kernels.bitmod, (x, FP3, (3.0, 6.0), 128)),
        ("bitmod_fp4 g128 +paper", 16, kernels.bitmod_paper, (x, FP4, (5.0, 8.0), 128, 0.5)),
        ("bitmod_fp3 g128 +paper", 16, kernels.bitmod_paper, (x, FP3, (3.0, 6.0), 128)),
        ("four codebooks g128", 15, kernels.codebooks, (x, four, 128)),
        ("four irregular codebooks g128", None, kernels.codebooks, (x, irregular(), 128)),
        ("int4 asym g128", 2, kernels.asymmetric, (x, 4, 128)),
        ("int4 sym g128", 2, kernels.symmetric, (x, 4, 128)),
        ("mxfp4 g32", 3, kernels.mx, (x, 2, 1, 1, 6.0)),
        ("mxfp8_e4m3 g32", None, kernels.mx, (x, 4, 3, 7, 448.0)),
        ("mxint8 g32", None, kernels.mx_integer, (x,)),
        ("nf4 g64", 4, kernels.codebooks, (x, nf4, 64)),
        ("fp8_e4m3 g128, fp32 scales", None, kernels.codebooks, (x, books("fp8_e4m3"), 128)),
        ("float32 -> e4m3", 2, kernels.encode_float, (x, 4, 3, 7, 448.0)),
        ("e4m3 -> float32", 2, kernels.decode_float, (e4m3, 4, 3, 7, 127)),
        ("float32 -> packed e2m1", 3.5, kernels.pack_e2m1, (x,)),
        ("packed e2m1 -> float32", 1.5, kernels.unpack_e2m1, (e2m1, x.size)),
        ("pack 3 bits", None, kernels.pack, (codes, 3)),
        ("unpack 3 bits", None, kernels.unpack, (packed, 3, x.size)),
        *dequantizing(x),
    ]
    return [(name, goal, reuse(function, args, threads)) for name, goal, function, args in listed]


def reuse(function, args, threads):
    """Return a call that writes into the memory of its first result, where it can."""
    if function in (kernels.pack, kernels.unpack):
        return lambda: function(*args, threads=threads)
    out = function(*args, threads=threads)
    return lambda: function(*args, threads=threads, out=out)


def calls(x):
    """(name, call) of the public interface."""
    schemes = [
        "bitmod_fp4@g128", "bitmod_fp3@g128", "bitmod_fp4@g128/int8", "bitmod_fp4@g128+paper",
        "int4_asym@g128", "mxfp4", "nf4@g64", "nvfp4", "fp8_e4m3@channel",
    ]  # fmt: skip
    stored, e4m3 = quantize(x, "bitmod_fp4@g128/int8"), element("fp8_e4m3")
    codes = e4m3.encode(x)
    return [
        *((f"quantize {scheme}", partial(quantize, x, scheme)) for scheme in schemes),
        ("dequantize bitmod_fp4@g128/int8", stored.dequantize),
        ("Format.encode fp8_e4m3", partial(e4m3.encode, x)),
        ("Format.decode fp8_e4m3 to float32", partial(e4m3.decode, codes, np.float32)),
    ]


def torch_bitmod(torch, x, candidates, mid):
    """One BitMoD search in torch float16, written in the plain way: a compare per midpoint."""
    best, result = None, None
    groups = x.view(-1, 128)
    for grid, cuts in zip(candidates, mid, strict=True):
        scale = groups.abs().amax(1, keepdim=True) / max(abs(v) for v in grid)
        y = groups / scale
        q = torch.zeros_like(y)
        for i, v in enumerate(grid):
            low = cuts[i - 1] if i else -float("inf")
            high = cuts[i] if i < len(cuts) else float("inf")
            q += torch.where((y > low) & (y <= high), v, 0)
        q = q * scale
        error = (q - groups).pow(2).mean(1)
        if best is None:
            best, result = error, q
        else:
            better = error < best
            best = torch.where(better, error, best)
            result = torch.where(better[:, None], q, result)
    return result


def peers(x):
    import ml_dtypes
    import torch

    torch.set_num_threads(1)
    t = torch.from_numpy(x)
    half = t.half()
    grids = [[float(v) for v in f.grid.values] for f in element("bitmod_fp4").formats]
    mids = [[float(v) for v in f.grid.midpoints] for f in element("bitmod_fp4").formats]
    e4m3 = x.astype(ml_dtypes.float8_e4m3fn)
    torch_e4m3 = t.to(torch.float8_e4m3fn)

    def asym():
        g = t.view(-1, 128)
        low, high = g.amin(1, keepdim=True).clamp(max=0), g.amax(1, keepdim=True).clamp(min=0)
        s = (high - low) / 15
        z = (-low / s).round()
        q = ((g / s).round() + z).clamp(0, 15)
        return q.to(torch.uint8), (q - z) * s

    def mxfp4():
        g = x.reshape(-1, 32)
        e = np.frexp(np.abs(g).max(1, keepdims=True))[1] - 3
        q = np.clip(np.ldexp(g, -e), -6, 6).astype(ml_dtypes.float4_e2m1fn)
        return q, np.ldexp(q.astype(np.float32), e)

    return [
        (
            ("bitmod_fp4 g128", "bitmod_fp4 g128 +paper"),
            "torch, float16",
            lambda: torch_bitmod(torch, half, grids, mids),
        ),
        (("int4 asym g128",), "torch", asym),
        (("mxfp4 g32",), "numpy + ml_dtypes", mxfp4),
        (("float32 -> e4m3",), "ml_dtypes", lambda: x.astype(ml_dtypes.float8_e4m3fn)),
        (("float32 -> e4m3",), "torch", lambda: t.to(torch.float8_e4m3fn)),
        (("e4m3 -> float32",), "ml_dtypes", lambda: e4m3.astype(np.float32)),
        (("e4m3 -> float32",), "torch", torch_e4m3.float),
        (
            ("float32 -> packed e2m1",),
            "ml_dtypes, unpacked",
            lambda: x.astype(ml_dtypes.float4_e2m1fn),
        ),
    ]


# formats of nested scales and finer elements, each beside the nearest one that has neither
BESIDE = {
    "razer": "bitmod_fp4@g16/e4m3",
    "razer_activation": "bitmod_fp4_er@g16/e4m3",
    "nvif4": "if4@g16/e4m3",
    "nvfp4_4over6": "nvfp4+mse",
    "fp4_e2m1@g16/ue4m3fn_search@tensor/fp32": "nvfp4+search",
    "mxfp4_plus": "mxfp4",
    "mxfp6_plus": "mxfp6_e2m3",
    "m2xfp_activation": "mxfp4",
    "m2xfp": "mxfp4+mse",
    "hif4": "int4@g4/fp16",
    "mx9": "int8@g2/fp16",
    "msfp12": "int4@g16/e8m0",
    "uint4@g64/fp16~fp16": "int4_asym@g64",
    "q4_0": "int4@g32",
    "q4_1": "int4_asym@g32",
    "q4_k": "int4_asym@g32/int6",
    "q6_k": "int6@g16/int8",
    "iq4_nl": "nf4@g32/fp16",
    "hif8": "fp8_e4m3@channel",
}


def print_beside(x, repeat):
    """Print the formats of `BESIDE`, least of some CPU times, the two of a row in turn."""
    print("\n| scheme | ms | beside | ms | times |\n|---|---|---|---|---|")
    for new, old in BESIDE.items():
        both = [partial(quantize, x, scheme) for scheme in (new, old)]
        for call in both:
            call()
        took = [[clock(call) for call in both] for _ in range(repeat)]
        a, b = (min(column) * 1e3 for column in zip(*took, strict=True))
        print(f"| `{new}` | {a:.0f} | `{old}` | {b:.0f} | {a / b:.1f} |")


def clock(call):
    """CPU seconds of this process, so that a busy machine does not count."""
    start = time.process_time()
    call()
    return time.process_time() - start


def wall(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=4096)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--beside", action="store_true", help="print the table of `BESIDE` only")
    args = parser.parse_args()
    x = np.random.default_rng(0).standard_normal((args.size, args.size)).astype(np.float32)
    if args.beside:
        print_beside(x, args.repeat)
        return
    target = np.empty_like(x)
    np.copyto(target, x)
    one, two = jobs(x, 1), jobs(x, 2)
    for (_, _, a), (_, _, b) in zip(one, two, strict=True):
        a(), b()
    times = {name: ([], [], []) for name, _, _ in one}
    copies = []
    for _ in range(args.repeat):
        for (name, _, a), (_, _, b) in zip(one, two, strict=True):
            copies.append(clock(lambda: np.copyto(target, x)))
            times[name][0].append(clock(a))
            times[name][1].append(wall(a))
            times[name][2].append(wall(b))
    copy = median(copies)
    print(f"memory copy of {x.nbytes / 2**20:.0f} MiB: {copy * 1e3:.2f} ms")
    print("| job | goal, copies | ms | copies | million/s | two threads: times faster |")
    print("|---|---|---|---|---|---|")
    for name, goal, _ in one:
        a = median(times[name][0])
        speedup = min(times[name][1]) / min(times[name][2])
        aim = f"{goal}" if goal else "-"
        print(
            f"| {name} | {aim} | {a * 1e3:.1f} | {a / copy:.1f} | {x.size / a / 1e6:.0f} "
            f"| {speedup:.2f} |"
        )
    print("\n| call | ms | copies |\n|---|---|---|")
    for name, call in calls(x):
        call()
        took = median(clock(call) for _ in range(args.repeat))
        print(f"| {name} | {took * 1e3:.1f} | {took / copy:.1f} |")
    if args.peers:
        print("\n| job | peer | ms | copies | ours is faster by |")
        print("|---|---|---|---|---|")
        for names, peer, call in peers(x):
            took = min(clock(call) for _ in range(2))
            facts = f"{peer} | {took * 1e3:.0f} | {took / copy:.0f}"
            for name in names:
                print(f"| {name} | {facts} | {took / median(times[name][0]):.1f} |")


if __name__ == "__main__":
    main()
