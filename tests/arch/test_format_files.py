"""Chips whose formats stand in files: a file that changes is read with the chip, not remembered."""

from pathlib import Path

import pytest

import bitlathe as bl
from bitlathe.arch import Arch, load_arch, resolve
from bitlathe.arch.pe import IntMacPE
from bitlathe.arch.supports import supports
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.schemes.scheme import Scheme

INTEGERS = "name: mine\nbits: 2\nvalues: [-1, 0, 1, 2]\n"
FRACTIONS = "name: mine\nbits: 2\nvalues: [-1, 0, 0.3, 2]\n"
WIDER = f"name: mine\nbits: 5\nvalues: {list(range(-15, 17))}\n"
INT_MAC = {
    "pe": {"kind": "int_mac", "component": "int8_mac_45nm"},
    "technology": {"node_nm": 45, "clock_ghz": 0.25},
    "formats.attention.weight": {"scheme": "int8@channel", "calibrated": True},
    "formats.linear.input": "int8",
    "formats.attention.input": "int8",
}


def integer_chip(scheme: str) -> Arch:
    return load_arch("bitmod", {**INT_MAC, "formats.linear.weight": scheme})


@pytest.mark.parametrize("granularity", ["", "@g64", "@g65", "@channel"])
def test_a_file_rewritten_with_fractions_is_refused(tmp_path: Path, granularity: str) -> None:
    path = tmp_path / "mine.yaml"
    text = f"{path}{granularity}"
    path.write_text(INTEGERS)
    chip = integer_chip(text)
    assert bl.simulate(chip, "opt-1.3b", fidelity="analytic").cycles > 0
    assert supports(IntMacPE(), text, None)
    path.write_text(FRACTIONS)
    with pytest.raises(BitlatheError, match=r"formats\.linear\.weight: a PE of kind int_mac"):
        integer_chip(text)
    assert not supports(IntMacPE(), text, None)
    path.write_text(INTEGERS)
    assert integer_chip(text) == chip


def test_a_loaded_chip_keeps_the_format_it_was_loaded_with(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(INTEGERS)
    chip = integer_chip(f"{path}@g64")
    before = bl.simulate(chip, "opt-1.3b", "decode", fidelity="analytic")
    path.write_text(FRACTIONS)
    assert resolve(chip, phase="decode", model="opt-1.3b").formats == chip.formats
    after = bl.simulate(chip, "opt-1.3b", "decode", fidelity="analytic")
    assert after.to_json() == before.to_json()
    assert load_arch(chip, {"array.rows": 16}).formats == chip.formats


def test_bits_clocks_and_ports_follow_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    found = []
    for content in (INTEGERS, WIDER):
        path.write_text(content)
        chip = load_arch("bitmod", {"formats.linear.weight": f"{path}@g128/int8"})
        weight = chip.formats.linear.weight
        run = bl.simulate(chip, "opt-1.3b", fidelity="analytic")
        found.append(
            (weight.payload_bits, weight.terms, weight.bits_per_element(4096, 4096), run.cycles)
        )
    assert [bits for bits, *_ in found] == [2, 5]
    assert all(small < large for small, large in zip(found[0][1:], found[1][1:], strict=True))


def test_formats_of_overrides_are_read_with_the_chip(tmp_path: Path) -> None:
    """What decode runs decides the width of ports: it is not that of a file read before."""
    path, chip = tmp_path / "mine.yaml", tmp_path / "chip.yaml"
    path.write_text(INTEGERS)
    source = Path(bl.__file__).parent / "arch" / "chips" / "bitmod.yaml"
    rule = f"set: {{formats.linear.weight: '{path}@g128/int8', formats.attention.weight: int3, "
    text = source.read_text().replace("set: {array.rows: 64,", f"{rule}array.rows: 64,")
    chip.write_text(text.replace("bitmod_fp4@g128/int8", "int2@g128/int8"))
    loaded = load_arch(chip)
    path.write_text(WIDER)
    again = load_arch(chip)
    decode = [resolve(one, phase="decode", model="phi-2") for one in (loaded, again)]
    assert [one.formats.linear.weight.payload_bits for one in decode] == [2, 5]
    assert [rule.set["formats.linear.weight"].element_bits for one in (loaded, again)
            for rule in one.overrides] == [2, 5]  # fmt: skip
    assert loaded.model_dump(mode="json") == again.model_dump(mode="json")
    assert loaded.variants != again.variants
    assert isinstance(Scheme.parse(decode[0].formats.linear.weight.label), Scheme)
