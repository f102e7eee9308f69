"""The bit-serial PE on a GPU, one thread per dot product, bit for bit the numba kernel.

Nothing is compiled until it runs: the module imports without a driver, and under
``NUMBA_ENABLE_CUDASIM=1`` the kernel runs in numba's simulator.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, attr-defined"

import numpy as np
from numba import cuda

from ...datatypes.kernels.cuda.floats import larger, smaller
from ...datatypes.kernels.cuda.launch import blocks_for, require_device
from ...datatypes.kernels.cuda.tiles import pair_tiles, run_tiles, starting

THREADS = 128


@cuda.jit(device=True)
def align(significand, man, distance, guard):
    """Shift one lane's product right by its distance to the reference, magnitude first."""
    if man == 0 or distance > 62:
        return 0
    q = (abs(significand) << guard) >> distance
    return q if (significand >= 0) == (man > 0) else -q


@cuda.jit(device=True)
def shift_even(value, shift, nearest):
    """``value / 2**shift`` by floor, or to nearest even by adding just under half."""
    if nearest and shift > 0:
        value += (1 << (shift - 1)) - 1 + ((value >> shift) & 1)
    return value >> shift


@cuda.jit(device=True)
def sign_of(value):
    """Return -1, 0 or 1."""
    return 1 if value > 0 else (-1 if value < 0 else 0)


@cuda.jit(device=True)
def combine(man, exp, incoming, reference, parameters):
    """Align accumulator and incoming sum: (sum, bits below the reference)."""
    limit = parameters[5] - 1
    down = reference - exp
    if parameters[2]:  # sticky: what leaves on the right becomes fraction bits and a sign
        if down >= 0:
            below = smaller(down, limit + 2)
            kept = man if down == below else sign_of(man)
            return (incoming << below) + kept, below
        below = smaller(-down, parameters[8])
        kept = incoming if -down == below else sign_of(incoming)
        return (man << below) + kept, below
    if down >= limit:
        total = incoming
    elif down >= 0:
        total = (man >> down) + incoming
    else:
        total = man + (incoming >> smaller(-down, 62))
    if parameters[6]:
        half = 1 << (parameters[6] - 1)
        if parameters[4]:
            total = smaller(larger(total, -half), half - 1)
        else:
            total = ((total + half) & (2 * half - 1)) - half
    return total, 0


@cuda.jit(device=True)
def normalize(total, below, exp, parameters):
    """Shift a sum right until it fits the accumulator: (man, exp)."""
    limit = parameters[5] - 1
    magnitude = abs(total) >> below
    e = 0
    while magnitude >> limit:
        magnitude >>= 1
        e += 1
    man = shift_even(total, below + e, parameters[3])
    if man == 1 << limit:
        man >>= 1
        e += 1
    exp += e
    top = (1 << parameters[7]) - 1
    if exp > top:
        if parameters[4]:
            man = sign_of(man) * ((1 << limit) - 1)
            exp = top
        else:
            exp &= top
    return man, exp


@cuda.jit(device=True)
def one_dot(
    exponents, significands, weights, row, column, term_exp, term_man, bsig, lanes, skip,
    parameters,
):  # fmt: skip
    """Dot product of one row of activations and one of weights: (man, exp, clocks)."""
    length = exponents.shape[1]
    man, exp, clocks = 0, 0, 0
    for first in range(0, length, lanes):
        last = smaller(first + lanes, length)
        before = clocks
        for t in range(bsig.size):
            busy = not skip
            reference = -1  # stays below 0 where all terms are gated
            for k in range(first, last):
                w = weights[column, k]
                reference = larger(reference, exponents[row, k] + term_exp[w, t])
                busy = busy or term_man[w, t] != 0
            if not busy:
                continue
            clocks += 1
            if reference < 0:
                continue
            if parameters[1]:
                reference = larger(reference, exp)
            total = 0
            for k in range(first, last):
                w = weights[column, k]
                distance = reference - exponents[row, k] - term_exp[w, t]
                total += align(
                    np.int64(significands[row, k]), term_man[w, t], distance, parameters[0]
                )
            total, below = combine(man, exp, total << bsig[t], reference, parameters)
            man, exp = normalize(total, below, larger(reference, exp), parameters)
        if clocks == before:
            clocks += 1
    return man, exp, clocks


@cuda.jit
def dots_kernel(
    exponents, significands, weights, rows, columns, term_exp, term_man, bsig, lanes, skip,
    parameters, man_out, exp_out, clocks_out,
):  # fmt: skip
    """Thread i: dot product of row ``rows[i]`` of activations and ``columns[i]`` of weights."""
    for i in range(cuda.grid(1), rows.size, cuda.gridsize(1)):
        man_out[i], exp_out[i], clocks_out[i] = one_dot(
            exponents, significands, weights, rows[i], columns[i], term_exp, term_man, bsig, lanes,
            skip, parameters,
        )  # fmt: skip


@cuda.jit
def exact_kernel(
    exponents, significands, weights, rows, columns, grid, term_man, lanes, skip, lowest, sum_out,
    clocks_out,
):  # fmt: skip
    """Thread i: exact dot product, in units of ``2**lowest`` of the exponent field."""
    length = exponents.shape[1]
    for i in range(cuda.grid(1), rows.size, cuda.gridsize(1)):
        row, column = rows[i], columns[i]
        total, clocks = 0, 0
        for first in range(0, length, lanes):
            last = smaller(first + lanes, length)
            for k in range(first, last):
                product = np.int64(significands[row, k]) * grid[weights[column, k]]
                total += product << (exponents[row, k] - lowest)
            before = clocks
            for t in range(term_man.shape[1]):
                busy = not skip
                for k in range(first, last):
                    busy = busy or term_man[weights[column, k], t] != 0
                if busy:
                    clocks += 1
            if clocks == before:
                clocks += 1
        sum_out[i] = total
        clocks_out[i] = clocks


def launch(kernel, roles, inputs, scalars, outputs, threads):
    """Run a kernel of one thread per dot product on arrays of the host; see `pair_tiles`.

    Raises
    ------
    BitlatheError
        If there is no CUDA device, or a single dot product does not fit.
    """
    require_device()
    if outputs[0].size == 0 or inputs[0].shape[1] == 0:
        for out in outputs:
            out[:] = 0
        return

    def grid_of(shape):
        """Return blocks and threads for so many dot products."""
        return blocks_for(shape[0], threads), threads

    tiles = pair_tiles(inputs, roles, outputs)
    run_tiles(starting(kernel, grid_of, scalars), roles, inputs, tiles)


def dots(
    exponents, significands, weights, rows, columns, term_exp, term_man, bsig, lanes, skip,
    parameters, man_out, exp_out, clocks_out, threads=THREADS,
):  # fmt: skip
    """Run `dots_kernel` on host arrays; the arguments are those of the numba kernel."""
    inputs = exponents, significands, weights, rows, columns, term_exp, term_man, bsig
    outputs = man_out, exp_out, clocks_out
    launch(dots_kernel, "rrcijhhh", inputs, (lanes, skip, parameters), outputs, threads)


def exact_dots(
    exponents, significands, weights, rows, columns, grid, term_man, lanes, skip, lowest, sum_out,
    clocks_out, threads=THREADS,
):  # fmt: skip
    """Run `exact_kernel` on host arrays; the arguments are those of the numba kernel."""
    inputs = exponents, significands, weights, rows, columns, grid, term_man
    launch(exact_kernel, "rrcijhh", inputs, (lanes, skip, lowest), (sum_out, clocks_out), threads)
