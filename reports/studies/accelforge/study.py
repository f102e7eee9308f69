"""Optima of AccelForge beside those of the search, on chips and layers that both can say.

AccelForge's are of least energy, the leakage of its components taken out. Where `Case.published`
is set they are its own, of tests/regression_reference.json in Accelergy-Project/accelforge at
commit 01f87eb; its release 1.0.467 gives the same figures to the last digit, and gave the others:
those of the Gemmini-like chip, and of the Eyeriss-like chip with its scratchpads in another order.
Its figures follow the order of memories in the file that have none between them on the chip.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....arch import Arch, load_arch
from ....sim import simulate
from ....workloads import load_model
from ..fused_gpt3.study import CONTEXT, Published, layer_of, of_run

CHIPS = {name: Path(__file__).with_name(f"{name}.yaml") for name in ("eyeriss", "gemmini")}
SET: dict[str, dict[str, Any]] = {
    "eyeriss": {"array.rows.size": 8, "array.columns.size": 8},
    "gemmini": {},
}
"""What the study sets in a chip's file."""
WIDE: dict[str, Any] = {"pe.accumulator_bits": 16} | {
    f"formats.{kind}.{operand}.bits": 16
    for kind in ("linear", "attention")
    for operand in ("weight", "input", "output")
}
"""All operands and sums of 16 bits, as AccelForge has those of GPT-3."""
GPT3 = layer_of(4096, heads=32)
"""One layer of GPT-3 6.7B."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A chip with layers, and AccelForge's optimum of them.

    Attributes
    ----------
    chip : str
        Of `CHIPS`.
    layers : str
        What the table says of the layers.
    sizes : tuple of int, or None
        Rows, outputs and inputs of a product; None for the layer of GPT-3.
    products : int
        How many in a row, each of which reads the results of the one ahead.
    phase : str
    stays : bool
        Whether results may stay on the chip; there, whether products are fused.
    published : bool
        Whether ``theirs`` is the figure that AccelForge keeps.
    theirs : Published
        AccelForge's optimum without leakage.
    weights_first : float or None
        Joules of its optimum where weights' scratchpad is ahead of inputs'.
    """

    chip: str
    layers: str
    sizes: tuple[int, int, int] | None = None
    products: int = 1
    phase: str = "prefill"
    stays: bool = False
    published: bool = False
    theirs: Published
    weights_first: float | None = None


PRODUCTS = (
    Case(
        chip="gemmini", layers="256x1024x1024", sizes=(256, 1024, 1024),
        theirs=Published(2.2742774597514125e-4, 1.3421772778988465e-4, 2.097151940688491),
    ),
    Case(
        chip="gemmini", layers="2 of 256x1024x1024", sizes=(256, 1024, 1024), products=2,
        theirs=Published(4.548554919502825e-4, 2.684354555977693e-4, 4.194303881376982),
    ),
    Case(
        chip="gemmini", layers="256x4096x4096", sizes=(256, 4096, 4096),
        theirs=Published(3.6401022086668964e-3, 2.147483643977693e-3, 33.554431051015854),
    ),
    Case(
        chip="eyeriss", layers="2 of 64x64x64", sizes=(64, 64, 64), products=2, published=True,
        theirs=Published(3.3721281e-6, 1.572864e-6, 0.05859374869032763),
        weights_first=3.0906433e-6,
    ),
    Case(
        chip="eyeriss", layers="2 of 64x64x64, fused", sizes=(64, 64, 64), products=2, stays=True,
        published=True, theirs=Published(2.9252158e-6, 1.048576e-6, 0.04095999975106679),
        weights_first=2.5356077e-6,
    ),
)  # fmt: skip


LAYERS = {
    "prefill": (
        Case(
            chip="eyeriss", layers="apart", published=True,
            theirs=Published(3.8336892, 0.7161858, 36176.60903930664),
            weights_first=3.2775976,
        ),
        Case(
            chip="eyeriss", layers="fused", published=True, stays=True,
            theirs=Published(3.8336892, 0.7161858, 36176.60903930664),
        ),
    ),
    "decode": (
        Case(
            chip="eyeriss", layers="fused", phase="decode", published=True, stays=True,
            theirs=Published(0.0294246, 0.0279183, 1054.5854568481445),
        ),
    ),
}  # fmt: skip


def chip_of(case: Case) -> Arch:
    """Return the chip of a case as the study sets it."""
    more = {"execution.keep_outputs": True} if case.stays and case.sizes else {}
    wide = WIDE if case.sizes is None else {}
    return load_arch(CHIPS[case.chip], SET[case.chip] | wide | more)


def rows(cases: Iterable[Case]) -> list[dict[str, Any]]:
    """Return energy and time of cases here and with AccelForge."""
    found = []
    for case in cases:
        here = of_case(case)
        found.append(
            {
                "chip": case.chip,
                "layers": case.layers,
                "mJ": here.joules * 1e3,
                "mJ, AccelForge": case.theirs.joules * 1e3,
                "weights first": case.weights_first and case.weights_first * 1e3,
                "DRAM mJ": (here.dram_joules or 0) * 1e3,
                "DRAM mJ, AccelForge": (case.theirs.dram_joules or 0) * 1e3,
                "ms": here.milliseconds,
                "ms, AccelForge": case.theirs.milliseconds,
            }
        )
    return found


def of_case(case: Case) -> Published:
    """Return the energy and time of a case here."""
    run = simulate(
        chip_of(case), load_model(GPT3 if case.sizes is None else chain_of(case)),
        phase=case.phase, context=None if case.sizes else CONTEXT, fidelity="analytic",
        mapper="search-energy", fusion=case.stays,
    )  # fmt: skip
    return of_run(run)


def chain_of(case: Case) -> dict[str, Any]:
    """Return the products of a case as a list that `load_model` reads."""
    assert case.sizes is not None
    m, n, k = case.sizes
    names = [f"matmul{i}" for i in range(case.products)]
    products: list[dict[str, Any]] = [{"name": name, "m": m, "n": n, "k": k} for name in names]
    for product, ahead in zip(products[1:], names, strict=False):
        product["from"] = ahead
    return {"products": products}
