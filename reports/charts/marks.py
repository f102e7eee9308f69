"""Marks of series: a color and an outline each, the same on pages and in charts for papers."""

from dataclasses import dataclass
from functools import cache
from math import cos, pi, sin
from typing import Any

from .style import PALETTE

Ring = tuple[tuple[float, float], ...]


def _polygon(corners: int, start: float = pi / 2, depth: float = 1.0, size: float = 1.0) -> Ring:
    """Return a regular polygon; ``depth`` below 1 draws every second corner inwards: a star."""
    turns = [start + 2 * pi * k / corners for k in range(corners)]
    radii = [size * (depth if k % 2 else 1.0) for k in range(corners)]
    return tuple(
        (round(r * cos(t), 3), round(-r * sin(t), 3)) for r, t in zip(radii, turns, strict=True)
    )


_ARM = 0.38
_PLUS: Ring = (
    *((-_ARM, -1.15), (_ARM, -1.15), (_ARM, -_ARM), (1.15, -_ARM), (1.15, _ARM), (_ARM, _ARM)),
    *((_ARM, 1.15), (-_ARM, 1.15), (-_ARM, _ARM), (-1.15, _ARM), (-1.15, -_ARM), (-_ARM, -_ARM)),
)


def _turned(ring: Ring) -> Ring:
    """Return a ring turned by an eighth of a circle."""
    half = 0.5**0.5
    return tuple((round(half * (x - y), 3), round(half * (x + y), 3)) for x, y in ring)


# Outlines around (0, 0), y downwards, of about equal area; those told apart best come first.
OUTLINES: tuple[Ring, ...] = (
    _polygon(16),
    ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
    ((0, -1.15), (1.1, 0.85), (-1.1, 0.85)),
    ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
    ((0, 1.15), (1.1, -0.85), (-1.1, -0.85)),
    _PLUS,
    ((-1.15, 0), (0.85, -1.1), (0.85, 1.1)),
    ((1.15, 0), (-0.85, 1.1), (-0.85, -1.1)),
    _turned(_PLUS),
    _polygon(10, depth=0.45, size=1.35),
    ((-1.35, -0.5), (1.35, -0.5), (1.35, 0.5), (-1.35, 0.5)),
    ((-0.5, -1.35), (0.5, -1.35), (0.5, 1.35), (-0.5, 1.35)),
    ((-1.05, -1.1), (1.05, -1.1), (-1.05, 1.1), (1.05, 1.1)),
    ((-1.1, -1.05), (1.1, 1.05), (1.1, -1.05), (-1.1, 1.05)),
    (
        (-1.15, -0.7),
        (1.15, -0.7),
        (1.15, 0),
        (0.4, 0),
        (0.4, 1.1),
        (-0.4, 1.1),
        (-0.4, 0),
        (-1.15, 0),
    ),
    ((-1.15, 0.75), (0, -1.25), (1.15, 0.75), (0, 0.1)),
)
HOLED = 10  # outlines that a hole leaves recognizable
_SHADES = ((0.0, 0), (0.45, 0), (0.55, 255), (0.25, 0))  # one for each turn of the palette
_HOLE: Ring = _polygon(12, size=0.48)[::-1]  # the other way round, so that it stays empty
MOST = len(OUTLINES) + HOLED


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A color and the rings of an outline; a second ring is a hole."""

    color: str
    rings: tuple[Ring, ...]

    def style(self, size: float) -> dict[str, Any]:
        """Return how matplotlib draws it, about ``size`` points wide."""
        # matplotlib scales every outline to one width; a star needs more of it than a square
        width = max(abs(v) for corner in self.rings[0] for v in corner)
        return {"marker": _path(self.rings), "ms": size * width, "ls": "", "color": self.color}


# the first of the palette is gray: kept for what is left over
OTHER = Mark(color=PALETTE[0], rings=(_polygon(16),))


def mark(place: int) -> Mark:
    """Return the mark of the series at a place.

    No two of the first ``MOST`` share an outline, or a color: behind the palette come its shades.
    """
    colors = PALETTE[1:]
    holed = place >= len(OUTLINES)
    outline = OUTLINES[(place - len(OUTLINES)) % HOLED if holed else place]
    rings = (outline, _HOLE) if holed else (outline,)
    turn, number = divmod(place, len(colors))
    return Mark(color=_shade(colors[number], *_SHADES[turn % len(_SHADES)]), rings=rings)


def _shade(color: str, share: float, toward: int) -> str:
    """Return a color with a share of black (0) or white (255) in it; of black always white."""
    parts = [int(color[k : k + 2], 16) for k in (1, 3, 5)]
    end = toward if any(parts) else 255
    return "#" + "".join(f"{round(part + share * (end - part)):02X}" for part in parts)


@cache
def _path(rings: tuple[Ring, ...]) -> Any:
    from matplotlib.path import Path

    corners = [(x, -y) for ring in rings for x, y in (*ring, ring[0])]
    codes = [
        code
        for ring in rings
        for code in (Path.MOVETO, *[Path.LINETO] * (len(ring) - 1), Path.CLOSEPOLY)
    ]
    return Path(corners, codes)
