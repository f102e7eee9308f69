"""Calibrate a decoder block by block: each on what the calibrated blocks before it hand on."""

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.files import shown_path, writing
from ...datatypes.methods.beside import Beside
from ...datatypes.methods.calibrate import Way
from ...datatypes.methods.decoders import Decoder as WeightDecoder
from ...datatypes.methods.decoders import decoder_of, larger
from ...datatypes.methods.files import load_layer, save_layer
from ...datatypes.methods.layer import QuantizedLinear
from ...datatypes.methods.task import NoOutputsError
from ...datatypes.tensors.store import scheme_facts
from .cache import code_digest
from .calibrated import put_layer
from .calibration import (
    KIND,
    LAYERS,
    MANIFEST,
    VERSION,
    Calibration,
    layer_path,
    read_calibration,
)
from .checkpoint import Checkpoint
from .choices import Budget, Choices, share
from .decoder import Opened, open_decoder
from .layers import linears, sampled
from .stored import quantization_config, stored_facts
from .text import Text, window_starts

Progress = Callable[[Iterable[Any], str], Iterable[Any]]
Rows = dict[str, dict[str, Any]]  # of facts, by the layer's name
UNFINISHED, CHOICES = "calibration.unfinished.json", "choices.unfinished.json"
Taken = dict[str, tuple[Way, int | None]]  # by the layer's name: see `_choose`
# of a text, by which windows stand behind those of `accuracy`: half its default ones' distance
SHIFT = 1 / 32


@dataclass(frozen=True, kw_only=True)
class Work:
    """What is to be calibrated, how, and into which folder.

    Attributes
    ----------
    checkpoint : Checkpoint
    ways : tuple of Way
        Of a method; with several each layer takes one of them.
    text : Text
    tokens, context : int
        How many tokens enter, in windows of which length.
    folder : Path
    budget : Budget or None
        Of all layers together, where each has choices.
    """

    checkpoint: Checkpoint
    ways: tuple[Way, ...]
    text: Text
    tokens: int
    context: int
    folder: Path
    budget: Budget | None = None

    @property
    def way(self) -> Way:
        """The first way, whose method and options are those of all."""
        return self.ways[0]

    def facts(self) -> dict[str, Any]:
        """Return what decides every figure of the calibration."""
        inputs = self.way.activation_scheme
        choice = (
            {}
            if self.budget is None
            else {
                "choices": [scheme_facts(way.scheme) for way in self.ways],
                "budget": asdict(self.budget),
            }
        )
        return {
            "kind": KIND,
            "version": VERSION,
            "model": self.checkpoint.name,
            "sha256": self.checkpoint.sha256,
            "method": self.way.method.name,
            "options": asdict(self.way.options),
            "scheme": scheme_facts(self.way.scheme),
            "activation_scheme": None if inputs is None else scheme_facts(inputs),
            "text": self.text.title,
            "text_sha256": self.text.sha256,
            "tokens": self.tokens,
            "context": self.context,
            "code": code_digest(),
            **choice,
        }


def calibrate_decoder(work: Work, progress: Progress) -> Calibration:
    """Calibrate the linear layers of a decoder's blocks; go on where a run was cut off.

    A block's layers are calibrated on the inputs that they get behind the calibrated blocks before
    it. Each is written as it is done; a folder that is whole is read and nothing is computed.

    Raises
    ------
    BitlatheError
        Raised if the folder holds another calibration, the text is too short, or a layer cannot be
        calibrated; the layer is named.
    """
    ids = work.checkpoint.encode(work.text.content)
    starts = window_starts(len(ids), work.tokens, work.context, SHIFT)
    facts = json.loads(json.dumps({**work.facts(), "starts": starts}))
    if found := _claimed(work.folder, facts):
        return found
    windows = torch.tensor([ids[s : s + work.context] for s in starts])
    run = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    try:
        taken = _choose(windows, work, run, progress)
        opened = open_decoder(work.checkpoint)
        rows, beside, asked = _calibrate(opened, windows, work, taken, run, progress)
    except BitlatheError:
        _unclaim(work.folder)
        raise
    stored = quantization_config(work.way.method.name, rows, beside.settings, asked)
    config = {**work.checkpoint.config.data, "quantization_config": stored}
    _write(work.folder / "config.json", config)
    _write(work.folder / MANIFEST, {**facts, "layers": rows})
    for done in (UNFINISHED, CHOICES):
        (work.folder / done).unlink(missing_ok=True)
    return read_calibration(work.folder)


def _claimed(folder: Path, facts: dict[str, Any]) -> Calibration | None:
    """Return the folder's calibration if it is this one; claim the folder if it holds none.

    Raises
    ------
    BitlatheError
        Raised if it holds another, or something else, or cannot be made.
    """
    where = shown_path(folder)
    known = [name for name in (MANIFEST, UNFINISHED) if (folder / name).is_file()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not known and any(not file.name.startswith(".") for file in folder.iterdir()):
            raise BitlatheError(f"--out: {where} holds other files; give the path of a new folder")
    except OSError as error:
        raise BitlatheError(f"--out: {where} cannot be made: {error.strerror or error}") from None
    for name in known:
        try:
            held = json.loads((folder / name).read_text(encoding="utf-8"))
        except (ValueError, RecursionError):
            held = {}
        if not isinstance(held, dict) or any(held.get(k) != v for k, v in facts.items()):
            other = next(k for k in facts if not isinstance(held, dict) or held.get(k) != facts[k])
            raise BitlatheError(
                f"{where}: the folder holds another calibration (its {other!r} differs); give the "
                "path of a new folder"
            )
        if name == MANIFEST and (found := _whole(folder)):
            return found
    _write(folder / UNFINISHED, facts)
    (folder / LAYERS).mkdir(exist_ok=True)
    return None


def _whole(folder: Path) -> Calibration | None:
    """Return the calibration of a folder if all its layers are there, as they were written."""
    try:
        found = read_calibration(folder)
        for name in found.files:
            found.layer(name)
    except BitlatheError:
        return None
    return found


def _unclaim(folder: Path) -> None:
    """Leave a folder as it was if no layer was made."""
    if not any((folder / LAYERS).iterdir()):
        (folder / CHOICES).unlink(missing_ok=True)
        (folder / UNFINISHED).unlink(missing_ok=True)
        for made in (folder / LAYERS, folder):
            if not any(made.iterdir()):
                made.rmdir()


@torch.inference_mode()
def _choose(windows: Tensor, work: Work, run: str, progress: Progress) -> Taken:
    """Return each layer's way, and how many parts of its layer are kept; None: all.

    The choices are measured on what enters the layers of the unquantized model, a block at a time,
    and kept in a file until the calibration is done.
    """
    if work.budget is None:
        return {}
    cut = work.way.method.shorter is not None
    known = _known_choices(work.folder / CHOICES, run)
    opened = open_decoder(work.checkpoint)
    states, turns = _started(opened, windows)
    blocks = range(len(opened.decoder.layers))
    sizes: dict[str, int] = {}
    for number in progress(blocks, f"{work.way.method.name}, choices of blocks"):
        block = opened.block(number)
        names = {f"{number}.{name}": linear for name, linear in linears(block)}
        sizes |= {name: linear.weight.numel() for name, linear in names.items()}
        if not names.keys() <= known.keys():
            inputs = _inputs(block, states, *turns)
            for name, linear in names.items():
                given = linear.weight.numpy(), inputs[name.partition(".")[2]].numpy()
                important = work.budget.rule == "sort" and not cut
                try:
                    known[name] = Choices.of(work.ways, *given, important=important)
                except BitlatheError as problem:
                    raise BitlatheError(f"layer {name!r}: {problem}") from None
            rows = {name: asdict(each) for name, each in known.items()}
            _write(work.folder / CHOICES, {"run": run, "layers": rows})
        states = [block(x, *turns) for x in states]
        opened.drop(f"layers.{number}")
        del block, names
    every = [known[name] for name in sizes]
    taken = share(every, work.budget, sum(sizes.values()), cut=cut)
    if cut:
        return {name: (work.way, i + 1) for name, i in zip(sizes, taken, strict=True)}
    return {name: (work.ways[i], None) for name, i in zip(sizes, taken, strict=True)}


def _known_choices(path: Path, run: str) -> dict[str, Choices]:
    """Return the choices that a run before has measured, by the layer's name."""
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["run"] != run:
            return {}
        return {
            name: Choices(**{**row, "bits": tuple(row["bits"]), "errors": tuple(row["errors"])})
            for name, row in held["layers"].items()
        }
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return {}


def _started(opened: Opened, windows: Tensor) -> tuple[list[Tensor], tuple[Tensor, Tensor]]:
    """Return what enters the first block, and the turns of its positions."""
    embedding = opened.load("embed_tokens")
    states = [embedding(window) for window in windows]
    opened.drop("embed_tokens")
    return states, opened.decoder.turns(windows.shape[1])


@torch.inference_mode()
def _calibrate(
    opened: Opened, windows: Tensor, work: Work, taken: Taken, run: str, progress: Progress
) -> tuple[Rows, Beside, WeightDecoder]:
    """Return a row of facts for each layer, by its name.

    And what all compute beside products, and what makes weights of codes that no scheme says. The
    layers' files are written. No more than a block's weights are in memory at once.
    """
    decoder = opened.decoder
    states, (cos, sin) = _started(opened, windows)
    rows: Rows = {}
    beside, asked = Beside(), WeightDecoder()
    blocks = range(len(decoder.layers))
    for number in progress(blocks, f"{work.way.method.name}, blocks"):
        block = opened.block(number)
        inputs = _inputs(block, states, cos, sin)
        made: dict[str, QuantizedLinear] = {}
        for name, linear in linears(block):
            whole = f"{number}.{name}"
            way, parts = taken.get(whole, (work.way, None))
            found = _layer(work, way, run, whole, linear.weight, inputs[name], parts)
            made[whole], rows[whole] = found
        for whole, layer in made.items():
            beside += Beside.of(layer)
            if rows[whole]["scheme"] is None:
                asked = larger(asked, decoder_of([layer]))
            put_layer(decoder.layers, whole, layer)
        states = [block(x, cos, sin) for x in states]
        opened.drop(f"layers.{number}")
        del block, inputs, made
    return rows, beside, asked


def _inputs(block: nn.Module, states: list[Tensor], cos: Tensor, sin: Tensor) -> dict[str, Tensor]:
    """Return (tokens, inputs) of what enters each linear layer of a block."""
    tokens = sum(len(x) for x in states)
    with sampled(block, tokens, tokens) as take:
        for i, x in enumerate(states):
            take.at(i * len(x), len(x))
            block(x, cos, sin)
        return {name: torch.cat(parts) for name, parts in take.parts.items()}


def _layer(
    work: Work,
    way: Way,
    run: str,
    name: str,
    weights: Tensor,
    inputs: Tensor,
    parts: int | None,
) -> tuple[QuantizedLinear, dict[str, Any]]:
    """Return a layer, made or read from what a run before has left, and its row of facts."""
    path = layer_path(work.folder, name)
    try:
        layer, notes = load_layer(path)
        known = notes.get("run") == run
    except BitlatheError:  # missing, damaged, or of another program
        known = False
    if not known:
        try:
            layer = way.layer(weights.numpy(), inputs.numpy())
            if parts is not None and way.method.shorter is not None:
                layer = way.again(list(way.method.shorter(layer))[parts - 1], weights, inputs)
        except NoOutputsError:  # weights of zeros, or inputs that are always 0
            layer = way.silent(weights.numpy())
        except BitlatheError as problem:
            raise BitlatheError(f"layer {name!r}: {problem}") from None
        notes = {"sha256": save_layer(layer, path, {"run": run, "name": name})}
    row = {
        "sha256": notes["sha256"],
        "chosen": layer.chosen,
        "shape": [layer.outputs, layer.inputs],
        "bits_per_weight": layer.bits_per_element,
        **stored_facts(layer),
        "relative_error": layer.relative_error,
        "rounded_error": layer.rounded_error,
    }
    return layer, row


def _write(path: Path, facts: dict[str, Any]) -> None:
    with writing(path) as part:
        part.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
