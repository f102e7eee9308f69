"""Errors of the bit-serial PE's numerics, also where activations are massive.

``python -m bitlathe.reports.studies.pe_errors`` prints the table of docs/pe.md: the error of
seeded dot products over ``sum(abs(a * w))``, for numerics, weight formats and distributions of
activations.
"""

import sys
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ....arch.numerics import ALIGNED, HPCA25, PENumerics
from ....datatypes.terms.schedule import TWO_BIT_FAMILIES
from ....sim.pe.bit_serial import bitserial_dot

SEED, GROUPS, LENGTH = 11, 4000, 128
FP4 = max(TWO_BIT_FAMILIES, key=len)  # magnitudes of BitMoD's FP4 decoder, values times two

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

NUMERICS: dict[str, PENumerics] = {
    "hpca25": HPCA25,
    "aligned": ALIGNED,
    "aligned, zero terms not gated": replace(ALIGNED, gate_zero_terms=False),
    "aligned, plain shifts and floor": replace(ALIGNED, alignment="floor", rounding="floor"),
    "aligned, accumulator of 21 bits": replace(ALIGNED, accumulator_bits=21),
}


def gaussian(rng: np.random.Generator) -> Floats:
    """Return (groups, K) normal activations."""
    return rng.standard_normal((GROUPS, LENGTH))


def outliers(rng: np.random.Generator) -> Floats:
    """Return normal activations, 2 % of them times 20 to 200."""
    activations = gaussian(rng)
    hit = rng.random(activations.shape) < 0.02
    return np.where(hit, activations * rng.uniform(20, 200, hit.shape), activations)


def massive(rng: np.random.Generator) -> Floats:
    """Return normal activations, one of each group 1000 to 4000 of either sign, the first.

    Of the size that M. Sun et al., "Massive Activations in Large Language Models", 2024,
    arXiv:2402.17762, find beside medians of about one.
    """
    activations = gaussian(rng)
    activations[:, 0] = rng.uniform(1000, 4000, GROUPS) * rng.choice([-1, 1], GROUPS)
    return activations


ACTIVATIONS: dict[str, Callable[[np.random.Generator], Floats]] = {
    "Gaussian": gaussian,
    "2 % outliers": outliers,
    "massive": massive,
    "massive, its weight 0": massive,
}
# numerics, weights, activations: the rows of the table
ROWS = (
    *(("hpca25", w, "Gaussian") for w in ("int8", "int6", "fp4")),
    *(("hpca25", "int8", a) for a in ("2 % outliers", "massive", "massive, its weight 0")),
    *(("aligned", "int8", a) for a in ACTIVATIONS),
    *(("aligned", "int4", a) for a in ("Gaussian", "massive", "massive, its weight 0")),
    *(("aligned", "fp4", a) for a in ("Gaussian", "massive", "massive, its weight 0")),
    *(("aligned, zero terms not gated", w, a) for w in ("int8", "int4")
      for a in ("Gaussian", "massive", "massive, its weight 0")),
    ("aligned, plain shifts and floor", "int8", "Gaussian"),
    ("aligned, accumulator of 21 bits", "int8", "Gaussian"),
)  # fmt: skip


def weights_of(format: str, rng: np.random.Generator) -> Integers:
    """Return (groups, K) integers: normal numbers scaled to the range, or uniform over FP4."""
    shape = (GROUPS, LENGTH)
    if format == "fp4":
        return rng.choice(sorted({s * m for m in FP4 for s in (-1, 1)}), shape)
    raw = rng.standard_normal(shape)
    top = 2 ** (int(format.removeprefix("int")) - 1) - 1
    scaled: Floats = raw / np.abs(raw).max(1, keepdims=True) * top
    return np.rint(scaled).astype(np.int64)


def errors(numerics: PENumerics, format: str, activations: str) -> Floats:
    """Return the errors of all groups over ``sum(abs(a * w))``.

    Sums of float64 are exact here to about 1e-15, far below the errors.
    """
    rng = np.random.default_rng(SEED)
    acts = ACTIVATIONS[activations](rng).astype(np.float16)
    weights = weights_of(format, rng)
    if activations.endswith("weight 0"):
        weights[:, 0] = 0
    products = acts.astype(np.float64) * weights
    dot = bitserial_dot(acts, weights, format, numerics)
    found: Floats = (dot.value - products.sum(1)) / np.abs(products).sum(1)
    return found


def lines() -> list[str]:
    """Return the table in Markdown."""
    table = [
        "| numerics | weights | activations | median | rms | bias | largest |",
        "|---|---|---|---|---|---|---|",
    ]
    for numerics, format, activations in ROWS:
        found = errors(NUMERICS[numerics], format, activations)
        figures = (
            float(np.median(np.abs(found))),
            float(np.sqrt(np.mean(found**2))),
            float(np.mean(found)),
            float(np.abs(found).max()),
        )
        numbers = " | ".join(f"{figure:.1e}" for figure in figures)
        table.append(f"| {numerics} | {format.upper()} | {activations} | {numbers} |")
    return table


def main() -> None:
    """Print the table."""
    sys.stdout.write("\n".join(lines()) + "\n")
