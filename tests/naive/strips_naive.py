"""Strips of fused convolutions, pixel row by pixel row: sets of rows, and jobs listed one by one.

As `bitlathe.mapping.fused.strips` and `strip_cost` word them, written down anew. A layer is a dict:
rows, stride, reach, padding (of rows), tall (rows of its input), wide (elements of a row of its
input), made (results of a row), weights, the bits of its weight, input and output, work (three
counts for each result, three for each group that is quantized), groups (of a result).
"""

from math import ceil


def rows_read(layer, rows):
    """Return the rows of the input from the first tap of some rows of outputs to the last tap."""
    taps = set()
    for row in rows:
        top = row * layer["stride"] - layer["padding"]
        taps |= set(range(top, top + layer["reach"]))
    if not taps:
        return set()
    return {r for r in range(min(taps), max(taps) + 1) if 0 <= r < layer["tall"]}


def border_read(layer, rows):
    """Return the rows above the input, and below, from the first tap of some rows to the last."""
    taps = {
        row * layer["stride"] - layer["padding"] + tap
        for row in rows
        for tap in range(layer["reach"])
    }
    spanned = range(min(taps), max(taps) + 1) if taps else ()
    return sum(r < 0 for r in spanned), sum(r >= layer["tall"] for r in spanned)


def strips(layers, rows, kept):
    """Return for each strip: rows loaded, that each layer finds, that it makes, of the border."""
    found, last = [], layers[-1]["rows"]
    known = [set() for _ in layers]
    for top in range(0, last, rows):
        make = set(range(top, min(top + rows, last)))
        there, made, border = [], [], []
        for i in reversed(range(len(layers))):
            read = rows_read(layers[i], make)
            border.insert(0, border_read(layers[i], make))
            made.insert(0, len(make))
            there.insert(0, len(read))
            make = read - known[i] if kept[i] else read
            known[i] = known[i] | read
        found.append((len(make), there, made, border))
    return found


class Count:
    """Accesses by port and way, clocks of ports, bits that pass the outermost memory, energy."""

    def __init__(self, chip):
        self.chip, self.accesses, self.busy, self.bits, self.pj = chip, {}, {}, {}, 0.0

    def port(self, at, way, count, pj):
        self.accesses[at, way] = self.accesses.get((at, way), 0) + count
        self.busy[at] = self.busy.get(at, 0) + count
        self.pj += count * pj

    def moved(self, operand, leaves, parts):
        """Count tiles (elements, bits) that come, or leave; return the clocks of all together."""
        outer, near, used = 0, self.chip["near"][operand], {}
        for elements, bits in parts:
            way, other = ("write", "read") if leaves else ("read", "write")
            at, width, burst, pj = self.chip["outer"][operand][way]
            clocks = whole(elements, bits, width, burst)
            self.port(at, way, clocks, pj)
            self.bits[operand] = self.bits.get(operand, 0) + elements * bits
            outer += clocks
            at, width, burst, pj = near[other]
            clocks = whole(elements, bits, width, burst)
            self.port(at, other, clocks, pj)
            used[at] = used.get(at, 0) + clocks
        return outer, used


def whole(elements, bits, width, burst):
    amount = elements * bits
    if burst is not None:
        amount = ceil(amount / burst) * burst
    return ceil(amount / width)


def cost(layers, images, added, tiling, chip, lanes, product):
    """Return clocks, the count of all that moves, and the clocks of the array's steps."""
    cut = strips(layers, tiling["rows"], tiling["kept"])
    count, steps = Count(chip), 0
    last, end = layers[-1], len(layers) - 1
    done, clocks = {}, {}
    two, held = tiling["places"] == 2, tiling["held"]
    every = [(image, strip) for image in range(images) for strip in cut]
    for u, (_, (loaded, _, made, border)) in enumerate(every):
        parts = [(loaded * layers[0]["wide"], layers[0]["input"])] if loaded else []
        parts += [(made[-1] * last["made"], last["output"])] * added
        outer, used = count.moved("input", False, parts)
        clocks["load", u] = max([outer, *used.values()])
        for i, rows in enumerate(made):
            weights = 0
            if (held and u == 0) or (not held and rows):
                outer, used = count.moved(
                    "weight", False, [(layers[i]["weights"], layers[i]["weight"])]
                )
                weights = max([outer, *used.values()])
            clocks["weights", u, i] = weights
            array = unit = 0
            if rows:
                cycles, product_steps, accesses, pj = product(i, rows, *border[i])
                array, steps = cycles, steps + product_steps
                for at, (reads, writes, busy) in accesses.items():
                    count.accesses[at, "read"] = count.accesses.get((at, "read"), 0) + reads
                    count.accesses[at, "write"] = count.accesses.get((at, "write"), 0) + writes
                    count.busy[at] = count.busy.get(at, 0) + busy
                elements = rows * layers[i]["made"]
                groups, each = ceil(elements * layers[i]["groups"]), layers[i]["work"]
                adds, multiplies, specials = (
                    each[n] * elements + each[3 + n] * groups for n in range(3)
                )
                unit = ceil(
                    (adds + multiplies + specials * lanes["special_cycles"]) / lanes["lanes"]
                )
                count.pj += pj + adds * lanes["add_pj"] + multiplies * lanes["multiply_pj"]
                count.pj += specials * lanes["special_pj"]
                read = 0
                for _ in range(added if i == end else 0):
                    at, width, burst, pj = chip["near"]["input"]["read"]
                    accesses = whole(elements, last["output"], width, burst)
                    count.port(at, "read", accesses, pj)
                    read += accesses
                unit = max(unit, read)
            if lanes["overlap"] and rows:
                clocks["made", u, i] = max(array, unit) + ceil(
                    min(array, unit) / (groups or elements)
                )
            else:
                clocks["made", u, i] = array + unit
        outer, used = count.moved("output", True, [(made[-1] * last["made"], last["output"])])
        clocks["store", u] = max([outer, *used.values()])
    strips_of_all, layers_of_all = len(every), range(len(layers))
    port = []
    for u in range(strips_of_all):
        if not two or u == 0:
            port.append(("load", u))
        for i in layers_of_all:
            port.append(("weights", u, i))
            if two and i == 0:
                port += [("store", u - 1)] if u else []
                port += [("load", u + 1)] if u + 1 < strips_of_all else []
        if not two:
            port.append(("store", u))
    port += [("store", strips_of_all - 1)] if two else []
    places, latency = tiling["places"], chip["latency"]
    array = [("made", u, i) for u in range(strips_of_all) for i in layers_of_all]
    free = {"port": 0, "array": 0}
    heads = {"port": 0, "array": 0}
    orders = {"port": port, "array": array}
    number = {job: n for n, job in enumerate(array)}

    def begins(job):
        """Return when all that a job waits for is there; None: not yet known."""
        kind, u, *rest = job
        ends = []
        if kind == "load" and u - (2 if two else 1) >= 0:
            ends.append((("made", u - (2 if two else 1), end), 0))
        elif kind == "weights" and not held:
            before = number["made", u, rest[0]] - places
            ends += [(array[before], 0)] if before >= 0 else []
        elif kind == "store":
            ends.append((("made", u, end), 0))
        elif kind == "made":
            if rest[0] == 0:
                ends.append((("load", u), latency if clocks["load", u] else 0))
            if clocks["weights", u, rest[0]]:
                ends.append((("weights", u, rest[0]), latency))
            if rest[0] == end and u - places >= 0:
                ends.append((("store", u - places), 0))
        if any(name not in done for name, _ in ends):
            return None
        return max((done[name] + more for name, more in ends), default=0)

    while any(heads[m] < len(orders[m]) for m in orders):
        moved = False
        for machine, order in orders.items():
            if heads[machine] < len(order):
                job = order[heads[machine]]
                ready = begins(job)
                if ready is not None:
                    if clocks[job] or machine == "array":
                        free[machine] = max(free[machine], ready) + clocks[job]
                        done[job] = free[machine]
                    else:
                        done[job] = 0  # nothing comes
                    heads[machine] += 1
                    moved = True
        assert moved, "jobs wait for each other"
    last_job = max(free.values())
    return max([last_job, *count.busy.values()]), count, steps
