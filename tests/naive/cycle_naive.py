"""The cycle rung, slow and obvious: every tile in a list, every clock of a wait looked at.

Shares no code with the package; chips and layers are the dictionaries of `layout_naive`, chips
with ``serial``, ``rescale_bits``, ``gap``, ``registers``, ``rate``, ``latency``, ``burst``,
``prefetch`` and ``output_tiles`` besides. Buffers are lists of bytes, each with the clock from
which it is free.
"""

from fractions import Fraction
from math import ceil

from naive import access_naive, layout_naive, ports_naive
from naive.layout_naive import buffer_of, up
from naive.ports_naive import bits_through, tile_accesses


def port_clocks(chip, layer, tile, exposed):
    """Clocks of the busiest port in a tile: what it reads beside what it writes, or all of it.

    Loads have ``exposed`` clocks of their own where no register hides them. On one port what DRAM
    brings for the tile, and takes of it, has its place too.
    """
    most = 0
    for held, use in tile_accesses(chip, layer, tile).items():
        port = chip["ports"][held]
        taken = {kind: sum(up(bits, port) for bits in each) for kind, each in use.items()}
        reads = taken["steps"] + max(0, taken["loads"] - exposed) + taken["sums_in"]
        writes = taken["sums_out"] + taken["results"]
        if held not in chip["one_port"]:
            most = max(most, reads, writes)
            continue
        moved = [*tile["reads"], ("outputs", tile["out"])]
        through = [bits_through(chip, x[0], size) for x, size in moved if x[0] in held]
        most = max(most, reads + writes + sum(up(bits, port) for bits in through))
    return most


def load_clocks(chip, layer, tile):
    """Clocks to load what stands still: a row of the array after the other."""
    return sum(
        up(bits, chip["ports"][held])
        for held, use in tile_accesses(chip, layer, tile).items()
        for bits in use["loads"]
    )


def clocks_of_tile(chip, layer, tile):
    """What one tile does: clocks by name, and the clocks up to the end of each of its groups."""
    R, C, T, flow = (chip[x] for x in ("rows", "cols", "terms", "flow"))
    m, n, chunks = tile["m"], tile["n"], tile["chunks"]
    physical, load, fill, drain, exposed = chip["timing"] == "physical", 0, 0, 0, 0
    if flow in ("tile", "os"):
        steps = len(chunks)
        r, c = (n, m) if flow == "tile" else (m, n)
    else:
        steps = m if flow == "ws" else n
        r, c = len(chunks), (n if flow == "ws" else m)
    if flow != "tile" and not physical:
        r, c = R, C
    busy = steps * T
    if flow == "tile":
        drain = r if tile["last"] else 0
    else:
        fill = (r + c - 2) * T
        if flow == "os" and physical and tile["last"]:
            drain = r
        if flow != "os" and not physical:
            exposed = R
            fill += R
        if flow != "os" and physical:
            load = load_clocks(chip, layer, tile)
    if flow != "tile" and not chip["registers"]:  # the array stands still meanwhile
        exposed += load
        fill += load + drain
        load = drain = 0
    port = max(0, port_clocks(chip, layer, tile, exposed) - busy)
    if flow == "tile":
        clocks, parts = 0, []
        for _, end in chunks:
            clocks += T
            if end:
                parts.append((clocks, True))
                clocks = 0
        parts += [(clocks, False)] if clocks else []
    else:
        parts = [(busy, drain > 0)]  # only what leaves over the drain is handed on
    return {"load": load, "fill": fill, "port": port, "drain": drain, "parts": parts}


def layer_events(lay):
    """All events of a layer, its rings by (places, bytes of a piece, operand), output tiles.

    ("end",) stands after the events of each product.

    Before more than two pieces of what passes by, or one of what stays, lie beside results and
    unfinished sums, there is room for the results of two tiles and for those sums.
    """
    chip, layer, name = lay.chip, lay.layer, lay.stream
    events, largest, sums = layout_naive.product_events(lay)
    bm, bn = lay.block(name, lay.m, lay.n)
    tile_bytes = up(min(bm, lay.m) * min(bn, lay.n) * chip["bo"], 8) if "o" not in lay.kept else 0
    beside = 0 if lay.own_results else 2 * tile_bytes + sums
    rings, used = [], 0
    for operand in (name, "i" if name == "w" else "w"):
        if operand in lay.kept:
            rings.append((0, 0, operand))
            continue
        if operand in chip["single"]:
            rings.append((1, lay.free[operand], operand))
        else:
            least = 2 if operand == name else 1
            room = lay.free[operand] - (beside if operand == "i" else 0)
            piece = min(largest[operand], lay.free[operand])
            least = min(least, max(1, lay.free[operand] // max(1, piece)))
            places = max(least, min(chip["prefetch"], room // max(1, piece)))
            rings.append((places, piece, operand))
        if operand == "i":
            used = rings[-1][0] * rings[-1][1]
    left = chip["bytes"]["o"] - sums if lay.own_results else lay.unheld - used - sums
    free = max(0, left) // tile_bytes if tile_bytes else chip["output_tiles"]
    return [*events, ("end",)] * layer["batch"], rings, min(chip["output_tiles"], 2 + free)


CAUSES = ("weights", "inputs", "outputs", "bandwidth", "rescale", "pipeline")


def unmasked(layer):
    return layer | {"causal": None, "window": None}


def run(chip, layer):
    """(cycles, stalls by cause, bytes moved, accesses) of a layer on an empty chip, masked or not.

    Accesses are an `access_naive.Ledger`.
    """
    found = [run_as_it_is(chip, layer)]
    if layer["causal"]:
        found.append(run_as_it_is(chip, unmasked(layer)))
    return min(found, key=lambda x: x[0])


def way(chip, layer, kept="", held=0):
    """The layout of a layer among others: without its mask if it alone is faster so."""
    found = [layout_naive.lay_out(chip, layer, kept, held)]
    if layer["causal"]:
        found.append(layout_naive.lay_out(chip, unmasked(layer), kept, held))
    return min(found, key=lambda lay: run_layers(chip, [(lay, (), ())])[0][0][0])


def run_as_it_is(chip, layer):
    lay = layout_naive.lay_out(chip, layer)
    ledger = access_naive.Ledger(lay)
    ((cycles, stalls),), moved, _ = run_layers(chip, [(lay, (), ())], [ledger])
    beyond = ports_naive.port_clocks(lay, ports_naive.port_use(lay)) - cycles
    if beyond > 0:
        cycles, stalls["bandwidth"] = cycles + beyond, stalls["bandwidth"] + beyond
    return cycles, stalls, moved, ledger


def run_layers(chip, layers, ledgers=()):
    """Layers one after another on one chip.

    ``layers``: (layout, indices of the layers whose results are its weights, and its inputs).
    ``ledgers``: where to count the accesses of each layer, if anywhere.
    Returns (cycles, stalls) by layer, all bytes moved, and the clocks in which the array
    waited for a transfer that was asked for while it worked.
    """
    on_tiles, serial = chip["flow"] == "tile", chip["serial"]
    scale, gap = (chip["rescale_bits"], chip["gap"]) if on_tiles else (0, 0)
    depth = (6 if serial else 1) if on_tiles else 0
    shares, left, stored_by, exposed = [], [], [], 0
    moved = {"weights": 0, "inputs": 0, "outputs": 0}
    free, room = {"w": [], "i": []}, {"w": 0, "i": 0}
    reads, stores, tiles = [], [], []
    bus = array_free = drained = floor = pause = 0
    scaled = unit = 0  # when the unit behind the array has rescaled its sum, and handed it on

    def clocks_of(size, operand):
        bursts = up(8 * size, chip["burst"])
        dram = ceil(Fraction(bursts * chip["burst"]) / chip["rate"])
        if chip.get("dram_alone"):
            return dram
        through = bits_through(chip, operand, size)
        return max(dram, up(through, chip["ports"][buffer_of(chip, operand)]))

    def write(store):
        nonlocal bus
        store["done"] = max(bus, store["asked"]) + store["clocks"]
        bus = store["done"]

    for at, (lay, weights_of, inputs_of) in enumerate(layers):
        ledger = ledgers[at] if ledgers else None
        stalls, began = dict.fromkeys(CAUSES, 0), array_free
        events, rings, output_tiles = layer_events(lay)
        kept, now = lay.kept, {"w": lay.free["w"], "i": lay.unheld}
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
        kept_from = max((left[j] for j in inputs_of), default=0) if "i" in kept else 0
        for event in events:
            if event[0] == "take":
                floor = max(floor, places[event[1]].pop(0))
                continue
            if event[0] == "give":
                places[event[1]].append(array_free)
                continue
            if event[0] == "end":
                if ledger:
                    ledger.product_ends()
                continue
            tile = event[1]
            if ledger:
                ledger.tile(tile)
            work, out, arriving = clocks_of_tile(chip, lay.layer, tile), tile["out"], []
            for cause, size in tile["reads"]:
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
                bus = begin + clocks_of(size, cause[0])
                read = {"tile": len(tiles), "begin": begin, "here": bus + chip["latency"]}
                read |= {"stored": fetched_back, "early": floor < array_free and not fetched_back}
                reads.append(read)
                arriving.append((cause, read))
            stalls["rescale"] += pause
            ready = array_free + pause
            start = max([ready, kept_from, *(r["here"] for _, r in arriving)])
            space = 0
            moved["outputs"] += out
            if out and len(stores) >= output_tiles:  # its own results are the last to wait
                for store in stores[: len(stores) - output_tiles + 1]:
                    if store["done"] is None:
                        write(store)
                space = stores[len(stores) - output_tiles]["done"]
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
                stores.append({"asked": gone, "clocks": clocks_of(out, "o"), "done": None})
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
