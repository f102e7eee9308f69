"""Methods and formats side by side: what they store, how they err, what their chips take.

Errors are those of layers of MiniLM-L6 with the inputs of random tokens, errors of outputs on
tokens that the calibration has not seen; clocks and energy those of
a token of a large model on the method's chip, all layers in the method's scheme with all that it
stores at a width of 4,096, and what it computes beside (`arch.beside`). Perplexities take hours:
those of perplexities.yaml are kept, each with its date, and measured anew where that is asked for.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ....arch import load_arch
from ....datatypes.base.errors import BitlatheError
from ....datatypes.base.files import shown_path
from ....datatypes.base.numbers import ceil_div
from ....datatypes.base.yamlfile import read_yaml
from ....datatypes.methods.beside import beside_of
from ....datatypes.methods.calibrate import calibrate
from ....datatypes.methods.layer import QuantizedLinear
from ....datatypes.methods.parts import SignStack, VectorWeights, bits_of_index
from ....datatypes.methods.table import METHODS
from ....datatypes.schemes.scheme import Scheme
from ....datatypes.tensors.tensor import QuantizedTensor
from ....sim import simulate
from ....workloads.accuracy import accuracy
from ....workloads.lm.calibration import Calibration, read_calibration
from ..papers.ground import Pair
from ..result import Progress, Result, unshown

PJ_PER_MJ: Final = 1e9
WIDTH: Final = 4096
HELD_OUT: Final = 8  # one token in so many is measured on
MODEL: Final = "smollm2-135m"
OWN: Final = "its own"  # in the place of a scheme
Row = dict[str, Any]


@cache
def asked() -> dict[str, Any]:
    """Return the rows of the study and what they are run on."""
    data: dict[str, Any] = read_yaml(Path(__file__).parent / "rows.yaml").data
    return data


@cache
def kept() -> dict[str, Any]:
    """Return the perplexities that were measured, and why other rows have none."""
    data: dict[str, Any] = read_yaml(Path(__file__).parent / "perplexities.yaml").data
    return data


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Seeds(Result):
    """Both tables of the study.

    ``bits_per_weight`` counts all that is stored, ``bits_per_weight_4096`` on layers of that width,
    as the chip moves them; ``weight_error`` and ``output_error`` are squared errors over squares,
    of all weights and the mean over layers; ``clocks_m`` (10^6) and
    ``energy_mj`` are those of a token, ``array_mm2`` the area of PEs and their decoders.
    """

    methods: list[Row]
    formats: list[Row]


def reproduce(layers: Sequence[Pair], progress: Progress = unshown) -> Seeds:
    """Measure every row on layers.

    Parameters
    ----------
    layers : sequence of pairs of (outputs, inputs) weights and (tokens, inputs) inputs
        One token in `HELD_OUT`, the last ones, is measured on and not calibrated on.
    progress : callable, optional
        ``progress(iterable, label)`` wraps the long loops.

    Raises
    ------
    BitlatheError
        Raised if a row's method does not go with its scheme, or its chip does not take it.
    """
    rows = [{"method": "rtn", **row} for row in asked()["formats"]]
    return Seeds(
        methods=[measure(row, layers) for row in progress(asked()["methods"], "methods")],
        formats=[measure(row, layers) for row in progress(rows, "formats")],
    )


def with_kept(found: Seeds) -> Seeds:
    """Return tables with the perplexities that are kept, each with its date, or why there is none.

    ``perplexity_on`` is the date, ``calibrated_on`` the tokens of calibration; ``no_perplexity``
    the key of a reason in perplexities.yaml.
    """

    def more(row: Row) -> Row:
        for each in kept()["measured"]:
            if _is_kept(row, each):
                said = {"perplexity_on": each["on"], "calibrated_on": each.get("tokens")}
                return {**row, "perplexity": each["perplexity"], **said}
        why = (key for key, rule in kept()["reasons"].items() if _ruled(row, rule["rows"]))
        return {**row, "perplexity": None, "no_perplexity": next(why, None)}

    return Seeds(methods=[more(r) for r in found.methods], formats=[more(r) for r in found.formats])


def _is_kept(row: Row, each: Row) -> bool:
    """Return whether a kept perplexity is that of a row."""
    plain: Row = {"method": "rtn", "scheme": OWN, "inputs": "fp16", "options": {}}
    return all(row.get(key, none) == each.get(key, none) for key, none in plain.items())


def _ruled(row: Row, rules: Sequence[Row]) -> bool:
    """Return whether a row has all that one of some rules says."""
    return any(all(row[key] == value for key, value in rule.items()) for rule in rules)


def with_perplexity(
    found: Seeds,
    tokens: int,
    progress: Progress = unshown,
    calibrated: Sequence[str | Path] = (),
) -> Seeds:
    """Return tables with the perplexity of SmolLM2-135M in rows that round to nearest, measured.

    Parameters
    ----------
    found : Seeds
    tokens : int
        At least so many are predicted.
    progress : callable, optional
    calibrated : sequence of str or Path
        Folders of `bitlathe calibrate smollm2-135m`: rows of their method, schemes and options have
        perplexities too.

    Raises
    ------
    BitlatheError
        Raised if the model's weights, or torch, are not at hand, a folder is of another model, or
        no row is what it was calibrated by.
    """
    unfit = {row["scheme"] for row in asked()["formats"] if not row.get("perplexity", True)}
    rows = (*found.methods, *found.formats)
    plain = sorted({row["scheme"] for row in rows if _rounds_weights(row)} - unfit)
    folders = [read_calibration(folder) for folder in calibrated]
    for each in folders:
        if not any(_made_by(row, each) for row in rows):
            raise BitlatheError(
                f"{shown_path(each.folder)}: {each.title}: no row of the study has this method "
                "with these schemes and options; see its rows.yaml"
            )
    known = accuracy(MODEL, plain, calibrated=calibrated, tokens=tokens, progress=progress)[1:]
    of = {s: each.perplexity for s, each in zip(plain, known, strict=False)}
    measured = [each.perplexity for each in known[len(plain) :]]

    def perplexity(row: Row) -> float | None:
        if _rounds_weights(row):
            return of.get(row["scheme"])
        made = (p for each, p in zip(folders, measured, strict=True) if _made_by(row, each))
        return next(made, None)

    def more(rows: list[Row]) -> list[Row]:
        return [_measured(row, perplexity(row)) for row in rows]

    return Seeds(methods=more(found.methods), formats=more(found.formats))


def _measured(row: Row, perplexity: float | None) -> Row:
    """Return a row with its perplexity if it was measured, else as it is."""
    if perplexity is None:
        return {"perplexity": None, **row}
    told = {"perplexity_on", "calibrated_on", "no_perplexity"}
    return {**{k: v for k, v in row.items() if k not in told}, "perplexity": perplexity}


def _rounds_weights(row: Row) -> bool:
    """Return whether a row rounds weights to nearest and leaves inputs as they are."""
    return (row["method"], row["inputs"]) == ("rtn", "fp16")


def _made_by(row: Row, folder: Calibration) -> bool:
    """Return whether a folder was calibrated by a row's method, in its schemes, by its options."""
    if row["method"] != folder.method:
        return False
    inputs = None if row["inputs"] == "fp16" else Scheme.parse(row["inputs"])
    own = row["scheme"] == OWN or Scheme.parse(row["scheme"]) == folder.scheme
    options = asdict(METHODS[folder.method].options(**row.get("options", {})))
    return own and inputs == folder.activation_scheme and options == dict(folder.facts["options"])


def measure(row: Row, layers: Sequence[Pair]) -> Row:
    """Return the figures of a row."""
    inputs = row.get("inputs", "none")
    held = [len(x) // HELD_OUT for _, x in layers]
    made = [
        calibrate(w, x[:-n], row["method"], row.get("scheme"), inputs, **row.get("options", {}))
        for (w, x), n in zip(layers, held, strict=True)
    ]
    off = [
        _output_error(layer, w, x[-n:]) for layer, (w, x), n in zip(made, layers, held, strict=True)
    ]
    size = sum(layer.inputs * layer.outputs for layer in made)
    bits = sum(layer.total_bits for layer in made) / size
    at_width = sum(wide_bits(layer) * layer.inputs * layer.outputs for layer in made) / size
    errors = [_squared(layer.dequantize() - w) for layer, (w, _) in zip(made, layers, strict=True)]
    return {
        "bits": row["bits"],
        "method": row["method"],
        "scheme": row.get("scheme", OWN),
        "inputs": row.get("inputs", "fp16"),
        "options": row.get("options", {}),
        "bits_per_weight": bits,
        "bits_per_weight_4096": at_width,
        "weight_error": sum(errors) / sum(_squared(w) for w, _ in layers),
        "output_error": float(np.mean(off)),
        **_on_chip(row, made, at_width),
    }


def _output_error(layer: QuantizedLinear, w: NDArray[Any], x: NDArray[Any]) -> float:
    """Return the squared error of outputs over their squares, on inputs it has not seen."""
    wanted = x.astype(np.float64) @ w.astype(np.float64).T
    return _squared(layer.forward(x) - wanted) / _squared(wanted)


def wide_bits(layer: QuantizedLinear, width: int = WIDTH) -> float:
    """Return the bits of a weight that a layer would store if it had so many inputs and outputs.

    Scales of a row, low ranks and codebooks weigh less there than on MiniLM's layers.
    """
    weights, square = layer.weights, width * width
    if isinstance(weights, VectorWeights):
        found = weights.index_bits / (layer.inputs * layer.outputs) + weights.book_bits / square
    elif isinstance(weights, SignStack):
        ranks = sum(left.shape[1] for left in weights.left)
        found = len(weights.left) + 16 * ranks * 2 * width / square
    elif isinstance(weights, QuantizedTensor):
        found = float(weights.scheme.total_bits(width, width)) / square
    else:
        shared = weights.shelf is not None
        books = len(weights.books) if shared else width
        told = width * weights.widths["shelf"] if shared else 0
        ranges = 2 * ceil_div(width, weights.group) * width
        beside = 16 * ((books << weights.bits) + ranges) + told
        found = weights.bits + beside / square
    if layer.outliers is not None:  # inputs apart are not among the codes
        kept = len(layer.outliers) / layer.inputs
        found += kept * (16 - found + bits_of_index(width) / width)
    if layer.sparse is not None:
        kept = len(layer.sparse.values) / (layer.inputs * layer.outputs)
        found += kept * (16 + bits_of_index(square))
    if layer.low_rank is not None:
        found += 16 * layer.low_rank.rank * 2 * width / square
    return found


def _squared(x: NDArray[Any]) -> float:
    return float(np.square(x, dtype=np.float64).sum())


def _on_chip(row: Row, made: Sequence[QuantizedLinear], bits: float) -> Row:
    study, given = asked(), row.get("takes")
    own = [
        {"weight": {"scheme": given or str(layer.tensor.scheme), "bits": bits}}
        | ({"input": str(layer.activation_scheme)} if layer.activation_scheme else {})
        for layer in made
    ]
    rules = zip(own, study["layers"].values(), strict=False)
    settings: dict[str, Any] = {
        **{f"formats.linear.{role}": form for role, form in own[0].items()},
        "formats.rules": [{"names": n, **form} for form, n in rules if form != own[0]],
        **{f"beside.{key}": value for key, value in beside_of(made).items()},
    }
    if row.get("decoder"):
        settings["pe.decoder"] = row["decoder"]
    if row.get("array_rows"):
        settings["array.rows"] = row["array_rows"]
    run = simulate(
        load_arch(row["chip"], settings),
        study["model"],
        study["phase"],
        study["context"],
        fidelity="analytic",
        mapper="whole-buffer",
    )
    area = run.area_um2["pe_array"] + run.area_um2.get("decoders", 0.0)
    return {
        "chip": row["chip"],
        "clocks_m": run.cycles / 1e6,
        "energy_mj": run.energy_pj["total"] / PJ_PER_MJ,
        "array_mm2": area / 1e6,
    }
