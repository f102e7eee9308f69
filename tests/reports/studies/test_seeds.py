"""The study of all methods: bits by hand, errors on tokens not seen, chips that differ."""

from pathlib import Path
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
from bitlathe.reports.studies.seeds.page import markdown, perplexity

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


def test_every_method_has_each_width_or_a_reason() -> None:
    rows, absent = study.asked()["methods"], study.asked()["absent"]
    there = [(row["method"], row["bits"]) for row in rows if row["bits"] > 1]
    gone = [(each["method"], bits) for each in absent for bits in each["bits"]]
    assert len(gone) == len(set(gone))
    assert set(there).isdisjoint(gone)
    assert {*there, *gone} == {(name, bits) for name in METHODS for bits in (2, 3, 4, 8)}


def test_every_row_has_a_perplexity_or_a_reason_and_stands_on_the_page() -> None:
    """Kept perplexities are those of rows, each with its day; the page shows them as they are."""
    asked, kept = study.asked(), study.kept()
    plain = {"method": "rtn", "scheme": study.OWN, "inputs": "fp16", "options": {}}
    methods = [{**plain, **row} for row in asked["methods"]]
    formats = [{**plain, **row} for row in asked["formats"]]
    found = study.with_kept(study.Seeds(methods=methods, formats=formats))
    told = [*found.methods, *found.formats]
    assert all(r["perplexity_on"] if r["perplexity"] else r["no_perplexity"] for r in told)
    known = {r["method"] for r in told if r["perplexity"]}
    for row in told:  # (c): it has its perplexity at another width
        assert row.get("no_perplexity") != "c" or row["method"] in known, row
    used = {tuple(r[k] if k != "options" else repr(r[k]) for k in plain) for r in told}
    for each in kept["measured"]:
        own = {**plain, **each}
        assert tuple(own[k] if k != "options" else repr(own[k]) for k in plain) in used, each
        assert each["perplexity"] == pytest.approx(
            kept["unquantized"] * np.exp(each["loss_nats"]), rel=2e-3
        )
        assert ("tokens" in each) == (each.get("method") is not None)
        assert str(each.get("tokens", 2048)) in {"2048", *kept["marks"]}, each
    page = (Path(__file__).parents[3] / "docs/seeds.md").read_text(encoding="utf-8")
    cells = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in page.splitlines()
        if line.startswith("| ")
    ]
    shown = [row for row in cells if len(row) in (10, 13) and row[0] not in ("at", "scheme")]
    wanted = [
        (str(r["bits"]), r["method"], r["scheme"].strip("`"), perplexity(r)) for r in found.methods
    ] + [(r["scheme"], perplexity(r)) for r in found.formats]
    assert [
        (*(cell.strip("`") for cell in row[: 3 if len(row) == 13 else 1]), row[-5]) for row in shown
    ] == wanted
    for tokens, mark in kept["marks"].items():
        assert f" {mark}: on {tokens} tokens" in page.replace("\\", "")
    figures = {"bits_per_weight": 3.5, "bits_per_weight_4096": 3.25, "weight_error": 0.0123456,
               "output_error": 1.5e-5, "clocks_m": 57.66, "energy_mj": 313.7, "array_mm2": 1.586,
               "perplexity": 21.0, "calibrated_on": 512}  # fmt: skip
    text = markdown(study.Seeds(methods=[methods[1] | figures], formats=[formats[0] | figures]))
    numbers = "3.500 | 3.250 | 0.01235 | 1.5e-05 | 21.00* |"
    assert f"| 2 | rtn | `int2_asym@g128` |  | {numbers} `bitmod` | 57.7 | 314 | 1.59 |" in text
    assert f"| `mxfp4` | {numbers} `mxfp4` | 57.7 | 314 | 1.59 |" in text
    assert {x for x in text.splitlines() if "| bits |" in x} <= set(page.splitlines())
    for each in (*asked["absent"], *kept["reasons"].values()):
        assert " ".join(each["why"].split()) in " ".join(page.split()), each


@pytest.mark.parametrize("method", ["vptq", "any4", "jlcm", "nupes", "compander", "bitstack"])
def test_decoders_of_rows_are_what_their_layers_ask(method: str) -> None:
    """No book has more entries than there are vectors, or inputs of an output."""
    for row in (row for row in study.asked()["methods"] if row["method"] == method):
        inputs = 256 if row["bits"] == 8 else 16
        w = RANDOM.normal(size=(96 if inputs == 16 else 8, inputs)).astype(np.float32)
        x = RANDOM.normal(size=(32, inputs))
        layer = calibrate(w, x, method, row.get("scheme"), **row.get("options", {}))
        own = row.get("decoder") or load_arch("codebook").pe.decoder.model_dump(
            exclude={"scale_bits"}
        )
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
