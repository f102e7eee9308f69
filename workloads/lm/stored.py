"""What a calibrated model's layers are stored in, as its configuration says it to chips."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...datatypes.base.errors import BitlatheError
from ...datatypes.methods.layer import QuantizedLinear
from ...datatypes.schemes.scheme import Scheme
from ...datatypes.tensors.tensor import QuantizedTensor

Rows = Mapping[str, Mapping[str, Any]]  # of facts, by the layer's name


def stored_facts(layer: QuantizedLinear) -> dict[str, Any]:
    """Return in which schemes a layer is stored; None where none says its codes or its inputs.

    ``bare`` says that nothing is stored beside the codes.
    """
    weights, inputs = layer.weights, layer.activation_scheme
    own = weights.scheme if isinstance(weights, QuantizedTensor) else None
    return {
        "scheme": own and _said(own),
        "inputs": inputs and _said(inputs),
        "bare": layer.total_bits == weights.total_bits,
    }


def _said(scheme: Scheme) -> str | None:
    """Return the text of a scheme; None where it does not say all, as of bent grids."""
    try:
        return str(scheme) if Scheme.parse(str(scheme)) == scheme else None
    except BitlatheError:
        return None


def quantization_config(
    method: str, rows: Rows, beside: Mapping[str, Any], decoder: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the ``quantization_config`` of a calibrated model.

    Parameters
    ----------
    method : str
    rows : mapping of str to mapping
        Facts of each layer by its name: `stored_facts`, ``shape`` and ``bits_per_weight``.
    beside, decoder : mapping
        What all compute beside their products, and what makes weights of codes that no scheme says,
        by the keys of a chip.

    Returns
    -------
    dict
        The schemes of most weights and of their inputs; under ``layers`` those of layers in others.
        Bits stand where a scheme does not say those of all that is stored: their mean.
    """
    forms: dict[tuple[Any, ...], list[str]] = {}
    for name, row in rows.items():
        own_bits = row["bits_per_weight"] if row["scheme"] is None else None
        form = (row["scheme"], row["inputs"], own_bits)
        forms.setdefault(form, []).append(name)
    most = max(forms.values(), key=lambda names: sum(_size(rows[name]) for name in names))
    found: dict[str, Any] = {"quant_method": "bitlathe", "method": method, **_told(rows, most)}
    if others := [names for names in forms.values() if names is not most]:
        found["layers"] = [
            {**place, **_told(rows, names)} for names in others for place in _places(names, rows)
        ]
    if some := {k: v for k, v in beside.items() if v not in (0, "none")}:
        found["beside"] = some
    return found | ({"decoder": dict(decoder)} if decoder else {})


def _size(row: Mapping[str, Any]) -> int:
    return math.prod(row["shape"])


def _told(rows: Rows, names: Sequence[str]) -> dict[str, Any]:
    """Return the schemes of layers in the same ones, and the bits of a weight if these do not."""
    first, some = rows[names[0]], [rows[name] for name in names]
    found = {"weights": first["scheme"], "input_activations": first["inputs"]}
    if first["scheme"] is None or not all(row["bare"] for row in some):
        bits = sum(_size(row) * row["bits_per_weight"] for row in some)
        found["bits_per_weight"] = bits / sum(map(_size, some))
    return found


def _places(names: Sequence[str], rows: Rows) -> list[dict[str, Any]]:
    """Return which layers these are: last names, and of which blocks where not of all."""
    every, together = _blocks(rows), dict[tuple[int, ...], list[str]]()
    for last, blocks in _blocks(names).items():
        together.setdefault(() if blocks == every[last] else blocks, []).append(last)
    return [
        {"names": last, **({"blocks": list(blocks)} if blocks else {})}
        for blocks, last in together.items()
    ]


def _blocks(names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """Return the numbers of blocks by the last names of layers (``0.mlp.up_proj``: ``up_proj``)."""
    found: dict[str, tuple[int, ...]] = {}
    for name in names:
        last = name.rpartition(".")[2]
        found[last] = (*found.get(last, ()), int(name.partition(".")[0]))
    return found
