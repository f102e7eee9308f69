"""Chips from YAML: what loads, what errors say."""

from pathlib import Path

import pytest

from bitlathe.arch import Arch, arch_names, load_arch, resolve
from bitlathe.arch.loader import CHIPS, parse_setting
from bitlathe.arch.silicon import areas_um2
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim import simulate
from bitlathe.workloads import load_model

BITMOD = (CHIPS / "bitmod.yaml").read_text()


def test_shipped_chips() -> None:
    expected = {"fp16", "ant", "olive", "ant-fp16", "olive-fp16", "bitmod"}
    expected |= {f"hpca25/{name}" for name in ("fp16", "ant", "olive")}
    assert expected | {"hpca25/bitmod-lossless", "hpca25/bitmod-lossy"} <= set(arch_names())


@pytest.mark.parametrize("name", arch_names())
def test_every_shipped_chip_loads_and_resolves(name: str) -> None:
    arch = load_arch(name)
    assert arch.name == name
    for phase in ("prefill", "decode"):
        chip = resolve(arch, phase=phase, model="llama-2-7b")
        stated = not name.startswith(("isca18/", "micro22/"))  # those give no areas by part
        areas = areas_um2(chip)
        if name == "neurips24/eyeriss":
            areas = {"pe_array": areas["pe_array"]}  # the one that its paper gives
        assert all(area > 0 if stated else area == 0 for area in areas.values())


def test_names_forgive_case_and_underscores() -> None:
    assert load_arch("HPCA25/BitMoD_Lossy") == load_arch("hpca25/bitmod-lossy")


def test_corrected_arrays_have_equal_area() -> None:
    areas = []
    for name in ("fp16", "ant", "olive", "ant-fp16", "olive-fp16", "bitmod"):
        for phase in ("prefill", "decode"):
            chip = resolve(load_arch(name), phase=phase, model="phi-2")
            areas.append(chip.array.rows * chip.array.columns * chip.pe.cell_area_um2)
    assert max(areas) / min(areas) < 1.02


def test_published_ports() -> None:
    """The per-bank buses of the study's eight banks (its CACTI runs)."""
    ports = {
        name: [
            resolve(load_arch(f"hpca25/{name}"), phase=phase, model="phi-2").port_bits(buffer) / 8
            for phase in ("prefill", "decode")
            for buffer in ("weight", "io")
        ]
        for name in ("fp16", "ant", "olive", "bitmod-lossless", "bitmod-lossy")
    }
    assert ports == {
        "fp16": [64, 48, 128, 24],
        "ant": [32, 64, 64, 32],
        "olive": [18, 64, 36, 32],
        "bitmod-lossless": [64, 128, 128, 64],
        "bitmod-lossy": [64, 128, 64, 64],
    }


def test_a_set_key_holds_in_every_phase() -> None:
    arch = load_arch("bitmod", {"array.rows": 128})
    assert resolve(arch, phase="prefill", model="phi-2").array.rows == 128
    assert resolve(arch, phase="decode", model="phi-2").array.rows == 128
    assert resolve(arch, phase="decode", model="phi-2").array.columns == 16


def test_set_takes_a_scheme_as_text() -> None:
    arch = load_arch("bitmod", {"formats.linear.weight": "int8@channel"})
    assert arch.formats.linear.weight.terms == 4


def test_sizes_take_units() -> None:
    assert load_arch("bitmod", {"buffers.io.size_kib": "1 MiB"}).buffers.io.size_bytes == 2**20


def test_arch_is_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        load_arch("bitmod").array.rows = 3  # type: ignore[misc]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "chip.yaml"
    path.write_text(text)
    return path


def change(old: str, new: str) -> str:
    assert old in BITMOD
    return BITMOD.replace(old, new)


def test_a_chip_of_convolutions_gives_only_their_formats(tmp_path: Path) -> None:
    head, own = BITMOD[: BITMOD.index("  linear:")], "{weight: int8@channel}\n"
    chip = load_arch(write(tmp_path, f"{head}  conv: {own}"))
    assert chip.formats.by_kind.keys() == {"linear", "conv"}
    whole = load_arch(write(tmp_path, head + f"  linear: {own}  attention: {own}  conv: {own}"))
    layers = [{"name": "a", "out_channels": 4, "kernel": 3}, {"type": "linear", "out_features": 9}]
    net = load_model({"input": [3, 8, 8], "layers": [layers[0], {"name": "b", **layers[1]}]})
    runs = [simulate(x, net, fidelity="analytic", mapper="whole-buffer") for x in (chip, whole)]
    assert runs[0].to_dict()["layers"] == runs[1].to_dict()["layers"]
    with pytest.raises(BitlatheError, match=r"^chip: key 'formats.attention' is missing, and the"):
        simulate(chip, "opt-125m", fidelity="analytic")
    with pytest.raises(BitlatheError, match=r"key 'formats.attention' is missing"):
        load_arch(write(tmp_path, f"{head}  linear: {own}"))


@pytest.mark.parametrize(
    ("text", "place", "says"),
    [
        (change("rows: 32", "row: 32"), "8:21", "unknown key 'array.row'; did you mean 'rows'"),
        (change("rows: 32", "size: 32"), "8:21", "did you mean 'rows' and 'columns'"),
        (change("dram: {component", "dram: {type"), "12:8", "did you mean 'component'"),
        (
            change("attention: {weight", "attention: {key"),
            "16:15",
            "a rule with names: attention_qk",
        ),
        (change("g128/int8", "token"), "", "write @channel for a scale each"),
        (change("rows: 32", "rows: -1"), "8:21", "array.rows: input should be greater than 0"),
        (change("rows: 32", "rows: '32'"), "8:21", "array.rows: input should be a valid integer"),
        (change("rows: 32", "rows: on"), "8:21", "got 'on'"),
        (change("rows: 32,", ""), "8:1", "key 'array.rows' is missing"),
        (change("kind: tile", "kind: ring"), "8:9", "'tile' or 'systolic'"),
        (change("size_kib: 512", "size_kib: 512 kb"), "10:12", "'512 kb' is not a size"),
        (change("size_kib: 512", "size_kib: 0.1"), "10:3", "less than the smallest bank"),
        (change("ddr4_2666", "ddr4_2667"), "", "did you mean 'ddr4_2666'"),
        (change("bitmod_fp4@g128", "bitmod_pf4@g128"), "", "bitmod_fp4"),
        (change("bitmod_fp4@g128", "bitmod_fp4@q128"), "", r"\^"),
        (change("array.rows: 64", "array.rwos: 64"), "19:", "did you mean 'array.rows'"),
        (change("array.rows: 64", "array.rows: 0"), "19:", "greater than 0"),
        (change("phase: decode", "phase: decoding"), "", "'prefill' or 'decode'"),
        (change("array.rows: 64", "pe.lanes: 8"), "19:", "a chip has one in all phases"),
        (change("array.rows: 64", "buffers.io.banks: 8"), "19:", "a chip has one in all phases"),
        (BITMOD + "title: again\n", "", "given twice"),
        (BITMOD + "buffer: 3\n", "21:1", "did you mean 'buffers'"),
        ("", "", "empty"),
        ("- 1\n", "1:1", "a mapping"),
        ("a: [1, 2\n", "", "not valid YAML"),
        ("a: !!python/object:os.system x\n", "1:4", "tag"),
        ("a: &x 1\nb: *x\n", "2:4", "aliases"),
    ],
)
def test_errors_name_place_and_remedy(tmp_path: Path, text: str, place: str, says: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(BitlatheError) as caught:
        load_arch(path)
    assert f"{path}:{place}" in str(caught.value) if place else str(path) in str(caught.value)
    with pytest.raises(BitlatheError, match=says):
        load_arch(path)


def test_a_chip_that_is_not_there() -> None:
    with pytest.raises(BitlatheError, match="did you mean 'bitmod'"):
        load_arch("bitmood")
    with pytest.raises(BitlatheError, match="No such file"):
        load_arch("nowhere/chip.yaml")
    with pytest.raises(BitlatheError, match=r"write kind: int_mac, component: int8_mac_45nm\."):
        load_arch("bitmod", {"pe": {"kind": "int8_mac"}})
    with pytest.raises(BitlatheError, match=r"'bit_serial', 'int_mac'.*got 'bitserial'"):
        load_arch("bitmod", {"pe": {"kind": "bitserial"}})
    with pytest.raises(BitlatheError, match="unknown chip 'aaa"):
        load_arch("a" * 5000)  # longer than the name of any file


@pytest.mark.parametrize("text", ["array.rows", "=3", "array.rows="])
def test_settings_need_key_and_value(text: str) -> None:
    with pytest.raises(BitlatheError, match="KEY=VALUE"):
        parse_setting(text)


def test_a_wrong_setting_names_its_key() -> None:
    with pytest.raises(BitlatheError, match=r"did you mean 'array.rows'"):
        load_arch("bitmod", {"array.rwos": 3})
    with pytest.raises(BitlatheError, match=r"array\.rows=-3"):
        load_arch("bitmod", {"array.rows": -3})


def test_round_trip_through_plain_data() -> None:
    arch = load_arch("hpca25/bitmod-lossy")
    assert Arch.model_validate(arch.model_dump()) == arch
