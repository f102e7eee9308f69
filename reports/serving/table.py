"""Write the tables of a model on a chip: every step of a grid, and profiles for simulators."""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from ... import __version__
from ...arch import Arch, load_arch
from ...datatypes.base.errors import BitlatheError
from ...sim import Run, simulate
from ...workloads import Model, Source, load_model
from ..explore.tables import write_tables
from .grid import Grid
from .profile import (
    attention_row,
    layer_times,
    moe_row,
    token_rows,
    tokens_step,
)
from .steps import step_row

STEPS = "steps"
Track = Callable[[Iterable[Any], str], Iterable[Any]]
Rows = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Names of a profile's folders; the chip's, and the formats of linear layers, by default.

    Raises
    ------
    BitlatheError
        A name that is none of a folder.
    """

    hardware: str | None = None
    variant: str | None = None

    def __post_init__(self) -> None:
        for argument in ("hardware", "variant"):
            name = getattr(self, argument)
            if name is not None and (name != Path(name).name or name in {"", ".", ".."}):
                raise BitlatheError(
                    f"{argument}: {name!r} is not the name of one folder; give a name without "
                    "slashes."
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The tables of a model on a chip, in memory.

    ``steps`` are rows of `steps.step_row`; ``profile`` the rows of each file of an LLMServingSim
    profile, empty where none was asked for, and ``meta`` what its ``meta.yaml`` says.
    """

    steps: Rows
    profile: dict[str, Rows]
    meta: dict[str, Any]


def tabulate(
    arch: Arch | str | Path,
    model: Model | Source,
    grid: Grid,
    *,
    profile: Names | None = None,
    fidelity: str = "analytic",
    mapper: str = "auto",
    track: Track = lambda items, _: items,
) -> Table:
    """Run every step of a grid on a chip.

    Parameters
    ----------
    arch : Arch, str or Path
        A chip, or what `load_arch` takes.
    model : Model, str, path, mapping or sequence
        A model that generates text, or what `load_model` takes.
    grid : Grid
        The steps.
    profile : Names, optional
        Make an LLMServingSim profile too, under these names: layer times by tokens, by sequences
        and by what is in view.
    fidelity, mapper
        As in `simulate`.
    track : callable
        Shows progress: called with the items of a loop and what they are, returns them.

    Raises
    ------
    BitlatheError
        As `simulate` does; layers that a profile has no place for.
    """
    chip, network = load_arch(arch), load_model(model) if not isinstance(model, Model) else model
    run = partial(simulate, chip, network, fidelity=fidelity, mapper=mapper)
    if profile:
        layer_times(run(step=tokens_step(1, grid)))  # before the grid: a layer without a place
    points = list(grid.points())
    steps: Rows = []
    views: Rows = []
    for point in track(points, "steps"):
        found = run(step=point.step)
        steps.append(step_row(point, found))
        if profile:
            views.append(attention_row(point, layer_times(found)))
    return Table(
        steps=steps,
        profile=_profile(run, grid, views, track) if profile else {},
        meta=_meta(found, grid, profile) if profile else {},
    )


def _meta(run: Run, grid: Grid, names: Names) -> dict[str, Any]:
    """Return what the simulator reads of a profile, and who made it."""
    linear = run.formats["linear"]
    return {
        "profiler_version": f"bitlathe {__version__}",
        "gpu": "n/a",
        "vllm_version": "n/a",
        "hardware": names.hardware or _name(run.arch),
        "model": run.model,
        "variant": names.variant or _name(f"{linear['weight']} {linear['input']}"),
        "tp_degrees": [1],
        "engine_effective": {
            "max_num_batched_tokens": grid.most_tokens,
            "max_num_seqs": max(1, *grid.batches),
        },
    }


def _name(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._]+", "-", text)


def _profile(run: Callable[..., Run], grid: Grid, views: Rows, track: Track) -> dict[str, Rows]:
    """Return the rows of each file of a profile."""
    names = ("dense", "per_sequence", "moe")
    found: dict[str, Rows] = {"attention": views, **{name: [] for name in names}}
    for tokens in track(grid.token_counts, "tokens"):
        costs = run(step=tokens_step(tokens, grid))
        times = layer_times(costs)
        dense, by_sequence = token_rows(times, tokens)
        found["dense"] += dense
        found["per_sequence"] += by_sequence
        if "moe" in times:
            found["moe"].append(moe_row(costs, times, tokens))
    for name in ("dense", "per_sequence"):
        found[name].sort(key=lambda row: row["layer"])  # stable: sizes stay in order
    return {name: rows for name, rows in found.items() if rows}


def write(table: Table, out: Path) -> list[Path]:
    """Write tables into a folder, made where it is not there; return the files.

    ``steps.csv``, with pyarrow ``steps.parquet``, and ``HARDWARE/MODEL/VARIANT/`` with
    ``meta.yaml`` and ``tp1/*.csv`` where there is a profile.

    Raises
    ------
    BitlatheError
        A folder that cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        paths, _ = write_tables(out / STEPS, lambda: iter(table.steps), list(table.steps[0]))
        if table.profile:
            meta = table.meta
            folder = out / meta["hardware"] / meta["model"] / meta["variant"]
            (folder / "tp1").mkdir(parents=True, exist_ok=True)
            texts = {f"tp1/{name}.csv": _csv(rows) for name, rows in table.profile.items()}
            texts["meta.yaml"] = yaml.safe_dump(meta, sort_keys=False)
            paths += [_written(folder / name, text) for name, text in texts.items()]
    except OSError as err:
        raise BitlatheError(f"{out}: cannot be written ({err.strerror}).") from None
    return paths


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="\n")
    return path
