"""What a sweep keeps of a run: a flat row, its layers for rooflines, whole tables of layers."""

from collections.abc import Iterable, Mapping
from typing import Any

from ...arch import Arch
from ...sim import Run
from ...sim.policy import format_labels
from ...sim.run import ENERGY_COMPONENTS, STALL_CAUSES, LayerRun
from ...workloads import Gemm
from .sweepfile import KINDS

# the weight format of each kind of layer, as it was resolved
FORMAT_COLUMNS = tuple(f"scheme.{kind}" for kind in KINDS)
# result columns in the order of the tables; energies in pJ, areas in um2, DRAM traffic in bits
_ENERGY = ("total", *ENERGY_COMPONENTS)
_AREA = ("total", "pe_array", "weight_buffer", "io_buffer")
RESULT_COLUMNS = (
    "cycles",
    "seconds",
    "compute_cycles",
    "dram_cycles",
    "stall_cycles",
    "utilization",
    "peak_macs_per_cycle",
    *(f"energy_pj.{part}" for part in _ENERGY),
    "power_w",
    "edp_pj_s",
    "tokens_per_second",
    "time_to_first_token_s",
    "energy_per_token_pj",
    "model_flops_utilization",
    *(f"area_um2.{part}" for part in _AREA),
    "dram_bits.total",
    "dram_bits.weight",
    "dram_bits.input",
    "dram_bits.output",
    "dram_gb_per_s",
    "weight_bits",
)
STALL_COLUMNS = tuple(f"stall_{cause}_cycles" for cause in STALL_CAUSES)


def result_columns(fidelity: str) -> tuple[str, ...]:
    """Return the result columns of a rung, in the order of the tables."""
    if fidelity == "analytic":  # it bounds the stalls and does not tell their causes
        return (*FORMAT_COLUMNS, *RESULT_COLUMNS)
    after = RESULT_COLUMNS.index("stall_cycles") + 1
    return (*FORMAT_COLUMNS, *RESULT_COLUMNS[:after], *STALL_COLUMNS, *RESULT_COLUMNS[after:])


def result_row(run: Run, chip: Arch) -> dict[str, Any]:
    """Return a run as flat columns (`result_columns`, the run's context, mapper and formats).

    ``scheme.KIND`` is the weight format of each kind of layer that the model has, as resolved, and
    of linear layers in any case.
    ``dram_gb_per_s`` is the peak bandwidth of the chip's DRAM, ``weight_bits`` the stored bits of
    one weight of a linear layer of 4,096 inputs, ``edp_pj_s`` energy times time; what is told of
    tokens is None where a model has none.
    """
    layers = run.layers
    seconds, energy = run.seconds, run.energy_pj
    dram = {
        part: sum(layer.dram_bits[part] * layer.count for layer in layers)
        for part in ("weight", "input", "output")
    }
    formats = {"linear": format_labels(chip, "linear"), **run.formats}
    return {
        **{f"scheme.{kind}": operands["weight"] for kind, operands in formats.items()},
        "context": run.context,
        "mapper": run.mapper,
        "cycles": run.cycles,
        "seconds": seconds,
        "compute_cycles": sum(layer.compute_cycles * layer.count for layer in layers),
        "dram_cycles": sum(layer.dram_cycles * layer.count for layer in layers),
        "stall_cycles": sum(layer.stall_cycles * layer.count for layer in layers),
        **_stalls(run.stalls),
        "utilization": run.utilization,
        **{f"energy_pj.{part}": value for part, value in energy.items()},
        "power_w": run.power_w,
        "edp_pj_s": energy["total"] * seconds,
        "tokens_per_second": run.tokens_per_second,
        "time_to_first_token_s": run.time_to_first_token_s,
        "energy_per_token_pj": run.energy_per_token_pj,
        "model_flops_utilization": run.model_flops_utilization,
        "dram_bits.total": sum(dram.values()),
        **{f"dram_bits.{part}": value for part, value in dram.items()},
        **chip_row(chip, run.area_um2),
    }


def _stalls(stalls: Mapping[str, int]) -> dict[str, int]:
    return {f"stall_{cause}_cycles": clocks for cause, clocks in stalls.items()}


def _product(layer: Gemm | LayerRun) -> tuple[Any, ...]:
    return layer.name, layer.m, layer.n, layer.k, layer.batch


def macs_by_product(gemms: Iterable[Gemm]) -> dict[tuple[Any, ...], int]:
    """Return the multiply-accumulates of matrix products, by their names and shapes."""
    return {_product(gemm): gemm.macs for gemm in gemms}


def roofline(run: Run, macs: Mapping[tuple[Any, ...], int]) -> list[list[Any]]:
    """Return a run's layers for a roofline.

    Parameters
    ----------
    run : Run
        The run.
    macs : mapping
        From `macs_by_product` of its matrix products: under a causal mask they do less than their
        shape says. A product may be several layers of the run, where its instances differ in what
        goes on beside them; a layer with a name of its own (of equal convolutions) has no mask.

    Returns
    -------
    list of [name, count, MACs, DRAM bytes, clocks, stalled clocks, utilization, energy in pJ]
        Figures of one instance.
    """
    return [
        [
            layer.name,
            layer.count,
            _macs(layer, macs),
            sum(layer.dram_bits.values()) / 8,
            layer.cycles,
            layer.stall_cycles,
            float(f"{layer.utilization:.5g}"),
            float(f"{layer.energy_pj['total']:.6g}"),
        ]
        for layer in run.layers
        if layer.unit is None
    ]


def _macs(layer: LayerRun, macs: Mapping[tuple[Any, ...], int]) -> int:
    if layer.fused is not None:
        return int(layer.fused["macs"])
    return macs.get(_product(layer), layer.dense_macs)


def layer_table(run: Run) -> dict[str, Any]:
    """Return a run's layers as ``columns`` and ``rows``; figures of one instance of ``count``."""
    flat = []
    for layer in run.layers:
        row: dict[str, Any] = {}
        for name, value in layer.to_dict().items():
            # `count` times the others; `nests` keeps it; the name tells the layers
            if name in ("total", "mapping", "fused"):
                continue
            if name == "stalls":
                row |= _stalls(value)
            elif isinstance(value, Mapping):
                row |= {f"{name}.{part}": figure for part, figure in value.items()}
            else:
                row["layer" if name == "name" else name] = value
        flat.append(row)
    columns = list(dict.fromkeys(name for row in flat for name in row))
    return {"columns": columns, "rows": [[row.get(name) for name in columns] for row in flat]}


def chip_row(chip: Arch, area: Mapping[str, float]) -> dict[str, Any]:
    """Return the columns that the chip alone decides, whatever runs on it."""
    return {
        "peak_macs_per_cycle": chip.phase_pes * chip.pe.lanes,
        **{f"area_um2.{part}": value for part, value in area.items()},
        "dram_gb_per_s": float(chip.dram_bits_per_clock) * chip.technology.clock_ghz / 8,
        "weight_bits": float(chip.formats.linear.weight.bits_per_element(4096, 4096)),
    }
