"""Products of quantized operands on a GPU, in tiles: each block decodes an operand once.

A block of ``side`` x ``side`` threads computes ``each`` x ``each`` outputs a thread. It decodes
``side`` columns of K of both operands into shared memory, and every thread adds their products in
the order of K, so that the bits are those of one output after another. Floating-point sums are
float32; they take their products unrounded, through float64, where those of float32 values are
exact and fusing a product and a sum changes no bit.
"""

# ruff: noqa: PLR0912 - tiles of loops in one kernel, which shares memory
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, attr-defined"

import numpy as np
from numba import cuda

from ...datatypes.kernels.cuda.floats import smaller
from ...datatypes.kernels.cuda.launch import blocks_for, require_device
from ...datatypes.kernels.cuda.tiles import run_product, starting

SIDE, EACH = 16, 4


def dual_grain_of(side, each):
    """Return the integer product of 8-bit activations and dual-grain weights, in tiles."""
    tile = side * each
    shared = (side, tile + 1)  # one more, so that writing down a column meets all banks
    square = (each, each)

    @cuda.jit
    def kernel(activations, codes, zeros, steps, group, out):
        left = cuda.shared.array(shared, np.int32)
        right = cuda.shared.array(shared, np.int32)
        total = cuda.local.array(square, np.int32)
        x, y, length = cuda.threadIdx.x, cuda.threadIdx.y, codes.shape[1]
        rows, columns = out.shape
        for m0 in range(cuda.blockIdx.y * tile, rows, cuda.gridDim.y * tile):
            for n0 in range(cuda.blockIdx.x * tile, columns, cuda.gridDim.x * tile):
                for i in range(each):
                    for j in range(each):
                        total[i, j] = 0
                for k0 in range(0, length, side):
                    k = k0 + x
                    for i in range(each):
                        at = y + i * side
                        m, n = m0 + at, n0 + at
                        left[x, at] = activations[m, k] if m < rows and k < length else 0
                        w = np.int32(0)
                        if n < columns and k < length:
                            g = k // group
                            w = (np.int32(codes[n, k]) - np.int32(zeros[n, g])) * np.int32(
                                steps[n, g]
                            )
                        right[x, at] = w
                    cuda.syncthreads()
                    for d in range(side):
                        for i in range(each):
                            for j in range(each):
                                total[i, j] += left[d, y + i * side] * right[d, x + j * side]
                    cuda.syncthreads()
                for i in range(each):
                    for j in range(each):
                        m, n = m0 + y + i * side, n0 + x + j * side
                        if m < rows and n < columns:
                            out[m, n] = total[i, j]

    return kernel


@cuda.jit(device=True)
def looked_up(codes, grids, picks, row, k, group, facts):
    """Return an operand's value: that of its code in the grid its group picked."""
    return np.float64(grids[picks[row, k // group], codes[row, k]])


@cuda.jit(device=True)
def as_it_is(values, grids, picks, row, k, group, facts):
    """Return an operand's value, which stands there."""
    return np.float64(values[row, k])


@cuda.jit(device=True)
def small_float(byte, facts):
    """Return the value of a byte of a sign, an exponent and a mantissa; no infinities.

    The facts are the mantissa bits and the exponent's bias.
    """
    bits, bias = facts
    field = (byte & 127) >> bits
    mantissa = byte & ((1 << bits) - 1)
    if field == 0:
        magnitude = np.float32(mantissa) * np.int32((128 - bias - bits) << 23).view(np.float32)
    else:
        pattern = ((field + 127 - bias) << 23) | (mantissa << (23 - bits))
        magnitude = np.int32(pattern).view(np.float32)
    return -np.float64(magnitude) if byte & 128 else np.float64(magnitude)


@cuda.jit(device=True)
def byte_float(codes, grids, picks, row, k, group, facts):
    """Return the value of a code of 8 bits."""
    return small_float(np.int64(codes[row, k]), facts)


@cuda.jit(device=True)
def shifted_float(codes, grids, picks, row, k, group, facts):
    """Return an FP4 code (E2M1) made a byte by adding to its exponent, and read as such.

    0.5 is E2M1's one subnormal, and normal in the byte, as are all sums that are let in.
    """
    bits, bias = facts
    code, shift = np.int64(codes[row, k]), np.int64(picks[row, k // group])
    size = code & 7
    byte = (code & 8) << 4
    if size == 1:
        byte |= (bias + shift - 1) << bits
    elif size > 1:
        byte |= ((size >> 1) - 1 + bias + shift) << bits
        byte |= (size & 1) << (bits - 1)
    return small_float(byte, facts)


def scaled_of(left_of, right_of, side, each):
    """Return the product of operands behind two decoders, in tiles.

    ``group`` is how many elements share a grid or a shift, ``span`` how many share a scale.
    """
    tile = side * each
    shared = (side, tile + 1)  # one more, so that writing down a column meets all banks
    square = (each, each)

    @cuda.jit
    def kernel(
        activations, act_grids, act_picks, act_scales, codes, grids, picks, scales, group, span,
        facts, out,
    ):  # fmt: skip
        left = cuda.shared.array(shared, np.float64)
        right = cuda.shared.array(shared, np.float64)
        partial = cuda.local.array(square, np.float32)
        total = cuda.local.array(square, np.float32)
        x, y, length = cuda.threadIdx.x, cuda.threadIdx.y, codes.shape[1]
        rows, columns = out.shape
        for m0 in range(cuda.blockIdx.y * tile, rows, cuda.gridDim.y * tile):
            for n0 in range(cuda.blockIdx.x * tile, columns, cuda.gridDim.x * tile):
                for i in range(each):
                    for j in range(each):
                        total[i, j] = 0.0
                        partial[i, j] = 0.0
                for k0 in range(0, length, side):
                    k = k0 + x
                    for i in range(each):
                        at = y + i * side
                        left[x, at] = right[x, at] = 0.0
                        if m0 + at < rows and k < length:
                            left[x, at] = left_of(
                                activations, act_grids, act_picks, m0 + at, k, group, facts
                            )
                        if n0 + at < columns and k < length:
                            right[x, at] = right_of(codes, grids, picks, n0 + at, k, group, facts)
                    cuda.syncthreads()
                    for d in range(smaller(side, length - k0)):
                        for i in range(each):
                            for j in range(each):
                                product = left[d, y + i * side] * right[d, x + j * side]
                                partial[i, j] = np.float32(np.float64(partial[i, j]) + product)
                        end = k0 + d + 1
                        if end % span == 0 or end == length:
                            g = (end - 1) // span
                            for i in range(each):
                                for j in range(each):
                                    m, n = m0 + y + i * side, n0 + x + j * side
                                    if m < rows and n < columns:
                                        part = np.float64(partial[i, j])
                                        part = part * np.float64(act_scales[m, g])
                                        part = np.float64(np.float32(part))
                                        part = part * np.float64(scales[n, g])
                                        total[i, j] = np.float32(np.float64(total[i, j]) + part)
                                    partial[i, j] = 0.0
                    cuda.syncthreads()
                for i in range(each):
                    for j in range(each):
                        m, n = m0 + y + i * side, n0 + x + j * side
                        if m < rows and n < columns:
                            out[m, n] = total[i, j]

    return kernel


dual_grain_kernel = dual_grain_of(SIDE, EACH)
block_kernel = scaled_of(looked_up, looked_up, SIDE, EACH)
shifted_kernel = scaled_of(byte_float, shifted_float, SIDE, EACH)


def grid_of(shape):
    """Return blocks and threads for an output."""
    return tuple(blocks_for(n, SIDE * EACH) for n in reversed(shape)), (SIDE, SIDE)


def tiled(kernel, out, inputs, roles, scalars):
    """Run a kernel of products; results of no products are 0."""
    require_device()
    if out.size and inputs[0].shape[1]:
        run_product(starting(kernel, grid_of, scalars), roles, inputs, out)


def dual_grain_products(activations, codes, zeros, steps, group, out):
    """Run `dual_grain_kernel` on arrays of 8 bits; the arguments are those of the numba kernel."""
    tiled(dual_grain_kernel, out, (activations, codes, zeros, steps), "rccc", (group,))


def block_products(left, right, group, out):
    """Run `block_kernel`: each operand is its codes, grids, picks and scales."""
    tiled(block_kernel, out, (*left, *right), "rhrr" + "chcc", (group, group, (0, 0)))


def shifted_products(activations, act_scales, codes, shifts, scales, group, facts, out):
    """Run `shifted_kernel` on codes; ``facts`` are the mantissa bits and bias of a byte."""
    none = np.zeros((1, 1), np.float32), np.zeros((1, 1), np.int16)
    inputs = (activations, *none, act_scales, codes, none[0], shifts, scales)
    tiled(shifted_kernel, out, inputs, "rhhr" + "chcc", (group, codes.shape[1], facts))
