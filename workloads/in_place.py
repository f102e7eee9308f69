"""Products whose results cannot lie on the chip in the room that they took when they were made.

A step of the vector unit that works on results there leaves what it makes of them in their place.
"""

from collections import Counter
from collections.abc import Iterator

from .transformer.matrix import ENTRY
from .transformer.products import Staged
from .vector_step import VectorStep

UNKNOWN = "<unknown>"  # no product's name, and no step's


def without_a_place(staged: Staged) -> frozenset[str]:
    """Return the products of which steps make more than their results, or what is not all read.

    Parameters
    ----------
    staged : Staged
        A pass, its steps as the model makes them, with the makers of what they read.

    Returns
    -------
    frozenset of str
        Names of products. Of each a step makes more elements than it works on, or works on what a
        part reads, ahead of its products (mixes of tokens, norms of a shared block); or one leaves
        others of them in memory (a pool, a norm), while a later product or step reads them as they
        were. What layers add to is no such reading: it is stored, and read again.
    """
    sizes = dict[str, int]()
    for name, size in _sizes(staged):
        sizes[name] = min(size, sizes.get(name, size))
    found = set[str]()
    for step in staged.steps:
        makes = sum(each.elements for each in (*step.writes, *step.makes) if not each.kept)
        if makes > sum(sizes.get(name, 0) for name in step.after):
            found.update(step.after)
        for name in () if step.streams else step.after:
            if {*_read_later(name, staged, step)} - {step.name}:
                found.add(name)
    if ENTRY in found.union(*(step.after for step in staged.steps)):
        found.update(_entries(staged))  # what a part reads is worked on ahead of its products
    return frozenset(found - {ENTRY})


def _entries(staged: Staged) -> Iterator[str]:
    """Yield the products whose results the parts of layers read."""
    yield from (product.gemm.name for product in staged.before)
    for layer in staged.layers:
        yield from (name for turn in layer.layers.turns for part in turn for name in part.exits)


def _read_later(name: str, staged: Staged, leaves: VectorStep) -> Iterator[str]:
    """Yield what made what is read behind a product of a graph once a step has worked on it."""
    places = {product.gemm.name: i for i, product in enumerate(staged.before)}

    def place(step: VectorStep) -> int:
        return max((places.get(each, -1) for each in step.after), default=-1)

    for product in staged.before[place(leaves) + 1 :]:
        if name in product.inputs:
            yield from product.takes or (UNKNOWN,)
    seen = False
    for step in staged.steps if staged.before else ():
        seen = seen or step is leaves
        if step is not leaves and name in step.after and (seen or place(step) > place(leaves)):
            yield from (each.maker or UNKNOWN for each in step.reads if not each.kept)


def _sizes(staged: Staged) -> Iterator[tuple[str, int]]:
    """Yield the elements of each product's results, those of a layer's instances together."""
    if staged.source is not None:
        yield from _sizes(staged.source)
    for product in (*staged.before, *staged.after):
        yield product.gemm.name, product.gemm.output_elements
    for layer in staged.layers:
        inside = Counter[str]()
        for product in layer.products:
            inside[product.gemm.name] += product.gemm.output_elements * product.gemm.count
        yield from inside.items()
