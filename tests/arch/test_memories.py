"""Chips that give memories: the shipped ones, keys by name, what is refused and where."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bitlathe.arch import Arch, load_arch, resolve
from bitlathe.arch.describe import chip_dict
from bitlathe.arch.hierarchies import hierarchies_of
from bitlathe.arch.hierarchy import OPERANDS
from bitlathe.arch.keys import nested
from bitlathe.arch.loader import CHIPS
from bitlathe.arch.long_form import memory_costs
from bitlathe.arch.silicon import areas_um2, leakages_mw, unpriced
from bitlathe.arch.sram import Macro, sram_cost
from bitlathe.cli import main
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.mapping.legal import problems
from bitlathe.mapping.nest import Loops
from bitlathe.mapping.search import search
from bitlathe.sim.chip import Chip
from bitlathe.workloads.conv_shape import ConvShape
from naive.chip_bits import operand_bits

KIB = 8 * 1024  # bits
GEMMINI = (CHIPS / "gemmini-like.yaml").read_text()

# name: (size in bits or words, axes that have copies, (direction, bits, operands)...) by memory
SHIPPED: dict[str, dict[str, tuple[Any, ...]]] = {
    "gemmini-like": {
        "scratchpad": (256 * KIB, (), ("read", 128), ("read", 128), ("write", 128)),
        "accumulator": (64 * KIB // 32, (), ("read", 512), ("write", 512)),
        "weights": (2, ("rows", "columns"), ("read", 8), ("write", 8)),
    },
    "tpu-like": {
        "common": (128 * 1024 * KIB, (), ("read", 2048), ("write", 1024)),
        "local": (
            *(4 * 1024 * KIB, ("cores",), ("read", 1024), ("read", 1024), ("read", 4096)),
            *(("write", 512), ("write", 4096)),
        ),
        "weights": (2, ("cores", "rows", "columns"), ("read", 8), ("write", 8)),
    },
    "eyeriss-like": {
        "buffer": (108 * KIB, (), ("read", 128), ("read", 128), ("write", 64), ("write", 128)),
        "filters": (224, ("rows", "columns"), ("read", 8), ("write", 8)),
        "inputs": (12, ("rows", "columns"), ("read", 8), ("write", 8)),
        "sums": (24, ("rows", "columns"), ("read", 32), ("write", 32)),
    },
    "edge-npu": {
        "sram": (384 * KIB, (), ("both", 128)),
        "weights": (16 * KIB, (), ("read", 8 * 4 * 8 * 8), ("write", 8 * 4 * 8 * 8)),
        "block": (16 * KIB, (), ("read", 4 * 8 * 8), ("write", 4 * 8 * 8)),
        "sums": (16 * KIB // 32, (), ("read", 32 * 32), ("write", 32 * 32)),
    },
    "int8-three-level": {
        "shared": (2048 * KIB, (), ("read", 1024), ("write", 1024)),
        "scratch": (64 * KIB, ("cores",), ("read", 512), ("read", 256), ("write", 512)),
        "sums": (32 * KIB // 32, ("cores",), ("read", 1024), ("write", 1024)),
        "weights": (2, ("cores", "rows", "columns"), ("read", 8), ("write", 8)),
    },
}
CHAINS = {
    "gemmini-like": ("dram scratchpad weights", "dram scratchpad", "dram accumulator"),
    "tpu-like": ("hbm common local weights", "hbm common local", "hbm common local"),
    "eyeriss-like": ("dram filters", "dram buffer inputs", "dram buffer sums"),
    "edge-npu": ("dram sram weights", "dram sram block", "dram sram sums"),
    "int8-three-level": ("dram shared scratch weights", "dram shared scratch", "dram shared sums"),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_levels_sizes_and_ports(name: str) -> None:
    found = hierarchies_of(load_arch(name))[0]
    sizes = {m.name: m.size_bits or m.words for m in found.memories[1:]}
    assert sizes == {memory: row[0] for memory, row in SHIPPED[name].items()}
    assert {m.name: m.per for m in found.memories[1:]} == {
        k: v[1] for k, v in SHIPPED[name].items()
    }
    ports = {m.name: [(p.direction, p.width_bits) for p in m.ports] for m in found.memories[1:]}
    assert ports == {memory: list(row[2:]) for memory, row in SHIPPED[name].items()}
    chains = tuple(" ".join(m.name for m in found.chain(operand)) for operand in OPERANDS)
    assert chains == CHAINS[name]


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("gemmini-like", {"ws": (("k",), ("n",)), "os": (("m",), ("n",))}),
        ("tpu-like", {"ws": (("k",), ("n",))}),
        ("eyeriss-like", {"os": (("r", "k", "c", "n"), ("p", "m", "n"))}),
        ("edge-npu", {"os": (("n",), ("m", "n"))}),
        ("int8-three-level", {"ws": (("k",), ("n",)), "os": (("m", "n"), ("n",))}),
    ],
)
def test_axes_of_each_dataflow(name: str, axes: dict[str, Any]) -> None:
    arch = load_arch(name)
    assert arch.array.dataflows == tuple(axes)
    for flow, found in zip(arch.array.dataflows, hierarchies_of(arch), strict=True):
        dims = {axis.name: axis.dims for axis in found.axes}
        assert (dims["rows"], dims["columns"]) == axes[flow]
        assert ("cores" in dims) is (arch.cores.size > 1)


@pytest.mark.parametrize("name", SHIPPED)
@pytest.mark.parametrize("sizes", [(4, 8, 16), (1, 8, 24)])
def test_a_search_finds_a_legal_mapping(name: str, sizes: tuple[int, int, int]) -> None:
    arch = load_arch(name)
    layer, bits = Loops.product(*sizes), operand_bits(arch, arch.formats.linear, *sizes)
    for hierarchy in hierarchies_of(arch):
        best = search(layer, bits, hierarchy)
        assert best.optimal
        assert problems(layer, bits, best.mapping, hierarchy) == ()
        assert best.cost.cycles >= best.cost.lower_bound_cycles > 0


@pytest.mark.parametrize("name", SHIPPED)
def test_figures(name: str) -> None:
    """Parts add up; copies count; DRAM and leakage are what the hierarchy takes each clock."""
    arch = load_arch(name)
    costs, clock = memory_costs(arch), arch.technology.clock_ghz
    areas, leaks = areas_um2(arch), leakages_mw(arch)
    pes = arch.array.rows * arch.array.columns * arch.cores.size
    assert areas["pe_array"] == pes * arch.pe.cell_area_um2
    for level in arch.memories:
        copies = {(): 1, ("core",): arch.cores.size, ("pe",): pes}[level.per]
        assert areas[level.name] == copies * costs[level.name].area_um2 > 0
    chip = Chip.of(arch)
    assert chip.area_um2["total"] == pytest.approx(sum(areas.values()))
    assert chip.leakage_mw == pytest.approx(sum(leaks.values()))
    static = (arch.dram_background_mw + sum(leaks.values())) / clock
    assert all(h.static_pj == pytest.approx(static) for h in hierarchies_of(arch))


@pytest.mark.parametrize("name", ["bitmod", "int8-three-level"])
def test_pes_without_work_cost_what_others_do_where_the_chip_says_so(name: str) -> None:
    """3 x 5 outputs of 8 inputs keep few PEs busy; all of them count in each clock of a step."""
    arch = load_arch(name, {"accounting.idle_pes": True})
    layer, bits = Loops.product(3, 5, 8), operand_bits(arch, arch.formats.linear, 3, 5, 8)
    best = search(layer, bits, hierarchies_of(arch)[0])
    pes = arch.cores.size * arch.array.rows * arch.array.columns
    one = 1.5 * arch.pe.clock_energy_pj * pes
    assert best.cost.energy_pj["array"] == pytest.approx(one * float(best.cost.compute_cycles))


def test_sram_is_priced_as_one_access_of_all_its_ports() -> None:
    arch = load_arch("gemmini-like")
    scratch = hierarchies_of(arch)[0].memory("scratchpad")
    macro = Macro.of("cacti7", node_nm=28, device="lop", temperature_k=300)
    cost = sram_cost(macro, size_bytes=256 * 1024, banks=4, port_bits=256)
    reads = [port for port in scratch.ports if port.direction == "read"]
    assert sum(port.read_pj for port in reads) == pytest.approx(cost.read_pj)
    assert areas_um2(arch)["scratchpad"] == cost.area_um2
    single = load_arch(arch, {"memories.scratchpad.ports": [{"both": 128}]})
    one = sram_cost(
        Macro.of("cacti7", node_nm=28, device="lop", temperature_k=300, ports=1),
        size_bytes=256 * 1024, banks=4, port_bits=128,
    )  # fmt: skip
    assert areas_um2(single)["scratchpad"] == one.area_um2


def test_registers_say_what_prices_them() -> None:
    """2.69 um2 a bit at 28 nm; 3.7 pJ for 16 bits at 45 nm; what is not known is said."""
    gemmini, eyeriss = load_arch("gemmini-like"), load_arch("eyeriss-like")
    assert areas_um2(gemmini)["weights"] == pytest.approx(256 * 2 * 8 * 2.69)
    assert areas_um2(gemmini)["sums"] == pytest.approx(256 * 2 * 32 * 2.69)
    assert "memories.weights (energy, leakage)" in unpriced(gemmini)
    filters = hierarchies_of(eyeriss)[0].memory("filters")
    assert filters.ports[0].read_pj == pytest.approx(8 * 3.7 / 16)
    assert areas_um2(eyeriss)["filters"] == pytest.approx(168 * 224 * 8 * 6.95)
    of_pe = load_arch(gemmini, {"memories.weights.component": "pe"})
    assert areas_um2(of_pe)["weights"] == 0
    assert "memories.weights (energy, leakage)" not in unpriced(of_pe)
    free = load_arch("gemmini-like", {"memories.weights": {
        "name": "weights", "per": ["pe"], "holds": ["weight"], "words": 200, "unpriced": True,
        "dataflow": ["ws"],
    }})  # fmt: skip
    assert "memories.weights (energy, area, leakage)" in unpriced(free)


def test_ports_that_follow_the_array() -> None:
    """32 rows and columns, two lanes, INT8: 64 inputs a clock, a row of 64 weights, 32 sums."""
    arch = chip(
        "  - {name: near, holds: [weight, input], size_kib: 64}\n"
        "  - {name: sums, holds: [output], size_kib: 16, bits: 32}\n"
        "  - {name: weights, per: pe, holds: [weight], words: 4}\n",
        "array: {kind: systolic, rows: 32, columns: 32, dataflow: ws}\n",
        "pe: {kind: int_mac, lanes: 2, energy_pj: 1.0, area_um2: 100.0}\n",
    )
    found = hierarchies_of(arch)[0]
    near = {(p.direction, p.operands): p.width_bits for p in found.memory("near").ports}
    assert near["read", ("input",)] == 32 * 2 * 8  # a row of k on the rows, two lanes each
    assert near["read", ("weight",)] == 32 * 2 * 8  # a row of the array, one a clock
    assert found.memory("sums").ports[0].width_bits == 32 * 32
    assert found.memory("weights").ports[0].width_bits == 2 * 8


def test_the_dram_may_stand_outside_the_list() -> None:
    inside = load_arch("gemmini-like")
    line = "  - {name: dram, component: ddr4_2666, gb_per_s: 8}\n"
    outside = written(GEMMINI.replace(line, "") + "dram: {component: ddr4_2666, gb_per_s: 8}\n")
    assert hierarchies_of(outside) == hierarchies_of(inside)
    assert inside.dram.gb_per_s == 8


def test_refresh_takes_its_part_of_the_bandwidth() -> None:
    arch = load_arch("gemmini-like", {"memories.dram.refresh_fraction": 0.0625})
    assert arch.dram_bits_per_clock == Fraction(128 * 15, 16)
    assert hierarchies_of(arch)[0].memories[0].ports[0].width_bits == 120
    assert arch.dram_background_mw == pytest.approx(15.5 * 8)  # of devices of 8 GB/s, as before


@pytest.mark.parametrize(
    ("settings", "memory", "size"),
    [
        ({"memories.scratchpad.size_kib": 512}, "scratchpad", 512 * KIB),
        ({"memories.scratchpad.size_kib": "1 MiB"}, "scratchpad", 1024 * KIB),
        ({"memories.scratchpad.size_bytes": 65536}, "scratchpad", 64 * KIB),
        ({"memories.weights.words": 1}, "weights", 1),
    ],
)
def test_keys_are_set_by_name(settings: dict[str, Any], memory: str, size: int) -> None:
    for base in ("gemmini-like", load_arch("gemmini-like")):
        found = hierarchies_of(load_arch(base, settings))[0].memory(memory)
        assert (found.size_bits or found.words) == size


def test_axes_are_set_with_or_without_dims() -> None:
    for base in ("int8-three-level", load_arch("int8-three-level")):
        arch = load_arch(base, {"array.rows": 64, "cores": 4})
        axes = {axis.name: axis for axis in hierarchies_of(arch)[1].axes}
        assert (axes["rows"].size, axes["rows"].dims) == (64, ("m", "n"))
        assert (axes["cores"].size, axes["cores"].dims) == (4, ("n", "m"))
        assert arch.pes == 4 * 64 * 32
    dims = load_arch("tpu-like", {"array.rows.dims": ["k", "n"]})
    assert hierarchies_of(dims)[0].axes[1].dims == ("k", "n")
    assert dims.array.rows == 128


def test_a_dataflow_that_is_set_leaves_the_silicon() -> None:
    both, one = (load_arch("gemmini-like", {"array.dataflow": flow}) for flow in ("ws", "os"))
    assert areas_um2(both) == areas_um2(one) == areas_um2(load_arch("gemmini-like"))
    assert [m.name for m in hierarchies_of(one)[0].memories] == [
        "dram", "scratchpad", "accumulator", "sums",
    ]  # fmt: skip


@pytest.mark.parametrize("name", SHIPPED)
def test_plain_data_makes_the_same_chip(name: str) -> None:
    arch = load_arch(name)
    again = Arch.model_validate(nested(arch))
    assert again == arch
    assert Arch.model_validate_json(arch.model_dump_json(by_alias=True)) == arch
    assert set(arch.plain()["memories"]) == {level.name for level in arch.memories}
    chip = resolve(arch, phase="decode", model="llama-2-7b")
    assert hierarchies_of(chip) == hierarchies_of(arch)


def test_a_convolution_lies_on_its_rows_and_columns() -> None:
    """Kernel rows beside each other on one axis, output rows on the other, inputs sliding by."""
    arch = load_arch("eyeriss-like")
    found = hierarchies_of(arch)[0]
    assert found.memory("inputs").keep_halo
    layer = Loops.conv(ConvShape(in_channels=4, out_channels=8, size=(8, 8), kernel=(3, 3)))
    bits = operand_bits(arch, arch.formats.linear, 36, 8, 36)
    best = search(layer, bits, found)
    assert problems(layer, bits, best.mapping, found) == ()
    unrolled = {(each.axis, each.dim): each.size for each in best.mapping.spatial}
    assert ("rows", "r") in unrolled
    assert ("columns", "p") in unrolled
    assert best.cost.compute_cycles == 8 * 9 * 4 * 36 // (12 * 12)  # 12 rows x 12 of 14 columns


@pytest.mark.parametrize("name", ["gemmini-like", "edge-npu"])
def test_the_order_of_siblings_changes_nothing(name: str) -> None:
    text = (CHIPS / f"{name}.yaml").read_text()
    head, rest = text.split("memories:\n")
    inner, tail = rest.split("array:", 1)
    first, second = {
        "gemmini-like": ("  - name: scratchpad", "  - name: accumulator"),
        "edge-npu": ("  - {name: weights", "  - {name: block"),
    }[name]
    start, middle = inner.index(first), inner.index(second)
    end = inner.index("  - ", middle + 4)
    swapped = inner[:start] + inner[middle:end] + inner[start:middle] + inner[end:]
    assert swapped != inner
    other, plain = written(f"{head}memories:\n{swapped}array:{tail}"), load_arch(name)
    assert sorted(areas_um2(other).items()) == sorted(areas_um2(plain).items())
    assert cycles_of(other, (4, 8, 16)) == cycles_of(plain, (4, 8, 16))


def test_archs_shows_a_chip() -> None:
    shown = CliRunner().invoke(main, ["archs", "gemmini-like"])
    assert shown.exit_code == 0
    for text in ("scratchpad", "16,384 words", "read 512 output", "dataflow os", "not priced"):
        assert text in shown.output
    data = chip_dict(load_arch("tpu-like"))
    assert [row["memory"] for row in data["dataflows"][0]["memories"]][:2] == ["hbm", "common"]
    assert data["dram"]["gb_per_s"] == pytest.approx(614)
    assert CliRunner().invoke(main, ["archs", "hpca25/bitmod-lossy"]).exit_code == 0


# -- laws ----------------------------------------------------------------------------------------


def cycles_of(arch: Arch, sizes: tuple[int, int, int]) -> int:
    layer, bits = Loops.product(*sizes), operand_bits(arch, arch.formats.linear, *sizes)
    return min(search(layer, bits, found).cost.cycles for found in hierarchies_of(arch))


MORE = [
    ("gemmini-like", {"memories.scratchpad.size_kib": 512}),
    ("gemmini-like", {"memories.accumulator.size_kib": 128}),
    ("gemmini-like", {"memories.accumulator.ports": [{"read": 1024}, {"write": 1024}]}),
    ("gemmini-like", {"memories.dram.gb_per_s": 16}),
    ("tpu-like", {"memories.local.bypass": ["weight", "input"]}),
    ("eyeriss-like", {"memories.filters.words": 448}),
    ("eyeriss-like", {"memories.sums.words": 48}),
    ("eyeriss-like", {"array.rows.dims": ["r", "k", "c", "n", "m"]}),
    ("int8-three-level", {"cores": 4}),
    ("int8-three-level", {"array.rows": 64}),
    ("int8-three-level", {"memories.shared.ports": [{"read": 2048}, {"write": 1024}]}),
]


@pytest.mark.parametrize(("name", "settings"), MORE)
def test_more_of_a_thing_is_never_slower(name: str, settings: dict[str, Any]) -> None:
    for sizes in ((5, 24, 40), (1, 48, 32)):
        plain = load_arch(name)
        more = load_arch(name, settings)
        fill = (hierarchies_of(more)[0].fill_cycles, hierarchies_of(plain)[0].fill_cycles)
        waits = fill[0] - fill[1]  # a larger systolic array takes longer to fill
        assert cycles_of(more, sizes) <= cycles_of(plain, sizes) + waits


def test_a_second_dimension_fills_an_axis_that_one_leaves_empty() -> None:
    """One token takes 1 of 4 columns; outputs beside it take all."""
    layer, steps = Loops.product(1, 64, 64), {}
    for dims in (["m"], ["m", "n"]):
        arch = load_arch("edge-npu", {"array.columns.dims": dims, "dram.gb_per_s": 1000})
        bits = operand_bits(arch, arch.formats.linear, 1, 64, 64)
        steps[len(dims)] = search(layer, bits, hierarchies_of(arch)[0]).cost.compute_cycles
    assert steps[1] >= 8 * 8 > 2 * steps[2]  # a step does 8 outputs and 8 inputs, or 32 and 8


# -- what is refused -----------------------------------------------------------------------------

PORTS = "ports: [{read: 128, for: [weight]}, {read: 128, for: [input]}, {write: 128}]"
REFUSED = [
    # (of the Gemmini-like chip, instead, line, what is said)
    ("size_kib: 256", "size_kib: 256\n    words: 4", 0, "memories.scratchpad: scratchpad has "
     "size_kib and words; give one of size_kib, size_bytes, words."),
    ("    size_kib: 256\n", "", 0, "memories.scratchpad: scratchpad has no size; give one of"),
    ("size_kib: 256", "size_kib: -3", 2, "memories.scratchpad.size_kib: input should be greater "
     "than 0 (got -3)."),
    ("{read: 512}", "{read: 0}", 10, "memories.accumulator.ports.0.read: input should be greater "
     "than 0 (got 0)."),
    ("{read: 512}", "{read: -8}", 10, "memories.accumulator.ports.0.read: input should be"),
    ("{read: 512}", "{}", 10, "memories.accumulator.ports.0: a port of no direction; give one of"),
    ("{read: 512}", "{read: 512, write: 4}", 10, "a port of read and write; give one of read,"),
    ("{read: 512}, ", "", 10, "accumulator has no port to read output; give one"),
    ("{read: 128, for: [weight]}", "{read: 128}", 4, "scratchpad has 2 ports to read input; give"),
    ("{read: 128, for: [weight]}", "{read: 128, for: [output]}", 4,
     "memories.scratchpad.ports.0.for: scratchpad does not hold output; it holds weight, input."),
    ("holds: [weight, input]", "holds: []", 1, "memories.scratchpad.holds: no operands; name"),
    ("holds: [weight, input]", "holds: [weight, inputs]", 1, "'weight', 'input' or 'output' (got"),
    ("holds: [output]\n", "holds: [input]\n", None, "memories: none on the chip holds output in "
     "dataflow 'ws'; add it to the holds of one."),
    ("bits: 32\n", "bits: 32\n    keep_halo: true\n", 9, "memories.accumulator.keep_halo: of "
     "memories that hold input; accumulator does not."),
    ("per: pe", "per: [row]", 11, "memories.weights.per: unknown axis 'row'; did you mean 'rows'?"),
    ("dataflow: [ws]", "dataflow: [is]", 11, "memories.weights.dataflow: the array has no dataflow "
     "is; it has ws, os."),
    ("dataflow: [ws, os]", "dataflow: [ws, oss]", 13, "array.dataflow: input should be 'os', 'ws'"),
    ("dataflow: [ws, os]", "dataflow: [{ws: 3}, [os]]", 13, "array.dataflow: input should be 'os'"),
    ("rows: 16", "rows: {size: 16, dims: [[k]]}", 13, "array.rows.dims: unknown dimension"),
    ("dataflow: [ws, os]", "dataflow: []", 13, "array.dataflow: an empty list; name one or more"),
    ("rows: 16", "rows: {size: 16, dims: [x]}", 13, "array.rows.dims: unknown dimension 'x'."),
    ("rows: 16", "rows: {size: 16, dims: []}", 13, "array.rows.dims: give a list of dimensions:"),
    ("rows: 16", "rows: {dims: [k]}", 13, "array.rows: 'size' is missing."),
    ("rows: 16", "rows: {size: 0, dims: [k]}", 13, "array.rows: input should be greater than 0"),
    ("rows: 16", "rows: {size: 16, dims: {ws: [k]}}", 13, "array.rows.dims: those of dataflow 'os' "
     "are missing."),
    ("rows: 16", "rows: {siz: 16, dims: [k]}", 13, "array.rows: unknown key 'siz'; did you mean"),
    ("array:", "cores: {size: 2, dims: [z]}\narray:", 13, "cores.dims: unknown dimension 'z'."),
    ("array:", "cores: 0\narray:", 13, "cores.size: input should be greater than 0 (got 0)."),
    ("bits: 32", "bits: 8", 8, "memories.accumulator.bits: words of 8 bits, and unfinished sums of "
     "the PE have 32; give at least 32."),
    ("size_kib: 64", "size_bytes: 2", 5, "memories.accumulator: smaller than a word of 32 bits;"),
    ("words: 2, component: register_28nm", "words: 20", 11, "20 words are more than the registers "
     "of a PE (2); name a component (register_28nm), give costs of its own, or say unpriced:"),
    ("component: register_28nm", "component: register_29nm", 11, "memories.weights: unknown "
     "registers component 'register_29nm'; did you mean 'register_28nm'"),
    ("component: register_28nm", "component: register_file_45nm", 11, "has energies at 45 nm, the "
     "chip is at 28 nm; use a component of that node, or give costs of its own"),
    ("component: register_28nm", "component: register_28nm, unpriced: true", 11, "two prices;"),
    ("component: register_28nm", "read_pj_per_bit: 1", 11, "give write_pj_per_bit, leakage_mw, "),
    ("name: scratchpad", "name: dram", 0, "memories.dram: the name is taken; names of"),
    ("name: scratchpad", "name: Scratch pad", 0, "'Scratch pad' is not a name: lower-case"),
    ("size_kib: 256", "size_kbi: 256", 2, "unknown key 'memories.scratchpad.size_kbi'; did you "
     "mean 'size_kib'?"),
    ("gb_per_s: 8", "latency_ns: 8", -1, "memories: the first is the DRAM; give it gb_per_s or"),
    ("array:", "buffers: {shared: {size_kib: 3}}\narray:", 13, "buffers: the chip gives memories;"),
    ("array:", "dram: {gb_per_s: 3, component: lpddr4}\narray:", -1, "the DRAM is given twice,"),
    ("kind: systolic,", "kind: systolic, accumulator_buffer: true,", 13, "array.accumulator_buffer:"
     " the chip gives memories; list one for sums."),
    ("kind: systolic,", "kind: systolic, timing: scalesim,", 13, "array.timing: the chip gives"),
    ("banks: 4", "banks: 40000", 0, "memories.scratchpad: 262144 bytes in 40000 banks make banks"),
    ("size_kib: 256\n    banks: 4", "size_bytes: 1", 0, "memories.scratchpad: no room for one "
     "element of each operand it must hold (weight, input): 16 bits, and it has 8; give"),
    (f"banks: 4\n    {PORTS}", "per: pe", 10, "memories.weights: memory 'weights' is inside "
     "'scratchpad', of which each unit of rows, columns has a copy; it needs those axes in `per`."),
]  # fmt: skip


def written(text: str, settings: dict[str, Any] | None = None) -> Arch:
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        path = Path(folder) / "mine.yaml"
        path.write_text(text)
        return load_arch(path, settings)


def chip(memories: str, *others: str) -> Arch:
    """A chip at 28 nm of INT8 operands with some memories."""
    operands = "{weight: int8@channel, input: int8@tensor, output: int8@tensor}"
    return written(
        "technology: {node_nm: 28, clock_ghz: 0.5}\nmemories:\n"
        f"  - {{name: dram, component: lpddr4, gb_per_s: 8}}\n{memories}{''.join(others)}"
        f"formats:\n  linear: {operands}\n  attention: {operands}\n"
    )


@pytest.mark.parametrize(("old", "new", "line", "says"), REFUSED)
def test_a_wrong_entry_is_named_with_its_place(
    old: str, new: str, line: int | None, says: str
) -> None:
    text = GEMMINI.replace(old, new, 1)
    assert text != GEMMINI
    if "per: pe" in new and "banks" in old:  # a scratchpad in each PE, registers in each row
        text = text.replace("name: weights, per: pe", "name: weights, per: rows")
    with pytest.raises(BitlatheError) as caught:
        written(text)
    said = str(caught.value)
    assert says in said
    assert len(said.splitlines()) == 1
    if line is not None:
        first = GEMMINI.splitlines().index("  - name: scratchpad") + 1
        assert f"mine.yaml:{first + line}:" in said


@pytest.mark.parametrize(
    ("name", "settings", "says"),
    [
        ("gemmini-like", {"memories.scratchpda.size_kib": 1}, "did you mean 'memories.scratchpad."),
        ("gemmini-like", {"memories.scratchpad.sizekib": 1}, "'memories.scratchpad.size_kib'?"),
        ("gemmini-like", {"array.rows.dims": ["w"]}, "array.rows.dims: unknown dimension 'w'"),
        ("bitmod", {"cores": 2}, "cores: the chip gives buffers, which have none; memories take"),
        ("bitmod", {"array.rows.dims": ["k"]}, "array.rows.dims: the chip gives buffers,"),
        ("bitmod", {"array.kind": "systolic", "array.dataflow": ["ws", "os"]},
         "array.dataflow: the chip gives buffers, one dataflow; memories take it"),
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(name: str, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(BitlatheError) as caught:
        load_arch(name, settings)
    assert says in str(caught.value)


def test_a_memory_before_another_needs_its_ports() -> None:
    with pytest.raises(BitlatheError, match=r"memories\.far\.ports: 'auto' is as wide as "):
        chip(
            "  - {name: far, holds: [weight, input, output], size_kib: 512}\n"
            "  - {name: near, holds: [weight], size_kib: 64}\n",
            "array: {rows: 4, columns: 4}\n",
            "pe: {kind: int_mac, energy_pj: 1.0, area_um2: 100.0}\n",
        )


def test_a_chip_without_buffers_or_memories_says_so() -> None:
    text = (CHIPS / "bitmod.yaml").read_text()
    start, end = text.index("buffers:"), text.index("dram:")
    with pytest.raises(BitlatheError, match="buffers: missing; give them, or memories"):
        written(text[:start] + text[end:])


def test_rules_for_whole_buffers_refuse_a_chip_with_memories() -> None:
    with pytest.raises(BitlatheError, match="gives memories, not buffers, and this mapper"):
        _ = Chip.of(load_arch("gemmini-like")).buffer_of
