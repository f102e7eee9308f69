"""The search over tiles, loop orders and dataflows of the BitFusion lineage, compiled.

Loops are numbered as in `schedule.LOOPS`: 0 images, 1 and 2 columns and rows of outputs, 3 input
channels, 4 output channels. All sizes are bits in int64.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

import numpy as np

from ...datatypes.base.compiled import compiled
from ...datatypes.base.inner_kernels import inner

INPUT_STATIONARY, OUTPUT_STATIONARY, WEIGHT_STATIONARY, CHEAPEST = 0, 1, 2, 3
INPUT_LOOPS, WEIGHT_LOOPS, OUTPUT_LOOPS = 0b01111, 0b11000, 0b10111  # bit d: indexed by loop d
FIGURES = 16
(
    T_B, T_O, T_C, T_Q, ORDER, FLOW, COMPUTE, STALL,
    W_READ, W_WRITE, I_READ, I_WRITE, O_READ, O_WRITE, D_READ, D_WRITE,
) = range(FIGURES)  # fmt: skip


@inner
def up(a, b):
    """Return a / b rounded up; a may be negative."""
    return -(-a // b)


@inner
def held(tile, trips, order, loops, half):
    """Return the traffic of an operand and the size that is remembered of it.

    From the innermost loop outwards: while it is held, loops that index it make it larger, until
    half of its SRAM does not hold it; from then on every loop fetches it again.
    """
    traffic, size, holds = tile, tile, True
    for i in range(4, -1, -1):
        d = order[i]
        if not holds:
            traffic *= trips[d]
        elif loops >> d & 1:
            traffic *= trips[d]
            if traffic > half:
                holds = False
            else:
                size = traffic
    return traffic, size


@inner
def stored(tile, beside, trips, order, half, copied):
    """Return traffic and remembered size of the outputs' read side.

    The remembered size is copied (``copied``) from the write side, whose tile is ``beside``, as it
    is after a loop that the read side still fits.
    """
    traffic, size, holds = tile, tile, True
    running, beside_holds = beside, True
    for i in range(4, -1, -1):
        d = order[i]
        indexed = OUTPUT_LOOPS >> d & 1
        if indexed or not beside_holds:
            running *= trips[d]
            if running > half:
                beside_holds = False
        if not holds:
            traffic *= trips[d]
        elif indexed:
            traffic *= trips[d]
            if traffic > half:
                holds = False
            else:
                size = running if copied else traffic
    return traffic, size


@inner
def port_traffic(tile, layer, units, flow, found):
    """Fill in what the SRAMs read and write for a tile; return the dataflow.

    ``cheapest`` takes the one of the three that moves the fewest bits by estimate, whole units of
    the array counted.
    """
    b, o, c, q = tile
    high, wide, _, a, w, out, apart = layer
    _, q_unit, k_unit = units
    p, taps = b * o * o, high * wide
    if flow == CHEAPEST:
        iq = up(q, q_unit) * q_unit
        r = up(c, k_unit) * k_unit * taps if apart else up(c * taps, k_unit) * k_unit
        stay_inputs = r * p * (a + iq * (w + out))
        stay_outputs = iq * p * (out + r * (a + w))
        stay_weights = r * iq * (w + p * (a + out))
        flow = INPUT_STATIONARY
        if stay_outputs < stay_inputs:
            flow = OUTPUT_STATIONARY
        if stay_weights < min(stay_inputs, stay_outputs):
            flow = WEIGHT_STATIONARY
    mac = taps * c * p
    found[I_READ] = mac * a if flow == INPUT_STATIONARY else mac * q * a
    found[W_READ] = taps * c * q * w if flow == WEIGHT_STATIONARY else mac * q * w
    found[O_READ] = q * p * out if flow == OUTPUT_STATIONARY else mac * q * out
    return flow


@inner
def steps(tile, layer, units):
    """Return the clocks in which the array works on a tile."""
    b, o, c, q = tile
    high, wide, _, _, _, _, apart = layer
    p_unit, q_unit, k_unit = units
    taps = high * wide
    depth = taps * up(c, k_unit) if apart else up(taps * c, k_unit)
    return up(b * o * o, p_unit) * up(q, q_unit) * depth


@inner
def tile_bits(tile, layer, pads, write_side):
    """Return the bits of a tile: weights, inputs, outputs written and outputs read."""
    b, o, c, q = tile
    high, wide, s, a, w, out, apart = layer
    weight_pad, input_pad, output_pad = pads
    depth = high * wide * c
    weights = up(depth, weight_pad) * weight_pad * q * w
    if apart:
        inputs = (high + (o - 1) * s) * (wide + (o - 1) * s) * c
    else:
        inputs = o * o * up(depth, input_pad) * input_pad
    outputs = o * o * up(q, output_pad) * output_pad * b * out
    return weights, inputs * b * a, outputs * write_side, outputs


@inner
def energy(found, costs):
    """Return the energy of a schedule by the costs that choose among equally fast ones."""
    cycles, total = found[COMPUTE] + found[STALL], 0.0
    for i in range(8):
        total += found[W_READ + i] * costs[i]
    return total + cycles * costs[8] + found[COMPUTE] * costs[9]


@inner
def best_order(tile, bits, trips, orders, limits, costs, copied, ports, found, best, best_energy):
    """Try all loop orders of a tile; keep what is better than the best; return its energy."""
    half_w, half_i, half_o, port = limits
    for n in range(orders.shape[0]):
        order = orders[n]
        weights, w_size = held(bits[0], trips, order, WEIGHT_LOOPS, half_w)
        inputs, i_size = held(bits[1], trips, order, INPUT_LOOPS, half_i)
        written, o_size = held(bits[2], trips, order, OUTPUT_LOOPS, half_o)
        read, last = stored(bits[3], bits[2], trips, order, half_o, copied)
        first = w_size + i_size + o_size
        fill = up(first, port) + up(last, port)
        between = up(weights + inputs + written + read - first - last, port)
        found[STALL] = max(0, between - found[COMPUTE]) + fill
        found[ORDER] = n
        found[W_WRITE], found[I_WRITE] = weights, inputs
        found[O_READ], found[O_WRITE] = ports + read, ports + written
        found[D_READ], found[D_WRITE] = weights + inputs + written, read
        cycles, least = found[COMPUTE] + found[STALL], best[COMPUTE] + best[STALL]
        if best[T_B] and cycles > least:
            continue
        spent = energy(found, costs)
        if not best[T_B] or cycles < least or spent < best_energy:
            for i in range(FIGURES):
                best[i] = found[i]
            best[T_B], best[T_O], best[T_C], best[T_Q] = tile
            best_energy = spent
    return best_energy


@inner
def sweep(
    extents, tiles, layer, units, pads, switches, limits, orders, costs, most, found, trips, best
):
    """Fill ``best`` with the best of all tiles whose work takes at most so many clocks."""
    flow, write_side, copied = switches
    best_energy = 0.0
    for b in tiles[0]:
        trips[0] = up(extents[0], b)
        for o in tiles[1]:
            trips[1] = trips[2] = up(extents[1], o)
            for c in tiles[2]:
                trips[3] = up(extents[2], c)
                for q in tiles[3]:
                    trips[4] = up(extents[3], q)
                    tile = (b, o, c, q)
                    bits = tile_bits(tile, layer, pads, write_side)
                    if bits[0] > limits[0] or bits[1] > limits[1] or bits[2] > limits[2]:
                        continue
                    times = trips[0] * trips[1] * trips[2] * trips[3] * trips[4]
                    found[COMPUTE] = steps(tile, layer, units) * times
                    least = best[COMPUTE] + best[STALL] if best[T_B] else most
                    if found[COMPUTE] > min(least, most):
                        continue
                    found[FLOW] = port_traffic(tile, layer, units, flow, found)
                    found[W_READ] *= times
                    found[I_READ] *= times
                    ports = found[O_READ] * times
                    best_energy = best_order(
                        tile, bits, trips, orders, limits, costs, copied, ports,
                        found, best, best_energy,
                    )  # fmt: skip


@compiled
def search(extents, tiles, layer, units, pads, switches, limits, orders, few, costs, best):
    """Fill ``best`` with the fastest schedule of a layer, of equally fast ones the cheapest.

    Tiles in ascending order, images outermost, then outputs, input and output channels; only a
    strictly better one replaces. A tile whose work alone takes longer than the best, or than the
    best of a few loop orders, is passed by.

    Parameters
    ----------
    extents : (4,) int64 array
        Images, output size (square), input and output channels.
    tiles : tuple of 4 int64 arrays
        Tiles to try of each.
    layer : tuple of 7 int
        Height and width of the kernel, stride, bits of an input, a weight and an output; 1 where
        the array takes one tap of the kernel after the other (0: im2col).
    units : tuple of 3 int
        Outputs (pixels), output channels and products along K that the array takes at once.
    pads : tuple of 3 int
        Multiples to which weights and inputs are padded along K, outputs along channels.
    switches : tuple of 3 int
        Dataflow, 1 if sums are read back from DRAM, 1 if the last store is the size of the write
        side.
    limits : tuple of 4 int
        Half of each SRAM (weights, inputs, outputs), the DRAM port; all in bits.
    orders : (N, 5) int64 array
        Loop orders, outermost first.
    few : (n, 5) int64 array
        Some of them.
    costs : (10,) float64 array
        Of a bit read and written of the SRAMs of weights, inputs and outputs and of DRAM, of a
        clock, and of a clock of work.
    best : (FIGURES,) int64 array
        Zeros; the figures of the schedule, of all tiles. ``best[T_B]`` stays 0 where no tile fits.
    """
    found, trips = np.zeros(FIGURES, np.int64), np.ones(5, np.int64)
    most = np.iinfo(np.int64).max
    for some in (few, orders):
        best[T_B] = 0
        sweep(
            extents, tiles, layer, units, pads, switches, limits, some, costs, most, found, trips,
            best,
        )  # fmt: skip
        most = best[COMPUTE] + best[STALL]
