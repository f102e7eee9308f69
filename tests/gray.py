"""What colors are in gray: whether a print or a reader who sees none tells them apart."""

from itertools import combinations
from typing import Any

APART = 7.0
"""Steps of CIE L* by which flat areas are told apart."""


def lightness(color: Any) -> float:
    """Return a color's CIE L*, 0 to 100."""
    from matplotlib.colors import to_rgb

    red, green, blue = (
        ((v + 0.055) / 1.055) ** 2.4 if v > 0.04 else v / 12.92 for v in to_rgb(color)
    )
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return float(116 * y ** (1 / 3) - 16 if y > 0.0089 else 903.3 * y)


def alike_bars(figure: Any) -> list[tuple[str, str]]:
    """Return the labels of a figure's bars that neither lightness nor hatch tells apart."""
    bars = {
        container.get_label(): container.patches[0]
        for axes in figure.axes
        for container in axes.containers
        if not container.get_label().startswith("_")
    }
    return [
        (one, other)
        for one, other in combinations(bars, 2)
        if bars[one].get_hatch() == bars[other].get_hatch()
        and abs(lightness(bars[one].get_facecolor()) - lightness(bars[other].get_facecolor()))
        < APART
    ]
