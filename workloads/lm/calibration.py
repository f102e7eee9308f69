"""A calibrated model on disk: a file for each linear layer, and what they were calibrated on.

The folder holds ``layers/NAME.safetensors`` (see `datatypes.methods.files`), ``calibration.json``,
which is written last, and a ``config.json`` that names the schemes, so that `load_model` reads it.
Embedding, norms and head are those of the model that was calibrated; they are not copied.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...datatypes.base.errors import BitlatheError
from ...datatypes.base.files import read_text, shown_path
from ...datatypes.methods.files import load_layer
from ...datatypes.methods.layer import QuantizedLinear
from ...datatypes.methods.table import METHODS
from ...datatypes.schemes.scheme import Scheme
from ...datatypes.tensors.store import read_scheme
from .formats import Cache

KIND, VERSION = "bitlathe.calibration", 1
MANIFEST, LAYERS = "calibration.json", "layers"
MANIFEST_MAX = 16 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What a folder says of a calibrated model.

    Attributes
    ----------
    folder : Path
    model, sha256 : str
        The model that was calibrated, and the digest of its checkpoint.
    method : str
    scheme : Scheme
        Of weights.
    activation_scheme : Scheme or None
        Of inputs.
    text_sha256, text : str
        Digest and title of the text of calibration.
    starts : tuple of int
        First tokens of its windows.
    context : int
        Tokens of a window.
    files : mapping of str to str
        SHA-256 of each layer's file, by the layer's name.
    facts : mapping
        All that the file says.
    inputs : Scheme or None
        Of what enters layers that were calibrated without one; like ``kv`` asked for where it is
        run, no part of the folder.
    kv : Cache or None
        How keys and values are stored beside it.
    """

    folder: Path
    model: str
    sha256: str
    method: str
    scheme: Scheme
    activation_scheme: Scheme | None
    text_sha256: str
    text: str
    starts: tuple[int, ...]
    context: int
    files: Mapping[str, str]
    facts: Mapping[str, Any]
    inputs: Scheme | None = None
    kv: Cache | None = None

    @property
    def title(self) -> str:
        """Method and schemes, as tables show them."""
        inputs = f", inputs {self.inputs}" if self.inputs else ""
        return f"{self._made}{inputs}; {self.kv}" if self.kv else f"{self._made}{inputs}"

    @property
    def _made(self) -> str:
        limit = self.facts.get("budget")
        within = f" within {limit['text']} by {limit['rule']}" if limit else ""
        if METHODS[self.method].own_codes:
            return f"{self.method}{within}"
        if within:
            schemes = ", ".join(str(read_scheme(each)) for each in self.facts["choices"])
            return f"{self.method}: {schemes}{within}"
        inputs = f", inputs {self.activation_scheme}" if self.activation_scheme else ""
        return f"{self.method}: {self.scheme}{inputs}"

    def layer(self, name: str) -> QuantizedLinear:
        """Read a layer by its name.

        Raises
        ------
        BitlatheError
            Raised if its file is missing, damaged or another than the one that was written.
        """
        path = layer_path(self.folder, name)
        layer, notes = load_layer(path)
        if notes["sha256"] != self.files[name]:
            raise BitlatheError(
                f"{shown_path(path)}: another layer than {MANIFEST} names; run `bitlathe "
                "calibrate` again into an empty folder"
            )
        return layer


def layer_path(folder: Path, name: str) -> Path:
    """Return where a folder keeps a layer."""
    return folder / LAYERS / f"{name}.safetensors"


def read_calibration(folder: str | Path) -> Calibration:
    """Return what a folder of `bitlathe calibrate` holds.

    Raises
    ------
    BitlatheError
        Raised if it holds no whole calibration.
    """
    place = Path(folder)
    file = place / MANIFEST
    if not file.is_file():
        raise BitlatheError(
            f"{shown_path(place)}: the folder holds no {MANIFEST}; make one with `bitlathe "
            "calibrate MODEL --out FOLDER`, which writes it when all layers are done"
        )
    text = read_text(file, "calibration", MANIFEST_MAX)
    try:
        facts = json.loads(text)
        if facts["kind"] != KIND or facts["version"] != VERSION:
            raise ValueError(f"kind {facts['kind']!r}, version {facts['version']!r} are not read")
        return _calibration(place, facts)
    except (LookupError, ValueError, TypeError, AttributeError, RecursionError) as problem:
        raise BitlatheError(f"{shown_path(file)}: no calibration: {problem}") from None


def _calibration(folder: Path, facts: Mapping[str, Any]) -> Calibration:
    inputs = facts["activation_scheme"]
    return Calibration(
        folder=folder,
        model=facts["model"],
        sha256=facts["sha256"],
        method=METHODS[facts["method"]].name,
        scheme=read_scheme(facts["scheme"]),
        activation_scheme=None if inputs is None else read_scheme(inputs),
        text_sha256=facts["text_sha256"],
        text=facts["text"],
        starts=tuple(facts["starts"]),
        context=facts["context"],
        files={name: row["sha256"] for name, row in facts["layers"].items()},
        facts=facts,
    )
