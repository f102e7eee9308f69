"""Draw the house from its imports: rooms as boxes, floors from the imports between them.

``python docs/architecture.py`` writes ``docs/img/architecture.svg`` and the table between the
marks in ``docs/architecture.md``; ``--check`` says whether that table is what the imports are.
"""

import ast
import sys
from dataclasses import dataclass
from pathlib import Path

import grimp
import networkx as nx

HERE = Path(__file__).parent
PAGE, PICTURE = HERE / "architecture.md", HERE / "img" / "architecture.svg"
ROOT = "bitlathe"
FLOORS = ("datatypes", "arch", "workloads", "mapping", "sim", "reports")  # lowest first
MARKS = ("<!-- rooms: made by architecture.py -->\n", "<!-- rooms end -->\n")
BOX, GAP, WIDTH = 0.62, 0.42, 16.0  # inches: height of a box, between floors, of the picture


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
    """Draw all floors, one above the other."""
    import matplotlib.pyplot as plt
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    plt.rcParams["svg.hashsalt"] = ROOT
    heights = {floor: len(levels_of(rooms)) for floor, rooms in houses.items()}
    total = sum(heights.values()) * (BOX + GAP) + len(houses) * GAP * 2
    figure, axes = plt.subplots(figsize=(WIDTH, total))
    bottom = 0.0
    for index, (floor, rooms) in enumerate(houses.items()):
        height = heights[floor] * (BOX + GAP) + GAP
        axes.axhspan(bottom, bottom + height, color=("0.96", "0.91")[index % 2], lw=0)
        axes.text(0.1, bottom + height / 2, floor, fontsize=15, weight="bold", va="center")
        places = _places(rooms, bottom + GAP)
        kept = nx.transitive_reduction(
            nx.DiGraph((name, other) for name, room in rooms.items() for other in room.imports)
        )
        for name, other in kept.edges:
            (x, y, _), (u, v, _) = places[name], places[other]
            axes.add_patch(
                FancyArrowPatch(
                    (x, y - BOX / 2), (u, v + BOX / 2), arrowstyle="-|>", mutation_scale=8,
                    color="0.55", lw=0.8, zorder=1,
                )
            )  # fmt: skip
        for name, (x, y, w) in places.items():
            corner = (x - w / 2, y - BOX / 2)
            axes.add_patch(
                FancyBboxPatch(
                    corner, w, BOX, boxstyle="round,pad=0,rounding_size=0.1", fc="white",
                    ec="0.2", lw=1.0 if rooms[name].files == 1 else 2.0, zorder=2,
                )
            )  # fmt: skip
            axes.text(x, y + 0.09, name, fontsize=10, ha="center", va="center", zorder=3)
            facts = f"{rooms[name].lines:,} lines"
            if rooms[name].files > 1:
                facts = f"{rooms[name].files} files, {facts}"
            axes.text(x, y - 0.16, facts, fontsize=7, color="0.35", ha="center", va="center")
            axes.texts[-1].set_zorder(3)
        bottom += height
    axes.set(xlim=(0, WIDTH), ylim=(0, bottom))
    axes.axis("off")
    figure.savefig(path, bbox_inches="tight", metadata={"Date": None})


def _places(rooms: dict[str, Room], bottom: float) -> dict[str, tuple[float, float, float]]:
    """Return (x, y, width) of the box of each room of a floor, spread over the picture."""
    places = {}
    left = 2.2
    for row, level in enumerate(levels_of(rooms)):
        widths = [max(1.25, 0.105 * len(name) + 0.3) for name in level]
        spare = (WIDTH - left - sum(widths)) / (len(level) + 1)
        x = left + spare
        for name, width in zip(level, widths, strict=True):
            places[name] = (x + width / 2, bottom + BOX / 2 + row * (BOX + GAP), width)
            x += width + spare
    return places


def main() -> None:
    """Write the picture and the table, or check the table."""
    graph = grimp.build_graph(ROOT)
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
