"""The bit-serial tile array, one clock at a time. Imported on use: this module brings numba."""

# ruff: noqa: PLR0912, PLR0915 - one clock of the machine in one place
# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import numba
import numpy as np

from ..pe.bit_serial_kernels import accumulate, lane_sum

LANE, ROW, COLUMN, ARRAY = range(4)

# Slots of the control vector
(CLOCK, TILE, GROUP, GAP, ISSUE, STALL, BUSY, IDLE, UNIT_LEFT, UNIT_FULL, UNIT_LAST, UNIT_TILE,
 UNIT_GROUP, DRAIN_LEFT, DRAIN_TILE, READS_A, READS_W, WRITES, ENDED) = range(19)  # fmt: skip
CONTROL_SLOTS = 19


@numba.njit(cache=True)
def tile_bounds(tile, rows, columns, n, m):
    """Return (first channel, channels, first token, tokens) of a tile, row folds inner."""
    row_folds = -(-n // rows)
    i0 = tile % row_folds * rows
    j0 = tile // row_folds * columns
    return i0, min(rows, n - i0), j0, min(columns, m - j0)


@numba.njit(cache=True)
def _needed(man, row, live, skip):
    """Bit mask of the terms of one weight that cannot be left out."""
    mask = np.int64(0)
    for t in range(man.shape[1]):
        if not skip or (live and man[row, t] != 0):
            mask |= np.int64(1) << t
    return mask


@numba.njit(cache=True)
def _fetch(i, j, chunk, first, last, i0, j0, columns, operands, scope, skip, lanes, mask):
    """Load the masks of a chunk into PE (i, j): slots of the PE, or of every lane."""
    weight, significand, man, skip_zero = operands
    if scope != LANE:
        mask[i, j, 0] = 0
    begin = j if scope in (COLUMN, LANE) else 0
    end = j + 1 if scope in (COLUMN, LANE) else columns
    for lane in range(lanes):
        own = np.int64(0)
        at = first + chunk * lanes + lane
        if at < last:
            for q in range(begin, end):
                live = not skip_zero or significand[j0 + q, at] != 0
                own |= _needed(man, weight[i0 + i, at], live, skip)
        elif not skip:
            own = (np.int64(1) << man.shape[1]) - 1
        if scope == LANE:
            mask[i, j, lane] = own
        else:
            mask[i, j, 0] |= own


@numba.njit(cache=True)
def _fetch_lane(i, j, lane, chunk, first, last, i0, j0, operands, skip, lanes, mask):
    """Load the mask of the next weight of one lane."""
    weight, significand, man, skip_zero = operands
    at = first + chunk * lanes + lane
    if at < last:
        live = not skip_zero or significand[j0 + j, at] != 0
        mask[i, j, lane] = _needed(man, weight[i0 + i, at], live, skip)
    else:
        mask[i, j, lane] = 0 if skip else (np.int64(1) << man.shape[1]) - 1


@numba.njit(cache=True)
def _lowest(mask):
    """Position of the lowest set bit, -1 for none."""
    if mask == 0:
        return -1
    t = 0
    while not (mask >> t) & 1:
        t += 1
    return t


@numba.njit(cache=True)
def _issue(rows, columns, lanes, pipe, position, mask, chunks, scope, ctl):
    """Enter one term per lane into stage 0 of every PE's pipeline.

    ``pipe[0, i, j, lane]`` holds chunk * 64 + term, or -1 for a bubble.
    """
    width = lanes if scope == LANE else 1
    for i in range(rows):
        for j in range(columns):
            busy = False
            for lane in range(width):
                pipe[0, i, j, lane] = -1
                if position[i, j, lane] < chunks:
                    t = _lowest(mask[i, j, lane])
                    if t >= 0:
                        pipe[0, i, j, lane] = position[i, j, lane] * 64 + t
                        mask[i, j, lane] &= ~(np.int64(1) << t)
                        busy = True
            if busy:
                ctl[BUSY] += 1
            else:
                ctl[IDLE] += 1


@numba.njit(cache=True)
def _step(rows, columns, lanes, position, mask, chunks, first, last, i0, j0, operands, scope,
          skip, ctl):  # fmt: skip
    """Move on whatever has issued its last term; return whether the whole group is issued."""
    done = True
    if scope == LANE:
        for i in range(rows):
            for j in range(columns):
                for lane in range(lanes):
                    if position[i, j, lane] < chunks and mask[i, j, lane] == 0:
                        position[i, j, lane] += 1
                        if position[i, j, lane] < chunks:
                            _fetch_lane(i, j, lane, position[i, j, lane], first, last, i0, j0,
                                        operands, skip, lanes, mask)  # fmt: skip
                    done &= position[i, j, lane] == chunks
        return done
    for i in range(rows):
        for j in range(columns):
            # a PE waits for its domain, whose leader looks at all members
            if scope == ROW:
                if j > 0:
                    continue
                p0, p1, q0, q1 = i, i + 1, 0, columns
            elif scope == COLUMN:
                if i > 0:
                    continue
                p0, p1, q0, q1 = 0, rows, j, j + 1
            else:
                if i + j > 0:
                    continue
                p0, p1, q0, q1 = 0, rows, 0, columns
            if position[p0, q0, 0] == chunks:
                continue
            ready = True
            for p in range(p0, p1):
                for q in range(q0, q1):
                    ready &= mask[p, q, 0] == 0
            if ready:
                for p in range(p0, p1):
                    for q in range(q0, q1):
                        position[p, q, 0] += 1
                        if position[p, q, 0] < chunks:
                            _fetch(p, q, position[p, q, 0], first, last, i0, j0, columns,
                                   operands, scope, skip, lanes, mask)  # fmt: skip
            done &= position[p0, q0, 0] == chunks
    return done


@numba.njit(cache=True)
def _start_group(rows, columns, lanes, position, mask, chunks, first, last, i0, j0, operands,
                 scope, skip, ctl):  # fmt: skip
    """Point every PE at the first chunk of a group; its operands cross the array's edge once."""
    position[:] = 0
    for i in range(rows):
        for j in range(columns):
            _fetch(i, j, 0, first, last, i0, j0, columns, operands, scope, skip, lanes, mask)
    ctl[READS_W] += rows * (last - first)
    ctl[READS_A] += columns * (last - first)


@numba.njit(cache=True)
def _retire(tile, group, rows, columns, lanes, size, n, m, k, pipe, stage, exponent, significand,
            weight, term_exp, man, bsig, scope, exact, lowest, parameters, acc_man,
            acc_exp):  # fmt: skip
    """Add what leaves the pipeline to the accumulators, in the PE's arithmetic."""
    i0, r, j0, c = tile_bounds(tile, rows, columns, n, m)
    first = group * size
    last = min(first + size, k)
    width = lanes if scope == LANE else 1
    for i in range(r):
        for j in range(c):
            for lane in range(width):
                tag = pipe[stage, i, j, lane]
                if tag < 0:
                    continue
                at = first + tag // 64 * lanes
                t = tag % 64
                row = weight[i0 + i]
                if exact:
                    begin = at + lane if scope == LANE else at
                    end = begin + 1 if scope == LANE else at + lanes
                    for x in range(begin, min(end, last)):
                        shift = exponent[j0 + j, x] - lowest + term_exp[row[x], t] + bsig[t]
                        product = np.int64(significand[j0 + j, x]) * np.int64(man[row[x], t])
                        acc_man[i, j] += product << np.int64(shift)
                else:
                    floor = acc_exp[i, j] if parameters[1] else np.int64(0)
                    ref, total = lane_sum(
                        exponent[j0 + j], significand[j0 + j], at, row, t, term_exp, man,
                        min(lanes, last - at), parameters[0], floor,
                    )  # fmt: skip
                    acc_man[i, j], acc_exp[i, j] = accumulate(
                        acc_man[i, j], acc_exp[i, j], total << np.int64(bsig[t]), ref, parameters
                    )


@numba.njit(cache=True)
def _deliver(ctl, unit_man, unit_exp, product, out_man, out_exp, rows, columns, n, m):
    """Rescaled sums of a group leave the unit for the accumulators of the columns."""
    i0, r, j0, c = tile_bounds(ctl[UNIT_TILE], rows, columns, n, m)
    for i in range(r):
        for j in range(c):
            out_man[j0 + j, i0 + i, ctl[UNIT_GROUP]] = product[i, j]
            out_exp[j0 + j, i0 + i, ctl[UNIT_GROUP]] = unit_exp[i, j]


@numba.njit(cache=True)
def _tick_unit(ctl, unit_man, product, scale, rows, columns, n, m, bits):
    """One clock of the rescale unit: the next scale bit, most significant first."""
    i0, r, _, c = tile_bounds(ctl[UNIT_TILE], rows, columns, n, m)
    ctl[UNIT_LEFT] -= 1
    for i in range(r):
        bit = (scale[i0 + i, ctl[UNIT_GROUP]] >> ctl[UNIT_LEFT]) & 1
        for j in range(c):
            product[i, j] = product[i, j] * 2 + unit_man[i, j] * bit


@numba.njit(cache=True)
def _empty_unit(ctl, register, rows, columns, n, m):
    """Free the unit at the clock edge if its group is done and has somewhere to go."""
    if ctl[UNIT_FULL] == 0 or ctl[UNIT_LEFT] > 0:
        return False
    if ctl[UNIT_LAST]:
        if ctl[DRAIN_LEFT] > 0:
            return False
        _, r, _, _ = tile_bounds(ctl[UNIT_TILE], rows, columns, n, m)
        ctl[DRAIN_LEFT] = r
        ctl[DRAIN_TILE] = ctl[UNIT_TILE]
    ctl[UNIT_FULL] = 0
    return True


@numba.njit(cache=True)
def run_tile_array(
    exponent, significand, weight, scale, term_exp, man, bsig, lanes, size, bits, gap, register,
    scope, skip, skip_zero, exact, lowest, parameters, pipe, end_tag, position, mask, acc_man,
    acc_exp, unit_man, unit_exp, product, out_man, out_exp, ctl,
):  # fmt: skip
    """Run the array until every result has left it.

    Parameters
    ----------
    exponent, significand : (M, K) int arrays; weight : (N, K) rows of the decoder
    scale : (N, groups) int64; term_exp, man : (codes, terms) int8; bsig : (terms,) int64
    lanes, size, bits, gap : lanes, weights per group, clocks of the rescale unit, group gap
    register, skip, skip_zero, exact : bool; scope : 0..3; lowest : exponent of exact sums
    pipe : (depth, R, C, lanes) int64; end_tag : (depth + 1, 2) int64, tile and
        group that end in a stage or -1, and in the last row those being accumulated
    position, mask : (R, C, lanes) int64; the rest (R, C) int64
    out_man, out_exp : (M, N, groups) int64, rescaled sums; ctl : (CONTROL_SLOTS,) int64
    """
    rows, columns = acc_man.shape
    (m, k), n = exponent.shape, weight.shape[0]
    tiles = -(-n // rows) * -(-m // columns)
    groups = -(-k // size)
    depth = pipe.shape[0]
    operands = (weight, significand, man, skip_zero)
    fresh = True
    while ctl[ENDED] < tiles:
        if ctl[DRAIN_LEFT] > 0:
            ctl[DRAIN_LEFT] -= 1
            _, _, _, c = tile_bounds(ctl[DRAIN_TILE], rows, columns, n, m)
            ctl[WRITES] += c
            ctl[ENDED] += ctl[DRAIN_LEFT] == 0
        if ctl[UNIT_LEFT] > 0:
            _tick_unit(ctl, unit_man, product, scale, rows, columns, n, m, bits)
        if ctl[UNIT_FULL] and ctl[UNIT_LEFT] == 0:
            _deliver(ctl, unit_man, unit_exp, product, out_man, out_exp, rows, columns, n, m)
            _empty_unit(ctl, register, rows, columns, n, m)
        leaving = end_tag[depth - 1, 0] >= 0 and end_tag[depth - 1, 1] >= 0
        unit_free = not ctl[UNIT_FULL] and (register or ctl[DRAIN_LEFT] == 0)
        if leaving and not unit_free:
            ctl[STALL] += 1
            ctl[CLOCK] += 1
            continue
        # the last stage adds to the accumulators, everything else moves one stage on
        tile, group = end_tag[depth, 0], end_tag[depth, 1]
        _retire(tile, group, rows, columns, lanes, size, n, m, k, pipe, depth - 1, exponent,
                significand, weight, term_exp, man, bsig, scope, exact, lowest, parameters,
                acc_man, acc_exp)  # fmt: skip
        for s in range(depth - 1, 0, -1):
            pipe[s] = pipe[s - 1]
        if leaving:
            unit_man[:] = acc_man
            unit_exp[:] = acc_exp
            acc_man[:] = 0
            acc_exp[:] = 0
            product[:] = unit_man
            if bits:
                product[:] = 0
            ctl[UNIT_FULL] = 1
            ctl[UNIT_LEFT] = bits
            ctl[UNIT_TILE] = tile
            ctl[UNIT_GROUP] = group
            ctl[UNIT_LAST] = group == groups - 1
            end_tag[depth, 1] += 1
            if end_tag[depth, 1] == groups:
                end_tag[depth, 0] += 1
                end_tag[depth, 1] = 0
            if bits == 0:
                _deliver(ctl, unit_man, unit_exp, product, out_man, out_exp, rows, columns, n, m)
                _empty_unit(ctl, register, rows, columns, n, m)
        for s in range(depth - 1, 0, -1):
            end_tag[s] = end_tag[s - 1]
        pipe[0] = -1
        end_tag[0] = -1
        if ctl[GAP] > 0:
            ctl[GAP] -= 1
        elif ctl[TILE] < tiles:
            i0, r, j0, c = tile_bounds(ctl[TILE], rows, columns, n, m)
            first = ctl[GROUP] * size
            last = min(first + size, k)
            chunks = -(-(last - first) // lanes)
            if fresh:
                _start_group(r, c, lanes, position, mask, chunks, first, last, i0, j0, operands,
                             scope, skip, ctl)  # fmt: skip
                fresh = False
            _issue(r, c, lanes, pipe, position, mask, chunks, scope, ctl)
            ctl[ISSUE] += 1
            if _step(r, c, lanes, position, mask, chunks, first, last, i0, j0, operands, scope,
                     skip, ctl):  # fmt: skip
                fresh = True
                end_tag[0, 0] = ctl[TILE]
                end_tag[0, 1] = ctl[GROUP]
                ctl[GAP] = gap
                ctl[GROUP] += 1
                if ctl[GROUP] == groups:
                    ctl[GROUP] = 0
                    ctl[TILE] += 1
        ctl[CLOCK] += 1
