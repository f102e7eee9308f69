"""The cycle rung, slow and obvious: every tile in a list, every clock of a wait looked at.

Shares no code with the package. ``chip`` and ``layer`` are plain dictionaries.
"""

from fractions import Fraction
from math import ceil


def up(a, b):
    return ceil(Fraction(a, b))


def pieces(extent, block):
    """[(start, stop), ...]"""
    return [(i, min(i + block, extent)) for i in range(0, extent, block)]


def spread(total, extent, block):
    """Bytes of each block: full ones by proportion, rounded down, the rest in the last."""
    sizes = [total * (b - a) // extent for a, b in pieces(extent, block)]
    sizes[-1] = total - sum(sizes[:-1])
    return sizes


def split(extent, block, parts):
    """[(length, fetches), ...]: groups of whole blocks, longer groups first."""
    blocks = len(pieces(extent, block))
    groups = min(blocks, parts)
    counts = [blocks // groups + (i < blocks % groups) for i in range(groups)]
    fetches = [parts // groups + (i < parts % groups) for i in range(groups)]
    lengths = [c * block for c in counts]
    lengths[-1] = extent - sum(lengths[:-1])
    return list(zip(lengths, fetches, strict=True))


def shape_of_blocks(chip, m, n, k, stream):
    R, C = chip["rows"], chip["cols"]
    flow = chip["flow"]
    if flow == "tile":
        return C, R
    if flow == "os":
        return R, C
    if flow == "ws":
        if stream == "weight":
            return m, C
        row = max(1, ceil(k * chip["bi"] / 8))
        return max(1, min(m, chip["io_bytes"] // 2 // row)), C
    if stream == "input":
        return C, n
    row = max(1, ceil(k * chip["bw"] / 8))
    return C, max(1, min(n, chip["weight_bytes"] // 2 // row))


def tile(chip, m, n, k, last):
    """(load, body, busy, rescale, port, latency, drain)"""
    R, C, L, T, flow = (chip[x] for x in ("rows", "cols", "lanes", "terms", "flow"))
    chunks = up(k, L)
    physical = chip["timing"] == "physical"
    rescale = load = fill = latency = drain = 0
    if flow in ("tile", "os"):
        steps = chunks
        r, c = (n, m) if flow == "tile" else (m, n)
    else:
        steps = m if flow == "ws" else n
        r, c = chunks, (n if flow == "ws" else m)
    if flow != "tile" and not physical:
        r, c = R, C
    if flow == "tile" and chip["serial"] and chip["group"]:
        issue = T * up(chip["group"], L)
        rescale = up(k, chip["group"]) * max(0, chip["rescale_bits"] - issue)
    needs = {"tile": {"w": r, "i": c}, "os": {"w": c, "i": r}, "ws": {"i": r}, "is": {"w": r}}[flow]
    waits = [0]
    for what, width in needs.items():
        if chip["port_" + what]:
            waits.append(ceil(width * L * chip["b" + what] / chip["port_" + what]) - T)
    port = steps * max(waits)
    if flow == "tile":
        if last:
            latency = (6 if chip["serial"] else 1) + chip["rescale_bits"]
            drain = r
    else:
        fill = (r + c - 2) * T
        if flow == "os" and physical and last:
            drain = r
        if flow != "os" and not physical:
            fill += R
        if flow != "os" and physical:
            what = "w" if flow == "ws" else "i"
            load = r
            if chip["port_" + what]:
                load = max(r, ceil(r * c * L * chip["b" + what] / chip["port_" + what]))
    busy = steps * T
    return load, busy + rescale + port + fill, busy, rescale, port, latency, drain


def part_events(chip, part):
    """Events of one product: ("take"|"give", ring) and ("tile", timing, reads, store bytes)."""
    m, n, k, stream = part["m"], part["n"], part["k"], part["stream"]
    bm, bn = shape_of_blocks(chip, m, n, k, stream)
    if stream == "weight":
        passing, size, block, buffer = part["w"], n, bn, chip["weight_bytes"]
        staying, stay_buffer = part["i"], chip["io_bytes"]
    else:
        passing, size, block, buffer = part["i"], m, bm, chip["io_bytes"]
        staying, stay_buffer = part["w"], chip["weight_bytes"]
    half = max(1, buffer // 2)
    one_block = passing * min(block, size) // size
    whole = one_block <= half
    L = chip["lanes"]
    if chip["flow"] in ("ws", "is"):
        bk = min(k, chip["rows"] * L)
    else:
        slices = max(1, min(up(one_block, half), up(k, L)))
        bk = min(k, up(up(k, L), slices) * L)
    piece = one_block if whole else one_block * bk // k
    depth = chip["prefetch"]
    rooms = (
        max(1, min(depth, buffer // max(1, piece))),
        max(1, min(depth, stay_buffer // max(1, staying))),
    )
    w = [spread(b, k, bk) for b in spread(part["w"], n, bn)]
    i = [spread(b, k, bk) for b in spread(part["i"], m, bm)]
    o = [spread(b, n, bn) for b in spread(part["o"], m, bm)]
    ms, ns, ks = (list(enumerate(pieces(*x))) for x in ((m, bm), (n, bn), (k, bk)))
    here = set()

    def events_of(mi, ni, ki):
        (a, (m0, m1)), (b, (n0, n1)), (c, (k0, k1)) = mi, ni, ki
        reads = []
        if ("w", b, c) not in here:
            here.add(("w", b, c))
            reads.append(("weights", w[b][c] * part["wf"]))
        if ("i", a, c) not in here:
            here.add(("i", a, c))
            reads.append(("inputs", i[a][c] * part["if"]))
        last = c == len(ks) - 1
        timing = tile(chip, m1 - m0, n1 - n0, k1 - k0, last)
        return ("tile", timing, reads, o[a][b] if last else 0)

    events = [("take", 1)]
    for s in ns if stream == "weight" else ms:
        stay = ms if stream == "weight" else ns

        def run(r, ki, s=s):
            return events_of(r, s, ki) if stream == "weight" else events_of(s, r, ki)

        if whole:
            events += [("take", 0), *(run(r, ki) for r in stay for ki in ks), ("give", 0)]
        else:
            for ki in ks:
                events += [("take", 0), *(run(r, ki) for r in stay), ("give", 0)]
    return [*events, ("give", 1)], rooms


def layer_events(chip, layer, traffic):
    """All events of a layer, and the places of the two rings."""
    m, n, k, batch = (layer[x] for x in ("m", "n", "k", "batch"))
    w, i, o = (traffic[x] // batch for x in ("w", "i", "o"))
    p, q = traffic["weight_reads"], traffic["input_reads"]
    parts = []
    if layer["causal"]:
        block = chip["cols"] if chip["flow"] == "tile" else chip["rows"]
        blocks = pieces(m, block)
        shares = spread(i * q, m, block)
        extent = n if layer["causal"] == "n" else k
        sees = [min(extent, layer["before"] + (b - 1) // layer["per_token"] + 1) for _, b in blocks]
        for j, (a, b) in enumerate(blocks):
            seen, done, of = sees[j], sum(sees[:j]), sum(sees)
            parts.append({
                "m": b - a,
                "n": min(n, seen) if layer["causal"] == "n" else n,
                "k": min(k, seen) if layer["causal"] == "k" else k,
                "w": w * p * (done + seen) // of - w * p * done // of,
                "i": shares[j], "o": o // m * (b - a), "wf": 1, "if": 1, "stream": "weight",
            })  # fmt: skip
    else:
        w_fits, i_fits = traffic["w"] <= chip["weight_bytes"], traffic["i"] <= chip["io_bytes"]
        if p > 1:
            stream = "weight"
        elif q > 1:
            stream = "input"
        elif w_fits and i_fits:
            stream = "input" if chip["flow"] == "is" else "weight"
        else:
            stream = "input" if w_fits else "weight"
        bm, bn = shape_of_blocks(chip, m, n, k, stream)
        if chip["flow"] == "ws":
            bm = min(bm, up(m, p))
        if chip["flow"] == "is":
            bn = min(bn, up(n, q))
        m_parts = split(m, bm, p)
        n_parts = split(n, bn, q)
        i_left = i
        for x, (gm, wf) in enumerate(m_parts):
            gi = i_left if x == len(m_parts) - 1 else i * gm // m
            i_left -= gi
            o_left = o // m * gm
            for y, (gn, fetches) in enumerate(n_parts):
                go = o_left if y == len(n_parts) - 1 else o // m * gm * gn // n
                o_left -= go
                parts.append({"m": gm, "n": gn, "k": k, "w": w // n * gn, "i": gi, "o": go,
                              "wf": wf, "if": fetches, "stream": stream})  # fmt: skip
    made = [part_events(chip, part) for part in parts]
    rooms = [min(r[ring] for _, r in made) for ring in (0, 1)]
    return [e for _ in range(batch) for events, _ in made for e in events], rooms


def run(chip, layer, traffic):
    """(cycles, stalls by cause, bytes moved)"""
    events, rooms = layer_events(chip, layer, traffic)
    stalls = dict.fromkeys(("weights", "inputs", "outputs", "bandwidth", "rescale", "pipeline"), 0)
    moved = {"weights": 0, "inputs": 0, "outputs": 0}
    given, taken = ([], []), [0, 0]
    reads, stores, tiles = [], [], []
    bus = array_free = drained = floor = 0

    def clocks_of(size):
        bursts = up(8 * size, chip["burst"])
        return ceil(Fraction(bursts * chip["burst"]) / chip["rate"])

    def write(store):
        nonlocal bus
        store["done"] = max(bus, store["asked"]) + store["clocks"]
        bus = store["done"]

    for event in events:
        if event[0] == "take":
            ring = event[1]
            taken[ring] += 1
            behind = taken[ring] - rooms[ring] - 1
            if behind >= 0:
                floor = max(floor, given[ring][behind])
            continue
        if event[0] == "give":
            given[event[1]].append(array_free)
            continue
        _, (load, body, busy, rescale, port, latency, drain), wanted, out = event
        arriving = []
        for cause, size in wanted:
            moved[cause] += size
            if not size:
                continue
            behind = len(reads) - chip["prefetch"]
            if behind >= 0:
                floor = max(floor, tiles[reads[behind]["tile"]]["start"])
            for store in stores:
                if store["done"] is None and store["asked"] < floor:
                    write(store)
            begin = max(bus, floor)
            bus = begin + clocks_of(size)
            read = {"tile": len(tiles), "begin": begin, "here": bus + chip["latency"]}
            reads.append(read)
            arriving.append((cause, read))
        start = max([array_free, *(r["here"] for _, r in arriving)])
        space = 0
        moved["outputs"] += out
        if out and len(stores) >= chip["output_tiles"]:
            for store in stores[: len(stores) - chip["output_tiles"] + 1]:
                if store["done"] is None:
                    write(store)
            space = stores[len(stores) - chip["output_tiles"]]["done"]
            start = max(start, space)
        if load:
            before = tiles[-1]["start"] if tiles else 0
            weights = [r["here"] for cause, r in arriving if cause == "weights"]
            start = max(start, max([before, *weights]) + load)
        for clock in range(array_free, start):
            late = [(cause, r) for cause, r in arriving if r["here"] > clock]
            if late:
                cause, r = late[0]
                stalls["bandwidth" if clock < r["begin"] else cause] += 1
            else:
                stalls["outputs" if clock < space else "pipeline"] += 1
        tiles.append({"start": start})
        array_free = start + body
        if drain:
            array_free = max(array_free, drained - latency)
        if drain or latency:
            drained = array_free + latency + drain
        if out:
            left = array_free + latency + drain
            stores.append({"asked": left, "clocks": clocks_of(out), "done": None})
        stalls["rescale"] += rescale
        stalls["bandwidth"] += port
        stalls["pipeline"] += array_free - start - busy - rescale - port
    finished = max(array_free, drained)
    stalls["pipeline"] += finished - array_free
    for store in stores:
        if store["done"] is None:
            write(store)
    end = max(finished, bus)
    stalls["outputs"] += end - finished
    return end, stalls, moved
