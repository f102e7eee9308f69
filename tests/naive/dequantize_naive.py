"""From codes to values element by element, in plain Python. Shares no code with the package."""


def unpack(stream, bits, count):
    """Codes of a packed stream, through one big integer."""
    whole = int.from_bytes(bytes(stream), "little")
    return [(whole >> (i * bits)) & (2**bits - 1) for i in range(count)]


def dequantize(codes, tables, scales, group, block_rows, choices, zeros, pairs, work):
    """Values of a list of rows of codes; tables by choice, then by code (and neighbor's code)."""
    across = -(-len(codes[0]) // group)
    side = round(len(tables[0]) ** 0.5)
    rows = []
    for r, row in enumerate(codes):
        out = []
        for i, code in enumerate(row):
            beside = 0
            g = r // block_rows * across + i // group
            if pairs:
                start = i // group * group
                other = start + ((i - start) ^ 1)
                inside = other < min(start + group, len(row))
                beside = row[other] if inside else 0
            value = work(tables[choices[g]][code + side * beside]) - work(zeros[g])
            out.append(value * work(scales[g]))
        rows.append(out)
    return rows
