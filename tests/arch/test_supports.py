"""Which formats a PE can take: the rule against the PEs' own functions, and what errors say."""

from pathlib import Path

import numpy as np
import pytest

from bitlathe.arch import load_arch, resolve
from bitlathe.arch.loader import CHIPS
from bitlathe.arch.numerics import ALIGNED, HPCA25
from bitlathe.arch.pe import (
    BIT_SERIAL_ACTIVATIONS,
    FLOAT_BITS,
    SECTIONS,
    WEIGHT_PORTS,
    AntPE,
    BitSerialPE,
    FpMacPE,
    IntMacPE,
    LutPE,
    LutSection,
    OlivePE,
    OliveSection,
)
from bitlathe.arch.supports import refusal, supported_formats, supports
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.formats import catalogue
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.sim.pe.mac import FLOAT_FORMATS, fp_mac_dot, int_mac_dot
from bitlathe.sim.pe.operands import ACTIVATIONS
from bitlathe.sim.pe.weights import supported_formats as supported_by_decoder
from bitlathe.sim.pe.weights import weight_decoder

BITMOD = (CHIPS / "bitmod.yaml").read_text()
PLAIN = [n for n in catalogue.names() if catalogue.entry(n).coder == "table" and n != "fp32"]


def test_the_lists_of_names_are_those_of_the_functions() -> None:
    assert set(BIT_SERIAL_ACTIVATIONS) == set(ACTIVATIONS)
    assert set(WEIGHT_PORTS) <= set(FLOAT_FORMATS)
    assert set(FLOAT_BITS) <= set(FLOAT_FORMATS)


def test_the_bit_serial_rule_is_that_of_its_decoder() -> None:
    mine = {n for n in supported_formats(BitSerialPE()) if catalogue.entry(n).coder != "dgq"}
    assert mine == set(supported_by_decoder()) - {"fp3", "fp4", "dgq4"}


@pytest.mark.parametrize("port", ["fp32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "fp4_e2m1"])
def test_an_exact_port_takes_what_its_multiplier_takes(port: str) -> None:
    """Up to a power of two: the function refuses every scaling of what the rule refuses."""
    pe = FpMacPE(weight=port)
    for name in PLAIN:
        for fmt in Scheme.parse(name).formats:
            values = fmt.grid.values
            taken = False
            for shift in range(-24, 25):
                try:
                    fp_mac_dot(np.ones(values.size), np.ldexp(values, shift), pe)
                    taken = True
                    break
                except BitlatheError:
                    continue
            if taken:
                assert supports(pe, name, None) or len(Scheme.parse(name).formats) > 1, name
            elif supports(pe, name, None):  # rounded by the decoder
                assert port in ("fp32", "fp16", "bf16"), name
                assert fmt.bits <= 8, name


@pytest.mark.parametrize("bits", [2, 4, 5, 8, 16])
def test_int_mac_takes_what_its_multiplier_takes(bits: int) -> None:
    pe = IntMacPE(weight_bits=bits)
    for name in PLAIN:
        formats = Scheme.parse(name).formats
        taken = []
        for fmt in formats:
            for shift in range(-6, 17):
                values = np.ldexp(fmt.grid.values, shift)
                if (values == np.rint(values)).all():
                    try:
                        int_mac_dot(np.ones(values.size, int), values.astype(np.int64), pe)
                        taken.append(fmt)
                        break
                    except BitlatheError:
                        continue
        assert supports(pe, name, None) == (len(taken) == len(formats)), name


@pytest.mark.parametrize(
    ("pe", "weight", "activation", "right"),
    [
        (IntMacPE(), "nf4", "int8", False),
        (IntMacPE(), "int4_asym@g128", "int8@channel", True),
        (IntMacPE(weight_bits=4), "int4_asym@g128", None, False),
        (IntMacPE(), None, "fp16", False),
        (IntMacPE(activation_bits=4), None, "int8", False),
        (IntMacPE(), None, "mxint8", True),
        (IntMacPE(), "bcq3", None, False),
        (BitSerialPE(), "nf4", "fp16", True),
        (BitSerialPE(), "fp16", None, False),
        (BitSerialPE(), "olive4", None, False),
        (BitSerialPE(), "e8m0", None, False),  # 247 of its 255 values would be 0
        (BitSerialPE(), "fp8_e5m2", None, True),
        (BitSerialPE(), "int6@g128/int8", "fp8_e4m3", False),
        (BitSerialPE(scale_bits=7), "int6@g128/int8", None, False),
        (BitSerialPE(activation="int8"), None, "int8", True),
        (FpMacPE(), "olive4", "fp16", True),
        (FpMacPE(), "bf16", None, False),
        (FpMacPE(), "e8m0", None, False),
        (FpMacPE(), "fp8_e5m2", "fp8_e4m3", False),
        (FpMacPE(activation="fp8_e4m3"), None, "fp4_e3m0@tensor", True),
        (FpMacPE(activation="fp8_e4m3"), None, "fp4_e1m2@tensor/fp32", True),
        (FpMacPE(activation="fp8_e4m3"), None, "fp6_e3m2@channel", True),
        (FpMacPE(activation="fp8_e4m3"), None, "fp8_e5m2@channel", False),
        (
            FpMacPE(activation="fp8_e5m2"),
            None,
            "fp6_e2m3@channel",
            False,
        ),  # 3 bits behind the point
        (FpMacPE(activation="fp8_e4m3"), None, "int4@tensor", False),
        (FpMacPE(activation="fp4_e2m1"), None, "fp4_e1m2@tensor", False),
        (FpMacPE(), None, "fp8_e4m3@channel", False),
        (FpMacPE(weight="int8"), "fp16", None, False),
        (FpMacPE(weight="int8"), "olive4", None, True),
        (LutPE(), "bcq3", "fp16", True),
        (LutPE(), "bcq3/fp16", None, False),
        (LutPE(), "int4", None, False),
        (AntPE(), "ant4@g128", "int8", True),
        (AntPE(), "int5", None, False),
        (AntPE(mac=IntMacPE(weight_bits=4, accumulator_bits=12)), "flint4", None, False),
        (OlivePE(), "olive4", "int8", True),
        (OlivePE(), "int4", None, True),
        (OlivePE(), "flint4", None, False),
        (OlivePE(mac=IntMacPE(weight_bits=3)), "olive4", None, False),
    ],
)
def test_what_each_kind_takes(pe: object, weight: str, activation: str, right: bool) -> None:
    assert supports(pe, weight, activation) == right  # type: ignore[arg-type]


def test_a_refusal_lists_what_would_do() -> None:
    said = refusal(IntMacPE(), "weight", Scheme.parse("nf4"))
    assert said is not None
    assert "int4" in said
    assert "nf4," not in said
    assert refusal(IntMacPE(), "weight", Scheme.parse("int4")) is None
    said = refusal(BitSerialPE(), "weight", Scheme.parse("e8m0"))
    assert said is not None
    assert "it takes int2" in said
    assert "e8m0," not in said
    with pytest.raises(BitlatheError, match=r"'e8m0': it has no zero.* It takes: fp3, fp4, int2"):
        weight_decoder("e8m0")


def test_every_kind_has_a_record_from_its_section() -> None:
    cost = {"energy_pj": 0.1, "area_um2": 1.0}
    for kind, section in SECTIONS.items():
        found = section(kind=kind, **cost).record  # type: ignore[arg-type]
        assert isinstance(found, section.made)
        assert found.kind == kind
    wide = {"pe.numerics.guard_bits": 4, "pe.unpriced": ["numerics"]}
    serial = load_arch("bitmod", {**wide, "pe.group_gap": 2})
    found = serial.pe.record
    assert isinstance(found, BitSerialPE)
    assert (found.lanes, found.numerics.guard_bits, found.group_gap) == (4, 4, 2)
    assert load_arch("bitmod").pe.record == BitSerialPE(numerics=ALIGNED)
    assert load_arch("hpca25/bitmod-lossy").pe.record == BitSerialPE(numerics=HPCA25)
    lut = LutSection(kind="lut", lanes=6, table="fp32", **cost)
    assert lut.record == LutPE(inputs=6, table="fp32")
    mac = OliveSection(kind="olive", accumulator_bits=24, overflow="wrap", **cost)
    expected = IntMacPE(weight_bits=4, accumulator_bits=24, overflow="wrap")
    assert mac.record == OlivePE(mac=expected)


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("lanes: 4", "lanes: 17", 7, r"lanes is 17, must be a whole number 1\.\.16"),
        ("lanes: 4", "lanes: 4, overflow: wrap", 7, "overflow is not a key of kind 'bit_serial'"),
        ("lanes: 4", "lanes: 4, activation: fp7", 7, "activation: unknown name 'fp7'"),
        (
            "numerics: aligned",
            "numerics: {guard_bits: 9}",
            7,
            r"guard_bits is 9, must be a whole number 0\.\.8",
        ),
        ("numerics: aligned", "numerics: {guards: 3}", 7, "did you mean 'guard_bits'"),
        ("bitmod_fp4@g128/int8", "fp16", 15, "cannot take 'fp16' as weights; it takes int2"),
        ("true}, input: fp16", "true}, input: int8", 16, "as activations; .*fp16"),
        ("lanes: 4", "lanes: 4, drain_register: false", 7, "of systolic arrays"),
        ("rows: 32", "accumulator_buffer: true, rows: 32", 8, "of systolic arrays"),
        ("bitmod_fp4@g128/int8", "{bits: 4}", 15, "needs a scheme"),
    ],
)
def test_errors_name_file_line_and_key(
    tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    assert old in BITMOD
    path = tmp_path / "chip.yaml"
    text = BITMOD.replace(old, new)
    path.write_text(
        text.replace("lanes: 4", "lanes: 4, skip_zero_terms: true, unpriced: [skip_zero_terms]")
        if "bits: 4" in new
        else text
    )
    with pytest.raises(BitlatheError, match=says) as caught:
        load_arch(path)
    assert f"{path}:{line}:" in str(caught.value)


def test_a_conditional_format_is_checked_at_load(tmp_path: Path) -> None:
    path = tmp_path / "chip.yaml"
    rule = "set: {formats.linear.weight: fp16, array.rows: 64,"
    path.write_text(BITMOD.replace("set: {array.rows: 64,", rule))
    with pytest.raises(BitlatheError, match=r":19:.*cannot take 'fp16' as weights"):
        load_arch(path)


def test_simulate_checks_a_chip_made_by_hand() -> None:
    import bitlathe as bl

    chip = resolve(load_arch("bitmod"), phase="prefill", model="opt-1.3b")
    formats = chip.formats.model_copy(
        update={
            "linear": chip.formats.linear.model_copy(
                update={"weight": bl.load_arch("fp16").formats.linear.weight}
            )
        }
    )
    with pytest.raises(BitlatheError, match="cannot take 'fp16' as weights"):
        bl.simulate(chip.model_copy(update={"formats": formats}), "opt-1.3b", fidelity="analytic")
