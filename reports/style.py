"""How charts look: one palette, readable by colour-blind readers and on paper."""

from pathlib import Path
from typing import Any

# Okabe and Ito's colours, told apart under the common forms of colour blindness
PALETTE = ("#999999", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#000000")


def figure_style() -> Any:
    """Return matplotlib.pyplot on the file backend, with the project's settings.

    Raises
    ------
    BitlatheError
        matplotlib is not installed.
    """
    from ..datatypes.errors import BitlatheError

    try:
        import matplotlib as mpl
    except ImportError:
        raise BitlatheError(
            "charts need matplotlib: install bitlathe with its [report] extra."
        ) from None
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "svg.hashsalt": "bitlathe",
            "svg.fonttype": "none",  # words of an SVG stay words, to search and to edit
            "figure.dpi": 100,
            "savefig.dpi": 150,
        }
    )
    return plt


def save(figure: Any, *paths: Path) -> None:
    """Write a figure without a date, so that equal figures are equal files; close it."""
    import matplotlib.pyplot as plt

    for path in paths:
        dated = {"Software": None} if path.suffix == ".png" else {"Date": None}
        figure.savefig(path, metadata=dated)
    plt.close(figure)
