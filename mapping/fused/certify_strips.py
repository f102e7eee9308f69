"""Certificates of convolutions in strips as plain data: as of other chains (`certify`)."""

from collections.abc import Sequence
from typing import Any

from ..best import Objective
from ..certify import number
from ..kept_results import best_mapping
from ..proof.strips.check import Strips
from .certify import (
    BUDGET,
    MapProduct,
    Product,
    Side,
    certified,
    chip_of_chain,
    lanes_data,
    stored_data,
)
from .chain import Lanes
from .near import NearChip
from .products import inside_of
from .strip_cost import AskedRows
from .strip_search import FoundStrips
from .strips import Conv, ConvChain


def strips_data(chain: ConvChain, near: NearChip, lanes: Lanes) -> dict[str, Any]:
    """Return what a certificate is about as plain data: chain, vector unit and chip.

    Parameters
    ----------
    chain : ConvChain
    near : NearChip
    lanes : Lanes
    """
    return {
        "chain": {
            "layers": [_layer_data(layer, near) for layer in chain.layers],
            "images": chain.images,
            "added": chain.added,
        },
        "lanes": lanes_data(lanes),
        "chip": chip_of_chain(near),
    }


def _layer_data(layer: Conv, near: NearChip) -> dict[str, Any]:
    shape = layer.shape
    return {
        "channels": shape.in_channels,
        "outputs": shape.out_channels,
        "groups": shape.groups,
        **{name: list(getattr(shape, name)) for name in ("size", "kernel", "stride", "dilation")},
        "padding": list(shape.padding),
        "stored": stored_data(layer.bits, layer.unit_pj, near),
        "work": list(layer.work),
        "quantized": number(layer.groups),
    }


def strips_certificate(
    chain: ConvChain,
    near: NearChip,
    lanes: Lanes,
    found: FoundStrips,
    *,
    objective: Objective = "cycles",
    budget: int = BUDGET,
    map_product: MapProduct = best_mapping,
    others: Sequence[tuple[ConvChain, NearChip]] = (),
) -> dict[str, Any]:
    """Return the certificate of convolutions in strips as plain data, to be written as JSON.

    Parameters
    ----------
    chain : ConvChain
    near, lanes, objective, budget, map_product, others
        As of `certify.fused_certificate`.
    found : FoundStrips
        The schedule; it need not be the best.

    Raises
    ------
    BitlatheError
        The chip has what certificates do not count.
    """
    return certified(
        [_side(each, on, lanes, objective) for each, on in ((chain, near), *others)],
        found,
        AskedRows,
        budget=budget,
        map_product=map_product,
    )


def _side(chain: ConvChain, near: NearChip, lanes: Lanes, objective: Objective) -> Side:
    def product_of(asked: AskedRows) -> Product:
        layer = chain.layers[asked.layer]
        return asked.loops(chain), layer.bits, inside_of(near, layer.unit_pj)

    about = strips_data(chain, near, lanes)
    return Side(
        of=Strips.of_data(**about, objective=objective),
        about=about,
        product_of=product_of,
    )
