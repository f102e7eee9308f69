"""The accuracy axis of a sweep that measured none: the error of each format on reference weights.

A proxy, and labelled as one wherever it is shown: models whose weights are not at hand get no
invented figure. The reference is MiniLM-L6 (float32, unquantised) where the package of the
[studies] extra is installed, else seeded Gaussian weights.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...datatypes.errors import BitlatheError
from ...workloads.minilm import WEIGHTS_SHA256, minilm_weights

CACHE_NAME = "accuracy.json"
SEED, GAUSSIAN_SHAPE = 0, (512, 4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Weights that formats are measured on: matrices of outputs by inputs, and their identity."""

    title: str
    identity: str
    matrices: tuple[NDArray[np.float32], ...]


def reference_weights() -> Reference:
    """Return MiniLM's encoder matrices if installed and unchanged, else Gaussian weights."""
    weights = minilm_weights()
    if weights is not None:
        return Reference(
            title="the encoder weights of MiniLM-L6",
            identity=WEIGHTS_SHA256,
            matrices=tuple(weights.values()),
        )
    rng = np.random.default_rng(SEED)
    rows, columns = GAUSSIAN_SHAPE
    return Reference(
        title=f"Gaussian weights, {rows} x {columns}, seed {SEED}",
        identity=f"gaussian-{rows}x{columns}-{SEED}",
        matrices=(rng.standard_normal(GAUSSIAN_SHAPE, dtype=np.float32),),
    )


def relative_error(scheme: str, reference: Reference) -> float:
    """Return the relative error of a scheme: ||W - Q(W)|| / ||W|| over all reference matrices.

    Raises
    ------
    BitlatheError
        The scheme is unknown or cannot take the weights' shape.
    """
    from ...datatypes.quantize import quantize

    error = power = 0.0
    for matrix in reference.matrices:
        difference = quantize(matrix, scheme).dequantize() - matrix
        error += float(np.square(difference, dtype=np.float64).sum())
        power += float(np.square(matrix, dtype=np.float64).sum())
    return float(np.sqrt(error / power))


def measure(schemes: Iterable[str], folder: Path) -> tuple[dict[str, float], str]:
    """Return the relative error of each scheme and the name of the reference weights.

    Schemes that cannot be measured (bits stated without a format, say) are left out. Results are
    kept in ``accuracy.json`` of the folder by scheme, weights and the code of the formats.

    Parameters
    ----------
    schemes : iterable of str
        Scheme strings.
    folder : Path
        The sweep's folder.
    """
    reference = reference_weights()
    identity = f"{reference.identity} {_code_digest()}"
    path = folder / CACHE_NAME
    known = _read_cache(path, identity)
    errors: dict[str, float] = {}
    for scheme in sorted(set(schemes)):
        if scheme in known:
            errors[scheme] = known[scheme]
            continue
        try:
            errors[scheme] = relative_error(scheme, reference)
        except (BitlatheError, ImportError):
            continue
    if errors:
        text = json.dumps({"identity": identity, "errors": errors}, indent=1, sort_keys=True)
        path.write_text(text + "\n", encoding="utf-8")
    return errors, reference.title


def _read_cache(path: Path, identity: str) -> dict[str, float]:
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    if not isinstance(content, dict) or content.get("identity") != identity:
        return {}
    errors = content.get("errors")
    if not isinstance(errors, dict):
        return {}
    return {str(k): float(v) for k, v in errors.items() if isinstance(v, int | float)}


@cache
def _code_digest() -> str:
    """Return a digest of the formats' code and tables."""
    digest = hashlib.sha256()
    room = Path(__file__).parents[2] / "datatypes"
    for path in sorted([*room.rglob("*.py"), *room.rglob("*.yaml")]):
        digest.update(path.read_bytes())
    return digest.hexdigest()
