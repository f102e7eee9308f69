"""Images: their sides and patches, and the windows of a tower whose layers see parts of them."""

from collections import Counter

from ..config import Config
from ..families.family import Family
from ..sizes import check_size

Sides = tuple[int, int]


def image_sides(config: Config, family: Family) -> tuple[Sides, Sides]:
    """Return height and width of an image, and of its patches, in pixels."""
    side = family.image_keys.side
    image = _side(config, "image_size") if side is None or "image_size" in config.data else None
    return image or (side or 0, side or 0), _side(config, "patch_size")


def _side(config: Config, key: str) -> Sides:
    """Read a height and width: one integer for both, or a list of two."""
    value = config.get(key)
    if not isinstance(value, list):
        one = config.integer(key)
        return one, one
    if len(value) != 2 or any(isinstance(v, bool) or not isinstance(v, int) for v in value):
        raise config.error(f"{key!r} is {value!r}; give one integer or two [height, width].", key)
    high, wide = (check_size(f"{config.where(key)}: {key!r}", part) for part in value)
    return high, wide


def merged_grid(config: Config, family: Family) -> Sides:
    """Return rows and columns of an image's squares of ``spatial_merge_size`` patches.

    Raises
    ------
    BitlatheError
        If squares do not make up the image.
    """
    side = config.integer("spatial_merge_size")
    image, patch = image_sides(config, family)
    high, wide = (whole // part for whole, part in zip(image, patch, strict=True))
    if high % side or wide % side:
        raise config.error(
            f"'spatial_merge_size' is {side}, but the image has {high} x {wide} patches; give an "
            f"'image_size' of whole squares, such as {side * patch[0] * max(1, high // side)}.",
            "spatial_merge_size",
        )
    return high // side, wide // side


def image_windows(config: Config, family: Family) -> tuple[tuple[int, int], ...]:
    """Return the windows of an image that see nothing of each other, as (patches, how many).

    They are cut from the first row and column on; those at the far sides may be smaller.

    Raises
    ------
    BitlatheError
        If a window is not as wide as a square of patches.
    """
    key = family.image_keys.window
    assert key is not None
    square = config.integer("spatial_merge_size")
    size = config.integer(key) // square // image_sides(config, family)[1][0]
    if size < 1:
        raise config.error(
            f"{key!r} is {config.integer(key)} pixels, less than a square of patches.", key
        )
    found: Counter[int] = Counter()
    high, wide = (_cut(length, size) for length in merged_grid(config, family))
    for rows, many in high.items():
        for columns, times in wide.items():
            found[rows * columns * square**2] += many * times
    return tuple(found.items())


def _cut(length: int, size: int) -> Counter[int]:
    """Return the pieces of a length, as pieces of ``size`` and what is left over."""
    whole, rest = divmod(length, size)
    return Counter({size: whole}) + Counter({rest: int(rest > 0)})
