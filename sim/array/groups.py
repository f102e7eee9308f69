"""The pace of groups: how soon the sum of one may follow another's to the rescale unit."""


def clocks_after_first(groups: int, full: int, last: int, *, gap: int, unit: int) -> int:
    """Return the clocks from the first hand-over of a tile's sums to its last.

    A group waits until the unit has rescaled the one before: with T clocks of terms it takes
    max(T + gap, unit).

    Parameters
    ----------
    groups : int
        Groups of the tile.
    full, last : int
        Clocks of terms of each group but the last, and of the last.
    gap, unit : int
        Clocks between groups, and of the unit for a sum.

    Examples
    --------
    >>> clocks_after_first(3, 4, 2, gap=1, unit=4)  # 4 + 1, then the unit's 4
    9
    """
    if groups < 2:
        return 0
    return (groups - 2) * max(full + gap, unit) + max(last + gap, unit)
