"""How charts look: one palette, readable by color-blind readers and on paper."""

from pathlib import Path
from typing import Any

from ..provenance import Facts, software

# Okabe and Ito's colors, told apart under the common forms of color blindness
PALETTE = ("#999999", "#E69F00", "#56B4E9", "#009E73", "#D55E00", "#0072B2", "#CC79A7", "#000000")
HATCHES = ("", "//", "..", "\\\\", "xx", "--", "||", "")  # of bars, whose colors are alike in gray


def bars(number: int) -> dict[str, Any]:
    """Return how `Axes.bar` draws a series of PALETTE's so that gray prints tell it apart."""
    look = {"color": PALETTE[number], "hatch": HATCHES[number]}
    return {**look, "edgecolor": "white", "linewidth": 0}


def figure_style() -> Any:
    """Return matplotlib.pyplot on the file backend, with the project's settings.

    Raises
    ------
    BitlatheError
        matplotlib is not installed.
    """
    from ...datatypes.base.errors import BitlatheError, to_install

    try:
        import matplotlib as mpl
    except ImportError:
        raise BitlatheError(
            f"charts need matplotlib: {to_install('matplotlib', 'report')}."
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


def save(figure: Any, *paths: Path, made: Facts | None = None) -> None:
    """Write a figure, with what made it in its metadata; close it.

    Without the date of writing, so that equal figures are equal files.

    Parameters
    ----------
    figure : Figure
        What to write.
    *paths : Path
        Files ending in .png or .svg.
    made : mapping, optional
        Provenance of the points: their command and date.

    Raises
    ------
    BitlatheError
        A file cannot be written, or ends in what matplotlib does not draw.
    """
    import matplotlib.pyplot as plt

    drawn, points = software(), dict(made or {})
    source = f"{points['command']} ({software(points)})" if points else ""
    for path in paths:
        if path.suffix == ".png":
            facts = {"Software": drawn, "Source": source, "Creation Time": points.get("date")}
        else:
            facts = {"Creator": drawn, "Source": source, "Date": points.get("date")}
        # None takes out what matplotlib would write of its own
        _write(figure, path, {k: v or None for k, v in facts.items()})
    plt.close(figure)


def _write(figure: Any, path: Path, metadata: Facts) -> None:
    from ...datatypes.base.errors import BitlatheError
    from ...datatypes.base.files import shown_path

    place = shown_path(path)
    try:
        if path.is_dir() or not path.suffix:  # matplotlib would write to a name of its own
            raise BitlatheError(
                f"cannot write {place}: name a file that ends in .png, .svg or .pdf."
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata=metadata)
    except OSError as err:
        raise BitlatheError(f"cannot write {place}: {err.strerror}.") from None
    except ValueError as err:
        raise BitlatheError(f"cannot write {place}: {err}; use .png, .svg or .pdf.") from None
