"""The vector unit: clocks, traffic and energy by hand, and its pieces beside the array."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe import BitlatheError, load_arch, load_model, simulate
from bitlathe.arch import resolve
from bitlathe.arch.silicon import areas_um2, leakages_mw
from bitlathe.sim.chip import Chip
from bitlathe.sim.map_group import group_on
from bitlathe.sim.run import LayerRun
from bitlathe.sim.vector import (
    Following,
    pass_of,
    piece_of,
    stored_bits,
    time_beside,
    with_vector,
)
from bitlathe.workloads.vector_step import OPERATIONS, Tensor, VectorStep

STORED = "int8@channel, input: fp16, output: int8@tensor"
COSTS = "add_pj: 1.0, multiply_pj: 2.0, special_pj: 4.0, area_um2: 1000"
CHIP = """
technology: {node_nm: 28, clock_ghz: 1.0, device: lop, temperature_k: 300}
pe: {kind: fp_mac, component: fp16_mac_tile}
array: {kind: tile, rows: 8, columns: 8}
buffers: {weight: {size_kib: 64}, io: {size_kib: 64, port_bits: 128}}
dram: {component: ddr4_2666, bits_per_clock: 64, latency_cycles: 100}
vector: {lanes: 16, COSTS, special_cycles: 3}
formats:
  linear: {weight: fp16, input: fp16, output: fp16}
  attention: {weight: int8@channel, input: fp16, output: fp16}
accounting: {layout_factor: 2.0}
""".replace("COSTS", COSTS)


@pytest.fixture
def chip(tmp_path):
    return Chip.of(resolve(_arch(tmp_path, CHIP), phase="prefill", model="m"))


def _arch(tmp_path, text):
    path = tmp_path / "chip.yaml"
    path.write_text("name: c\n" + text if "name:" not in text else text)
    return load_arch(path)


def _softmax(**changes):
    sizes = {"rows": 10, "elements": 10 * 64, "after": ("attention_qk",)}
    tensors = {
        "reads": (Tensor(640, 64, "attention", "output"),),
        "writes": (Tensor(640, 64, "attention", "input"),),
    }
    given = {"name": "softmax", "operations": ("softmax",), **sizes, **tensors, **changes}
    return VectorStep(**given)


def _layer(name="attention_qk", cycles=1000, dram_cycles=0, count=1):
    return LayerRun(
        name=name, count=count, m=1, n=1, k=1, batch=1, compute_cycles=cycles,
        dram_cycles=dram_cycles, stall_cycles=0, cycles=cycles, utilization=1.0,
        dram_bits={"weight": 0, "input": 0, "output": 1}, sram_accesses={},
        energy_pj={"pe": 0.0, "total": 0.0}, stalls={},
    )  # fmt: skip


def test_a_pass_by_hand(chip):
    asked = pass_of(chip, _softmax())
    # 3 additions, a product and an exponential of 640 elements; 10 reciprocals
    assert asked.lane_cycles == -(-(4 * 640 + 3 * (640 + 10)) // 16)
    assert (asked.read_bits, asked.write_bits) == (640 * 16, 640 * 16)
    assert asked.dram_cycles == 2 * 640 * 16 // 64
    # each port passes what comes in and what goes out
    assert asked.port_cycles == 2 * 640 * 16 // 128
    assert dict(asked.accesses) == {"io_read": 160, "io_write": 160}
    assert asked.energy_pj["vector"] == 2.0 * (3 * 640 * 1 + 640 * 2 + 650 * 4)
    dram = chip.arch.dram
    assert asked.energy_pj["dram"] == 10240 * (dram.read_bit_pj + dram.write_bit_pj)
    io = chip.sram["io"].cost
    assert asked.energy_pj["sram_read"] == pytest.approx(160 * io.read_pj)
    assert asked.energy_pj["sram_write"] == pytest.approx(160 * io.write_pj)
    assert asked.cycles == max(asked.lane_cycles, asked.dram_cycles) + 100


def test_what_passes_dram_is_whole_bursts_where_the_chip_gives_them(chip, tmp_path):
    """10,240 bits each way: three bursts of 4,096; of 512, as many bits as without."""
    for burst, moved in ((4096, 3 * 4096), (512, 10240)):
        text = CHIP.replace("latency_cycles: 100", f"latency_cycles: 100, burst_bits: {burst}")
        arch = resolve(_arch(tmp_path, text), phase="prefill", model="m")
        asked = pass_of(Chip.of(arch), _softmax())
        assert (asked.read_bits, asked.write_bits) == (10240, 10240)
        assert asked.dram_cycles == 2 * moved // 64
        bit_pj = arch.dram.read_bit_pj + arch.dram.write_bit_pj
        assert asked.energy_pj["dram"] == moved * bit_pj


def test_what_streams_in_and_out_moves_nothing(chip):
    step = VectorStep(
        name="silu", operations=("silu", "multiply"), rows=2, elements=64, after=("up_proj",),
        streams=True, reads=(Tensor(64, 32),),
    )  # fmt: skip
    asked = pass_of(chip, step)
    assert (asked.read_bits, asked.write_bits) == (64 * 16, 0)
    assert asked.lane_cycles == 64 * (1 + 2 + 2 * 3) // 16


def test_what_is_stored_in_another_format_is_quantized(chip):
    """A value that goes into an INT8 cache: its largest magnitude, a product, a rounding."""
    cached = Tensor(640, 64, "attention", "weight")
    made = VectorStep(
        name="cache", operations=(), rows=10, elements=640, after=(), streams=True, makes=(cached,)
    )
    asked = pass_of(chip, made)
    assert asked.lane_cycles == -(-(3 * 640 + 3 * 10) // 16)  # int8@channel: a scale a row
    assert asked.read_bits == asked.write_bits == 0


def test_the_last_group_of_a_row_has_a_scale_of_its_own(tmp_path):
    """Rows of 80 values in groups of 32 have three scales each, two and a half of them full."""
    text = CHIP.replace("weight: int8@channel", "weight: int8@g32")
    assert text != CHIP
    grouped = Chip.of(resolve(_arch(tmp_path, text), phase="prefill", model="m"))
    cached = Tensor(10 * 80, 80, "attention", "weight")
    made = VectorStep(
        name="cache", operations=(), rows=10, elements=800, after=(), streams=True, makes=(cached,)
    )
    assert pass_of(grouped, made).lane_cycles == -(-(3 * 800 + 3 * 10 * 3) // 16)


def test_tensors_are_stored_as_the_operands_they_are(chip):
    assert stored_bits(chip.arch, Tensor(100, 50)) == 1600
    assert stored_bits(chip.arch, Tensor(100, 50, "attention", "input")) == 1600


def _two_machines(array, vector, pieces):
    """Return when the last of equal pieces is done, piece by piece."""
    free_array = free_vector = Fraction(0)
    for _ in range(pieces):
        free_array += Fraction(array, pieces)
        free_vector = max(free_vector, free_array) + Fraction(vector, pieces)
    return free_vector


def _equal(vector, pieces, latency=0):
    """Return steps of equal pieces, of whole clocks but for what a piece takes of them."""
    piece = -(-vector // pieces)
    return Following(work=vector, exact=Fraction(vector), piece=piece, latency=latency)


def _of(*steps):
    """Return the clocks of passes, of each of which one piece is given too."""
    found = Following()
    for asked, piece in steps:
        found = found.and_then(asked, piece, streams=False)
    return found


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 40))
def test_pieces_follow_as_on_two_machines(array, vector, pieces):
    exact = _two_machines(array, vector, pieces)
    assert exact <= time_beside(array, _equal(vector, pieces), pieces, 0) < exact + 1


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 40), st.integers(0, 10**6))
def test_more_work_takes_no_less_more_pieces_no_more(array, vector, pieces, dram):
    time = time_beside(array, _equal(vector, pieces, 7), pieces, dram)
    assert time >= max(array + 7, vector + 7, dram)
    assert time <= max(array + vector + 7, dram)
    ahead = replace(_equal(vector, pieces), ahead=7)
    assert time - 7 <= time_beside(array, ahead, pieces, dram) <= time
    assert time_beside(array, _equal(vector + 1, pieces, 7), pieces, dram) >= time
    assert time_beside(array, _equal(vector, pieces + 1, 7), pieces + 1, dram) <= time


@pytest.fixture(scope="module")
def burst_chips(tmp_path_factory):
    """A chip with 16 lanes and one with 1024, latencies, bursts, scales of whole tensors."""
    found = []
    for lanes in (16, 1024):
        text = CHIP.replace("latency_cycles: 100", "latency_cycles: 9, burst_bits: 4096")
        text = text.replace("lanes: 16", f"lanes: {lanes}")
        text = text.replace("int8@channel, input: fp16, output: fp16", STORED)
        arch = _arch(tmp_path_factory.mktemp("bursts"), text)
        found.append(Chip.of(resolve(arch, phase="prefill", model="m")))
    return found


@given(
    st.booleans(), st.booleans(), st.integers(1, 100), st.integers(1, 3),
    st.lists(st.integers(0, 200), min_size=4, max_size=4),
)  # fmt: skip
def test_a_smaller_batch_is_never_slower(burst_chips, lanes, rows, width, heads, more):
    """Heads, or rows that stream, of ever more sequences behind an array that is no faster."""
    found, array = [], 0
    for batch, clocks in enumerate(more, start=1):
        array, many = array + clocks, batch * heads
        tensors = [Tensor(many * width, width, "attention", way) for way in ("output", "input")]
        steps = [
            _softmax(
                rows=many, elements=many * width, pieces=many, streams=rows,
                reads=() if rows else tuple(tensors[:1]), writes=() if rows else tuple(tensors[1:]),
                learned=3 * rows,
            ),
        ]  # fmt: skip
        made = with_vector(burst_chips[lanes], steps, [_layer(cycles=array)])
        found.append(sum(each.cycles for each in made))
    assert found == sorted(found)


def test_steps_stand_behind_their_products_and_add_what_is_exposed(chip):
    layers = [_layer("q_proj"), _layer(cycles=1000, dram_cycles=200), _layer("attention_av")]
    alone = pass_of(chip, _softmax())
    made = with_vector(chip, [_softmax(pieces=4)], layers)
    assert [each.name for each in made] == ["q_proj", "attention_qk", "softmax", "attention_av"]
    step, piece = made[2], pass_of(chip, piece_of(_softmax(pieces=4)))
    assert piece.lane_cycles == -(-(4 * 160 + 3 * (160 + 3)) // 16)  # a quarter, of whole rows
    together = time_beside(1000, _of((alone, piece)), 4, 200 + alone.dram_cycles)
    assert step.cycles == together - 1000
    assert step.stalls["vector"] == step.cycles == step.stall_cycles
    assert (step.unit, step.busy_cycles["vector"]) == ("vector", alone.lane_cycles)
    one_piece = with_vector(chip, [_softmax(pieces=1)], layers)[2]
    assert one_piece.cycles == alone.cycles


def test_steps_behind_one_product_share_its_time(chip):
    steps = [_softmax(name=name, pieces=4) for name in ("one", "two", "three")]
    alone = pass_of(chip, steps[0])
    made = with_vector(chip, steps, [_layer(cycles=1000)])
    assert [each.name for each in made] == ["attention_qk", "one", "two", "three"]
    total, piece = sum(each.cycles for each in made), pass_of(chip, piece_of(steps[0]))
    assert total == time_beside(1000, _of(*[(alone, piece)] * 3), 4, 3 * alone.dram_cycles)


def test_steps_share_the_lanes_with_scales_of_their_product(chip):
    """No more is done beside the array than its lanes have clocks for."""
    step = _softmax(pieces=4)
    lanes = pass_of(chip, step).lane_cycles
    plain = sum(each.cycles for each in with_vector(chip, [step], [_layer(cycles=1000)]))
    for scales in (1, plain - lanes, plain - lanes + 1, 1000):
        scaled = replace(_layer(cycles=1000), scale_cycles=scales)
        made = with_vector(chip, [step], [scaled])
        assert sum(each.cycles for each in made) == max(plain, scales + lanes)
    assert plain < 1000 + lanes


def test_a_step_that_needs_all_rows_follows_what_streams(chip):
    """A residual sum as results come, then a norm of whole rows: only the norm is waited for."""
    stream, norm = _softmax(name="sum", pieces=640), _softmax(name="norm", pieces=1)
    alone, last = pass_of(chip, norm).cycles, pass_of(chip, piece_of(stream)).cycles
    made = with_vector(chip, [stream, norm], [_layer(cycles=10**6)])
    assert [each.cycles for each in made[1:]] == [last, alone]


def test_layers_of_one_name_are_one_product(chip):
    """Experts with more rows and with fewer: the step follows all of them."""
    layers = [_layer("up", cycles=100, count=6), _layer("up", cycles=50, count=2)]
    step = _softmax(after=("up",), count=2, pieces=8)
    alone, piece = pass_of(chip, step), pass_of(chip, piece_of(step))
    made = with_vector(chip, [step], layers)
    array = 3 * 100 + 50
    together = time_beside(array, _of((alone, piece)), 8, alone.dram_cycles)
    assert made[-1].cycles == together - array


def test_results_that_stay_on_the_chip_pass_no_dram(chip):
    left = {"weight": 9, "input": 9, "output": 0}
    layer = replace(_layer(), m=10, n=64, dram_bits=left)
    step = with_vector(chip, [_softmax()], [layer])[1]
    assert step.dram_bits == {"weight": 0, "input": 0, "output": 0}
    assert step.sram_accesses == {"io_read": 80, "io_write": 80}
    assert step.cycles == pass_of(chip, _softmax(), stays=True).lane_cycles
    fewer = replace(layer, n=63)  # it finds there no more than the layer left
    assert with_vector(chip, [_softmax()], [fewer])[1].dram_bits["input"] == 640 * 16


def test_a_unit_that_does_not_overlap_adds_all_its_clocks(tmp_path):
    arch = _arch(tmp_path, CHIP.replace("{lanes: 16,", "{lanes: 16, overlap: false,"))
    chip = Chip.of(resolve(arch, phase="prefill", model="m"))
    made = with_vector(chip, [_softmax(pieces=4)], [_layer(cycles=10**6)])
    assert made[1].cycles == pass_of(chip, _softmax()).cycles


@given(st.sampled_from(sorted(OPERATIONS)), st.integers(1, 1000), st.integers(1, 1000))
def test_more_lanes_are_never_slower(tmp_path_factory, operation, rows, width):
    text = CHIP.replace("bits_per_clock: 64", "bits_per_clock: 100000")
    found = []
    for lanes in (1, 2, 3, 16, 1000):
        arch = _arch(tmp_path_factory.mktemp("lanes"), text.replace("lanes: 16", f"lanes: {lanes}"))
        step = VectorStep(
            name="x", operations=(operation,), rows=rows, elements=rows * width, after=()
        )
        found.append(pass_of(Chip.of(resolve(arch, phase="prefill", model="m")), step).cycles)
    assert all(slow >= fast for slow, fast in pairwise(found))


def test_a_component_follows_the_node(tmp_path):
    arch = _arch(tmp_path, CHIP.replace(COSTS, "component: fp16_lane"))
    assert arch.vector_lane.add_pj == pytest.approx(0.4 * 28 / 45)
    assert arch.vector_lane.area_um2 == pytest.approx(3787 * (28 / 45) ** 2)
    assert arch.vector_lane.special_cycles == 3


def test_its_area_and_leakage_are_the_chips(tmp_path):
    arch = _arch(tmp_path, CHIP.replace("area_um2: 1000", "area_um2: 1000, leakage_mw: 0.5"))
    assert areas_um2(arch)["vector_unit"] == 16_000
    assert leakages_mw(arch)["vector_unit"] == 8
    chip, without = (
        Chip.of(resolve(each, phase="prefill", model="m"))
        for each in (arch, _arch(tmp_path, CHIP.replace("lanes: 16", "lanes: 0")))
    )
    assert chip.leakage_mw - without.leakage_mw == pytest.approx(8)
    static = chip.hierarchies[0].static_pj - without.hierarchies[0].static_pj
    assert static == pytest.approx(8)
    assert "vector_unit" not in without.area_um2


@pytest.mark.parametrize(
    ("was", "now", "said"),
    [
        ("lanes: 16, add_pj: 1.0,", "lanes: 16,", "give 'component'"),
        ("lanes: 16,", "lanes: -1,", "lanes"),
        ("lanes: 16,", "lanes: 16, memory: weight,", "no memory that holds results; use io"),
        ("lanes: 16,", "lanes: 16, component: none,", "unknown vector component 'none'"),
        ("special_cycles: 3", "special_cycle: 3", "special_cycles"),
        ("accounting: {", "accounting: {study: hpca25, ", "counts no vector unit"),
    ],
)
def test_wrong_units_are_refused_in_a_sentence(tmp_path, was, now, said):
    assert was in CHIP
    with pytest.raises(BitlatheError, match=said.replace("(", r"\(")) as error:
        _arch(tmp_path, CHIP.replace(was, now))
    assert "chip.yaml" in str(error.value)


def test_operations_that_no_unit_does_are_refused():
    """In a run, and where layers are mapped together: which operation, of which step."""
    chip = load_arch("bitmod", {"vector.operations": ["rms_norm", "silu", "quantize", "add"]})
    with pytest.raises(BitlatheError, match="'rotary' takes rotary, which no unit"):
        simulate(chip, "llama-3.2-1b", "decode", 8, fidelity="analytic", mapper="whole-buffer")
    with pytest.raises(BitlatheError, match="'softmax' takes softmax, which no unit"):
        group_on(chip, load_model("llama-3.2-1b"), "attention_qk+av", "prefill", 8)
    other = load_arch("bitmod", {"vector.operations": "softmaks"})
    with pytest.raises(
        BitlatheError, match=r"unknown operation 'softmaks'; did you mean 'softmax'"
    ):
        simulate(other, "llama-3.2-1b", "decode", 8, fidelity="analytic", mapper="whole-buffer")


def test_wrong_steps_are_refused():
    with pytest.raises(BitlatheError, match="vector step 'x': unknown operation 'softmaxx'"):
        VectorStep(name="x", operations=("softmaxx",), rows=1, elements=1, after=())
    with pytest.raises(BitlatheError, match="rows"):
        VectorStep(name="x", operations=(), rows=0, elements=1, after=())
