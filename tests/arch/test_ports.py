"""One macro a chip: the widths of automatic ports by hand, one area whatever runs."""

from fractions import Fraction
from pathlib import Path

import pytest

from bitlathe.arch import Arch, arch_names, load_arch, resolve
from bitlathe.arch.loader import CHIPS
from bitlathe.arch.ports import needs_bits_per_clock
from bitlathe.arch.schema import Operand
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.base.yamlfile import Document, validate
from bitlathe.reports.explore.evaluate import _resolve
from bitlathe.sim.analytic import run_layer
from bitlathe.sim.chip import Chip
from bitlathe.sim.policy import layer_bits
from bitlathe.workloads import Gemm

OURS = [
    name
    for name in arch_names()
    if not name.startswith("hpca25/") and load_arch(name).buffers.given
]
BITMOD = (CHIPS / "bitmod.yaml").read_text()
COST = {"pe.energy_pj": 0.3, "pe.area_um2": 400.0}


def ports(chip: Arch) -> dict[str, int]:
    return {name: chip.port_bits(name) for name in chip.buffers.priced}


@pytest.mark.parametrize(
    ("name", "weight", "io"),
    [
        # decode, 50 rows of 16 bits; prefill, 25 columns of 16 bits
        ("fp16", 50 * 16, 25 * 16),
        # decode, 122 rows of INT8, or 244 of 4 bits; prefill, 49 columns of INT8
        ("ant", 122 * 8, 49 * 8),
        ("olive", 244 * 4, 49 * 8),
        # decode, 75 rows of INT8 keys and values (4-bit weights need half); prefill, 30 columns
        ("ant-fp16", 75 * 8, 30 * 16),
        # decode, 70 rows of INT8 keys and values; prefill, 35 columns
        ("olive-fp16", 70 * 8, 35 * 16),
        # decode, 64 rows of 4 lanes: INT8 in 4 clocks as FP4 in 2; prefill, 32 columns x 4 in 2
        ("bitmod", 64 * 4 * 8 // 4, 32 * 4 * 16 // 2),
        # INT6 in 3 clocks: 64 x 4 x 6 / 3; inputs 2048 bits over 3 clocks, rounded up
        ("bitmod-int6", 64 * 4 * 6 // 3, -(-32 * 4 * 16 // 3)),
    ],
)
def test_widths_of_the_shipped_chips(name: str, weight: int, io: int) -> None:
    assert ports(load_arch(name)) == {"weight": weight, "io": io}


def test_olive_s_attention_does_not_come_out_of_a_port_for_its_weights() -> None:
    """16-bit keys and values on 34 rows are 544 bits a step, four times what 4-bit weights take."""
    own = {"pe.weight": "fp16", **COST, "array.rows": 34, "array.columns": 35}
    chip = load_arch("olive-fp16", {**own, "formats.attention.weight": "fp16"})
    assert chip.port_bits("weight") == 34 * 16 == 544


def test_codes_travel_without_their_scales() -> None:
    """8 bits, not 9, for INT8 inputs; stated bits in whole ones; else the scheme's."""
    assert Operand(scheme="int8").payload_bits == Operand(scheme="int8@g32/int8").payload_bits == 8
    assert Operand(bits=4.25).payload_bits == 5
    assert Operand(bits=8.02).bits_per_element(7, 1) == Operand(bits=8.02).code_bits
    assert Operand(bits=8.02).code_bits == Fraction(401, 50)  # as it is written
    mean = Operand(bits=85 / 6).code_bits  # a checkpoint's layers, 17 digits
    assert mean.denominator <= 1 << 22
    assert 0 <= mean - Fraction(85, 6) < Fraction(1, 1 << 21)
    assert Operand(scheme="ant4@g128", bits=5.0).payload_bits == 5  # a mix of layers is read
    assert Operand(scheme="bcq3").payload_bits == 3


INT8 = {
    "pe": {"kind": "int_mac", "energy_pj": 0.3, "area_um2": 400.0},
    "array": {"kind": "systolic", "rows": 16, "columns": 24},
}


@pytest.mark.parametrize(
    ("array", "lanes", "weight", "inputs"),
    [
        # what flows is read by steps; what stands still, a row of the array an access
        ({"kind": "tile"}, 2, 16 * 2 * 8, 24 * 2 * 8),
        ({"kind": "systolic", "dataflow": "os"}, 1, 24 * 8, 16 * 8),
        ({"kind": "systolic", "dataflow": "ws"}, 1, 24 * 8, 16 * 8),
        ({"kind": "systolic", "dataflow": "is"}, 1, 16 * 8, 24 * 8),
    ],
)
@pytest.mark.parametrize("layout", ["io", "apart", "shared"])
def test_every_dataflow(
    tmp_path: Path, array: dict[str, str], lanes: int, weight: int, inputs: int, layout: str
) -> None:
    buffers = {
        "io": "{weight: {size_kib: 64}, io: {size_kib: 64}}",
        "apart": "{weight: {size_kib: 64}, input: {size_kib: 64}, output: {size_kib: 64}}",
        "shared": "{shared: {size_kib: 128}}",
    }[layout]
    keys = ", ".join(f"{key}: {value}" for key, value in array.items())
    path = tmp_path / "chip.yaml"
    path.write_text(
        "technology: {node_nm: 28, clock_ghz: 0.5}\n"
        f"pe: {{kind: int_mac, lanes: {lanes}, energy_pj: 0.3, area_um2: 400}}\n"
        f"array: {{{keys}, rows: 16, columns: 24}}\nbuffers: {buffers}\n"
        "dram: {component: lpddr4, gb_per_s: 12.8}\n"
        "formats:\n"
        "  linear: {weight: int4@g64, input: int8, output: int8}\n"
        "  attention: {weight: int8@channel, input: int8, output: int8}\n"
    )
    outputs = 24 * 8  # a result of every column
    right = {
        "io": {"weight": weight, "io": inputs},
        "apart": {"weight": weight, "input": inputs, "output": outputs},
        "shared": {"shared": weight + inputs},
    }[layout]
    assert ports(load_arch(path)) == right


def test_int8_inputs_need_no_ninth_bit(tmp_path: Path) -> None:
    """32 columns of INT8 are 256 bits a step, though `int8` stores a scale beside its codes."""
    path = tmp_path / "int8.yaml"
    path.write_text(
        "title: int8\ntechnology: {node_nm: 28, clock_ghz: 1.0}\n"
        "pe: {kind: int_mac, area_um2: 100, energy_pj: 1}\n"
        "array: {kind: tile, rows: 32, columns: 32}\n"
        "buffers: {weight: {size_kib: 512}, io: {size_kib: 512}}\n"
        "dram: {component: bitmod_ddr4, bits_per_clock: 256}\n"
        "formats:\n"
        "  linear: {weight: int8@channel, input: int8, output: int8}\n"
        "  attention: {weight: int8@channel, input: int8, output: int8}\n"
    )
    assert ports(load_arch(path)) == {"weight": 256, "io": 256}


def test_bit_planes_are_read_a_plane_a_clock() -> None:
    chip = load_arch(
        "bitmod",
        {
            "pe": {"kind": "lut", "lanes": 8, "energy_pj": 1.0, "area_um2": 5000.0},
            "formats.linear.weight": "bcq3",
            "formats.attention.weight": "bcq4",
        },
    )
    need = needs_bits_per_clock(chip.pe.record, chip.array, chip.formats.linear)
    assert need == (Fraction(32 * 8 * 3, 3), Fraction(32 * 8 * 16, 3))
    assert chip.port_bits("weight") == 64 * 8  # decode, one bit of every code
    assert chip.port_bits("io") == -(-32 * 8 * 16 // 3)


def test_skipping_needs_the_port_of_the_fastest_step() -> None:
    chip = load_arch("bitmod", {"pe.skip_zero_terms": True, "pe.unpriced": ["skip_zero_terms"]})
    assert ports(chip) == {"weight": 64 * 4 * 8, "io": 32 * 4 * 16}


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("model", ["llama-2-7b", "yi-6b", "llama-2-13b", "llama-3-8b"])
def test_one_chip_has_one_area(name: str, model: str) -> None:
    whole = load_arch(name)
    areas = [
        Chip.of(chip).area_um2
        for chip in (whole, *(resolve(whole, phase=p, model=model) for p in ("prefill", "decode")))
    ]
    assert areas[0] == areas[1] == areas[2]
    sram = [Chip.of(resolve(whole, phase=p, model=model)).sram for p in ("prefill", "decode")]
    assert sram[0] == sram[1]
    array = whole.array
    assert areas[0]["pe_array"] >= array.rows * array.columns * whole.pe.cell_area_um2
    assert areas[0]["total"] == pytest.approx(sum(v for k, v in areas[0].items() if k != "total"))


def test_the_largest_array_of_any_phase_is_built(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    path.write_text(BITMOD.replace("array.rows: 64", "array.rows: 80"))
    chip = load_arch(path)
    assert chip.pes == 80 * 16
    assert chip.port_bits("weight") == 80 * 4 * 8 // 4
    prefill = resolve(chip, phase="prefill", model="phi-2")
    assert Chip.of(prefill).area_um2["pe_array"] == 80 * 16 * chip.pe.cell_area_um2


def test_a_model_s_own_formats_count(tmp_path: Path) -> None:
    """Both phases and every model named; formats of 2 terms beside others of 4."""
    path = tmp_path / "chip.yaml"
    text = BITMOD.replace("weight: int8@channel", "weight: int6@g128/int8")
    text = text.replace("weight: bitmod_fp4@g128/int8", "weight: int6@g128/int8")
    path.write_text(text)
    assert load_arch(path).port_bits("io") == -(-2048 // 3)
    rule = "  - when: {model: [phi-2, yi-6b]}\n    set: {formats.linear.weight: int4@g128}\n"
    path.write_text(text + rule)
    chip = load_arch(path)
    assert chip.port_bits("io") == 2048 // 2
    assert resolve(chip, phase="decode", model="opt-1.3b").port_bits("io") == 2048 // 2


@pytest.mark.parametrize("scheme", ["int8@channel", "int6@g128/int8", "int4_asym@g128"])
def test_a_format_set_for_a_run_does_not_shrink_the_chip(scheme: str) -> None:
    built = load_arch("bitmod")
    asked = load_arch("bitmod", {"formats.linear.weight": scheme})
    for phase in ("prefill", "decode"):
        assert ports(resolve(asked, phase=phase, model="phi-2")) == ports(built)


def test_a_format_set_for_a_run_may_ask_for_more() -> None:
    """A 2-bit integer has one Booth digit: 2048 bits of inputs in one clock."""
    assert load_arch("bitmod", {"formats.linear.weight": "int2@g128"}).port_bits("io") == 2048


def test_a_given_width_is_taken() -> None:
    chip = load_arch("bitmod", {"buffers.weight.port_bits": 64})
    assert ports(chip) == {"weight": 64, "io": 1024}


def test_another_pe_is_another_chip() -> None:
    """Formats of the file that the new PE cannot take ask for no port."""
    pe = {"kind": "bit_serial", "lanes": 4, "energy_pj": 0.2, "area_um2": 400.0}
    formats = {"weight": "int6@g128/int8", "input": "fp16", "output": "fp16"}
    chip = load_arch("fp16", {"pe": pe, "formats.linear": formats, "formats.attention": formats})
    assert chip.port_bits("weight") == 50 * 4 * 6 // 3


def test_a_second_load_keeps_what_the_first_was_built_for() -> None:
    """Two settings at once or one after the other: the same ports, as the settings are the same."""
    narrow = {f"formats.{kind}.weight.scheme": "int3@g128/int8" for kind in ("linear", "attention")}
    more = {"dram.burst_bits": 256}
    once = load_arch("bitmod", narrow | more)
    twice = load_arch(load_arch("bitmod", narrow), more)
    assert once.port_bits("weight") == twice.port_bits("weight") == 512
    assert once.settings == twice.settings


def test_registers_of_a_systolic_array_are_those_of_all_its_dataflows() -> None:
    """ws holds a second weight of 8 bits, os a result of 32: a chip that runs both has both."""
    text = {
        "title": "both",
        "technology": {"node_nm": 45, "clock_ghz": 0.25},
        "pe": {"kind": "int_mac", "component": "int8_mac_45nm"},
        "array": {"kind": "systolic", "rows": 32, "columns": 32, "dataflow": "ws"},
        "buffers": {"weight": {"size_kib": 64}, "io": {"size_kib": 64}},
        "dram": {"energy_pj_per_bit": 4.0, "bits_per_clock": 64.0},
        "formats": {
            kind: {"weight": "int8@channel", "input": "int8", "output": "int8"}
            for kind in ("linear", "attention")
        },
    }
    both = [{"when": {"phase": "decode"}, "set": {"array.dataflow": "os"}}]
    one = validate(Arch, Document(source="chip", data=text, marks={}))
    two = validate(Arch, Document(source="chip", data=text | {"overrides": both}, marks={}))
    os = validate(
        Arch,
        Document(
            source="chip", data=text | {"array": text["array"] | {"dataflow": "os"}}, marks={}
        ),
    )
    cell = one.pe.cell_area_um2
    assert two.pe_area_um2 - cell == pytest.approx(
        (one.pe_area_um2 - cell) + (os.pe_area_um2 - cell)
    )
    phases = {resolve(two, phase=p, model="").pe_area_um2 for p in ("prefill", "decode")}
    assert phases == {two.pe_area_um2}
    assert (os.pe_area_um2 - cell) == pytest.approx(4 * (one.pe_area_um2 - cell))


@pytest.mark.parametrize("name", OURS)
def test_a_sweep_has_the_silicon_of_the_whole_chip(name: str) -> None:
    """Ports and PEs of a point are those of `simulate`, in both phases."""
    arch = load_arch(name)
    whole = Chip.of(arch).area_um2
    for phase in ("prefill", "decode"):
        chip = _resolve(arch, phase, "opt-125m")
        assert Chip.of(chip).area_um2 == whole
        slower = load_arch(resolve(arch, phase=phase, model="opt-125m"), {"dram.gb_per_s": 16.0})
        assert Chip.of(slower).area_um2 == whole


@pytest.mark.parametrize("weight", ["bitmod_fp4@g128/int8", "int6@g128/int8", "int8@channel"])
def test_formats_set_beside_a_key_of_the_pe_leave_the_ports(weight: str) -> None:
    chip = load_arch("bitmod", {"pe.group_gap": 1, "formats.linear.weight": weight})
    assert ports(chip) == ports(load_arch("bitmod"))


@pytest.mark.parametrize("bits", [4.2, 5.0])
def test_stated_bits_of_a_scheme_go_through_an_automatic_port_at_once(bits: float) -> None:
    """32 rows x 5 bits a step of one clock."""
    chip = load_arch(
        "fp16",
        COST
        | {
            "array.rows": 32,
            "array.columns": 32,
            "pe.component": None,
            "formats.linear.weight": {"scheme": "int4@g128", "bits": bits},
            "formats.attention.weight": {"scheme": "int4@g128", "bits": bits},
        },
    )
    layer = Gemm(name="x", m=32, n=32, k=768)
    run = run_layer(Chip.of(chip), layer, layer_bits(chip, layer))
    assert run.sram_accesses["weight_read"] == 768


def test_what_was_found_of_a_chip_is_not_in_its_copies() -> None:
    """A column takes an input a lane: twice the columns of three times the lanes ask for six."""
    chip = load_arch("fp16", {"buffers.io.port_bits": "auto"})
    wide, lanes = chip.port_bits("io"), chip.pe.record.lanes
    array = chip.array.model_copy(update={"columns": 2 * chip.array.columns})
    pe = chip.pe.model_copy(update={"lanes": 3 * lanes})
    assert chip.variants[0][0] == chip.array
    assert pe.record.lanes == 3 * lanes
    changed = chip.model_copy(update={"array": array, "pe": pe, "overrides": []})
    alone = chip.model_copy(update={"overrides": []})
    assert changed.variants[0][0] == array
    assert changed.port_bits("io") == 2 * 3 * alone.port_bits("io")
    assert (chip.port_bits("io"), chip.pe.record.lanes) == (wide, lanes)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (0, "buffers.io.port_bits: input should be greater than 0, or 'auto' (got 0)."),
        ("wide", "buffers.io.port_bits: input should be a valid integer, or 'auto' (got 'wide')."),
    ],
)
def test_a_width_that_is_none_is_refused_in_a_sentence(value: object, says: str) -> None:
    with pytest.raises(BitlatheError) as caught:
        load_arch("bitmod", {"buffers.io.port_bits": value})
    assert str(caught.value).endswith(says)
    assert "\n" not in str(caught.value)
