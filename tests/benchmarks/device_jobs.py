"""What `bench_device.py` runs on the device and on the CPU: every CUDA kernel, real sizes.

Seeds are fixed; ``small`` is for the tests, in numba's simulator.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

LIMIT = "BITLATHE_CUDA_MIB"


@dataclass(frozen=True, kw_only=True)
class Job:
    """A call that gives the same bits on both devices: ``run(device)`` returns its arrays.

    Where the CPU would take too long, ``sample`` computes a part of them, which ``part`` takes out
    of the device's; ``share`` is how much of the work that is.
    """

    name: str
    macs: int
    run: Callable[[str], tuple[Any, ...]]
    sample: Callable[[], tuple[Any, ...]] | None = None
    part: Callable[[Any], Any] = lambda array: array
    share: float = 1.0

    def on_cpu(self) -> tuple[Any, ...]:
        """Return what the CPU gives of it."""
        return self.run("cpu") if self.sample is None else self.sample()


GRIDS = {"int8": range(-128, 128), "int4": range(-8, 8), "int3": range(-4, 4),
         "fp4": [0, 1, 2, 3, 4, 6, 8, 12, -1, -2, -3, -4, -6, -8, -12, 10, -16]}  # fmt: skip


def dot_job(name: str, operands: Any, *arguments: Any, **keywords: Any) -> Job:
    """Return a job of `bitserial_dot`."""
    import numpy as np

    from bitlathe.sim.pe.bit_serial import bitserial_dot

    activations, weights = operands
    pairs = np.broadcast_shapes(activations.shape, weights.shape)
    return Job(
        name=name,
        macs=int(np.prod(pairs)),
        run=lambda device: bitserial_dot(*operands, *arguments, device=device, **keywords),
    )


def dot_jobs(small: bool) -> Iterator[Job]:
    """Yield dot products: formats, numerics, skipping; massive activations, zeros, zero weights."""
    import numpy as np

    from bitlathe.arch.numerics import ALIGNED, PRESETS

    shape = (6, 20) if small else (1 << 16, 128)
    numerics = PRESETS | {"aligned, zero terms not gated": replace(ALIGNED, gate_zero_terms=False)}
    for format, grid in GRIDS.items():
        rng = np.random.default_rng(1)
        acts = rng.standard_normal(shape, np.float32) * np.exp2(rng.integers(-14, 12, shape))
        acts[rng.random(shape, np.float32) < 0.05] = 0.0
        acts[rng.random(shape, np.float32) < 0.02] = 60000.0
        weights = rng.choice(np.array(grid, np.int8), shape)
        weights[rng.random(shape, np.float32) < 0.2] = 0
        operands = acts.astype(np.float16), weights
        for name, rules in numerics.items():
            yield dot_job(f"bit_serial {format} {name}", operands, format, rules)
        for name in ("aligned", "exact") if format in ("int8", "fp4") else ():
            yield dot_job(f"bit_serial {format} {name}, term skipping", operands, format,
                          numerics[name], skip_zero_terms=True)  # fmt: skip


def edge_jobs(small: bool) -> Iterator[Job]:
    """Yield odd lanes and lengths, other activations, exponents that saturate or wrap."""
    import numpy as np

    from bitlathe.arch.numerics import PENumerics

    rng = np.random.default_rng(2)
    m, n, k = (2, 3, 11) if small else (700, 900, 77)
    acts = rng.standard_normal((m, 1, k)).astype(np.float16)
    weights = rng.integers(-128, 128, (1, n, k))
    for lanes in (1, 3, 16):
        yield dot_job(f"bit_serial int8 aligned, {lanes} lanes, shared rows", (acts, weights),
                      "int8", lanes=lanes)  # fmt: skip
    shape = (4, 12) if small else (1 << 16, 128)
    integers = rng.integers(-128, 128, shape)
    halves = rng.integers(-7, 8, shape) / 2  # values that all formats have
    for activation in ("bf16", "fp8_e4m3", "fp8_e5m2", "int8"):
        values = integers if activation == "int8" else halves
        yield dot_job(f"bit_serial int8 aligned, {activation} activations", (values, integers),
                      "int8", activation=activation)  # fmt: skip
    shape = (4, 48) if small else (1 << 16, 128)
    ends = rng.choice([448.0, 416.0], shape) * (1 - 2 * (np.arange(shape[0]) % 2))[:, None]
    weights = rng.integers(-128, -100, shape)
    for overflow in ("wrap", "saturate"):
        numerics = PENumerics(accumulator_bits=4, exponent_bits=5, overflow=overflow)
        yield dot_job(f"bit_serial int8, exponent that {overflow}s", (ends, weights), "int8",
                      numerics, activation="fp8_e4m3")  # fmt: skip


def table_job(name: str, seed: int, size: tuple[int, int, int, int], kind: Any) -> Job:
    """Return a grid-table product of random codes, four grids, scales down to subnormals."""
    import numpy as np

    from bitlathe.sim.pe.dequantize import table_matmul

    m, n, k, group = size
    rng = np.random.default_rng(seed)
    shape = (n, -(-k // group))
    activations = rng.standard_normal((m, k), np.float32).astype(kind)
    arguments = (
        rng.integers(0, 16, (n, k), np.uint8),
        rng.standard_normal((4, 16)),
        rng.random(shape) * 2.0 ** rng.integers(-140, 10, shape),
    )
    options = {"choices": rng.integers(0, 4, shape), "group": group}
    return Job(
        name=name,
        macs=m * n * k,
        run=lambda device: (table_matmul(activations, *arguments, **options, device=device),),
    )


def table_jobs(small: bool) -> Iterator[Job]:
    """Yield grid-table products: a layer, odd sizes, more rows than a grid has threads."""
    import numpy as np

    from bitlathe.datatypes.kernels.cuda.launch import MAX_BLOCKS

    for kind in (np.float16, np.float32):
        label = np.dtype(kind).name
        for size in ((3, 5, 21, 8),) if small else ((64, 4096, 4096, 128), (7, 4099, 515, 32)):
            yield table_job(f"table product {size[0]} x {size[1]} x {size[2]}, {label}", 3, size,
                            kind)  # fmt: skip
    rows = 40 if small else MAX_BLOCKS * 8 + 1000
    yield table_job(f"table product {rows} x 2 x 3, float16", 4, (rows, 2, 3, 3), np.float16)


def sampled(
    name: str, macs: int, function: Callable[..., Any], operands: Callable[[slice], Any],
    rows: tuple[int, int], axis: int, **keywords: Any,
) -> Job:  # fmt: skip
    """Return a job whose CPU side takes evenly spaced rows of an operand only.

    ``operands(rows)`` are the arguments with some rows of weights; results have them on an axis.
    ``rows`` are all of them, and how many the CPU takes.
    """
    whole, step = slice(None), slice(None, None, max(1, rows[0] // rows[1]))
    kept = len(range(*step.indices(rows[0])))
    index = (slice(None),) * axis + (step,)
    given, some = operands(whole), operands(step)
    return Job(
        name=f"{name}; CPU: {kept:,} of {rows[0]:,} rows" if kept < rows[0] else name,
        macs=macs,
        run=lambda device: (function(*given, device=device, **keywords),),
        sample=lambda: (function(*some, **keywords),),
        part=lambda array: array[index],
        share=kept / rows[0],
    )


def product_sizes(small: bool) -> tuple[tuple[int, int, int, int], ...]:
    """Return M, N, K and the rows of weights that the CPU takes: a layer, and odd sizes."""
    return ((3, 5, 37, 5),) if small else ((256, 4096, 11008, 64), (7, 1031, 515, 1031))


def dual_grain_jobs(small: bool) -> Iterator[Job]:
    """Yield products of INT8 activations and dual-grain weights up to the ends of 8 bits."""
    import numpy as np

    from bitlathe.sim.pe.products import dual_grain_matmul

    for m, n, k, rows in product_sizes(small):
        rng = np.random.default_rng(5)
        zeros = rng.integers(0, 16, (n, -(-k // 128)), np.uint8)
        most = 128 // np.maximum(zeros, 15 - zeros)
        steps = rng.integers(1, np.minimum(most, 15), zeros.shape, np.uint8)
        acts, codes = rng.integers(-128, 128, (m, k)), rng.integers(0, 16, (n, k), np.uint8)

        def operands(part: slice, held: Any = (acts, codes, zeros, steps)) -> Any:
            return held[0], *(each[part] for each in held[1:])

        yield sampled(f"dual grain {m} x {n} x {k}", m * n * k, dual_grain_matmul, operands,
                      (n, rows), 1)  # fmt: skip


def shifted_jobs(small: bool) -> Iterator[Job]:
    """Yield products of FP8 activations and FP4 weights with every shift, signs and subnormals."""
    import numpy as np

    from bitlathe.sim.pe.products import BYTE_FLOATS, shifted_fp4_matmul

    for format, facts in BYTE_FLOATS.items():
        for m, n, k, rows in product_sizes(small):
            rng = np.random.default_rng(6)
            acts = rng.integers(0, facts.largest_code + 1, (m, k), np.uint8)
            acts |= rng.integers(0, 2, (m, k), np.uint8) << 7
            codes = rng.integers(0, 16, (n, k), np.uint8)
            shifts = rng.integers(facts.lowest, facts.highest + 1, (n, -(-k // 128)))
            scales, tokens = rng.random(n), rng.random(m)

            def operands(part: slice, held: Any = (acts, codes, shifts, scales)) -> Any:
                return held[0], *(each[part] for each in held[1:])

            yield sampled(f"FP4 shifted into {format} {m} x {n} x {k}", m * n * k,
                          shifted_fp4_matmul, operands, (n, rows), 1, format=format,
                          activation_scales=tokens)  # fmt: skip


def block_jobs(small: bool) -> Iterator[Job]:
    """Yield products of blocks: MXFP4, NVFP4, RaZeR, and 256 values with extreme scales."""
    import numpy as np

    from bitlathe.datatypes.formats import catalogue
    from bitlathe.sim.pe.products import Blocks, block_scaled_matmul

    fp4 = np.array(catalogue.element("fp4_e2m1").values)
    razer = np.tile(fp4, (4, 1))
    razer[:, 8] = (5, -5, 8, -8)
    powers, small_floats = 2.0 ** np.arange(-40, 40), np.arange(1, 449) / 8
    kinds = {
        "MXFP4": (fp4, powers, 32, 0),
        "NVFP4": (fp4, small_floats, 16, 0),
        "RaZeR": (razer, small_floats, 16, 0),
        "256 values": (np.arange(256) / 7 - 20, 10.0 ** np.arange(-42, 12), 32, 1),
    }
    for name, (grids, scales, group, first) in kinds.items():
        for m, n, k, rows in product_sizes(small)[0 if small else first :]:
            rng = np.random.default_rng(7)
            table = np.atleast_2d(grids)

            def side(count: int, rng: Any = rng, table: Any = table, scales: Any = scales,
                     group: int = group, k: int = k) -> Blocks:  # fmt: skip
                shape = (count, -(-k // group))
                codes = rng.integers(0, table.shape[1], (count, k), np.uint8)
                choices = rng.integers(0, len(table), shape)
                return Blocks(codes=codes, scales=rng.choice(scales, shape), grids=table,
                              choices=choices)  # fmt: skip

            sides = side(m), side(n)

            def operands(part: slice, sides: Any = sides) -> Any:
                left, right = sides
                kept = {f: getattr(right, f)[part] for f in ("codes", "scales", "choices")}
                return left, right._replace(**kept)

            yield sampled(f"blocks, {name} {m} x {n} x {k}", m * n * k, block_scaled_matmul,
                          operands, (n, rows), 1, group=group)  # fmt: skip


def mac_jobs(small: bool) -> Iterator[Job]:
    """Yield integer MACs, plain and behind the decoders of ANT and OliVe, and floating-point ones.

    Accumulators so narrow that they saturate and wrap; floats over the formats' whole ranges.
    """
    import numpy as np

    from bitlathe.arch.pe import AntPE, FpMacPE, IntMacPE, OlivePE
    from bitlathe.sim.pe import mac

    m, n, k, rows = (3, 5, 19, 5) if small else (64, 1024, 11008, 32)
    rng = np.random.default_rng(8)
    acts, weights = rng.integers(-128, 128, (m, 1, k)), rng.integers(-128, 128, (n, k))
    codes, victims = rng.integers(0, 16, (n, k)), rng.integers(0, 16, (n, k))
    side, at = victims[:, : k // 2 * 2].reshape(n, -1, 2), rng.random((n, k // 2)) < 0.2
    victims[victims == 8] = 7
    side[at, 0], side[at, 1] = 8, rng.choice([*range(1, 8), *range(9, 16)], int(at.sum()))
    calls: dict[str, tuple[Any, Any, Any, Any]] = {
        "INT8": (mac.int_mac_dot, weights, IntMacPE(), acts),
        "INT8, 4 lanes, 22 bits that wrap": (
            mac.int_mac_dot, weights, IntMacPE(lanes=4, accumulator_bits=22, overflow="wrap"),
            acts),
        "INT8, 20 bits that saturate": (
            mac.int_mac_dot, weights, IntMacPE(accumulator_bits=20), acts),
        "ANT, flint4": (mac.ant_dot, codes, AntPE(), acts),
        "OliVe pairs": (mac.olive_dot, victims, OlivePE(), acts),
    }  # fmt: skip
    halves = (acts / 128 * 2.0 ** rng.integers(-12, 8, acts.shape)).astype(np.float16)
    few = rng.choice([-6.0, -1.5, -0.5, 0.0, 0.5, 2.0, 4.0], (n, k))
    calls["FP16 x FP4 into FP32"] = (
        mac.fp_mac_dot, few, FpMacPE(weight="fp4_e2m1"), halves)  # fmt: skip
    calls["FP16 x FP4, products in FP16, 4 lanes, into FP16"] = (
        mac.fp_mac_dot, few,
        FpMacPE(weight="fp4_e2m1", product="fp16", accumulator="fp16", lanes=4),
        halves)  # fmt: skip
    for name, (function, right, pe, left) in calls.items():

        def operands(part: slice, left: Any = left, right: Any = right, pe: Any = pe) -> Any:
            return left, right[part], pe

        yield sampled(f"MAC, {name} {m} x {n} x {k}", m * n * k, function, operands, (n, rows), 1)


def lut_jobs(small: bool) -> Iterator[Job]:
    """Yield tables of sums of activations, and products that look up bit planes in them."""
    import numpy as np

    from bitlathe.arch.pe import LutPE
    from bitlathe.sim.pe.mac import lut_matmul, lut_tables

    m, n, k, rows = (3, 5, 19, 5) if small else (8, 4096, 11008, 128)
    rng = np.random.default_rng(9)
    acts = rng.standard_normal((m, k)).astype(np.float16)
    yield Job(name=f"tables of 8 inputs, {m} x {k}", macs=m * -(-k // 8) * 255,
              run=lambda device: (lut_tables(acts, device=device),))  # fmt: skip
    for planes, accumulator in ((3, "fp32"), (2, "fp16")):
        pe = LutPE(accumulator=accumulator)
        codes = rng.integers(0, 256, (n, planes, -(-k // 8)))
        powers = rng.integers(-12, 3, (n, planes))

        def operands(part: slice, codes: Any = codes, powers: Any = powers, pe: Any = pe) -> Any:
            return acts, codes[part], powers[part], pe

        yield sampled(f"look-ups, {planes} planes, {accumulator} {m} x {n} x {k}", m * n * k,
                      lut_matmul, operands, (n, rows), 1)  # fmt: skip


def group_jobs(small: bool) -> Iterator[Job]:
    """Yield codings of groups: grids, mixtures, shared powers of two; groups of zeros."""
    import numpy as np

    from bitlathe.datatypes import kernels
    from bitlathe.datatypes.formats import catalogue

    def made(found: Any) -> tuple[Any, ...]:
        none = np.zeros(0, np.uint8)
        return found.codes, found.scales, none if found.choices is None else found.choices

    rows, k, some = (5, 40, 5) if small else (4096, 11008, 512)
    rng = np.random.default_rng(10)
    x = rng.standard_normal((rows, k), np.float32) * np.exp2(
        rng.uniform(-20, 20, (rows, 1)).astype(np.float32)
    )
    x[::7, : k // 3] = 0.0
    x[1] = rng.integers(-6, 7, k) / 2
    step = max(1, rows // some)
    part = x[::step]

    def job(name: str, device: Callable[[Any], Any], host: Callable[[Any], Any]) -> Job:
        return Job(
            name=f"code {name} {rows} x {k}; CPU: {len(part):,} rows",
            macs=rows * k,
            run=lambda _: made(device(x)),
            sample=lambda: made(host(part)),
            part=lambda array: array[::step] if array.size else array,
            share=len(part) / rows,
        )

    def books(name: str) -> Any:
        found = catalogue.element(name)
        return tuple(f.grid.book("even") for f in getattr(found, "formats", (found,)))

    from bitlathe.datatypes.kernels.cuda import groups as cuda
    from bitlathe.datatypes.kernels.cuda.launch import to_device

    def without_choice(found: Any) -> Any:
        return replace(found, choices=None)

    for name, group, scale in (("int4", 128, "fp16"), ("nf4", 64, "fp32")):
        given = books(name)
        yield job(f"{name} in groups of {group}",
                  lambda x, b=given, g=group, s=scale: without_choice(cuda.codebooks(x, b, g, s)),
                  lambda x, b=given, g=group, s=scale: kernels.codebooks(x, b, g, s))  # fmt: skip
    for name, group, scale in (("bitmod_fp4", 128, "fp16"), ("bitmod_fp3", 128, "fp32"),
                               ("bitmod_fp4", 1024, "fp32")):  # fmt: skip
        given = books(name)
        yield job(f"{name} in groups of {group}",
                  lambda x, b=given, g=group, s=scale: cuda.codebooks(x, b, g, s),
                  lambda x, b=given, g=group, s=scale: kernels.codebooks(x, b, g, s))  # fmt: skip
    for name, rule in (("fp4_e2m1", "floor"), ("fp8_e4m3", "rceil"), ("fp6_e2m3", "even")):
        fmt, given = catalogue.single(name), books(name)[0]
        facts = fmt.grid.float_parameters
        yield job(f"MX {name}, {rule}",
                  lambda x, b=given, f=fmt, p=facts, r=rule: cuda.mx(x, b, f.max, p[1], 32, r),
                  lambda x, f=fmt, p=facts, r=rule: kernels.mx(x, *p, f.max, 32, r))  # fmt: skip
    held = cache(lambda: to_device(x))
    for name, scale in (("int4", "fp16"), ("bitmod_fp4", "fp16")):
        given = books(name)
        host = job("", lambda x: x, lambda x, b=given, s=scale: kernels.codebooks(x, b, 128, s))

        def lying(_: str, b: Any = given, s: str = scale) -> Any:
            found = made(cuda.codebooks(held(), b, 128, s))
            return found if len(b) > 1 else found[:2]

        yield replace(
            host,
            name=f"code {name} in groups of 128, on the device, {rows} x {k}; CPU: {len(part):,} "
            "rows",
            run=lying,
            sample=lambda h=host, b=given: h.sample()[: 3 if len(b) > 1 else 2],
            part=lambda array: array.copy_to_host()[::step],
        )
    codes = rng.integers(0, 16, (rows, k), np.uint8)

    def counted(device: str) -> tuple[Any, ...]:
        from bitlathe.datatypes.kernels.cuda.counts import code_counts as twin
        from bitlathe.datatypes.terms.statistics import code_counts

        return ((twin if device == "cuda" else code_counts)(codes, 16),)

    yield Job(name=f"count codes {rows} x {k}", macs=rows * k, run=counted)


def quantize_jobs(small: bool) -> Iterator[Job]:
    """Yield `quantize` of whole tensors, with everything it checks and packs."""
    import numpy as np

    from bitlathe.datatypes.quantize import quantize

    rows, k = (4, 40) if small else (4096, 11008)
    x = np.random.default_rng(12).standard_normal((rows, k), np.float32)

    def run(scheme: str, device: str) -> tuple[Any, ...]:
        made = quantize(x, scheme, device=device).coded
        return tuple(part for part in (made.codes, made.scales, made.choices) if part is not None)

    for scheme in ("int4@g128", "bitmod_fp4@g128"):
        yield Job(name=f"quantize {scheme} {rows} x {k}", macs=rows * k, run=partial(run, scheme))


def systolic_jobs(small: bool) -> Iterator[Job]:
    """Yield systolic arrays clock by clock: all counts beside the results."""
    import numpy as np

    from bitlathe.arch.pe import IntMacPE
    from bitlathe.sim.array.systolic.stack import simulate_stack

    def made(runs: Any) -> tuple[Any, ...]:
        facts = [
            (r.cycles, r.macs, r.pe_updates, r.exposed_cycles, r.sram_reads.input,
             r.sram_reads.weight, r.sram_reads.output, r.sram_writes.output)
            for r in runs
        ]  # fmt: skip
        return np.stack([r.outputs for r in runs]), np.array(facts)

    tiles, m, k, n, size, some = (2, 3, 5, 4, 2, 1) if small else (512, 64, 96, 80, 32, 16)
    rng = np.random.default_rng(11)
    a, b = rng.integers(-128, 128, (tiles, m, k)), rng.integers(-128, 128, (tiles, k, n))
    step = tiles // some
    for dataflow in ("ws", "os", "is"):
        for pe in (None, IntMacPE(accumulator_bits=18)):
            options = {"rows": size, "cols": size, "dataflow": dataflow, "pe": pe}

            def run(device: str, options: Any = options) -> tuple[Any, ...]:
                return made(simulate_stack(a, b, device=device, **options))

            def sample(options: Any = options) -> tuple[Any, ...]:
                return made(simulate_stack(a[::step], b[::step], **options))

            rule = "exact" if pe is None else "18 bits that saturate"
            yield Job(
                name=f"systolic {size} x {size} {dataflow}, {rule}, {tiles} x {m} x {k} x {n}; "
                f"CPU: {some} tiles",
                macs=tiles * m * k * n,
                run=run,
                sample=sample,
                part=lambda array: array[::step],
                share=some / tiles,
            )


def limited_jobs(small: bool) -> Iterator[Job]:
    """Yield some of the jobs within so little of the device's memory that they take many tiles."""

    def within(mib: int, run: Callable[[str], tuple[Any, ...]], device: str) -> tuple[Any, ...]:
        kept = os.environ.get(LIMIT)
        os.environ[LIMIT] = str(mib)
        try:
            return run(device)
        finally:
            del os.environ[LIMIT]
            if kept is not None:
                os.environ[LIMIT] = kept

    for source, mib in ((dual_grain_jobs, 16), (mac_jobs, 8), (group_jobs, 64), (dot_jobs, 32)):
        job = next(source(small))
        yield replace(job, name=f"within {mib} MiB: {job.name}", run=partial(within, mib, job.run))


def lying_jobs(small: bool) -> Iterator[Job]:
    """Yield calls whose operands lie on the device already: tensors of torch where it is there."""
    import numpy as np

    from bitlathe.datatypes.quantize import quantize
    from bitlathe.sim.pe.bit_serial import bitserial_dot
    from bitlathe.sim.pe.dequantize import table_matmul

    def put(array: Any) -> Any:
        try:
            import torch

            if torch.cuda.is_available():
                return torch.from_numpy(array).cuda()
        except ImportError:
            pass
        from bitlathe.datatypes.kernels.cuda.launch import to_device

        return to_device(array)

    rng = np.random.default_rng(13)
    m, n, k, group = (3, 5, 24, 8) if small else (64, 4096, 4096, 128)
    grids = rng.standard_normal(16).astype(np.float32)
    product = (rng.standard_normal((m, k), np.float32), rng.integers(0, 16, (n, k), np.uint8),
               rng.random((n, k // group), np.float32))  # fmt: skip
    held = cache(lambda: tuple(map(put, product)))

    def multiply(device: str) -> tuple[Any, ...]:
        acts, codes, scales = held() if device == "cuda" else product
        picks = np.zeros(scales.shape, np.uint8)
        choices = put(picks) if device == "cuda" else picks
        out = table_matmul(acts, codes, grids, scales, choices=choices, group=group, device=device)
        return (out.copy_to_host() if device == "cuda" else out,)

    yield Job(name=f"on the device: table product {m} x {n} x {k}", macs=m * n * k, run=multiply)
    shape = (6, 20) if small else (1 << 16, 128)
    dots = rng.standard_normal(shape).astype(np.float16), rng.integers(-8, 8, shape, np.int8)
    there = cache(lambda: tuple(map(put, dots)))

    def dot(device: str) -> tuple[Any, ...]:
        return bitserial_dot(*(there() if device == "cuda" else dots), "int4", device=device)

    yield Job(name="on the device: bit_serial int4 aligned", macs=shape[0] * shape[1], run=dot)
    yield from lying_mac_jobs(small, put)
    rows, k = (4, 40) if small else (4096, 11008)
    x = rng.standard_normal((rows, k), np.float32)
    tensor = cache(lambda: put(x))

    def coded(device: str) -> tuple[Any, ...]:
        found = quantize(tensor() if device == "cuda" else x, "int4@g128", device=device).coded
        return found.codes, found.scales

    yield Job(name=f"on the device: quantize int4@g128 {rows} x {k}", macs=rows * k, run=coded)


def lying_mac_jobs(small: bool, put: Callable[[Any], Any]) -> Iterator[Job]:
    """Yield MACs and look-ups whose operands lie on the device, where ``put`` puts them."""
    import numpy as np

    from bitlathe.sim.pe import mac

    rng = np.random.default_rng(14)
    m, n, k = (2, 3, 16) if small else (16, 256, 4096)
    acts = rng.integers(-128, 128, (m, 1, k), np.int16)
    pairs = rng.choice(np.array([1, 2, 7, 9, 15], np.uint8), (n, k))
    pairs[:, ::4] = 8  # every other pair has a victim and an outlier
    halves = rng.standard_normal((2, m, k)).astype(np.float16).astype(np.float32)
    planes = rng.integers(0, 256, (n, 2, k // 8), np.int16)
    powers = rng.integers(-64, 65, (n, 2), np.int16)
    calls: dict[str, tuple[Any, ...]] = {
        "MAC, INT8": (mac.int_mac_dot, acts, rng.integers(-128, 128, (n, k), np.int16)),
        "MAC, ANT, flint4": (mac.ant_dot, acts, rng.integers(0, 16, (n, k), np.uint8)),
        "MAC, OliVe pairs": (mac.olive_dot, acts, pairs),
        "MAC, FP16 x FP16": (mac.fp_mac_dot, halves[0], halves[1]),
        "look-ups, 2 planes": (mac.lut_matmul, halves[0], planes, powers),
    }
    for name, (function, *operands) in calls.items():
        there = cache(lambda operands=operands: [put(each) for each in operands])

        def run(device: str, f: Any = function, o: Any = operands, t: Any = there) -> Any:
            return (f(*(t() if device == "cuda" else o), device=device),)

        macs = m * k if name.endswith("FP16") else m * n * k
        yield Job(name=f"on the device: {name} {m} x {n} x {k}", macs=macs, run=run)


GROUPS = (dual_grain_jobs, shifted_jobs, block_jobs, mac_jobs, lut_jobs, group_jobs, quantize_jobs,
          systolic_jobs, table_jobs, dot_jobs, edge_jobs, limited_jobs, lying_jobs)  # fmt: skip


def jobs(small: bool) -> Iterator[Job]:
    """Yield all jobs: every kernel of the package. One that cannot be made fails as it runs."""
    for made in GROUPS:
        try:
            yield from made(small)
        except Exception as err:

            def failed(_: str, err: Exception = err) -> tuple[Any, ...]:
                raise err

            yield Job(name=made.__name__, macs=0, run=failed)
