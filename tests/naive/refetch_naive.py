"""The whole-buffer rule, byte by byte: buffers that are filled, walked through, and filled again.

Shares no code with the package. Operands are so many bytes; a product needs each byte of the one
beside each byte of the other.
"""

from fractions import Fraction


def walk(outer, inner, outer_room, inner_room):
    """Bytes fetched of (outer, inner): a buffer-full of one at a time, all of the other beside it.

    The inner operand stays for the next time if its buffer holds all of it.
    """
    outer_fetched = inner_fetched = 0
    here = set()
    for first in range(0, outer, outer_room):
        for _ in range(first, min(first + outer_room, outer)):
            outer_fetched += 1
        for byte in range(inner):
            if byte not in here:
                inner_fetched += 1
            if inner <= inner_room:
                here.add(byte)
    return outer_fetched, inner_fetched


def fetched(weights, inputs, weight_room, input_room):
    """Bytes fetched of (weights, inputs) in the better of both orders; inputs again if equal."""
    i_outer, w_inner = walk(inputs, weights, input_room, weight_room)
    w_outer, i_inner = walk(weights, inputs, weight_room, input_room)
    if w_inner + i_outer < w_outer + i_inner:
        return w_inner, i_outer
    return w_outer, i_inner


def sees(row, entry, per_token, before, window):
    """Whether a row sees an entry under a causal mask."""
    position = before + row // per_token
    return entry <= position and (window is None or entry > position - window)


def stored(rows, bits):
    """Bytes of rows of elements, each row in whole bytes."""
    return sum(-(-Fraction(bits) * elements // 8) for elements in rows)


def operands(m, n, k, bits, causal=None, per_token=1, before=0, window=None):
    """Bytes of weights, inputs, results of a product, and the part of all pairs that is seen.

    Scores under a mask are kept without rows, one after another.
    """
    weight_bits, input_bits, output_bits = bits
    inputs, outputs, part = stored([k] * m, input_bits), stored([n] * m, output_bits), Fraction(1)
    if causal:
        entries = n if causal == "n" else k
        pairs = [(r, e) for r in range(m) for e in range(entries)]
        seen = sum(sees(r, e, per_token, before, window) for r, e in pairs)
        part = Fraction(seen, len(pairs))
        if causal == "n":
            outputs = stored([seen], output_bits)
        else:
            inputs = stored([seen], input_bits)
    return stored([k] * n, weight_bits), inputs, outputs, part
