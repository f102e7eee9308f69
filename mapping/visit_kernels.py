"""Where loops take a tile: blocks, turns, visits, compiled; the twin of `mapping.blocks`.

A *nest* is the dimensions of the loops and their tiles, outermost first, and how many there are. A
block of ``b`` elements takes ceil(b / step_tile) steps of the array.
"""

# mypy: disable-error-code="no-untyped-def, no-untyped-call, untyped-decorator, no-any-return"

from ..datatypes.base.inner_kernels import inner

ALL, FIRST, LAST = 0, 1, 2


@inner
def steps(block, step_tile):
    """Return the steps that a block takes."""
    count = 1
    for d in range(step_tile.size):
        count *= (block[d] + step_tile[d] - 1) // step_tile[d]
    return count


@inner
def one_tile(i, cut, relevant, block, dims, tiles):
    """Whether the loops from ``i`` to the cut make one tile of the block."""
    for j in range(i, cut):
        d = dims[j]
        if relevant >> d & 1 and tiles[j] < block[d]:
            return False
    return True


@inner
def descend(i, cut, edge, relevant, block, dims, tiles):
    """Narrow a block to its first, or last, visit; return the first loop inside that."""
    while not one_tile(i, cut, relevant, block, dims, tiles):
        d, tile = dims[i], tiles[i]
        if tile < block[d]:
            rest = block[d] % tile if edge == LAST else 0
            block[d] = rest if rest else tile
        i += 1
    return i


@inner
def pass_steps(i, edge, relevant, block, nest, step_tile, scratch):
    """Return the steps of the first, or last, turn over the tile, from loop ``i`` inwards."""
    dims, tiles, loops = nest
    for d in range(step_tile.size):
        scratch[d] = block[d]
    for j in range(i, loops):
        d, tile = dims[j], tiles[j]
        if tile < scratch[d]:
            if relevant >> d & 1:
                return steps(scratch, step_tile)
            rest = scratch[d] % tile if edge == LAST else 0
            scratch[d] = rest if rest else tile
    return 1


@inner
def visits_alike(i, cut, edge, relevant, block, nest, scratch):
    """Return the visits to a block's tiles, or the first or last of each; 0 if some differ."""
    dims, tiles, _ = nest
    for d in range(block.size):
        scratch[d] = block[d]
    end = i
    for j in range(i, cut):
        if tiles[j] < scratch[dims[j]]:
            scratch[dims[j]] = tiles[j]
            if relevant >> dims[j] & 1:
                end = j + 1
    for d in range(block.size):
        scratch[d] = block[d]
    visits = 1
    for j in range(i, end):
        d, tile = dims[j], tiles[j]
        if tile < scratch[d]:
            turns = scratch[d] // tile
            if turns * tile < scratch[d]:
                return 0
            if edge == ALL or relevant >> d & 1:
                visits *= turns
            scratch[d] = tile
    return visits


@inner
def finishes(cut, relevant, sizes, nest):
    """Whether no tile is visited again: no loop of the reduction outside one that moves on."""
    dims, tiles, _ = nest
    for j in range(cut):
        if relevant >> dims[j] & 1:
            continue
        if tiles[j] < _first_extent(j, dims[j], sizes, dims, tiles):
            for i in range(j + 1, cut):
                d = dims[i]
                if relevant >> d & 1 and tiles[i] < _first_extent(i, d, sizes, dims, tiles):
                    return False
            # the loops inside have no tile to move on to either
            return True
    return True


@inner
def _first_extent(i, d, sizes, dims, tiles):
    extent = sizes[d]
    for j in range(i):
        if dims[j] == d and tiles[j] < extent:
            extent = tiles[j]
    return extent
