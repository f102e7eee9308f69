"""Chart of the study: energies over FP16 by model and method, as counted and corrected."""

from pathlib import Path

from ...charts.style import bars, figure_style, save
from .study import Reproduction, published


def draw_energies(study: Reproduction, path: Path) -> None:
    """Draw energies over those of FP16: bars as published, diamonds corrected."""
    plt = figure_style()
    figure, axes = plt.subplots(figsize=(9, 4), constrained_layout=True)
    of = {(row["model"], row["method"]): row for row in study.rows}
    models, methods = published()["models"], list(published()["methods"])[1:]
    width = 0.84 / len(methods)
    corrected = {"marker": "D", "ls": "", "ms": 4, "mfc": "white", "mec": "black", "mew": 0.8}
    for i, method in enumerate(methods):
        places = [x - 0.42 + width * (i + 0.5) for x in range(len(models))]
        title = published()["methods"][method]["title"]
        for key, forms in (("reproduced_mj", "bar"), ("corrected_mj", "mark")):
            shares = [of[model, method][key] / of[model, "fp16"][key] for model in models]
            if forms == "bar":
                axes.bar(places, shares, 0.9 * width, label=title, **bars(i + 1))
            else:
                axes.plot(places, shares, label="corrected" if not i else None, **corrected)
    axes.set_xticks(range(len(models)), list(models))
    axes.set_ylabel("energy of a token over that of FP16")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    axes.legend(ncols=5, loc="upper center", bbox_to_anchor=(0.5, 1.14), frameon=False)
    save(figure, path)
