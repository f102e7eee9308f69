"""The bit-parallel PEs on a GPU, one thread per dot product: integer, flint, OliVe, floats, tables.

Integers are exact. Floating-point products are made in float64, where those of the PEs' formats
are exact, so that fusing a product and a sum changes no bit; the roundings are additions.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, attr-defined"

import math

import numpy as np
from numba import cuda

from ...datatypes.kernels.cuda.floats import add_to_odd, fit, round_to, smaller
from ...datatypes.kernels.cuda.launch import blocks_for, lies_on_device, require_device
from ...datatypes.kernels.cuda.tiles import (
    pair_tiles,
    row_tiles,
    run_product,
    run_tiles,
    starting,
)

THREADS = 128
MOST_LANES = 64
MOST_INPUTS = 12


@cuda.jit(device=True)
def plain(weights, column, k, mantissas, shifts):
    """Return weight k of a column: the integer that stands there."""
    return np.int64(weights[column, k])


@cuda.jit(device=True)
def flint(weights, column, k, mantissas, shifts):
    """Return weight k of a column of codes: its mantissa, shifted."""
    code = weights[column, k]
    return mantissas[code] << shifts[code]


@cuda.jit(device=True)
def pair_member(weights, column, k, mantissas, shifts):
    """Return weight k of a column of outlier-victim pairs.

    The code 8 is a victim, whose neighbor is an outlier of two exponent bits and one mantissa bit.
    """
    code, other = np.int64(weights[column, k]), np.int64(0)
    if (k ^ 1) < weights.shape[1]:
        other = np.int64(weights[column, k ^ 1])
    if code == 8:
        return np.int64(0)
    if other != 8:
        return code - ((code & 8) << 1)
    magnitude = (2 + (code & 1)) << (((code >> 1) & 3) + 2)
    return -magnitude if code & 8 else magnitude


def integer_kernel(weight):
    """Return the integer MAC behind a decoder of weights, a device function."""

    @cuda.jit
    def kernel(activations, weights, rows, columns, mantissas, shifts, lanes, bits, saturate, out):
        length = activations.shape[1]
        for i in range(cuda.grid(1), rows.size, cuda.gridsize(1)):
            row, column, total = rows[i], columns[i], np.int64(0)
            for first in range(0, length, lanes):
                part = np.int64(0)
                for k in range(first, smaller(first + lanes, length)):
                    w = weight(weights, column, k, mantissas, shifts)
                    part += np.int64(activations[row, k]) * w
                total = fit(total + part, bits, saturate)
            out[i] = total

    return kernel


int_kernel = integer_kernel(plain)
flint_kernel = integer_kernel(flint)
pair_kernel = integer_kernel(pair_member)


@cuda.jit(device=True)
def sum_tree(part, count, bits, lowest, largest, saturate):
    """Add neighbors of the first ``count`` numbers, then their sums, each rounded."""
    while count > 1:
        for i in range(count // 2):
            both = add_to_odd(part[2 * i], part[2 * i + 1])
            part[i] = round_to(both, bits, lowest, largest, saturate)
        if count & 1:
            part[count // 2] = part[count - 1]
        count = (count + 1) // 2
    return part[0]


@cuda.jit
def float_kernel(
    activations, weights, rows, columns, lanes, rounded, p_bits, p_lowest, p_largest, bits, lowest,
    largest, saturate, out,
):  # fmt: skip
    """Thread i: floating-point products, those of a clock added in a tree beforehand."""
    part = cuda.local.array(MOST_LANES, np.float64)
    length = activations.shape[1]
    for i in range(cuda.grid(1), rows.size, cuda.gridsize(1)):
        row, column, total = rows[i], columns[i], np.float64(0.0)
        for first in range(0, length, lanes):
            for lane in range(lanes):
                k, p = first + lane, np.float64(0.0)
                if k < length:
                    p = np.float64(activations[row, k]) * np.float64(weights[column, k])
                if rounded:
                    p = round_to(p, p_bits, p_lowest, p_largest, saturate)
                part[lane] = p
            clock = sum_tree(part, lanes, bits, lowest, largest, saturate)
            total = round_to(add_to_odd(total, clock), bits, lowest, largest, saturate)
        out[i] = total


@cuda.jit
def tables_kernel(activations, inputs, bits, lowest, largest, tables):
    """Thread i: one entry of the tables of all signed sums of a run of activations."""
    part = cuda.local.array(MOST_INPUTS, np.float64)
    chunks, entries = tables.shape[1], tables.shape[2]
    for i in range(cuda.grid(1), tables.size, cuda.gridsize(1)):
        entry, chunk, row = i % entries, i // entries % chunks, i // entries // chunks
        for lane in range(inputs):
            k, a = chunk * inputs + lane, np.float64(0.0)
            if k < activations.shape[1]:
                a = np.float64(activations[row, k])
            part[lane] = a if (entry >> lane) & 1 else -a
        tables[row, chunk, entry] = sum_tree(part, inputs, bits, lowest, largest, False)


@cuda.jit
def lookups_kernel(tables, planes, scale_exponents, bits, lowest, largest, out):
    """Thread (n, m): sum over bit planes of ``2**scale`` times that of its table entries."""
    first_n, first_m = cuda.grid(2)
    step_n, step_m = cuda.gridsize(2)
    for m in range(first_m, out.shape[0], step_m):
        for n in range(first_n, out.shape[1], step_n):
            total = np.float64(0.0)
            for plane in range(planes.shape[1]):
                partial = np.float64(0.0)
                for chunk in range(planes.shape[2]):
                    entry = np.float64(tables[m, chunk, planes[n, plane, chunk]])
                    partial = round_to(add_to_odd(partial, entry), bits, lowest, largest, False)
                shifted = math.ldexp(partial, int(scale_exponents[n, plane]))
                total = round_to(add_to_odd(total, shifted), bits, lowest, largest, False)
            out[m, n] = total


NO_TABLE = np.zeros(1, np.int64)


def typed(array, kind):
    """Return an array of the host in a type; one that lies on the device has it already."""
    return array if lies_on_device(array) else np.ascontiguousarray(array, kind)


def dots(kernel, inputs, roles, scalars, out, threads):
    """Run a kernel of one thread per dot product; see `pair_tiles`.

    Dot products of no length leave ``out`` as it is.
    """
    require_device()
    if out.size == 0 or inputs[0].shape[1] == 0:
        return

    def grid_of(shape):
        """Return blocks and threads for so many dot products."""
        return blocks_for(shape[0], threads), threads

    tiles = pair_tiles(inputs, roles, (out,))
    run_tiles(starting(kernel, grid_of, scalars), roles, inputs, tiles)


def integers(
    kernel, activations, weights, rows, columns, lanes, bits, saturate, out, mantissas=NO_TABLE,
    shifts=NO_TABLE, threads=THREADS,
):  # fmt: skip
    """Run an integer kernel: ``int_kernel``, ``flint_kernel`` or ``pair_kernel``."""
    inputs = (activations, weights, rows, columns, mantissas, shifts)
    dots(kernel, inputs, "rcijhh", (lanes, bits, saturate), out, threads)


def int_dots(activations, weights, rows, columns, lanes, bits, saturate, out, **more):
    """Run `int_kernel`; the arguments are those of the numba kernel, of at most 16 bits."""
    narrow = (typed(each, np.int16) for each in (activations, weights))
    integers(int_kernel, *narrow, rows, columns, lanes, bits, saturate, out, **more)


def flint_dots(activations, codes, rows, columns, lanes, bits, saturate, out, tables, **more):
    """Run `flint_kernel` on codes; ``tables`` are the mantissas and shifts by code."""
    narrow = typed(activations, np.int16), typed(codes, np.uint8)
    integers(flint_kernel, *narrow, rows, columns, lanes, bits, saturate, out, *tables, **more)


def pair_dots(activations, codes, rows, columns, lanes, bits, saturate, out, **more):
    """Run `pair_kernel` on the codes of outlier-victim pairs."""
    narrow = typed(activations, np.int16), typed(codes, np.uint8)
    integers(pair_kernel, *narrow, rows, columns, lanes, bits, saturate, out, **more)


def fp_dots(activations, weights, rows, columns, lanes, rules, out, threads=THREADS):
    """Run `float_kernel` on host arrays; the arguments are those of the numba kernel."""
    rounded, product, accumulator, saturate = rules
    narrow = (typed(each, np.float32) for each in (activations, weights))
    scalars = (lanes, rounded, *product, *accumulator, saturate)
    dots(float_kernel, (*narrow, rows, columns), "rcij", scalars, out, threads)


def build_tables(activations, inputs, fmt, tables, threads=THREADS):
    """Run `tables_kernel` on host arrays; the arguments are those of the numba kernel."""
    require_device()
    if not tables.size:
        return

    def grid_of(shape):
        """Return blocks and threads for so many tables."""
        return blocks_for(math.prod(shape), threads), threads

    launch = starting(tables_kernel, grid_of, (inputs, *fmt))
    given = (typed(activations, np.float32),)
    run_tiles(launch, "r", given, row_tiles(given, "r", (tables,)))


def lut_products(tables, planes, scale_exponents, fmt, out, threads=(16, 8)):
    """Run `lookups_kernel` on host arrays: all rows of ``tables`` by all of ``planes``."""
    require_device()
    if out.size == 0 or 0 in tuple(planes.shape):
        return

    def grid_of(shape):
        """Return blocks and threads for an output."""
        return (blocks_for(shape[1], threads[0]), blocks_for(shape[0], threads[1])), threads

    narrow = typed(planes, np.int16), typed(scale_exponents, np.int16)
    inputs = (np.ascontiguousarray(tables, np.float32), *narrow)
    run_product(starting(lookups_kernel, grid_of, fmt), "rcc", inputs, out)
