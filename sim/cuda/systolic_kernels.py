"""Systolic arrays of integer PEs clock by clock on a GPU: a block for each array, a thread a PE.

Registers that neighbors read lie in shared memory, in two planes as in the numba kernels: that of
the clock before and that of the present one. Control is the same in every thread of a block; what
it depends on, such as how many PEs hold an operand, is counted over the block at a barrier.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, attr-defined"
# ruff: noqa: PLR0912, PLR0915 - a clock stays in one kernel

import numpy as np
from numba import cuda

from ...datatypes.kernels.cuda.floats import fit, smaller
from ...datatypes.kernels.cuda.launch import blocks_for, kernel_of
from ...datatypes.kernels.cuda.tiles import row_tiles, run_tiles, starting

MOST_PES = 1024
PLANES = (2, MOST_PES)
CLOCK, MACS, UPDATES, EXPOSED, READS_STREAM, READS_FIXED, READS_BACK, WRITES, MISMATCH = range(9)
COUNTERS = 9


@kernel_of(MOST_PES)
def sums_stay_kernel(a, b, bits, saturate, register, out, counters):
    """Run output stationary arrays of ``blockDim`` PEs on a stack of products."""
    # a line each: the simulator knows shared arrays by their place
    xs = cuda.shared.array(PLANES, np.int32)
    xt = cuda.shared.array(PLANES, np.int32)
    ys = cuda.shared.array(PLANES, np.int32)
    yt = cuda.shared.array(PLANES, np.int32)
    drain = cuda.shared.array(MOST_PES, np.int64)
    across, down = cuda.blockDim.x, cuda.blockDim.y
    i, j = cuda.threadIdx.y, cuda.threadIdx.x
    pe = i * across + j
    m, n, length = out.shape[1], out.shape[2], a.shape[2]
    row_folds = (m + down - 1) // down
    folds = row_folds * ((n + across - 1) // across)
    for tile in range(cuda.blockIdx.x, a.shape[0], cuda.gridDim.x):
        clock, fold, feed, done, left, busy = 0, 0, 0, 0, 0, 0
        active, macs, updates, exposed = False, 0, 0, 0
        streamed, fixed, written, mismatch = 0, 0, 0, 0
        acc = np.int64(0)
        for plane in range(2):
            xs[plane, pe] = xt[plane, pe] = ys[plane, pe] = yt[plane, pe] = 0
        drain[pe] = 0
        cuda.syncthreads()
        while fold < folds or left > 0:
            now, before = clock & 1, 1 - (clock & 1)
            draining = left > 0
            if draining:
                i0, j0 = busy % row_folds * down, busy // row_folds * across
                rows, columns = smaller(down, m - i0), smaller(across, n - j0)
                above = np.int64(0)
                if i < rows - 1 and j < columns:
                    above = drain[pe + across]
                if i == 0 and j < columns:
                    out[tile, i0 + rows - left, j0 + j] = drain[pe]
                    written += 1
                cuda.syncthreads()
                if i < rows - 1 and j < columns:
                    drain[pe] = above
                left -= 1
            if fold < folds and not active and (register or not draining):
                i0, j0 = fold % row_folds * down, fold // row_folds * across
                rows, columns = smaller(down, m - i0), smaller(across, n - j0)
                fires = 0
                if i < rows and j < columns:
                    x, y, x_tag, y_tag = np.int32(0), np.int32(0), np.int32(0), np.int32(0)
                    t = feed - i
                    if j > 0:
                        x, x_tag = xs[before, pe - 1], xt[before, pe - 1]
                    elif t >= 0 and t < length:
                        x, x_tag = np.int32(a[tile, i0 + i, t]), np.int32(t + 1)
                        streamed += 1
                    t = feed - j
                    if i > 0:
                        y, y_tag = ys[before, pe - across], yt[before, pe - across]
                    elif t >= 0 and t < length:
                        y, y_tag = np.int32(b[tile, t, j0 + j]), np.int32(t + 1)
                        fixed += 1
                    xs[now, pe], xt[now, pe], ys[now, pe], yt[now, pe] = x, x_tag, y, y_tag
                    acc = fit(acc + np.int64(x) * np.int64(y), bits, saturate)
                    fires = 1 if x_tag != 0 else 0
                    mismatch += 1 if x_tag != y_tag else 0
                fired = cuda.syncthreads_count(fires)
                feed += 1
                macs += fired
                updates += rows * columns
                done += fired
                active = done == rows * columns * length
            elif draining:
                exposed += 1
            cuda.syncthreads()
            if active and left == 0:
                drain[pe], acc = acc, np.int64(0)
                for plane in range(2):
                    xs[plane, pe] = xt[plane, pe] = ys[plane, pe] = yt[plane, pe] = 0
                left = smaller(down, m - fold % row_folds * down)
                busy, feed, done, active = fold, 0, 0, False
                fold += 1
                cuda.syncthreads()
            clock += 1
        if pe == 0:
            counters[tile, CLOCK], counters[tile, MACS] = clock, macs
            counters[tile, UPDATES], counters[tile, EXPOSED] = updates, exposed
        cuda.atomic.add(counters, (tile, READS_STREAM), streamed)
        cuda.atomic.add(counters, (tile, READS_FIXED), fixed)
        cuda.atomic.add(counters, (tile, WRITES), written)
        cuda.atomic.add(counters, (tile, MISMATCH), mismatch)
        cuda.syncthreads()


@kernel_of(MOST_PES)
def weights_stay_kernel(a, b, bits, saturate, doubled, kept, out, counters):
    """Run weight stationary arrays of ``blockDim`` PEs on a stack of products.

    ``doubled``: operands are loaded beside the fold before; ``kept``: partial sums stay at the
    array's edge. Used rows lie against the bottom edge; they are counted from their own top.
    """
    xs = cuda.shared.array(PLANES, np.int32)
    xt = cuda.shared.array(PLANES, np.int32)
    ps = cuda.shared.array(PLANES, np.int64)
    shadow = cuda.shared.array(MOST_PES, np.int32)
    across, down = cuda.blockDim.x, cuda.blockDim.y
    i, j = cuda.threadIdx.y, cuda.threadIdx.x
    pe = i * across + j
    m, n, length = a.shape[1], out.shape[2], a.shape[2]
    row_folds = (length + down - 1) // down
    folds = row_folds * ((n + across - 1) // across)
    for tile in range(cuda.blockIdx.x, a.shape[0], cuda.gridDim.x):
        clock, fold, feed, done, loaded, busy = 0, 0, 0, 0, 0, 0
        active, macs, updates, exposed = False, 0, 0, 0
        streamed, fixed, back, written = 0, 0, 0, 0
        weight = np.int32(0)
        for plane in range(2):
            xs[plane, pe] = xt[plane, pe] = ps[plane, pe] = 0
        shadow[pe] = 0
        cuda.syncthreads()
        while fold < folds or active:
            now, before = clock & 1, 1 - (clock & 1)
            i0, j0 = fold % row_folds * down, fold // row_folds * across
            load_rows, columns = smaller(down, length - i0), smaller(across, n - j0)
            if fold < folds and loaded < load_rows and (doubled or not active):
                below = np.int32(0)
                if i < load_rows - 1 and j < columns:
                    below = shadow[pe + across]
                cuda.syncthreads()
                if i < load_rows - 1 and j < columns:
                    shadow[pe] = below
                if i == load_rows - 1 and j < columns:
                    shadow[pe] = b[tile, i0 + loaded, j0 + j]
                    fixed += 1
                loaded += 1
            if active:
                i0, j0 = busy % row_folds * down, busy // row_folds * across
                rows, columns = smaller(down, length - i0), smaller(across, n - j0)
                fires, leaves = 0, 0
                if i < rows and j < columns:
                    x, tag, above = np.int32(0), np.int32(0), np.int64(0)
                    t = feed - i
                    if j > 0:
                        x, tag = xs[before, pe - 1], xt[before, pe - 1]
                    elif t >= 0 and t < m:
                        x, tag = np.int32(a[tile, t, i0 + i]), np.int32(t + 1)
                        streamed += 1
                    if i > 0:
                        above = ps[before, pe - across]
                    total = fit(above + np.int64(x) * np.int64(weight), bits, saturate)
                    xs[now, pe], xt[now, pe], ps[now, pe] = x, tag, total
                    fires = 1 if tag != 0 else 0
                    if i == rows - 1 and tag != 0:
                        leaves = 1
                        if i0 == 0:
                            out[tile, tag - 1, j0 + j] = total
                        else:
                            more = out[tile, tag - 1, j0 + j] + total
                            out[tile, tag - 1, j0 + j] = fit(more, bits, saturate)
                            back += 0 if kept else 1
                        written += 1 if not kept or i0 + rows == length else 0
                fired = cuda.syncthreads_count(fires)
                feed += 1
                macs += fired
                updates += rows * columns
                done += cuda.syncthreads_count(leaves)
                active = done < m * columns
            else:
                exposed += 1
            cuda.syncthreads()
            if not active and fold < folds and loaded == load_rows:
                weight = shadow[pe]
                for plane in range(2):
                    xs[plane, pe] = xt[plane, pe] = ps[plane, pe] = 0
                busy, loaded, feed, done, active = fold, 0, 0, 0, True
                fold += 1
                cuda.syncthreads()
            clock += 1
        if pe == 0:
            counters[tile, CLOCK], counters[tile, MACS] = clock, macs
            counters[tile, UPDATES], counters[tile, EXPOSED] = updates, exposed
        cuda.atomic.add(counters, (tile, READS_STREAM), streamed)
        cuda.atomic.add(counters, (tile, READS_FIXED), fixed)
        cuda.atomic.add(counters, (tile, READS_BACK), back)
        cuda.atomic.add(counters, (tile, WRITES), written)
        cuda.syncthreads()


def stack(kernel, a, b, size, scalars, out, counters):
    """Run a kernel on arrays of rows x columns PEs, a block each; products in turns if need be."""

    def grid_of(shape):
        """Return blocks and threads for so many products."""
        return blocks_for(shape[0], 1), (size[1], size[0])

    tiles = row_tiles((a, b), "rr", (out, counters), zero=True)
    run_tiles(starting(kernel, grid_of, scalars), "rr", (a, b), tiles)


def sums_stay(a, b, size, rules, register, out, counters):
    """Run `sums_stay_kernel`: (tiles, M, K) by (tiles, K, N) int32 on arrays of rows x columns."""
    stack(sums_stay_kernel, a, b, size, (*rules, register), out, counters)


def weights_stay(a, b, size, rules, registers, out, counters):
    """Run `weights_stay_kernel` as `sums_stay` does; ``registers`` are doubled and kept."""
    stack(weights_stay_kernel, a, b, size, (*rules, *registers), out, counters)
