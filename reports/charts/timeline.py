"""A picture of a run in time: what is busy in a layer of each kind, and how the whole divides."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .marks import OTHER, mark
from .style import figure_style, save

_EMPTY = "#DCDCDC"  # of a memory, what is not filled
_BRIGHT = 0.45  # luminance from which words on a color are black
_LEAST_LABELED = 0.045  # of the width; names of narrower spans would overlap

_LEGEND_LETTERS = 170  # in a row below the bars, with 8 for the patch of each name


class Bar(NamedTuple):
    """A span of a track: where it starts and how long it is, in any one unit."""

    track: str
    name: str
    start: float
    length: float


class Fill(NamedTuple):
    """How full a memory is, as a share of its size: from when on, and for how long."""

    track: str
    start: float
    length: float
    share: float


def draw_timeline(
    block: Sequence[Bar],
    wholes: Mapping[str, Sequence[tuple[str, float]]],
    title: str,
    what: str,
    path: Path,
    fills: Sequence[Fill] = (),
) -> None:
    """Draw bars on their tracks, and below them the shares of wholes.

    Parameters
    ----------
    block : sequence of Bar
        What is busy when; tracks from top to bottom as they come.
    wholes : mapping of str to sequence of (str, float)
        By name, from top to bottom, what a whole is divided among, in its order, as fractions of 1.
    title : str
    what : str
        Below the bars: what they are, and the unit of their starts and lengths.
    path : Path
        A file ending in .png, .svg or .pdf.
    fills : sequence of Fill
        On tracks of their own below those of the bars.
    """
    plt = figure_style()
    tracks = [bar.track for bar in block] + [fill.track for fill in fills]
    tracks = list(dict.fromkeys(tracks))
    names = list(dict.fromkeys(bar.name for bar in block))
    lengths = {name: sum(bar.length for bar in block if bar.name == name) for name in names}
    longest = sorted(names, key=lambda name: -lengths[name])  # clearest colors to what is seen most
    color = {name: mark(i).color for i, name in enumerate(longest)}
    parts = dict.fromkeys(name for shares in wholes.values() for name, _ in shares)
    others = [name for name in parts if name not in color]
    # of parts that are no bars: grays, from light to dark
    color |= {name: str(0.85 - 0.5 * i / len(others)) for i, name in enumerate(others)}
    figure, (top, bottom) = plt.subplots(
        2, 1, figsize=(10, 1.6 + 0.42 * len(tracks) + 0.5 * len(wholes)),
        height_ratios=[len(tracks), 1.2 * len(wholes)], layout="constrained",
    )  # fmt: skip
    end = max(bar.start + bar.length for bar in block)
    for bar in block:
        row = tracks.index(bar.track)
        top.broken_barh(
            [(bar.start, bar.length)], (-row - 0.4, 0.8), fc=color[bar.name], ec="white", lw=0.4
        )
        if bar.length >= _LEAST_LABELED * end:
            middle = (bar.start + bar.length / 2, -row)
            _write(top, middle, _short(bar.name, bar.length / end), color[bar.name])
    for fill in fills:
        row, length = tracks.index(fill.track), min(fill.length, end - fill.start)
        whole, taken = (-row - 0.4, 0.8), (-row - 0.4, 0.8 * fill.share)
        top.broken_barh([(fill.start, length)], whole, fc=_EMPTY)
        top.broken_barh([(fill.start, length)], taken, fc=OTHER.color)
    top.set_yticks([-i for i in range(len(tracks))], tracks)
    top.set_xlim(0, end)
    top.set_ylim(0.5 - len(tracks), 0.5)
    top.set_xlabel(what)
    top.set_title(title)
    _divide(bottom, wholes, color)
    written = {text.get_text().partition("\n")[0] for axes in (top, bottom) for text in axes.texts}
    unnamed = {name: color[name] for name in (*names, *others) if name not in written}
    if unnamed:
        from matplotlib.patches import Patch

        patches = [Patch(facecolor=shade, label=name) for name, shade in unnamed.items()]
        columns = _LEGEND_LETTERS // (max(map(len, unnamed)) + 8)
        options = {"ncols": max(1, min(6, columns)), "frameon": False, "fontsize": 7}
        figure.legend(handles=patches, loc="outside lower center", **options)
    save(figure, path)


def _divide(
    axes: Any, wholes: Mapping[str, Sequence[tuple[str, float]]], color: dict[str, str]
) -> None:
    """Draw shares of each whole one behind the other, the wholes below each other."""
    for row, shares in enumerate(wholes.values()):
        left = 0.0
        for name, share in shares:
            axes.broken_barh([(left, share)], (-row - 0.4, 0.8), fc=color[name], ec="white", lw=0.4)
            if share >= _LEAST_LABELED:
                label = f"{_short(name, share)}\n{100 * share:.0f} %"
                _write(axes, (left + share / 2, -row), label, color[name])
            left += share
    axes.set_xlim(0, 1)
    axes.set_ylim(0.5 - len(wholes), 0.5)
    axes.set_yticks([-row for row in range(len(wholes))], list(wholes))
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def _write(axes: Any, at: tuple[float, float], words: str, background: str) -> None:
    from matplotlib.colors import to_rgb

    red, green, blue = to_rgb(background)
    ink = "black" if 0.3 * red + 0.59 * green + 0.11 * blue > _BRIGHT else "white"
    axes.text(*at, words, ha="center", va="center", size=7, color=ink)


def _short(name: str, share: float) -> str:
    """Return as much of a name as a bar of this share of the width holds.

    Examples
    --------
    >>> _short("attention_qk", 0.5), _short("attention_qk", 0.05)
    ('attention_qk', 'atten.')
    """
    room = int(share * 130)
    return name if len(name) <= room else f"{name[: max(1, room - 1)]}."
