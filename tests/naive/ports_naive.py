"""What goes through the ports of buffers for a layer, slow and obvious; see `layout_naive`."""

from math import ceil

from naive.layout_naive import KINDS, extents, product_events, share_seen, up


def rows_that_leave(chip, tile):
    """(rows, sums in each): how sums and results of a tile leave the array."""
    m, n = tile["m"], tile["n"]
    return {"tile": (n, m), "os": (m, n), "ws": (m, n), "is": (n, m)}[chip["flow"]]


def code(chip, operand):
    given = chip["c" + operand]
    return chip["b" + operand] if given is None else given


def bits_through(chip, operand, size):
    """Bits of so many bytes that go through a port: scales have columns of their own."""
    return ceil(8 * size * (1 if operand == "o" else code(chip, operand) / chip["b" + operand]))


def reads_at_once(chip, tile):
    """Bits of (weights, inputs) that each step reads, and each row that is loaded."""
    m, n, flow = tile["m"], tile["n"], chip["flow"]
    cw, ci = code(chip, "w"), code(chip, "i")
    sizes = [size for size, _ in tile["chunks"]]
    if flow in ("tile", "os"):
        return [(ceil(n * s * cw), ceil(m * s * ci)) for s in sizes], []
    if flow == "ws":
        return [(0, ceil(sum(sizes) * ci))] * m, [(ceil(n * s * cw), 0) for s in sizes]
    return [(ceil(sum(sizes) * cw), 0)] * n, [(0, ceil(m * s * ci)) for s in sizes]


def scales_at_once(chip, layer, tile):
    """Bits of (weights', inputs') scales that a tile reads: of each group that ends in it."""
    found, k = [], layer["k"]
    for operand, rows in (("w", tile["n"]), ("i", tile["m"])):
        group = (chip["group"] if operand == "w" else chip["input_group"]) or k
        beside = (chip["b" + operand] - code(chip, operand)) * k / up(k, group)
        begin = tile["from"]
        end = begin + sum(size for size, _ in tile["chunks"])
        ends = [x for x in [*range(group, tile["k"], group), tile["k"]] if begin < x <= end]
        bits = ceil(rows * beside)
        found += [(bits, 0) if operand == "w" else (0, bits)] * len(ends)
    return found


def per_buffer(chip, pairs):
    """Bits that each buffer gives at once, from pairs of weights' and inputs' bits."""
    found = {held: [] for held in chip["buffers"]}
    for w, i in pairs:
        for held in chip["buffers"]:
            bits = w * ("w" in held) + i * ("i" in held)
            if bits:
                found[held].append(bits)
    return found


def tile_accesses(chip, layer, tile):
    """Accesses by buffer: of steps and loads, scales, sums in, sums out, results; banks enabled."""
    rows, count = rows_that_leave(chip, tile)
    sums, results = count * chip["sum_bits"], ceil(count * chip["bo"])
    steps, loads = (per_buffer(chip, pairs) for pairs in reads_at_once(chip, tile))
    scales = per_buffer(chip, scales_at_once(chip, layer, tile))
    found = {}
    for held in chip["buffers"]:
        mine = {"steps": steps[held], "loads": loads[held], "scales": scales[held],
                "sums_in": [], "sums_out": [], "results": []}  # fmt: skip
        if "o" in held:
            mine["sums_in"] = [sums] * rows * tile["sums_in"]
            mine["sums_out"] = [sums] * rows * tile["sums_out"]
            mine["results"] = [results] * rows * tile["last"]
        found[held] = mine
    return found


def written_words(lay, unfinished_bits):
    """64-bit words written to SRAM by all products: operands as they arrive, results, sums.

    Rows begin a word each; of a row under a mask the part that is seen, on average; each kind of
    word is rounded up once, over all products.
    """
    chip, layer, batch = lay.chip, lay.layer, lay.layer["batch"]
    causal, (w_moved, i_moved, _) = layer["causal"], lay.moved()
    seen = share_seen(layer) if causal else 1
    m, n, k = extents(layer)
    w = batch * n * up(k * chip["bw"], 64)
    i = batch * m * up(k * chip["bi"], 64)
    if layer["input_elements"]:
        i = batch * up(layer["input_elements"] * chip["bi"], 64)
    o = batch * m * up(n * chip["bo"], 64)
    i = ceil(i * seen) if causal == "k" else i
    o = ceil(o * seen) if causal == "n" else o
    return {
        "w": up(w * w_moved, lay.w),
        "i": up(i * i_moved, lay.i) if lay.i else 0,
        "o": o + up(batch * unfinished_bits, 64),
    }


def port_use(lay):
    """What one layer, all its products, asks of each buffer: accesses, banks, 64-bit words."""
    chip, layer, batch = lay.chip, lay.layer, lay.layer["batch"]
    events, _, _ = product_events(lay)
    w, i, o = lay.moved()
    tiles = [tile for kind, tile in events if kind == "tile"]
    unfinished = sum(rows * many * chip["sum_bits"] for rows, many in
                     (rows_that_leave(chip, t) for t in tiles if t["sums_out"]))  # fmt: skip
    words, found = written_words(lay, unfinished), {}
    for held in chip["buffers"]:
        port, banks = chip["ports"][held], chip["banks"][held]
        of = [tile_accesses(chip, layer, tile)[held] for tile in tiles]
        all_ = {x: [b for each in of for b in each[x]] for x in of[0]} if of else {}
        all_ = {x: all_.get(x, []) for x in KINDS}

        def accesses(*kinds, all_=all_, port=port):
            return batch * sum(up(b, port) for x in kinds for b in all_[x])

        arriving = [bits_through(chip, x, size) for x, size in (("w", w), ("i", i)) if x in held]
        sent = o if "o" in held else 0
        enabled = sum(up(b * banks, port) for x in KINDS[:4] for b in all_[x])
        found[held] = {
            "reads": accesses("steps", "loads", "sums_in"),
            "writes": accesses("sums_out", "results"),
            "fills": batch * sum(up(bits, port) for bits in arriving),
            "scales": accesses("scales"),
            "drains": batch * up(8 * sent, port),
            "banks": batch * (enabled + up(8 * sent * banks, port)),
            "words": sum(words[x] for x in held),
        }  # fmt: skip
    return found


def port_clocks(lay, use):
    """Clocks of the busiest port: reads beside writes on two, everything on one.

    Scales, and results on their way to DRAM, leave from the half that the array does not read, if
    there are two; results no faster than a port gives.
    """
    most = 0
    for held, x in use.items():
        if held in lay.chip["one_port"]:
            most = max(most, sum(x[y] for y in ("reads", "writes", "fills", "scales", "drains")))
            continue
        one_half = set(held) & set(lay.chip["single"])
        reads = x["reads"] + (x["scales"] + x["drains"] if one_half else 0)
        most = max(most, reads, x["writes"] + x["fills"], x["drains"])
    return most
