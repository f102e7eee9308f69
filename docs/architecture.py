"""Draw the house from its imports: rooms as boxes, floors from the imports between them.

``python docs/architecture.py`` writes ``docs/img/architecture.svg`` and the table between the
marks in ``docs/architecture.md``; ``--check`` says whether that table is what the imports are.
"""

import ast
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grimp
import networkx as nx

HERE = Path(__file__).parent
PAGE, PICTURE = HERE / "architecture.md", HERE / "img" / "architecture.svg"
ROOT = "bitlathe"
FLOORS = ("datatypes", "arch", "workloads", "mapping", "sim", "reports")  # lowest first
MARKS = ("<!-- rooms: made by architecture.py -->\n", "<!-- rooms end -->\n")
HALVES = (("reports", "sim", "mapping"), ("workloads", "arch", "datatypes"))  # top floor first
# inches: height of a box, between two rows and around them, from row to row, width of a half
BOX, GAP, STEP, WIDTH = 0.46, 0.3, 0.76, 9.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A sub-package or a file of a floor, and what it imports from beside it."""

    name: str
    holds: str
    files: int
    lines: int
    imports: tuple[str, ...]


def text_of(module: str) -> str:
    """Return the text of a module's file; empty for a folder of data."""
    path = HERE.parent.joinpath(*module.split(".")[1:])
    for file in (path.with_suffix(".py"), path / "__init__.py"):
        if file.exists():
            return file.read_text(encoding="utf-8")
    return ""


def holds(module: str) -> str:
    """Return the first line of a module's docstring."""
    text = ast.get_docstring(ast.parse(text_of(module))) or ""
    return text.partition("\n")[0].removesuffix(".")


def rooms_of(graph: grimp.ImportGraph, floor: str) -> dict[str, Room]:
    """Return the rooms of a floor by name."""
    package = f"{ROOT}.{floor}"
    rooms = {}
    for child in sorted(graph.find_children(package)):
        inside = {child, *graph.find_descendants(child)}
        beside = {
            imported.removeprefix(f"{package}.").split(".")[0]
            for module in inside
            for imported in graph.find_modules_directly_imported_by(module)
            if imported.startswith(f"{package}.") and imported not in inside
        }
        name = child.rsplit(".", 1)[1]
        rooms[name] = Room(
            name=name,
            holds=holds(child),
            files=len(inside),
            lines=sum(text_of(module).count("\n") for module in inside),
            imports=tuple(sorted(beside)),
        )
    return rooms


def levels_of(rooms: dict[str, Room]) -> list[list[str]]:
    """Return the names of rooms, lowest first: a room stands above all that it imports.

    Raises
    ------
    networkx.NetworkXUnfeasible
        If rooms import each other in a circle.
    """
    arrows = nx.DiGraph((other, name) for name, room in rooms.items() for other in room.imports)
    arrows.add_nodes_from(rooms)
    return [sorted(level) for level in nx.topological_generations(arrows)]


def table(houses: dict[str, dict[str, Room]]) -> str:
    """Return the rooms as a Markdown table, the top floor first."""
    rows = ["| room | what it holds | imports beside it |", "|---|---|---|"]
    for floor, rooms in reversed(houses.items()):
        for level in reversed(levels_of(rooms)):
            for name in level:
                room = rooms[name]
                beside = ", ".join(room.imports) or "-"
                file = name if room.files > 1 else f"{name}.py"
                rows.append(f"| `{floor}/{file}` | {room.holds} | {beside} |")
    return "\n".join(rows) + "\n"


def draw(houses: dict[str, dict[str, Room]], path: Path) -> None:
    """Draw the floors in two halves, the upper one on the left; rooms stand above what they use."""
    import matplotlib.pyplot as plt

    plt.rcParams["svg.hashsalt"] = ROOT
    heights = {floor: len(levels_of(rooms)) * STEP + GAP for floor, rooms in houses.items()}
    total = max(sum(heights[floor] for floor in half) for half in HALVES)
    figure, axes = plt.subplots(figsize=(2 * WIDTH + 0.3, total))
    for column, half in enumerate(HALVES):
        left, top = column * (WIDTH + 0.3), total
        for index, floor in enumerate(half):
            bottom = top - heights[floor]
            shade = ("0.96", "0.91")[index % 2]
            corner = (left, bottom)
            axes.add_patch(plt.Rectangle(corner, WIDTH, heights[floor], color=shade, lw=0))
            axes.text(left + 0.15, top - 0.3, floor, fontsize=14, weight="bold", va="center")
            _draw_floor(axes, houses[floor], left, bottom)
            top = bottom
    axes.set(xlim=(0, 2 * WIDTH + 0.3), ylim=(0, total))
    axes.axis("off")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def _draw_floor(axes: Any, rooms: dict[str, Room], left: float, bottom: float) -> None:
    """Draw the rooms of a floor, and an arrow for each import that no others imply."""
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    places = _places(rooms, left, bottom + GAP)
    imports = nx.DiGraph((name, other) for name, room in rooms.items() for other in room.imports)
    for name, other in sorted(nx.transitive_reduction(imports).edges):
        (x, y, _), (u, v, _) = places[name], places[other]
        ends = {"posA": (x, y - BOX / 2), "posB": (u, v + BOX / 2)}
        arrow = FancyArrowPatch(**ends, arrowstyle="-|>", mutation_scale=7, color="0.5", lw=0.7)
        axes.add_patch(arrow)
    for name, (x, y, width) in places.items():
        room = rooms[name]
        edge = 1.8 if room.files > 1 else 0.8
        style = {"boxstyle": "round,pad=0,rounding_size=0.08", "fc": "white", "ec": "0.2"}
        corner = (x - width / 2, y - BOX / 2)
        axes.add_patch(FancyBboxPatch(corner, width, BOX, lw=edge, zorder=2, **style))
        files = f"{room.files} files, " if room.files > 1 else ""
        middle = {"ha": "center", "va": "center", "zorder": 3}
        axes.text(x, y + 0.08, name, fontsize=9, **middle)
        axes.text(x, y - 0.11, f"{files}{room.lines:,} lines", fontsize=6, color="0.35", **middle)


def _places(
    rooms: dict[str, Room], left: float, bottom: float
) -> dict[str, tuple[float, float, float]]:
    """Return (x, y, width) of the box of each room of a floor, each near what it imports."""
    places: dict[str, tuple[float, float, float]] = {}
    for row, level in enumerate(levels_of(rooms)):
        wished = {
            name: sum(places[other][0] for other in rooms[name].imports)
            / max(1, len(rooms[name].imports))
            for name in level
        }
        order = sorted(level, key=lambda name: (wished[name], name))
        widths = [max(1.1, 0.085 * len(name) + 0.3) for name in order]
        spare = (WIDTH - sum(widths)) / (len(order) + 1)
        x = left + spare
        for name, width in zip(order, widths, strict=True):
            places[name] = (x + width / 2, bottom + BOX / 2 + row * STEP, width)
            x += width + spare
    return places


def main() -> None:
    """Write the picture and the table, or check the table."""
    graph = grimp.build_graph(ROOT, cache_dir=None)
    houses = {floor: rooms_of(graph, floor) for floor in FLOORS}
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(MARKS[0])
    found, _, after = rest.partition(MARKS[1])
    made = "\n" + table(houses) + "\n"
    if "--check" in sys.argv:
        sys.exit(None if found == made else f"{PAGE.name} is old: run python docs/architecture.py")
    PAGE.write_text(before + MARKS[0] + made + MARKS[1] + after, encoding="utf-8")
    draw(houses, PICTURE)


if __name__ == "__main__":
    main()
