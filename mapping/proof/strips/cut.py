"""Which strips a certificate is about, written down anew; what each asks for, and whether it fits.

* Rows of the last results that are the least for 1 to 8, 12, 16, 24, 32 ... strips.
* Of what each layer reads, where strips share rows: they stay, or come or are made again.
* Filters from the first strip to the last, or a layer's with every strip; one place or two.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise, product
from typing import NamedTuple

from ..fused.near import Near
from ..fused.room import Need, sizes
from .record import Chain, Tiling


class Strip(NamedTuple):
    """Rows of a strip: of inputs that come; that each layer finds; that each layer makes.

    And of the border that each layer reads, above and below.
    """

    comes: int
    found: tuple[int, ...]
    made: tuple[int, ...]
    border: tuple[tuple[int, int], ...]


def tilings(chain: Chain) -> Iterator[Tiling]:
    """Yield every tiling of the space, whether it fits or not."""
    for rows in sizes(chain.rows):
        choices = ((True, False) if halo else (False,) for halo in halos(chain, rows))
        for kept in product(*choices):
            for places, held in product((1, 2), (False, True)):
                yield Tiling(rows, kept, places, held)


def halos(chain: Chain, rows: int) -> list[bool]:
    """Return, of what each layer reads, whether strips of so many rows share rows of it."""
    return [rows < chain.rows and each.reach(0) > each.stride[0] for each in chain.layers]


def strips(chain: Chain, tiling: Tiling) -> list[Strip]:
    """Return the strips of an image, from top to bottom."""
    done, found = [0] * len(chain.layers), list[Strip]()  # rows that were there of what each reads
    for top in range(0, chain.rows, tiling.rows):
        low, high = top, min(top + tiling.rows, chain.rows)
        there, made, border = list[int](), list[int](), list[tuple[int, int]]()
        for i, layer in reversed([*enumerate(chain.layers)]):
            made.append(max(high - low, 0))
            border.append(layer.border(low, high) if low < high else (0, 0))
            low, high = layer.read(low, high)
            there.append(high - low)
            if tiling.kept[i]:
                low, done[i] = max(low, done[i]), max(high, done[i])
        comes = max(high - low, 0)
        found.append(Strip(comes, tuple(there[::-1]), tuple(made[::-1]), tuple(border[::-1])))
    return found


def needs(
    chain: Chain, tiling: Tiling, some: list[Strip], unfinished: frozenset[int]
) -> Iterator[Need]:
    """Yield the tiles that lie in the near memories.

    Parameters
    ----------
    chain : Chain
    tiling : Tiling
    some : list of Strip
    unfinished : frozenset of int
        Layers that leave sums there before their results.
    """
    first, last, many = chain.layers[0], chain.layers[-1], len(chain.layers)
    places, own = tiling.places, tiling.places
    rows = max(each.found[0] for each in some)
    if places == 2 and tiling.kept[0]:  # the next strip's rows come behind those that stay
        pairs = [*pairwise(some)]
        pairs += [(some[-1], some[0])] if chain.images > 1 else []
        rows, own = max([rows, *(a.found[0] + b.comes for a, b in pairs)]), 1
    yield "input", rows * first.row_inputs, first.stored.bits["input"], own
    for i in range(many - 1):
        maker, reader = chain.layers[i].stored, chain.layers[i + 1]
        bits = max(maker.bits["output"], reader.stored.bits["input"])
        bits = max(bits, maker.partial_bits) if i in unfinished else bits
        yield "output", max(each.found[i + 1] for each in some) * reader.row_inputs, bits, 1
    results = min(tiling.rows, chain.rows) * last.row_results
    bits = last.stored.bits["output"]
    widest = max(bits, last.stored.partial_bits) if many - 1 in unfinished else bits
    yield "output", results, widest, places
    if chain.added:
        yield "input", chain.added * results, bits, places
    weights = [(each.weights, each.stored.bits["weight"]) for each in chain.layers]
    if not tiling.held:
        weights = [max(weights, key=lambda each: each[0] * each[1])]
    for elements, each in weights:
        yield "weight", elements, each, 1 if tiling.held else places


def problem(chain: Chain, tiling: Tiling, near: Near) -> str | None:
    """Return what keeps strips from running that needs no count of bits, in a sentence, or None."""
    shared = near.memories["input"]
    if shared is not near.memories["output"]:
        return "what one convolution leaves the next must find in one memory, and there are two."
    if len(tiling.kept) != len(chain.layers):
        return (
            f"it says of {len(tiling.kept)} layers whether halos stay; not of {len(chain.layers)}."
        )
    if tiling.places == 2 and not shared.double_buffered:
        return f"memory {shared.name!r} holds one tile of inputs, not two."
    if tiling.rows > chain.rows:
        return f"its strips have {tiling.rows} rows, and the last results {chain.rows}."
    if any(
        kept and not shared
        for kept, shared in zip(tiling.kept, halos(chain, tiling.rows), strict=True)
    ):
        return "it keeps rows that no two strips share."
    return None


def pixels(chain: Chain) -> int:
    """Return the elements of the chain's inputs on which any of its results depends."""
    found = chain.layers[0].channels
    for i in (0, 1):
        needed = set(range(chain.layers[-1].made[i]))
        for layer in reversed(chain.layers):
            taps = [tap * layer.dilation[i] - layer.padding[i] for tap in range(layer.kernel[i])]
            every = {out * layer.stride[i] + tap for out in needed for tap in taps}
            needed = {each for each in every if 0 <= each < layer.size[i]}
        found *= len(needed)
    return found


def once_bits(chain: Chain) -> Fraction:
    """Return the bits of inputs that are needed, filters, what is added, and results, each once.

    One of the tensors that are added may be the chain's inputs, where these are as many.
    """
    first, last = chain.layers[0], chain.layers[-1]
    results = last.made[0] * last.row_results
    same = first.size[0] * first.row_inputs == results
    added = max(chain.added - same, 0)
    each = pixels(chain) * first.stored.bits["input"]
    each += (1 + added) * results * last.stored.bits["output"]
    weights = (layer.weights * layer.stored.bits["weight"] for layer in chain.layers)
    return each * chain.images + sum(weights, Fraction(0))
