"""How a layer lies on a chip, slow and obvious: bytes, what is read how often, every tile.

Shares no code with the package; docs/cycle.md is the specification. A chip and a layer are plain
dictionaries (`cycle_cases` makes them):

chip    ``flow`` (tile, os, ws, is), ``timing``, ``rows``, ``cols``, ``lanes``, ``terms``, ``group``
        (weights that share a scale, 0: all of K), ``bw``, ``bi``, ``bo`` (stored bits of a weight,
        an input, a result), ``cw``, ``ci`` (bits of their codes alone), ``input_group``,
        ``sum_bits``, ``accumulator`` (bytes of an accumulator buffer, 0: none);
        ``buffers`` (each a string of the operands it holds, as "w", "io"), ``bytes``, ``ports``
        (bits of an access) and ``banks`` by buffer; ``single`` (operands whose buffer is not
        double-buffered), ``one_port`` (buffers with one port)
layer   ``m``, ``n``, ``k``, ``batch``, ``causal``, ``per_token``, ``before``, ``window``,
        ``input_elements``
"""

from fractions import Fraction
from itertools import pairwise
from math import ceil

KINDS = ("steps", "loads", "sums_in", "scales", "sums_out", "results")  # the first four are reads
SHARES = (4, 2, 6, 1, 7)  # eighths of a shared buffer that weights may have


class Refused(Exception):  # noqa: N818
    """Half a buffer does not hold one group."""


def up(a, b):
    return ceil(Fraction(a) / Fraction(b))


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


def buffer_of(chip, operand):
    return next(held for held in chip["buffers"] if operand in held)


# -- what the mask leaves ---------------------------------------------------------------------


def sees(layer, row):
    """Entries of the cut dimension that a row sees: (low, high)."""
    at = layer["before"] + row // layer["per_token"]
    extent = layer[layer["causal"]]
    low = max(0, at - layer["window"] + 1) if layer["window"] else 0
    return min(low, extent), min(at + 1, extent)


def visible(layer):
    """Pairs of a row and an entry that the mask leaves."""
    return sum(high - low for low, high in (sees(layer, r) for r in range(layer["m"])))


def extents(layer):
    """Tokens, outputs and K of a product; under a mask without the ends that nobody sees."""
    found = {x: layer[x] for x in "mnk"}
    if layer["causal"]:
        each = [
            (low, high) for low, high in (sees(layer, r) for r in range(layer["m"])) if low < high
        ]
        if each:
            found[layer["causal"]] = max(x for _, x in each) - min(x for x, _ in each)
    return found["m"], found["n"], found["k"]


def masked_rows(chip):
    """Rows of a block of tokens under a mask."""
    return chip["cols"] if chip["flow"] in ("tile", "is") else chip["rows"]


def masked_blocks(chip, layer):
    """[(rows, low, high), ...]: blocks of tokens that see something, and what all rows see."""
    seen = []
    for a, b in pieces(layer["m"], masked_rows(chip)):
        each = [sees(layer, r) for r in range(a, b)]
        low, high = min(low for low, _ in each), max(high for _, high in each)
        if low < high:
            seen.append((b - a, low, high))
    return seen


def share_seen(layer):
    """Part of all pairs of a row and an entry that the mask leaves."""
    m, n, k = extents(layer)
    return Fraction(visible(layer), m * (n if layer["causal"] == "n" else k))


def operand_bytes(chip, layer):
    """Bytes of weights, inputs and results of one product, each once; rows in whole bytes."""
    m, n, k = extents(layer)
    w, i, o = n * up(k * chip["bw"], 8), m * up(k * chip["bi"], 8), m * up(n * chip["bo"], 8)
    if layer["input_elements"]:
        i = up(layer["input_elements"] * chip["bi"], 8)
    if layer["causal"] == "n":
        o = up(visible(layer) * chip["bo"], 8)
    if layer["causal"] == "k":
        i = up(visible(layer) * chip["bi"], 8)
    return w, i, o


# -- pieces of K ------------------------------------------------------------------------------


def chunks_of(chip, k):
    """The chunks of K in order: (weights, whether a group ends with it)."""
    found = []
    for a, b in pieces(k, min(k, chip["group"] or k)):
        sizes = [y - x for x, y in pieces(b - a, chip["lanes"])]
        found += [(size, last == len(sizes) - 1) for last, size in enumerate(sizes)]
    return found


def cut_k(chip, chunks, block_bytes, half):
    """[(start, stop), ...] of chunks: as few pieces of a block as fit, that end where groups end.

    A group is cut only where it is all of K. On ws and is a piece is a fold.
    """
    whole = [(0, len(chunks))]
    if block_bytes <= half:
        return whole

    def fit(cuts):
        return all(block_bytes * (b - a) <= half * len(chunks) for a, b in cuts)

    if chip["flow"] in ("ws", "is"):
        cuts = pieces(len(chunks), chip["rows"])
        if not fit(cuts):
            raise Refused
        return cuts
    borders = [0, *(i + 1 for i, (_, end) in enumerate(chunks) if end)]
    atoms = list(pairwise(borders))
    if len(atoms) == 1:
        atoms = pieces(len(chunks), 1)
    for count in range(2, len(atoms) + 1):
        taken = pieces(len(atoms), up(len(atoms), count))
        cuts = [(atoms[a][0], atoms[b - 1][1]) for a, b in taken]
        if fit(cuts):
            return cuts
    raise Refused


# -- what is read how often -------------------------------------------------------------------


def sums_wait_between_folds(chip, k):
    """Whether sums of ws and is wait between folds of K."""
    return chip["flow"] in ("ws", "is") and len(chunks_of(chip, k)) > chip["rows"]


def own_buffer(chip):
    """Bytes of the accumulator buffer, where sums wait in it: SCALE-Sim's timing knows none."""
    return chip["accumulator"] if chip["timing"] == "physical" else 0


def block_of(chip, m, n):
    """Tokens and outputs of a block where nothing else limits it."""
    return {
        "tile": (chip["cols"], chip["rows"]),
        "os": (chip["rows"], chip["cols"]),
        "ws": (m, chip["cols"]),
        "is": (chip["cols"], n),
    }[chip["flow"]]


class Layout:
    """A layer on a chip, its buffers given: ``rooms`` of weights, inputs, sums (None: beside i).

    ``free`` is what kept results leave of them; ``p``, ``q`` say how often weights and inputs are
    read, ``stream`` what passes by.
    """

    def __init__(self, chip, layer, rooms, kept="", held=0):
        self.chip, self.layer, self.kept = chip, layer, kept
        self.m, self.n, self.k = layer["m"], layer["n"], layer["k"]
        self.w, self.i, self.o = operand_bytes(chip, layer)
        self.rooms = rooms
        self.unheld = max(1, rooms[1] - held)
        self.free = {"w": rooms[0], "i": rooms[1] if "i" in kept else self.unheld}
        self.own_sums = rooms[2] is not None
        self.own_results = "o" in chip["buffers"]
        self.sums_room = rooms[2] if self.own_sums else max(1, self.free["i"] // 2)
        self.decide()

    def sum_bytes(self, count):
        return up(count * self.chip["sum_bits"], 8)

    def bytes_of(self, operand, rows, k=None):
        """Bytes of some outputs' weights, or tokens' inputs, over all of K (or what is seen)."""
        k = k or self.k
        if operand == "w":
            return rows * up(k * self.chip["bw"], 8)
        if self.layer["input_elements"]:
            return up(rows * self.i, self.m)
        return rows * up(k * self.chip["bi"], 8)

    def places(self, operand):
        return 1 if operand in self.chip["single"] else 2

    def half(self, operand, sums=0):
        """Bytes that a piece may take; sums beside it have half of the buffer."""
        room = self.free[operand]
        if sums and operand == "i" and not self.own_sums:
            room -= self.sums_room
        return max(1, room // self.places(operand))

    def passing(self, operand):
        """How much of the dimension that passes through a ws or is array makes a block."""
        extent, other = (self.m, self.n) if operand == "i" else (self.n, self.m)
        waits = sums_wait_between_folds(self.chip, self.k)
        best = 1
        for length in range(2, extent + 1):
            mine = length * self.bytes_of(operand, 1)
            sums = self.sum_bytes(length * min(self.chip["cols"], other)) if waits else 0
            if operand == "i" and not self.own_sums:
                fits = self.places("i") * mine + sums <= self.free["i"]
            else:
                fits = sums <= self.sums_room
            if mine <= self.half(operand) and fits:
                best = length
        return best

    def block(self, stream, m, n):
        """Tokens and outputs of a block of an m x n part."""
        bm, bn = block_of(self.chip, m, n)
        if self.chip["flow"] == "ws" and stream == "i":
            bm = min(bm, self.passing("i"))
        if self.chip["flow"] == "is" and stream == "w":
            bn = min(bn, self.passing("w"))
        return bm, bn

    def live(self, stream):
        """Bytes of unfinished sums that wait at once, over the whole product."""
        chip, m, n = self.chip, self.m, self.n
        if chip["flow"] in ("ws", "is"):
            if not sums_wait_between_folds(chip, self.k):
                return 0
            if (chip["flow"], stream) == ("ws", "w"):
                return self.sum_bytes(m * min(chip["cols"], n))
            if (chip["flow"], stream) == ("is", "i"):
                return self.sum_bytes(n * min(chip["cols"], m))
            return 0  # the block is cut to what sums have room for
        bm, bn = block_of(chip, m, n)
        passes, stays = ((n, bn), (m, bm)) if stream == "w" else ((m, bm), (n, bn))
        rows = min(passes)
        if self.bytes_of(stream, rows) <= self.half(stream) or stays[0] <= stays[1]:
            return 0  # no pieces, or the one tile that uses a piece keeps its sums
        return self.sum_bytes(rows * stays[0])

    def decide(self):
        """Set what is read how often and what passes by."""
        s_w, s_i, causal = self.free["w"], self.free["i"], self.layer["causal"]
        by_w, by_i = (0, 0) if causal else (self.live("w"), self.live("i"))
        if self.own_sums:
            p = max(up(self.i, s_i), up(by_w, self.sums_room))
        else:
            p = up(self.i + by_w, s_i)
        fits = self.w <= s_w or (self.layer["window"] and self.live_window() <= s_w)
        q = max(1 if fits else up(self.w, s_w), up(by_i, self.sums_room))
        self.w_fits, self.i_fits, self.p, self.q = q <= 1, p <= 1, 1, 1
        if p > 1 and q > 1:
            if p * self.w + self.i < q * self.i + self.w:
                self.p = p
            else:
                self.q = q
        if causal or self.p > 1:
            self.stream = "w"
        elif self.q > 1:
            self.stream = "i"
        elif self.w_fits and self.i_fits:
            self.stream = "i" if self.chip["flow"] == "is" else "w"
        else:
            self.stream = "i" if self.w_fits else "w"

    def live_window(self):
        """Bytes of keys or values that must stay: a window and the tokens of a block."""
        tokens = up(masked_rows(self.chip), self.layer["per_token"]) + 1
        extent = dict(zip("mnk", extents(self.layer), strict=True))[self.layer["causal"]]
        return up(self.w * min(extent, self.layer["window"] + tokens), extent)

    def moved(self):
        """Bytes of each operand that one product moves over DRAM."""
        causal, w, i = self.layer["causal"], self.p * self.w, self.q * self.i
        if causal:
            seen = share_seen(self.layer)
            if self.p > 1:
                w = max(self.w, up(w * seen, 1))
            if self.q > 1 and causal == "n":  # inputs under a mask on K are what it leaves
                i = max(self.i, up(i * seen, 1))
        return w, 0 if "i" in self.kept else i, 0 if "o" in self.kept else self.o


def lay_out(chip, layer, kept="", held=0):
    """The layout with the least traffic of all shares of a shared buffer."""
    sizes = chip["bytes"]
    if chip["buffers"] == ("wio",):
        size = sizes["wio"]
        rooms = [(size * s // 8, size - size * s // 8, own_buffer(chip) or None) for s in SHARES]
    else:
        sums = own_buffer(chip) or sizes.get("o")
        rooms = [(sizes["w"], sizes[buffer_of(chip, "i")], sums)]
    found = [Layout(chip, layer, each, kept, held) for each in rooms]
    return min(found, key=lambda x: sum(x.moved()))


# -- parts, blocks, tiles ---------------------------------------------------------------------


def parts_of(lay):
    """The parts of one product in order: extents, bytes, how often each operand is fetched."""
    chip, layer, (m, n, k), p, q = lay.chip, lay.layer, (lay.m, lay.n, lay.k), lay.p, lay.q
    if layer["causal"]:
        return masked_parts(lay)
    bm, bn = lay.block(lay.stream, m, n)
    if chip["flow"] == "ws":
        bm = min(bm, up(m, p))
    if chip["flow"] == "is":
        bn = min(bn, up(n, q))
    found, i_left = [], lay.i
    m_parts, n_parts = split(m, bm, p), split(n, bn, q)
    for x, (gm, wf) in enumerate(m_parts):
        gi = i_left if x == len(m_parts) - 1 else lay.i * gm // m
        i_left -= gi
        o_left = lay.o // m * gm
        for y, (gn, fetches) in enumerate(n_parts):
            go = o_left if y == len(n_parts) - 1 else lay.o // m * gm * gn // n
            o_left -= go
            found.append({"m": gm, "n": gn, "k": k, "bm": bm, "bn": bn, "w": lay.w // n * gn,
                          "i": gi, "o": go, "wf": wf, "if": fetches})  # fmt: skip
    return found


def shares(total, weights):
    """A total in proportion to weights, each rounded down on the way, in all the total."""
    of, done, found = sum(weights), 0, []
    for weight in weights:
        found.append(total * (done + weight) // of - total * done // of if of else 0)
        done += weight
    return found


def masked_parts(lay):
    """Blocks of tokens, each over what it sees; what is read once comes to who sees it first."""
    causal, new, blocks = lay.layer["causal"], [], masked_blocks(lay.chip, lay.layer)
    top = min((low for _, low, _ in blocks), default=0)
    for _, _, high in blocks:
        new.append(max(0, high - top))
        top = max(top, high)
    w, i, o = lay.moved()
    rows = [length for length, _, _ in blocks]
    seen = [high - low for _, low, high in blocks]
    scores = [length * (high - low) for length, low, high in blocks]
    w = shares(w, new if lay.p == 1 else seen)
    i = shares(i, scores if causal == "k" or lay.q > 1 else rows)
    o = shares(o, scores if causal == "n" else rows)
    found = []
    for x, (length, low, high) in enumerate(blocks):
        m, n, k = length, lay.n, lay.k
        n, k = (high - low, k) if causal == "n" else (n, high - low)
        bm, bn = lay.block(lay.stream, m, n)
        found.append({"m": m, "n": n, "k": k, "bm": bm, "bn": bn, "w": w[x], "i": i[x],
                      "o": o[x], "wf": 1, "if": 1})  # fmt: skip
    return found


def part_events(lay, part, live):
    """Events of one part and its rings by (places, bytes of a piece, operand).

    An event is ("take" | "give", ring), ring 0 of what passes and 1 of what stays, or
    ("tile", tile): a dictionary of extents, chunks of K, bytes read and stored.
    """
    chip, m, n, k = lay.chip, part["m"], part["n"], part["k"]
    bm, bn = part["bm"], part["bn"]
    name, other = ("w", "i") if lay.stream == "w" else ("i", "w")
    size, block = (n, bn) if name == "w" else (m, bm)
    chunks = chunks_of(chip, k)
    one_block, staying = part[name] * min(block, size) // size, part[other]
    if lay.layer["causal"]:  # part of it is there, or is read several times
        one_block = lay.bytes_of(name, min(block, size), k)
        staying = lay.bytes_of(other, m if other == "i" else n, k)
    cuts = cut_k(chip, chunks, lay.bytes_of(name, min(block, size), k), lay.half(name, live))
    whole = len(cuts) == 1
    if chip["flow"] in ("ws", "is"):
        cuts = pieces(len(chunks), chip["rows"])
    piece = one_block if whole else over(one_block, cuts)[0]
    w = [over(b, cuts) for b in spread(part["w"], n, bn)]
    i = [over(b, cuts) for b in spread(part["i"], m, bm)]
    o = [spread(b, n, bn) for b in spread(part["o"], m, bm)]
    ms, ns, ks = (list(enumerate(x)) for x in (pieces(m, bm), pieces(n, bn), cuts))
    stay = ms if name == "w" else ns
    systolic = chip["flow"] in ("ws", "is")
    physical = chip["timing"] == "physical"
    if systolic:
        writes = not own_buffer(chip)  # else they pass its port beside all steps
        reads_back = writes and physical  # SCALE-Sim counts sums that are written, not read back
    else:  # one tile after the other may go on with the same sums
        writes = reads_back = len(stay) > 1
    here, events = set(), [("take", 1)]

    def tile(r, s, ki):
        mi, ni = (s, r) if name == "w" else (r, s)
        (a, (m0, m1)), (b, (n0, n1)), (c, (k0, k1)) = mi, ni, ki
        reads = []
        for cause, key, bytes_ in (
            ("weights", ("w", b, c), w[b][c] * part["wf"]),
            ("inputs", ("i", a, c), i[a][c] * part["if"]),
        ):
            if key not in here and not (cause == "inputs" and "i" in lay.kept):
                reads.append((cause, bytes_))
            here.add(key)
        last = c == len(ks) - 1
        return ("tile", {
            "m": m1 - m0, "n": n1 - n0, "k": k, "chunks": chunks[k0:k1],
            "from": sum(size for size, _ in chunks[:k0]), "reads": reads,
            "out": o[a][b] if last and "o" not in lay.kept else 0, "last": last,
            "sums_in": c > 0 and reads_back, "sums_out": not last and writes,
        })  # fmt: skip

    for r in ns if name == "w" else ms:
        if whole:
            events += [("take", 0), *(tile(r, s, ki) for s in stay for ki in ks), ("give", 0)]
        else:
            for ki in ks:
                events += [("take", 0), *(tile(r, s, ki) for s in stay), ("give", 0)]
    events.append(("give", 1))
    if "i" in lay.kept:  # they are there: no places to ask for
        idle = 0 if name == "i" else 1
        events = [e for e in events if e[0] == "tile" or e[1] != idle]
    waiting = 0
    if systolic and sums_wait_between_folds(chip, k) and not own_buffer(chip):
        waiting = {"ws": bm * min(chip["cols"], n), "is": bn * min(chip["cols"], m)}[chip["flow"]]
    elif not systolic and not whole and len(stay) > 1:
        waiting = min(block, size) * (m if name == "w" else n)
    return events, {name: piece, other: staying, "sums": lay.sum_bytes(waiting)}


def product_events(lay):
    """Events of one product, the largest piece of each operand, and sums that wait at once."""
    live = 0 if lay.layer["causal"] else lay.live(lay.stream)
    made = [part_events(lay, part, live) for part in parts_of(lay)]
    largest = {x: max((sizes[x] for _, sizes in made), default=0) for x in ("w", "i", "sums")}
    return [e for events, _ in made for e in events], largest, largest["sums"]
