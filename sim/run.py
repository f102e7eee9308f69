"""Results: what a layer and a model cost on a chip."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from .. import __version__
from ..datatypes.base.notebook import axes_of, frame, html

ENERGY_COMPONENTS = ("pe", "sram_read", "sram_write", "dram", "leakage")
STALL_CAUSES = ("weights", "inputs", "outputs", "bandwidth", "rescale", "pipeline")
"""What the array waits for within a product; with a vector unit also for that: ``vector``."""


def with_total(parts: Mapping[str, float]) -> dict[str, float]:
    """Return a breakdown with its sum under ``total``, exact and rounded once (`math.fsum`)."""
    return {**parts, "total": math.fsum(parts.values())}


class Filled(NamedTuple):
    """Bits that lie in a memory, and its size; None: it has none."""

    bits: int
    size_bits: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRun:
    """Cost of one instance of a layer; ``count`` identical instances run.

    ``cycles`` is the layer's time, ``stall_cycles`` the part in which the array waits;
    ``utilization`` is multiply-accumulates done over those the array could do in ``cycles``.
    ``dram_bits`` by operand; ``sram_accesses`` in full-port accesses; ``energy_pj`` by component
    with its total; ``stalls`` the stall clocks by cause, where the rung finds them;
    ``required_bits_per_clock`` the DRAM bandwidth it needs (`cycle.bandwidth`), where asked for;
    ``busy_cycles`` the clocks in which the array works and in which each memory's busiest port
    does, ``binds`` what is busy longest, ``mapping`` the loop nests of its products as plain data
    (`mapping.nest`), where a mapper chose them. ``unit`` is ``vector`` for what the vector unit
    does between products: its ``cycles`` are those that the array waits, ``busy_cycles`` all.
    ``scale_cycles`` are those in which the unit multiplies by a product's scales (`scales`).
    ``fused`` tells of layers that run as one group (`sim.fused`): their names, multiply-accumulates
    and tiling; sizes are those of the first, ``mapping`` has the products of their blocks.
    ``tiles`` gives, when it is called, what `held` tells; it is no part of the result as data.
    """

    name: str
    count: int
    m: int
    n: int
    k: int
    batch: int
    compute_cycles: int
    dram_cycles: int
    stall_cycles: int
    cycles: int
    utilization: float
    dram_bits: dict[str, int]
    sram_accesses: dict[str, int]
    energy_pj: dict[str, float]
    stalls: dict[str, int] | None = None
    required_bits_per_clock: float | None = None
    binds: str | None = None
    busy_cycles: dict[str, int] | None = None
    mapping: tuple[dict[str, Any], ...] | None = None
    unit: str | None = None
    scale_cycles: int | None = None
    fused: dict[str, Any] | None = None
    tiles: Callable[[], Mapping[str, Filled]] | None = field(
        default=None, compare=False, repr=False
    )

    @property
    def held(self) -> Mapping[str, Filled]:
        """What lies in each memory on the chip at most, registers aside, and what it has room for.

        The layer's tiles, of one copy where units have their own; empty where no mapper chose them.
        """
        return {} if self.tiles is None else self.tiles()

    @property
    def dense_macs(self) -> int:
        """Multiply-accumulates of its shapes, masked ones too; of a group those of its products."""
        if self.fused is not None:
            return int(self.fused["dense_macs"])
        return self.m * self.n * self.k * self.batch

    @property
    def total(self) -> dict[str, Any]:
        """What all ``count`` instances take together: clocks, DRAM bits, accesses, energy."""
        times = self.count
        stalls, busy = self.stalls, self.busy_cycles
        return {
            "compute_cycles": self.compute_cycles * times,
            "dram_cycles": self.dram_cycles * times,
            "stall_cycles": self.stall_cycles * times,
            "cycles": self.cycles * times,
            "dram_bits": {part: bits * times for part, bits in self.dram_bits.items()},
            "sram_accesses": {part: n * times for part, n in self.sram_accesses.items()},
            "energy_pj": {part: energy * times for part, energy in self.energy_pj.items()},
            **({} if stalls is None else {"stalls": {c: n * times for c, n in stalls.items()}}),
            **({} if busy is None else {"busy_cycles": {p: n * times for p, n in busy.items()}}),
        }

    @property
    def busy(self) -> float:
        """Share of the layer's clocks in which what binds it is busy; 0 where nothing is known.

        At most 1: what works beside the array has fewer clocks of its own than of work.
        """
        if self.busy_cycles is None or self.binds is None or not self.cycles:
            return 0.0
        return min(1.0, self.busy_cycles[self.binds] / self.cycles)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON: figures of one instance, and ``total`` of all of them."""
        data = {name: getattr(self, name) for name in self.__slots__ if name != "tiles"}
        figures = {k: None if v == math.inf else v for k, v in data.items() if v is not None}
        return {**figures, "total": self.total}


@dataclass(frozen=True, kw_only=True)
class Run:
    """Cost of a model on a chip: totals over all layers and the layers themselves.

    ``settings`` are the chip's keys that were set by hand, ``formats`` the schemes of each kind of
    layer that the model has (linear, attention, lm_head, conv) by operand, as they were resolved
    for this phase and model. ``logits`` are the tokens of a prefill that the output head worked on,
    ``unpriced`` the keys of the PE that its cost does not cover, ``uncounted`` the work between
    products which costs nothing here: all of it on a chip without a vector unit, and operations of
    a traced graph that no unit is asked for. ``step`` is what a server
    ran at once: then the context is the longest in view, the batch all sequences. ``tokens`` are
    those that were computed, of all sequences; None for models of images and lists of products.
    ``idle_rules`` are the chip's ``formats.rules`` that name products of which the run has none.
    ``first_token``: whether it ends with the first token of an answer, as a prefill does.
    ``calibrated``: what a growing K/V cache stores with scales that are known beforehand.
    ``unfused``: why groups that could run as one are apart, by their names (`sim.fused`).
    ``remarks``: what is not counted of scales and codes, and what scales hold up (`sim.remarks`).
    ``no_search`` is why mapper ``auto`` took a rule, where it did.
    """

    arch: str
    model: str
    phase: str
    context: int | None
    batch: int
    fidelity: str
    mapper: str
    clock_ghz: float
    area_um2: dict[str, float]
    layers: tuple[LayerRun, ...]
    causal: bool = False
    logits: str = "all"
    no_search: str | None = None
    unpriced: tuple[str, ...] = ()
    uncounted: tuple[str, ...] = ()
    idle_rules: tuple[str, ...] = ()
    calibrated: tuple[str, ...] = ()
    unfused: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    step: Mapping[str, Any] | None = None
    tokens: int | None = None
    first_token: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    formats: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    required_bits_per_clock: float | None = None

    @cached_property
    def cycles(self) -> int:
        """Clocks of the whole model."""
        return sum(layer.cycles * layer.count for layer in self.layers)

    @property
    def seconds(self) -> float:
        """Time of the whole model."""
        return self.cycles / (self.clock_ghz * 1e9)

    @property
    def tokens_per_second(self) -> float | None:
        """Tokens computed in a second; None where there are none."""
        return None if self.tokens is None or not self.cycles else self.tokens / self.seconds

    @property
    def energy_per_token_pj(self) -> float | None:
        """Energy of a token computed; None where there are none."""
        return None if self.tokens is None else self.energy_pj["total"] / self.tokens

    @property
    def time_to_first_token_s(self) -> float | None:
        """Time from a prompt to the first token of its answer; None where the run makes none.

        That of a prefill, towers of images and sounds not included (`sim.request`).
        """
        return self.seconds if self.first_token else None

    @property
    def model_flops_utilization(self) -> float | None:
        """`utilization` of a model that computes tokens, under its name in serving."""
        return None if self.tokens is None else self.utilization

    @property
    def power_w(self) -> float:
        """Mean power, DRAM included."""
        return self.energy_pj["total"] * 1e-12 / self.seconds if self.cycles else 0.0

    @property
    def utilization(self) -> float:
        """Model FLOPs utilization (PaLM, arXiv 2204.02311).

        Multiply-accumulates of the model over those that the array could do in the run's clocks,
        at each layer's formats.
        """
        busy = math.fsum(each.utilization * each.cycles * each.count for each in self.layers)
        return busy / self.cycles if self.cycles else 0.0

    @cached_property
    def energy_pj(self) -> dict[str, float]:
        """Energy of the whole model by component, with its total."""
        parts = dict.fromkeys(ENERGY_COMPONENTS) | dict.fromkeys(
            part for layer in self.layers for part in layer.energy_pj if part != "total"
        )
        return with_total(
            {
                part: math.fsum(
                    layer.energy_pj.get(part, 0.0) * layer.count for layer in self.layers
                )
                for part in parts
            }
        )

    @property
    def dram_bits(self) -> dict[str, int]:
        """DRAM traffic of the whole model by operand, with its total."""
        parts: dict[str, int] = {}
        for layer in self.layers:
            for part, bits in layer.dram_bits.items():
                parts[part] = parts.get(part, 0) + bits * layer.count
        return {**parts, "total": sum(parts.values())}

    @property
    def stalls(self) -> dict[str, int]:
        """Stall clocks of the whole model by cause; empty on rungs that do not find causes."""
        total: dict[str, int] = {}
        for layer in self.layers:
            for cause, clocks in (layer.stalls or {}).items():
                total[cause] = total.get(cause, 0) + clocks * layer.count
        return total

    @property
    def binds(self) -> dict[str, int]:
        """Clocks of the whole model by what binds their layer, the most first.

        Empty where no mapper chose loop nests.
        """
        total: dict[str, int] = {}
        for layer in self.layers:
            if layer.binds is not None:
                total[layer.binds] = total.get(layer.binds, 0) + layer.cycles * layer.count
        return dict(sorted(total.items(), key=lambda item: -item[1]))

    @property
    def onchip_pj(self) -> float:
        """Energy spent on the chip: all but DRAM."""
        energy_pj = self.energy_pj
        return energy_pj["total"] - energy_pj["dram"] - energy_pj.get("dram_background", 0.0)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON.

        Figures of a layer are those of one of its ``count`` instances; its ``total`` holds them
        for all instances, and these totals sum to the run's.
        """
        binds = self.binds
        return {
            "version": __version__,
            "arch": self.arch,
            "settings": dict(self.settings),
            "model": self.model,
            "phase": self.phase,
            "context": self.context,
            "batch": self.batch,
            **({} if self.step is None else {"step": dict(self.step)}),
            "causal": self.causal,
            "logits": self.logits,
            "fidelity": self.fidelity,
            "mapper": self.mapper,
            **({} if self.no_search is None else {"no_search": self.no_search}),
            "formats": {kind: dict(operands) for kind, operands in self.formats.items()},
            "unpriced": list(self.unpriced),
            "uncounted": list(self.uncounted),
            **({"calibrated": list(self.calibrated)} if self.calibrated else {}),
            **({"unfused": dict(self.unfused)} if self.unfused else {}),
            **({"remarks": list(self.remarks)} if self.remarks else {}),
            "clock_ghz": self.clock_ghz,
            "cycles": self.cycles,
            "seconds": self.seconds,
            **self._served(),
            "power_w": self.power_w,
            "utilization": self.utilization,
            "stall_cycles": sum(layer.stall_cycles * layer.count for layer in self.layers),
            "stalls": self.stalls,
            **({"binds": binds} if binds else {}),
            "dram_bits": self.dram_bits,
            "energy_pj": self.energy_pj,
            "area_um2": self.area_um2,
            **self._required(),
            "layers": [layer.to_dict() for layer in self.layers],
        }

    def _served(self) -> dict[str, float]:
        """Return what those who serve ask for, of models of text."""
        found = {
            "tokens": self.tokens,
            "tokens_per_second": self.tokens_per_second,
            "time_to_first_token_s": self.time_to_first_token_s,
            "energy_per_token_pj": self.energy_per_token_pj,
            "model_flops_utilization": self.model_flops_utilization,
        }
        return {name: value for name, value in found.items() if value is not None}

    def _required(self) -> dict[str, float | None]:
        needed = self.required_bits_per_clock
        if needed is None:
            return {}
        return {"required_bits_per_clock": None if needed == math.inf else needed}

    def to_json(self, indent: int | None = 2) -> str:
        """Return the run as JSON text."""
        return json.dumps(self.to_dict(), indent=indent)

    def rows(self) -> list[dict[str, Any]]:
        """Return one flat record a layer, times its count, for tables and data frames."""
        bound = any(layer.binds is not None for layer in self.layers)
        return [
            {
                "layer": layer.name,
                "count": layer.count,
                "shape": f"{layer.m} x {layer.n} x {layer.k}"
                + (f" x {layer.batch}" if layer.batch > 1 else ""),
                "cycles": layer.cycles * layer.count,
                "stall_cycles": layer.stall_cycles * layer.count,
                "utilization": layer.utilization,
                **({} if not bound else {"binds": layer.binds, "busy": layer.busy}),
                "dram_mib": sum(layer.dram_bits.values()) * layer.count / 8 / 2**20,
                "energy_uj": layer.energy_pj["total"] * layer.count / 1e6,
                **(
                    {}
                    if layer.required_bits_per_clock is None
                    else {"required_bits_per_clock": layer.required_bits_per_clock}
                ),
            }
            for layer in self.layers
        ]

    def table(self) -> str:
        """Return the layers as a plain-text table."""
        header = list(self.rows()[0]) if self.layers else []
        lines = [[_cell(row[key]) for key in header] for row in self.rows()]
        widths = [max(len(line[i]) for line in [header, *lines]) for i in range(len(header))]
        return "\n".join(
            "  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True))
            for line in [header, *lines]
        )

    def to_frame(self) -> Any:
        """Return a pandas data frame, a row a layer, times its count; nested figures by dots.

        Raises
        ------
        BitlatheError
            pandas is not installed.
        """
        told = ("name", "count", "m", "n", "k", "batch", "utilization", "binds", "busy")
        layers = [layer.to_dict() for layer in self.layers]
        return frame({key: x[key] for key in told if key in x} | x["total"] for x in layers)

    def plot(self, axes: Any = None) -> Any:
        """Draw the clocks of each layer, those in which the array waits apart; return the axes.

        Parameters
        ----------
        axes : matplotlib axes, optional
            Where to draw; new ones if left out.
        """
        rows = self.rows()
        axes = axes_of(axes, 1 + 0.24 * len(rows))
        names = [f"{row['layer']} x {row['count']}" for row in rows]
        waits = [row["stall_cycles"] for row in rows]
        works = [row["cycles"] - row["stall_cycles"] for row in rows]
        axes.barh(names, works, color="#0072B2", label="array works")
        axes.barh(names, waits, left=works, color="#E69F00", label="array waits")
        axes.invert_yaxis()
        axes.margins(x=0.04)
        axes.set(xlabel="clocks", title=f"{self.model} on {self.arch}, {self.phase}")
        axes.legend(frameon=False)
        return axes

    def __repr__(self) -> str:
        where = "" if self.context is None else f", context {self.context}"
        return (
            f"Run({self.model!r} on {self.arch!r}, {self.phase}{where}, batch {self.batch}: "
            f"{self.cycles:,} cycles, {self.energy_pj['total'] / 1e9:,.4g} mJ)"
        )

    def _repr_html_(self) -> str:
        where = "" if self.context is None else f", context {self.context}"
        facts = {
            "clocks": self.cycles,
            "ms": self.seconds * 1e3,
            "mJ": self.energy_pj["total"] / 1e9,
            "mm2": self.area_um2["total"] / 1e6,
            "utilization": self.utilization,
        }
        return html(f"{self.model} on {self.arch}: {self.phase}{where}", facts, self.rows())


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}" if value < 1000 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) else "" if value is None else str(value)
