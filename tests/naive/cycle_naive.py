"""The cycle rung, slow and obvious: every tile in a list, every clock of a wait looked at.

Shares no code with the package. ``chip`` and ``layer`` are plain dictionaries. Buffers are lists of
bytes, each with the clock from which it is free.
"""

from fractions import Fraction
from itertools import pairwise
from math import ceil


def up(a, b):
    return ceil(Fraction(a, b))


def pieces(extent, block):
    """[(start, stop), ...]"""
    return [(i, min(i + block, extent)) for i in range(0, extent, block)]


def over(total, cuts):
    """Bytes of each (start, stop): by proportion, rounded down, the rest in the last."""
    extent = cuts[-1][1]
    sizes = [total * (b - a) // extent for a, b in cuts]
    sizes[-1] = total - sum(sizes[:-1])
    return sizes


def spread(total, extent, block):
    """Bytes of each block."""
    return over(total, pieces(extent, block))


def split(extent, block, parts):
    """[(length, fetches), ...]: groups of whole blocks, longer groups first."""
    blocks = len(pieces(extent, block))
    groups = min(blocks, parts)
    counts = [blocks // groups + (i < blocks % groups) for i in range(groups)]
    fetches = [parts // groups + (i < parts % groups) for i in range(groups)]
    lengths = [c * block for c in counts]
    lengths[-1] = extent - sum(lengths[:-1])
    return list(zip(lengths, fetches, strict=True))


def halves(chip, operand):
    """Pieces that must fit a buffer at once."""
    return 1 if operand in chip.get("single", "") else 2


def shape_of_blocks(chip, m, n, k, stream, rooms):
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
        return max(1, min(m, rooms["i"] // halves(chip, "i") // row)), C
    if stream == "input":
        return C, n
    row = max(1, ceil(k * chip["bw"] / 8))
    return C, max(1, min(n, rooms["w"] // halves(chip, "w") // row))


def port_clocks(chip, needs, steps, results, bytes_moved):
    """Clocks of the busiest port; a buffer is a string of the operands it holds."""
    most = 0
    for held in chip.get("buffers", ("w", "io")):
        wide = sum(width * chip["lanes"] * chip["b" + x] for x, width in needs.items() if x in held)
        given, one = chip.get("port_" + held[0]), held in chip.get("one_port", ())
        clocks = 0
        if given:
            clocks += steps * ceil(wide / given)
        elif one and wide:
            clocks += steps
        if one:
            width = Fraction(given or chip["auto"][held])
            for x, size in zip("wio", bytes_moved, strict=True):
                if x in held:
                    clocks += ceil(8 * size / width)
            if "o" in held:
                clocks += ceil(results * chip["bo"] / width)
        most = max(most, clocks)
    return most


def chunks_of(chip, k):
    """The chunks of K in order, one entry each: True where a group of weights ends with it."""
    ends = []
    for a, b in pieces(k, min(k, chip["group"] or k)):
        own = len(pieces(b - a, chip["lanes"]))
        ends += [False] * (own - 1) + [True]
    return ends


def slices_of(chip, ends, count):
    """[(start, stop), ...]: the chunks of each of ``count`` slices of K, or of as many as are left.

    They end where groups end, if there are enough groups; else every group is cut alike.
    """
    borders = [0, *(i + 1 for i, end in enumerate(ends) if end)]
    groups = list(pairwise(borders))
    if count <= len(groups):
        taken = pieces(len(groups), up(len(groups), count))
        return [(groups[a][0], groups[b - 1][1]) for a, b in taken]
    length = up(groups[0][1], up(count, len(groups)))
    return [(a + x, a + y) for a, b in groups for x, y in pieces(b - a, length)]


def tile(chip, m, n, ends, last, bytes_moved):
    """What one tile does: clocks by name, and the clocks up to the end of each of its groups.

    ``ends``: its chunks as of `chunks_of`. A part of a group that does not end here stands last.
    """
    R, C, L, T, flow = (chip[x] for x in ("rows", "cols", "lanes", "terms", "flow"))
    chunks = len(ends)
    physical = chip["timing"] == "physical"
    load = fill = drain = 0
    if flow in ("tile", "os"):
        steps = chunks
        r, c = (n, m) if flow == "tile" else (m, n)
    else:
        steps = m if flow == "ws" else n
        r, c = chunks, (n if flow == "ws" else m)
    if flow != "tile" and not physical:
        r, c = R, C
    busy = steps * T
    needs = {"tile": {"w": r, "i": c}, "os": {"w": c, "i": r}, "ws": {"i": r}, "is": {"w": r}}[flow]
    results = m * n if last else 0
    port = max(0, port_clocks(chip, needs, steps, results, bytes_moved) - busy)
    if flow == "tile":
        drain = r if last else 0
    else:
        fill = (r + c - 2) * T
        if flow == "os" and physical and last:
            drain = r
        if flow != "os" and not physical:
            fill += R
        if flow != "os" and physical:
            what = "w" if flow == "ws" else "i"
            load = r
            held = next(x for x in chip.get("buffers", ("w", "io")) if what in x)
            if chip["port_" + held[0]]:
                load = max(r, ceil(r * c * L * chip["b" + what] / chip["port_" + held[0]]))
    if flow != "tile" and not chip["registers"]:  # the array stands still meanwhile
        fill += load + drain
        load = drain = 0
    if flow == "tile":
        clocks, parts = 0, []
        for end in ends:
            clocks += T
            if end:
                parts.append((clocks, True))
                clocks = 0
        parts += [(clocks, False)] if clocks else []
    else:
        parts = [(busy, drain > 0)]  # only what leaves over the drain is handed on
    return {"load": load, "fill": fill, "port": port, "drain": drain, "parts": parts}


def part_events(chip, part, rooms, kept):
    """Events of one product: ("take"|"give", ring) and ("tile", timing, reads, store bytes).

    Returns the events and, by ring, (places, bytes of a piece, operand).
    """
    m, n, k, stream = part["m"], part["n"], part["k"], part["stream"]
    bm, bn = shape_of_blocks(chip, m, n, k, stream, rooms)
    if stream == "weight":
        passing, size, block, name, other = part["w"], n, bn, "w", "i"
        staying = part["i"]
    else:
        passing, size, block, name, other = part["i"], m, bm, "i", "w"
        staying = part["w"]
    buffer, stay_buffer = rooms[name], rooms[other]
    half = max(1, buffer // halves(chip, name))
    one_block = passing * min(block, size) // size
    whole = one_block <= half
    ends = chunks_of(chip, k)
    if chip["flow"] in ("ws", "is"):
        cuts = pieces(len(ends), chip["rows"])
    else:
        cuts = slices_of(chip, ends, max(1, up(one_block, half)))
    piece = one_block if whole else one_block * (cuts[0][1] - cuts[0][0]) // len(ends)
    depth = chip["prefetch"]
    rings = []
    for operand, bytes_, piece_ in ((name, buffer, piece), (other, stay_buffer, staying)):
        if halves(chip, operand) == 1:
            rings.append((1, bytes_, operand))
        else:
            rings.append((max(1, min(depth, bytes_ // max(1, piece_))), piece_, operand))
    w = [over(b, cuts) for b in spread(part["w"], n, bn)]
    i = [over(b, cuts) for b in spread(part["i"], m, bm)]
    o = [spread(b, n, bn) for b in spread(part["o"], m, bm)]
    ms, ns, ks = (list(enumerate(x)) for x in (pieces(m, bm), pieces(n, bn), cuts))
    here = set()

    def events_of(mi, ni, ki):
        (a, (m0, m1)), (b, (n0, n1)), (c, (k0, k1)) = mi, ni, ki
        reads = []
        if ("w", b, c) not in here:
            here.add(("w", b, c))
            reads.append(("weights", w[b][c] * part["wf"]))
        if ("i", a, c) not in here:
            here.add(("i", a, c))
            if "i" not in kept:
                reads.append(("inputs", i[a][c] * part["if"]))
        last = c == len(ks) - 1
        out = o[a][b] if last and "o" not in kept else 0
        moved = (
            sum(size for cause, size in reads if cause == "weights"),
            sum(size for cause, size in reads if cause == "inputs"),
            out,
        )
        timing = tile(chip, m1 - m0, n1 - n0, ends[k0:k1], last, moved)
        return ("tile", timing, reads, out)

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
    events.append(("give", 1))
    if "i" in kept:  # they are there: no places to ask for
        idle = 0 if name == "i" else 1
        events = [e for e in events if e[0] == "tile" or e[1] != idle]
    return events, rings


def layer_events(chip, layer, traffic):
    """All events of a layer, and by ring its (places, bytes of a piece, operand).

    ``traffic`` may say what is kept ("i": inputs, "o": results), the bytes kept results take, and
    the room of each operand.
    """
    kept, held = traffic.get("kept", ""), traffic.get("held", 0)
    rooms = dict(
        zip("wi", traffic.get("rooms", (chip["weight_bytes"], chip["io_bytes"])), strict=True)
    )
    whole = dict(rooms)
    if "i" not in kept:
        rooms["i"] = max(1, rooms["i"] - held)
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
        w_fits, i_fits = traffic["w"] <= whole["w"], traffic["i"] <= whole["i"]
        if p > 1:
            stream = "weight"
        elif q > 1:
            stream = "input"
        elif w_fits and i_fits:
            stream = "input" if chip["flow"] == "is" else "weight"
        else:
            stream = "input" if w_fits else "weight"
        bm, bn = shape_of_blocks(chip, m, n, k, stream, rooms)
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
    made = [part_events(chip, part, rooms, kept) for part in parts]
    rings = []
    for ring in (0, 1):
        operand = made[0][1][ring][2]
        places = min(r[ring][0] for _, r in made)
        piece = min(rooms[operand], max(r[ring][1] for _, r in made))
        rings.append((0, 0, operand) if operand in kept else (places, piece, operand))
    return [e for _ in range(batch) for events, _ in made for e in events], rings


CAUSES = ("weights", "inputs", "outputs", "bandwidth", "rescale", "pipeline")


def run(chip, layer, traffic):
    """(cycles, stalls by cause, bytes moved) of one layer on an empty chip."""
    ((cycles, stalls),), moved, _ = run_layers(chip, [(layer, traffic, (), ())])
    return cycles, stalls, moved


def run_layers(chip, layers):
    """Layers one after another on one chip.

    ``layers``: (layer, traffic, indices of the layers whose results are its weights, and its
    inputs). Returns (cycles, stalls) by layer, all bytes moved, and the clocks in which the array
    waited for a transfer that was asked for while it worked.
    """
    chip = {"registers": True, "gap": 0} | chip
    on_tiles, serial = chip["flow"] == "tile", chip["serial"]
    scale, gap = (chip["rescale_bits"], chip["gap"]) if on_tiles else (0, 0)
    depth = (6 if serial else 1) if on_tiles else 0
    shares, left, stored_by, exposed = [], [], [], 0
    moved = {"weights": 0, "inputs": 0, "outputs": 0}
    free, room = {"w": [], "i": []}, {"w": 0, "i": 0}
    reads, stores, tiles = [], [], []
    bus = array_free = drained = floor = pause = 0
    scaled = unit = 0  # when the unit behind the array has rescaled its sum, and handed it on

    def clocks_of(size):
        bursts = up(8 * size, chip["burst"])
        return ceil(Fraction(bursts * chip["burst"]) / chip["rate"])

    def write(store):
        nonlocal bus
        store["done"] = max(bus, store["asked"]) + store["clocks"]
        bus = store["done"]

    for layer, traffic, weights_of, inputs_of in layers:
        stalls, began = dict.fromkeys(CAUSES, 0), array_free
        events, rings = layer_events(chip, layer, traffic)
        kept = traffic.get("kept", "")
        now = traffic.get("rooms", (chip["weight_bytes"], chip["io_bytes"]))
        now = {"w": now[0], "i": max(1, now[1] - traffic.get("held", 0))}
        for x in "wi":
            free[x] += [array_free] * (now[x] - room[x])
            free[x] = sorted(free[x])[max(0, room[x] - now[x]) :]
        room = now
        places = []
        for count, piece, operand in rings:
            mine = [free[operand][j * piece : (j + 1) * piece] for j in range(count)]
            free[operand] = free[operand][count * piece :]
            places.append([max(each, default=0) for each in mine])
        need = {
            "weights": max((stored_by[j] for j in weights_of), default=0),
            "inputs": 0 if "i" in kept else max((stored_by[j] for j in inputs_of), default=0),
        }
        kept_from = max(left[j] for j in inputs_of) if "i" in kept else 0
        for event in events:
            if event[0] == "take":
                floor = max(floor, places[event[1]].pop(0))
                continue
            if event[0] == "give":
                places[event[1]].append(array_free)
                continue
            _, work, wanted, out = event
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
                fetched_back = 0
                for store in stores[: need[cause]]:
                    if store["done"] is None:
                        write(store)
                        fetched_back = bus
                begin = max(bus, floor)
                bus = begin + clocks_of(size)
                read = {"tile": len(tiles), "begin": begin, "here": bus + chip["latency"]}
                read |= {"stored": fetched_back, "early": floor < array_free and not fetched_back}
                reads.append(read)
                arriving.append((cause, read))
            stalls["rescale"] += pause
            ready = array_free + pause
            start = max([ready, kept_from, *(r["here"] for _, r in arriving)])
            space = 0
            moved["outputs"] += out
            if out and len(stores) >= chip["output_tiles"]:
                for store in stores[: len(stores) - chip["output_tiles"] + 1]:
                    if store["done"] is None:
                        write(store)
                space = stores[len(stores) - chip["output_tiles"]]["done"]
                start = max(start, space)
            if work["load"]:
                before = tiles[-1]["start"] if tiles else 0
                what = "inputs" if chip["flow"] == "is" else "weights"
                there = [r["here"] for cause, r in arriving if cause == what]
                if what == "inputs":
                    there.append(kept_from)
                start = max(start, max([before, *there]) + work["load"])
            for clock in range(ready, start):
                late = [(cause, r) for cause, r in arriving if r["here"] > clock]
                if clock < kept_from:
                    stalls["pipeline"] += 1
                elif late:
                    cause, r = late[0]
                    exposed += r["early"]
                    if clock < r["stored"]:
                        stalls["outputs"] += 1
                    else:
                        stalls["bandwidth" if clock < r["begin"] else cause] += 1
                else:
                    exposed += clock < space
                    stalls["outputs" if clock < space else "pipeline"] += 1
            tiles.append({"start": start})
            clock = start + work["port"] + work["fill"]
            stalls["bandwidth"] += work["port"]
            stalls["pipeline"] += work["fill"]
            for number, (clocks, handed_on) in enumerate(work["parts"]):
                if number:
                    clock += gap
                    stalls["rescale"] += gap
                clock += clocks
                while handed_on and clock < unit:
                    stalls["rescale" if clock < scaled else "pipeline"] += 1
                    clock += 1
                if handed_on:
                    scaled = unit = clock + scale
            array_free, gone = clock, clock
            pause = gap if handed_on else 0
            if work["drain"]:  # results go from the unit to the drain, and out
                begins = max(unit + depth, drained)
                gone = drained = begins + work["drain"]
                unit = (begins if on_tiles else drained) - depth
            if out:
                stores.append({"asked": gone, "clocks": clocks_of(out), "done": None})
        for (_, piece, operand), times in zip(rings, places, strict=True):
            free[operand] += [t for t in times for _ in range(piece)]
            free[operand].sort()
        left.append(max(array_free, drained))
        stored_by.append(len(stores))
        shares.append((array_free - began, stalls))
    finished = max(array_free, drained)
    shares[-1][1]["pipeline"] += finished - array_free
    for store in stores:
        if store["done"] is None:
            write(store)
    end = max(finished, bus)
    shares[-1][1]["outputs"] += end - finished
    shares[-1] = (shares[-1][0] + end - array_free, shares[-1][1])
    return shares, moved, exposed
