"""The study of all methods: bits by hand, errors on tokens not seen, chips that differ."""

from types import SimpleNamespace

import numpy as np
import pytest

from bitlathe.arch import load_arch
from bitlathe.arch.silicon import array_areas_um2
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.datatypes.methods.beside import beside_of
from bitlathe.datatypes.methods.calibrate import calibrate
from bitlathe.datatypes.methods.decoders import decoder_of
from bitlathe.datatypes.methods.table import METHODS
from bitlathe.datatypes.schemes.scheme import Scheme
from bitlathe.reports.studies.papers.study import encoder_layers
from bitlathe.reports.studies.seeds import study

RANDOM = np.random.default_rng(0)
W = RANDOM.standard_t(5, size=(24, 64)).astype(np.float32)
X = RANDOM.normal(size=(160, 64))
X[:, 3] *= 8


@pytest.mark.parametrize(
    ("method", "scheme", "options", "bits"),
    [
        ("rtn", "int4_asym@g128", {}, 4 + 20 / 128),
        ("rtn", "int8@channel", {}, 8 + 16 / 4096),
        ("vptq", None, {"entries": 16}, 4 / 4 + 16 * 64 / 4096**2),
        ("bitstack", None, {"blocks": 2, "rank": 3}, 2 + 2 * 16 * 3 * 2 / 4096),
        ("lq_lora", "nf4@g64", {"rank": 5, "rounds": 2}, 4 + 32 / 64 + 16 * 5 * 2 / 4096),
        ("any4", None, {"group": 64}, 4 + 16 * (16 + 2 * 64) / 4096),
        ("jlcm", None, {"group": 64, "books": 3}, 4 + 2 * 16 / 64 + (2 + 16 * 3 / 256) / 4096),
        ("spqr", "int4@g128", {"share": 1 / 16}, 4 + 16 / 128 + (16 + 24) / 16),
        (
            "llm_int8",
            "int8@channel",
            {"threshold": 8},
            (8 + 16 / 4096) * 63 / 64 + (16 + 12 / 4096) / 64,
        ),
    ],
)
def test_bits_at_another_width(method, scheme, options, bits) -> None:
    layer = calibrate(W, X, method, scheme, "none", **options)
    assert study.wide_bits(layer) == pytest.approx(bits, rel=1e-9)


def test_errors_are_those_of_tokens_not_seen() -> None:
    """What is calibrated on are the first 140 of 160 tokens, what is measured on the last 20."""
    row = {"bits": 3, "method": "gptq", "scheme": "int3@g32", "chip": "bitmod"}
    found = study.measure(row, [(W, X)])
    layer = calibrate(W, X[:140], "gptq", "int3@g32")
    wide = W.astype(np.float64)
    wanted = np.square(X[140:] @ (layer.dequantize() - wide).T).sum()
    wanted /= np.square(X[140:] @ wide.T).sum()
    assert found["output_error"] == pytest.approx(wanted, rel=1e-9)
    assert found["output_error"] > layer.relative_error
    assert found["weight_error"] == pytest.approx(
        np.square(layer.dequantize() - wide).sum() / np.square(wide).sum(), rel=1e-9
    )


def test_what_a_method_computes_beside_is_paid_for() -> None:
    figures = {}
    for name in ("rtn", "hadamard", "orthogonal"):
        row = {"bits": 4, "method": name, "scheme": "int4@channel", "chip": "int8-outlier",
               "inputs": "int8@channel"}  # fmt: skip
        figures[name] = study.measure(row, [(W, X)])
    plain, hadamard, dense = figures.values()
    assert plain["energy_mj"] < hadamard["energy_mj"] < dense["energy_mj"]
    assert plain["clocks_m"] <= hadamard["clocks_m"] < dense["clocks_m"]
    layer = calibrate(W, X, "llm_int8", threshold=8)
    beside = beside_of([layer])
    assert beside["outlier_fraction"] == len(layer.outliers) / 64 > 0


def test_every_method_has_a_row_of_a_chip_of_equal_area() -> None:
    rows = study.asked()["methods"]
    named = {row["method"] for row in rows}
    assert len(named) >= 21
    assert named <= set(METHODS)
    assert {row["bits"] for row in rows} == {1, 2, 3, 4, 8}
    for row in rows:
        assert METHODS[row["method"]].options(**row.get("options", {}))
    for row in (*rows, *study.asked()["formats"]):  # what a decoder makes is paid for
        assert (row.get("takes") == "fp16") == (row["chip"] == "codebook"), row
        if row["chip"] == "codebook":
            own = {"pe.decoder": row.get("decoder"), "array.rows": row.get("array_rows")}
            chip = load_arch("codebook", {key: value for key, value in own.items() if value})
            assert 1.56e6 < sum(array_areas_um2(chip).values()) < 1.6e6, row


@pytest.mark.parametrize("method", ["vptq", "any4", "jlcm", "nupes", "compander", "bitstack"])
def test_decoders_of_rows_are_what_their_layers_ask(method: str) -> None:
    """Vectors of 4 along 96 outputs of 16 inputs: 384 of them, more than a book has entries."""
    w = RANDOM.normal(size=(96, 16)).astype(np.float32)
    for row in (row for row in study.asked()["methods"] if row["method"] == method):
        layer = calibrate(w, X[:, :16], method, row.get("scheme"), **row.get("options", {}))
        own = row.get("decoder") or load_arch("codebook").pe.decoder.model_dump()
        assert decoder_of([layer]) == {"entries": 0, "table_of": "layer", **own}, row


def test_perplexities_stand_where_weights_alone_are_rounded(monkeypatch) -> None:
    asked = []

    def known(model, schemes, calibrated, tokens, progress):
        asked.append((model, list(schemes), tokens))
        count = 1 + len(schemes) + len(calibrated)
        return [SimpleNamespace(perplexity=float(i)) for i in range(count)]

    def folder(path):
        return SimpleNamespace(
            folder=path, method="gptq", scheme=Scheme.parse(path), activation_scheme=None,
            title=f"gptq: {path}", facts={"options": {"damping": 0.01, "act_order": True}},
        )  # fmt: skip

    monkeypatch.setattr(study, "accuracy", known)
    monkeypatch.setattr(study, "read_calibration", folder)
    methods = [
        {"method": "rtn", "scheme": "int4@g32", "inputs": "fp16"},
        {"method": "rtn", "scheme": "int8@channel", "inputs": "int8@channel"},
        {"method": "gptq", "scheme": "int4@g32", "inputs": "fp16"},
    ]
    formats = [{"method": "rtn", "scheme": s, "inputs": "fp16"} for s in ("q4_k", "hif4")]
    found = study.with_perplexity(study.Seeds(methods=methods, formats=formats), 99)
    assert asked == [("smollm2-135m", ["hif4", "int4@g32"], 99)]
    assert [row["perplexity"] for row in found.methods] == [2.0, None, None]
    assert [row["perplexity"] for row in found.formats] == [None, 1.0]
    both = study.Seeds(methods=methods, formats=formats)
    found = study.with_perplexity(both, 99, calibrated=["int4@g32"])
    assert [row["perplexity"] for row in found.methods] == [2.0, None, 3.0]
    assert [row["perplexity"] for row in found.formats] == [None, 1.0]
    methods[2]["options"] = {"act_order": False}
    with pytest.raises(BitlatheError, match="no row of the study has this method"):
        study.with_perplexity(both, 99, calibrated=["int4@g32"])


@pytest.mark.slow
def test_orders_on_real_weights() -> None:
    pairs, reason = encoder_layers(8)
    if pairs is None:
        pytest.skip(reason)
    layers = [pairs["2.query"], pairs["2.down"]]

    def error(bits: int, method: str, scheme: str) -> float:
        row = {"bits": bits, "method": method, "scheme": scheme, "chip": "bitmod"}
        return float(study.measure(row, layers)["output_error"])

    for bits, integer, mixture in (
        (3, "int3_asym@g128", "bitmod_fp3@g128/int8"),
        (4, "int4_asym@g128", "bitmod_fp4@g128/int8"),
    ):
        for method in ("rtn", "awq"):
            assert error(bits, method, mixture) < error(bits, method, integer)
        assert error(bits, "awq", integer) < error(bits, "rtn", integer)
