"""A run on a system of chips as tables and sentences."""

from ...arch.silicon import areas_um2, leakages_mw
from ...arch.system import DEGREES, System
from ...sim.system.run import SystemRun
from ..terminal import cost_lines, print_table


def system_lines(system: System) -> list[str]:
    """Return what a system is, a line each: chips, ways to divide a model, links, silicon."""
    arch, chips = system.arch, system.chips
    ways = ", ".join(f"{name} {n}" for name, n in system.parallel.degrees.items())
    lines = [
        f"{system.title or system.name}: {chips:,} of {arch.name or system.chip} ({arch.title})",
        f"divided: {ways}",
    ]
    for way in DEGREES:
        if way == "data" or system.parallel.degrees[way] == 1:
            continue
        links = system.links_of(way)
        lines.append(
            f"links, {way}: {links.topology}, {links.gb_per_s:g} GB/s each way, "
            f"{links.latency_ns:g} ns, {links.energy_pj_per_bit:g} pJ a bit"
        )
    area, leakage = sum(areas_um2(arch).values()), sum(leakages_mw(arch).values())
    size = arch.dram.size_gib
    held = "size not stated" if size is None else f"{chips * size:,g} GiB"
    lines.append(f"DRAM: {chips * _gb_per_s(system):,.6g} GB/s, {held}")
    lines.append(f"area {chips * area / 1e6:,.3f} mm2, leakage {chips * leakage:,.2f} mW")
    return lines


def _gb_per_s(system: System) -> float:
    arch = system.arch
    return float(arch.dram_bits_per_clock) * arch.technology.clock_ghz / 8


def print_run(run: SystemRun) -> list[str]:
    """Print the tables of a run: its chips, what they exchange; return the lines below them."""
    context = "" if run.context is None else f", context {run.context}"
    title = f"{run.model} on {run.system}, {run.chips:,} chips: {run.phase}{context}"
    print_table(run.rows(), title=title)
    if run.collectives:
        print_table(run.collective_rows(), title="exchanges of a step")
    return [*_lines(run), *run.notes]


def _lines(run: SystemRun) -> list[str]:
    ways = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in run.parallel.items())
    exchanging = sum(each.total["cycles"] for each in run.collectives if each.kind != "send")
    lines = [
        f"divided: {ways}",
        f"step: {run.cycles:,} clocks, {run.seconds * 1e3:,.3f} ms at {run.clock_ghz:g} GHz",
        f"steps follow each other every {run.interval_cycles:,} clocks: "
        f"{run.tokens_per_second:,.1f} tokens/s",
    ]
    first = run.time_to_first_token_s
    served = [] if first is None else [f"first tokens after {first * 1e3:,.3f} ms"]
    served.append(f"{run.energy_per_token_pj / 1e9:,.4g} mJ a token")
    served.append(f"{100 * run.model_flops_utilization:.1f} % of the arrays' MACs (MFU)")
    lines.append(", ".join(served))
    if run.binds:
        whole = run.cycles * run.chips
        shown = ", ".join(f"{at} {100 * n / whole:.1f} %" for at, n in run.binds.items())
        lines.append(f"bound by (share of all chips' clocks): {shown}")
    if len(run.stage_cycles) > 1:
        shown = ", ".join(f"{clocks:,}" for clocks in run.stage_cycles)
        lines.append(f"stages (clocks): {shown}; bubble {100 * run.bubble:.1f} %")
    elif run.collectives:
        lines.append(f"exchanges: {100 * exchanging / run.cycles:.1f} % of the clocks of a step")
    if run.replicated:
        most = sorted(run.replicated.items(), key=lambda item: -item[1])
        shown = ", ".join(f"{name} {n:,}" for name, n in most)
        lines.append(f"parameters stored beyond once: {shown}")
    return [*lines, *cost_lines(run.energy_pj, run.area_um2)]
