"""What rows leave out, asked of the simulator again: layers for rooflines, names of formats."""

import json
import math
from collections.abc import Collection, Iterable
from typing import Any

from ...arch import resolve
from ...datatypes.base.errors import BitlatheError
from ...sim import Run, simulate
from ...sim.policy import format_labels
from ...sim.run import LayerRun
from ...workloads import Gemm
from .columns import WORKLOAD, is_result
from .frame import Frame
from .origin import Origin

_FORMAT_PREFIX = "scheme."
_NOT_SETTINGS = {*WORKLOAD, "arch", "causal", "fidelity", "mapper", "format", "status", "title"}


def settings_of(row: dict[str, Any], columns: Collection[str] | None = None) -> dict[str, Any]:
    """Return the chip's keys that a row sets, as `load_arch` takes them.

    ``columns``: those that set a key; without it all that are no results.

    Examples
    --------
    >>> row = {"arch": "bitmod", "array.rows": 8, "scheme.linear": "int8", "cycles": 9}
    >>> settings_of(row)
    {'array.rows': 8, 'formats.linear.weight': 'int8'}
    >>> settings_of(row, {"array.rows"})
    {'array.rows': 8}
    """
    settings: dict[str, Any] = {}
    for name, value in row.items():
        if (
            name in _NOT_SETTINGS
            or is_result(name)
            or (columns is not None and name not in columns)
        ):
            continue
        if name.startswith(_FORMAT_PREFIX):
            settings[f"formats.{name.removeprefix(_FORMAT_PREFIX)}.weight"] = value
        elif isinstance(value, str) and value[:1] in {"{", "["}:
            settings[name] = json.loads(value)
        else:
            settings[name] = {"true": True, "false": False}.get(str(value), value)
    return settings


def simulate_row(
    row: dict[str, Any], origin: Origin | None = None
) -> tuple[Run, tuple[Gemm, ...]] | None:
    """Run a row again: the run and its matrix products, one for each layer.

    None where the row's chip or model is not at hand any more.

    ``origin``: what its chip and model were.
    """
    origin = origin or Origin()
    try:
        model = origin.model(str(row["model"]))
        settings = json.dumps(settings_of(row, origin.settings), sort_keys=True)
        arch = origin.chip(str(row["arch"]), settings)
        if model is None or arch is None:
            return None
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
        gemms = model.gemms(
            phase=phase, context=context, batch=batch, causal=causal, logits=run.logits
        )
        return run, gemms
    except (BitlatheError, KeyError, ValueError):
        return None


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
    frame: Frame, rows: Iterable[int], origin: Origin | None = None
) -> dict[int, list[list[Any]]]:
    """Return the layers of some rows.

    A row is left out where the simulator no longer gives the clocks that the row holds (another
    version): a roofline of another chip than the row's would mislead.
    """
    found = {}
    for i in rows:
        row = frame.row(i)
        again = simulate_row(row, origin)
        if again is not None and again[0].cycles == row.get("cycles"):
            found[i] = layer_rows(*again)
    return found


def with_formats(frame: Frame, origin: Origin | None = None) -> Frame:
    """Add the column ``format``: the weight format of linear layers, from the row or its chip.

    Rows of a sweep name their formats; those of other sources may leave them to the chip.
    """
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
                names[i] = default_format(origin or Origin(), *keys)
    return frame.with_texts("format", names)


def default_format(origin: Origin, arch: str, phase: str, model: str) -> str:
    """Return a chip's own weight format of linear layers, or words that say it is the chip's."""
    chip = origin.chip(arch)
    try:
        if chip is not None:
            return format_labels(resolve(chip, phase=phase, model=model), "linear")["weight"]
    except (BitlatheError, ValueError):
        pass
    return "the chip's own"
