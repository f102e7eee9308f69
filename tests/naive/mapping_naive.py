"""Every mapping of a small space, one after the other, without bounds.

The space as `bitlathe.mapping.space` words it, written down anew: extents by trying all numbers of
blocks, every order of every group of loops, every set of doubled tiles that fits.
"""

from itertools import permutations, product
from math import prod


def extents(size):
    return sorted({-(-size // blocks) for blocks in range(1, size + 1)})


def unrollings(sizes, axes):
    """Yield tuples of (axis, dim, extent); axes: (name, size, dims)."""
    choices = []
    for name, most, dims in sorted(axes):
        ways = [()]
        single = [(name, d, u) for d in sorted(dims) for u in extents(sizes[d]) if 1 < u <= most]
        ways += [(one,) for one in single]
        ways += [
            (one, two)
            for one in single
            for two in single
            if one[1] < two[1] and one[2] * two[2] <= most
        ]
        choices.append(ways)
    for way in product(*choices):
        yield tuple(each for some in way for each in some)


def tilings(sizes, way, kept):
    """Yield, per tier below the outermost, the tile of each dimension.

    ``kept``: for each of those tiers the dimensions that index what it keeps.
    """
    step = {d: prod(u for _, dim, u in way if dim == d) for d in sizes}

    def chains(dim, tiers, around):
        if not tiers:
            yield ()
            return
        first, *rest = tiers
        blocks = -(-min(around, sizes[dim]) // step[dim])
        for tile in extents(blocks) if dim in first else [None]:
            inside = around if tile is None else tile * step[dim]
            for chain in chains(dim, rest, inside):
                below = chain[0] if chain else step[dim]
                yield (below if tile is None else inside, *chain)

    dims = list(sizes)
    for chosen in product(*(list(chains(dim, kept, sizes[dim])) for dim in dims)):
        groups = [
            {d: chain[g] for d, chain in zip(dims, chosen, strict=True)} for g in range(len(kept))
        ]
        yield [*groups, step]


def nests(sizes, groups):
    """Yield the loops of each group in every order, dimensions with one block left out."""
    ways = []
    around = dict(sizes)
    for tile in groups:
        live = [d for d in sizes if tile[d] < around[d]]
        ways.append([[(d, tile[d]) for d in order] for order in permutations(live)])
        around = {d: min(around[d], tile[d]) for d in sizes}
    yield from product(*ways)


PARTS = {"m": "mpq", "k": "crs", "n": "n"}
TOGETHER = ("mpq", "n", "crs")  # loops of a convolution that stand together, in this order


def conv_axes(axes):
    """Yield axes with the dimensions of a convolution that they unroll."""
    for name, most, dims in axes:
        yield name, most, sorted(part for dim in dims for part in PARTS[dim])


def conv_tilings(sizes, way, kept, copied):
    """Yield, per tier below the outermost, the tile of each dimension of a convolution.

    ``copied``: which of those tiers are of units: q, r and s are whole, or a step's, there, and
    whole elsewhere. Of groups there is a step's in all.
    """
    step = {d: prod(u for _, dim, u in way if dim == d) for d in sizes}
    whole = {d: -(-size // step[d]) * step[d] for d, size in sizes.items()}
    others = {d: size for d, size in sizes.items() if d not in "qrsg"}
    fixed = [d for d in sizes if d in "qrs"]
    for groups in tilings(others, [u for u in way if u[1] in others], kept):
        for taken in product((True, False), repeat=len(fixed) * len(kept)):
            found, legal = [], True
            for g, tile in enumerate(groups):
                extra = {"g": step["g"]} if "g" in sizes else {}
                for i, d in enumerate(fixed):
                    if g == len(kept):
                        extra[d] = step[d]
                        continue
                    full = taken[g * len(fixed) + i]
                    legal &= full or (copied[g] and whole[d] > step[d])
                    legal &= not full or not copied[g] or d in kept[g] or whole[d] == step[d]
                    legal &= not full or g == 0 or found[g - 1][d] == whole[d]
                    extra[d] = whole[d] if full else step[d]
                found.append({**tile, **extra})
            if legal:
                yield found


def conv_nests(sizes, groups):
    """Yield the loops of each group of a convolution: groups, then kinds in every order."""
    ways, around = [], dict(sizes)
    for tile in groups:
        live = [d for d in sizes if tile[d] < around[d]]
        kinds = [kind for kind in TOGETHER if any(d in live for d in kind)]
        ways.append(
            [
                [(d, tile[d]) for d in ("g", *"".join(order)) if d in live]
                for order in permutations(kinds)
            ]
        )
        around = {d: min(around[d], tile[d]) for d in sizes}
    yield from product(*ways)
