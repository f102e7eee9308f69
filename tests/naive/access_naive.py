"""Accesses of buffers, counted as the events of the slow cycle rung happen, one after another.

Shares no code with the package; docs/chips.md and docs/cycle.md say what an access is. Chips,
layers and tiles are those of `layout_naive`, chips with ``accumulator_port`` (bits of an access)
besides. A buffer is the string of the operands it holds, "a" the accumulator buffer; one that holds
weights and inputs gives both in one access.
"""

from collections import Counter
from fractions import Fraction
from math import ceil

from naive import layout_naive
from naive.layout_naive import buffer_of, own_buffer, up
from naive.ports_naive import reads_at_once, rows_that_leave, scales_at_once

WORD = 64


class Ledger:
    """Accesses of one layer: reads and writes by (what, buffer), bytes that come in by operand.

    What happens in a tile goes to `tile`; after those of each product comes `product_ends`.
    """

    def __init__(self, lay):
        self.lay, self.chip, self.layer = lay, lay.chip, lay.layer
        self.ports = dict(self.chip["ports"], a=self.chip["accumulator_port"])
        self.reads, self.writes = Counter(), Counter()
        self.arrived = {"w": 0, "i": 0}  # bytes, over all products
        self.results = 0  # bytes of this product that go to DRAM
        self.sum_bits = 0  # of unfinished sums that are written

    def read(self, what, held, bits):
        self.reads[what, held] += up(bits, self.ports[held])

    def write(self, what, held, bits):
        self.writes[what, held] += up(bits, self.ports[held])

    def step(self, what, pair):
        """A clock in which buffers give so many bits of (weights, inputs) at once."""
        for held in self.chip["buffers"]:
            bits = sum(b for operand, b in zip("wi", pair, strict=True) if operand in held)
            self.read(what, held, bits)

    def tile(self, tile):
        """One tile: what comes from DRAM, every step of the array, what leaves it."""
        for cause, size in tile["reads"]:
            self.arrived[cause[0]] += size
        steps, loads = reads_at_once(self.chip, tile)
        for pair in [*steps, *loads]:
            self.step("codes", pair)
        for pair in scales_at_once(self.chip, self.layer, tile):
            self.step("scales", pair)
        rows, count = rows_that_leave(self.chip, tile)
        for _ in range(rows):
            self.row_leaves(tile, count)
        self.results += tile["out"]

    def row_leaves(self, tile, count):
        """So many sums leave the array: unfinished ones, joined by those of before, or results."""
        home, sums = buffer_of(self.chip, "o"), count * self.chip["sum_bits"]
        goes_on, unfinished = tile["sums_in"], tile["sums_out"]
        if own_buffer(self.chip):
            home, goes_on, unfinished = "a", tile["from"] > 0, not tile["last"]
        if goes_on:
            self.read("sums", home, sums)
        if unfinished:
            self.write("sums", home, sums)
            self.sum_bits += sums
        if tile["last"]:
            self.write("results", buffer_of(self.chip, "o"), ceil(count * self.chip["bo"]))

    def product_ends(self):
        """Results of a product leave for DRAM, in as few accesses as hold them."""
        self.read("drain", buffer_of(self.chip, "o"), 8 * self.results)
        self.results = 0

    def words(self):
        """64-bit words written, by buffer: rows of operands begin a word each, of those that came.

        What came of an operand stands for its part of all words; under a mask on K inputs, on N
        results, are the part of them that is seen.
        """
        lay, layer, batch = self.lay, self.layer, self.layer["batch"]
        m, n, k = layout_naive.extents(layer)
        seen = layout_naive.share_seen(layer) if layer["causal"] else 1
        once = {
            "w": batch * n * up(k * self.chip["bw"], WORD),
            "i": batch * m * up(k * self.chip["bi"], WORD),
            "o": batch * m * up(n * self.chip["bo"], WORD),
        }
        if layer["input_elements"]:
            once["i"] = batch * up(layer["input_elements"] * self.chip["bi"], WORD)
        if layer["causal"]:
            masked = "o" if layer["causal"] == "n" else "i"
            once[masked] = ceil(once[masked] * seen)
        found = dict.fromkeys(self.held(), 0)
        for operand, size in (("w", lay.w), ("i", lay.i)):
            if size:
                part = Fraction(self.arrived[operand], batch * size)
                found[buffer_of(self.chip, operand)] += ceil(once[operand] * part)
        found[buffer_of(self.chip, "o")] += once["o"]
        home = "a" if own_buffer(self.chip) else buffer_of(self.chip, "o")
        found[home] += up(self.sum_bits, WORD)
        return found

    def held(self):
        """All buffers."""
        return [*self.chip["buffers"], *("a" * bool(self.chip["accumulator"]))]

    def sram(self):
        """Counts by (buffer, what): reads of codes and sums, of scales, of results; words."""
        home, words = buffer_of(self.chip, "o"), self.words()
        found = {(home, "drain_read"): self.reads["drain", home]}
        for held in self.held():
            found[held, "read"] = self.reads["codes", held] + self.reads["sums", held]
            found[held, "scale_read"] = self.reads["scales", held]
            found[held, "write_words"] = words[held]
        return found
