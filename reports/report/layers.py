"""What rows leave out, asked of the simulator again: layers for rooflines, names of formats."""

import json
import math
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from ...arch import load_arch, resolve
from ...datatypes.errors import BitlatheError
from ...sim import Run, simulate
from ...sim.run import LayerRun
from ...workloads import Gemm, load_model
from .columns import WORKLOAD, is_result
from .frame import Frame

_FORMAT_PREFIX = "scheme."
_NOT_SETTINGS = {*WORKLOAD, "arch", "causal", "fidelity", "mapper", "format", "status", "title"}


def settings_of(row: dict[str, Any]) -> dict[str, Any]:
    """Return the chip's keys that a row sets, as `load_arch` takes them.

    Examples
    --------
    >>> settings_of({"arch": "bitmod", "array.rows": 8, "scheme.linear": "int8", "cycles": 9})
    {'array.rows': 8, 'formats.linear.weight': 'int8'}
    """
    settings: dict[str, Any] = {}
    for name, value in row.items():
        if name in _NOT_SETTINGS or is_result(name):
            continue
        if name.startswith(_FORMAT_PREFIX):
            settings[f"formats.{name.removeprefix(_FORMAT_PREFIX)}.weight"] = value
        elif isinstance(value, str) and value[:1] in {"{", "["}:
            settings[name] = json.loads(value)
        else:
            settings[name] = {"true": True, "false": False}.get(str(value), value)
    return settings


def simulate_row(
    row: dict[str, Any], home: Path | None = None
) -> tuple[Run, tuple[Gemm, ...]] | None:
    """Run a row again: the run and its matrix products, one for each layer.

    None where the row's chip or model is not at hand any more.

    ``home``: the folder that relative paths of chips and models start from.
    """
    try:
        model = _model(_place(str(row["model"]), home))
        arch = _arch(_place(str(row["arch"]), home), json.dumps(settings_of(row), sort_keys=True))
        context = row.get("context") if model.kind in {"decoder", "encoder"} else None
        phase, batch = row["phase"], row.get("batch", 1)
        causal = row.get("causal") in {True, "true"}
        run = simulate(
            arch,
            model,
            phase,
            context,
            batch,
            fidelity=row.get("fidelity", "analytic"),
            mapper=row.get("mapper", "whole-buffer"),
            causal=causal,
        )
        return run, model.gemms(phase=phase, context=context, batch=batch, causal=causal)
    except (BitlatheError, KeyError, ValueError):
        return None


def _place(name: str, home: Path | None) -> str:
    is_path = "/" in name or Path(name).suffix in {".yaml", ".yml", ".json"}
    return str(home / name) if home is not None and is_path else name


def title_of(arch: str, home: Path | None = None) -> str:
    """Return a chip's title; nothing where the chip is not at hand."""
    try:
        return str(_arch(_place(arch, home), "{}").title)
    except (BitlatheError, ValueError):
        return ""


@cache
def _model(name: str) -> Any:
    return load_model(name)


@cache
def _arch(name: str, settings: str) -> Any:
    return load_arch(name, json.loads(settings))


def _shape(layer: Gemm | LayerRun) -> tuple[int, int, int, int]:
    return layer.m, layer.n, layer.k, layer.batch


def layer_rows(run: Run, gemms: tuple[Gemm, ...]) -> list[list[Any]]:
    """Return a run's layers for a roofline.

    Parameters
    ----------
    run : Run
        The run.
    gemms : tuple of Gemm
        Its matrix products: under a causal mask they do less than their shape says. A product may
        be several layers of the run, where its instances differ in what goes on beside them; a
        layer with a name of its own (of equal convolutions) has no mask.

    Returns
    -------
    list of [name, count, MACs, DRAM bytes, clocks, stalled clocks, utilisation, energy in pJ]
        Figures of one instance.
    """
    macs = {(gemm.name, *_shape(gemm)): gemm.macs for gemm in gemms}
    return [
        [
            layer.name,
            layer.count,
            macs.get((layer.name, *_shape(layer)), math.prod(_shape(layer))),
            sum(layer.dram_bits.values()) / 8,
            layer.cycles,
            layer.stall_cycles,
            float(f"{layer.utilization:.5g}"),
            float(f"{layer.energy_pj['total']:.6g}"),
        ]
        for layer in run.layers
    ]


def layers_of(
    frame: Frame, rows: Iterable[int], home: Path | None = None
) -> dict[int, list[list[Any]]]:
    """Return the layers of some rows.

    A row is left out where the simulator no longer gives the clocks that the row holds (another
    version, an edited chip): a roofline of another chip than the row's would mislead.
    """
    found = {}
    for i in rows:
        row = frame.row(i)
        again = simulate_row(row, home)
        if again is not None and again[0].cycles == row.get("cycles"):
            found[i] = layer_rows(*again)
    return found


def with_formats(frame: Frame, home: Path | None = None) -> Frame:
    """Add the column ``format``: the weight format of linear layers, from the row or its chip."""
    if "format" in frame.texts or "arch" not in frame.texts:
        return frame
    if "scheme.linear" in frame.texts:
        given = frame.texts["scheme.linear"]
        names = [given.levels[code] for code in given.codes]
    else:
        names = [""] * frame.count
    if not all(names):
        columns = [frame.texts.get(name) for name in ("arch", "phase", "model")]
        for i, name in enumerate(names):
            if not name:
                keys = [c.levels[c.codes[i]] if c is not None else "" for c in columns]
                names[i] = default_format(_place(keys[0], home), *keys[1:])
    return frame.with_texts("format", names)


@cache
def default_format(arch: str, phase: str, model: str) -> str:
    """Return a chip's own weight format of linear layers, or words that say it is the chip's."""
    try:
        chip = resolve(load_arch(arch), phase=phase, model=model)
    except (BitlatheError, ValueError):
        return "the chip's own"
    return str(chip.formats.linear.weight.label)
