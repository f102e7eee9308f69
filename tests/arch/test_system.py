"""Systems of chips from files: the shipped ones, what is refused and where."""

import pytest

import bitlathe as bl
from bitlathe.arch import load_arch
from bitlathe.arch.system import Links, System, is_system, load_system, system_names
from bitlathe.arch.vector import VectorUnit
from bitlathe.datatypes.base.errors import BitlatheError

PAIR = """\
chip: bitmod
chips: 2
links:
  gb_per_s: 100
  latency_ns: 20
  energy_pj_per_bit: 1.17
  topology: ring
parallel:
  tensor: 2
"""


@pytest.mark.parametrize("name", system_names())
def test_shipped_systems_load(name):
    system = load_system(name)
    assert system.parallel.chips == system.chips
    assert system.title
    assert system.description
    assert is_system(name)
    assert not is_system(system.chip)


def test_a_chip_beside_the_file_is_found(tmp_path):
    (tmp_path / "mine.yaml").write_text(
        "".join(
            line + "\n"
            for line in (
                "technology: {node_nm: 28, clock_ghz: 0.5, device: lop, temperature_k: 300}",
                "pe: {kind: bit_serial, lanes: 4, numerics: aligned, component: bitmod_tile}",
                "array: {kind: tile, rows: 8, columns: 8}",
                "buffers: {weight: {size_kib: 64}, io: {size_kib: 64}}",
                "dram: {component: ddr4_2666, gb_per_s: 32, size_gib: 4}",
                "formats:",
                "  linear: {weight: int8@channel, input: fp16, output: fp16}",
                "  attention: {weight: int8@channel, input: fp16, output: fp16}",
            )
        )
    )
    path = tmp_path / "pair.yaml"
    path.write_text(PAIR.replace("bitmod", "mine.yaml"))
    system = load_system(path)
    assert system.name == "pair"
    assert system.arch.dram.size_gib == 4
    assert is_system(path)
    assert not is_system(tmp_path / "mine.yaml")


def test_another_chip_takes_the_place_of_the_systems():
    system = load_system("bitmod-pair", load_arch("bitmod", {"array.rows": 16}))
    assert system.arch.array.rows == 16
    assert system.divided(tensor=4, data=2).arch.array.rows == 16
    assert bl.load_system("bitmod-pair").chips == 2


def test_own_links_stand_for_their_way_alone(tmp_path):
    path = tmp_path / "s.yaml"
    slow = "{gb_per_s: 1, latency_ns: 900, energy_pj_per_bit: 5, topology: all_to_all}"
    path.write_text(
        PAIR.replace("chips: 2", "chips: 4") + f"  pipeline: 2\nown_links: {{pipeline: {slow}}}\n"
    )
    system = load_system(path)
    assert system.links_of("pipeline").gb_per_s == 1
    assert system.links_of("tensor").gb_per_s == 100


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("  gb_per_s: 100\n", "", ":3:1: key 'links.gb_per_s' is missing."),
        ("gb_per_s: 100", "gb_per_s: 0", ":4:3: links.gb_per_s: input should be greater than 0"),
        ("chips: 2", "chips: 0", ":2:1: chips: input should be greater than 0 (got 0)"),
        (
            "tensor: 2",
            "tensor: 3",
            ":8:1: parallel: tensor 3 x pipeline 1 x expert 1 x data 1 = 3, but the system has 2 "
            "chips; let the degrees multiply to the chips.",
        ),
        ("ring", "mesh", ":7:3: links.topology: input should be 'ring' or 'all_to_all'"),
        ("tensor: 2", "tensors: 2", ":9:3: unknown key 'parallel.tensors'; did you mean 'tensor'?"),
        ("tensor: 2", "tensor: 0", ":9:3: parallel.tensor: input should be greater than 0 (got 0)"),
        ("chip: bitmod", "chip: bitmodd", ":1:1: chip: unknown chip 'bitmodd'; did you mean"),
        ("latency_ns: 20", "latency_ns: -1", ":5:3: links.latency_ns: input should be"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(tmp_path, old, new, said):
    path = tmp_path / "s.yaml"
    path.write_text(PAIR.replace(old, new))
    with pytest.raises(BitlatheError) as error:
        load_system(path)
    assert str(error.value).startswith(f"{path}{said}"), error.value


def test_degrees_that_no_system_has_are_refused():
    with pytest.raises(BitlatheError, match="unknown key 'pipelin'; did you mean 'pipeline'"):
        load_system("bitmod-pair").divided(pipelin=2)
    with pytest.raises(BitlatheError, match="unknown system 'bitmod-pear'; did you mean"):
        load_system("bitmod-pear")
    with pytest.raises(BitlatheError, match="is a system of chips, where one chip is needed"):
        load_arch("bitmod-pair")


LINKS = {"gb_per_s": 100, "latency_ns": 20, "energy_pj_per_bit": 1.17, "topology": "ring"}


@pytest.mark.parametrize(
    ("made", "values", "said"),
    [
        (Links, {**LINKS, "gb_per_s": 0},
         "Links: gb_per_s: input should be greater than 0 (got 0)."),
        (Links, {"latency_ns": 20}, "Links: key 'gb_per_s' is missing."),
        (System, {"chip": "bitmod", "chips": 1, "links": {**LINKS, "latency_ns": -1}},
         "System: links.latency_ns: input should be greater than or equal to 0 (got -1)."),
        (System, {"chip": "bitmod", "chips": 2, "links": Links(**LINKS)},
         "System: parallel: tensor 1 x pipeline 1 x expert 1 x data 1 = 1, but the system has 2"),
        (VectorUnit, {"lanes": 8, "component": "fp16_lane", "memry": "io"},
         "VectorUnit: unknown key 'memry'; did you mean 'memory'?"),
    ],
)  # fmt: skip
def test_records_made_in_python_are_refused_in_the_words_of_files(made, values, said):
    with pytest.raises(BitlatheError) as error:
        made(**values)
    assert str(error.value).splitlines()[0].startswith(said)
    assert "pydantic" not in str(error.value)
