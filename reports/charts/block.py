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
