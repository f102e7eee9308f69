"""A drawing of a model: its products from top to bottom, and what follows each."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .style import PALETTE, figure_style, save

_HIGH, _WIDE = 0.85, 2.1  # inches of a row, and of a product in it


def ranks(names: Sequence[str], edges: Sequence[tuple[str, str]]) -> dict[str, int]:
    """Return the row of each node: one below the lowest of those that feed it.

    Examples
    --------
    >>> ranks(["a", "b", "c"], [("a", "b"), ("b", "c"), ("a", "c")])
    {'a': 0, 'b': 1, 'c': 2}
    """
    import networkx as nx

    graph = nx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from(edges)
    found: dict[str, int] = {}
    for name in nx.topological_sort(graph):
        found[name] = max((found[tail] + 1 for tail in graph.predecessors(name)), default=0)
    return {name: found[name] for name in names}


def drawing(
    nodes: Sequence[Mapping[str, Any]], edges: Sequence[tuple[str, str]], wide: int = 100
) -> list[str]:
    """Return a graph of products in characters, a line each.

    A product stands in a row below those that feed it, with what a vector unit does to its results
    behind ``+``; what it reads from a row further up stands behind ``<``.

    Parameters
    ----------
    nodes, edges : sequences
        As `workloads.describe.block` returns them.
    wide : int
        Characters of a line.

    Examples
    --------
    >>> one = {"name": "a", "size": "4 x 2", "then": ["relu"]}
    >>> drawing([one, {**one, "name": "b", "then": []}], [("a", "b")])
    ['[a 4 x 2 + relu]', '  |', '[b 4 x 2]']
    """
    row_of = ranks([node["name"] for node in nodes], edges)
    rows: dict[int, list[str]] = {}
    for node in nodes:
        name, row = node["name"], row_of[node["name"]]
        behind = "".join(f" + {step}" for step in node["then"])
        above = [tail for tail, head in edges if head == name and row_of[tail] < row - 1]
        read = f" < {', '.join(above)}" if above else ""
        rows.setdefault(row, []).append(f"[{name} {node['size']}{behind}{read}]")
    text: list[str] = []
    for row in sorted(rows):
        text += ["  |"] if text else []
        line = ""
        for cell in rows[row]:
            if line and len(line) + 1 + len(cell) > wide:
                text.append(line)
                line = ""
            line += f"{' ' if line else ''}{cell}"
        text.append(line)
    return text


def draw_block(
    nodes: Sequence[Mapping[str, Any]], edges: Sequence[tuple[str, str]], title: str, path: Path
) -> None:
    """Draw a graph of products and write it; steps of a vector unit stand below their product.

    Parameters
    ----------
    nodes, edges : sequences
        As `workloads.describe.block` returns them.
    title : str
    path : Path
        A file ending in .png, .svg or .pdf.
    """
    plt = figure_style()
    row_of = ranks([node["name"] for node in nodes], edges)
    rows: dict[int, list[Mapping[str, Any]]] = {}
    for node in nodes:
        rows.setdefault(row_of[node["name"]], []).append(node)
    wide, lines = max(map(len, rows.values())), max(len(node["then"]) for node in nodes)
    high = _HIGH + 0.13 * lines
    figure, axes = plt.subplots(figsize=(_WIDE * wide + 0.5, high * len(rows) + 0.5))
    at = {
        node["name"]: (i - (len(members) - 1) / 2, -row)
        for row, members in rows.items()
        for i, node in enumerate(members)
    }
    for tail, head in edges:
        axes.annotate("", at[head], at[tail], arrowprops={"arrowstyle": "-", "color": PALETTE[0]})
    for node in nodes:
        text = "\n".join([node["name"], node["size"], *(f"+ {name}" for name in node["then"])])
        axes.text(
            *at[node["name"]],
            text,
            ha="center",
            va="center",
            fontsize=8,
            bbox={"boxstyle": "round,pad=0.4", "fc": "white", "ec": PALETTE[5]},
        )
    axes.set_xlim(-wide / 2, wide / 2)
    axes.set_ylim(-max(rows) - 0.5, 0.5)
    axes.set_axis_off()
    axes.set_title(title)
    figure.tight_layout()
    save(figure, path)
