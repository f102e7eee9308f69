"""`bitlathe verify`: the same operands on every rung that is here, and whether all agree."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ...arch.numerics import HPCA25
from ...arch.pe import AntPE, BitSerialPE, FpMacPE, IntMacPE, LutPE, OlivePE
from ...arch.pe_base import PEKind
from ...arch.schema import Arch
from ...arch.synthesized import weight_key
from ...datatypes.base.errors import BitlatheError
from ..pe.split import split_mac_dot
from ..rtl.check import Agreement, check_compiled, check_iverilog
from ..rtl.expected import Case
from ..rtl.generate import DATAFLOWS, array_case, array_design, pe_case, pe_design
from ..rtl.split import SplitPE, shape_of, splits
from ..rtl.tools import missing_for_cxxrtl, missing_for_iverilog
from ..rtl.verilog import Design
from .cuda import cuda_name, cuda_results, on_device
from .dots import DOTS, Array, Operands
from .reference import reference

SHAPE = (96, 37)  # dot products and their length, for the reference and CUDA
COMPILED_ROWS, ICARUS_ROWS, ARRAY_ROWS = 20_000, 400, 100
SIDES = (2, 3)  # of the array that is run
SEED = 20261128
QUICK = partial(check_compiled, optimize="-O0")  # a run is short against its build

Subject = tuple[str, PEKind, Any]
"""Name, PE, weight format."""

DEFAULT: tuple[Subject, ...] = (
    ("bit_serial hpca25, int8", BitSerialPE(numerics=HPCA25), "int8"),
    ("bit_serial aligned, int4", BitSerialPE(), "int4"),
    ("bit_serial aligned, bitmod_fp4", BitSerialPE(), "bitmod_fp4"),
    ("int_mac 8 x 8 into 32", IntMacPE(), ""),
    ("int_mac 8 x 8 that splits for 2 bits", IntMacPE(split_bits=2), ""),
    ("int_mac 8 x 4 into 20, 4 lanes", IntMacPE(lanes=4, weight_bits=4, accumulator_bits=20), ""),
    ("fp_mac fp16 x fp16 into fp32", FpMacPE(), ""),
    ("fp_mac fp16 x int8 into fp16", FpMacPE(weight="int8", accumulator="fp16"), ""),
    (
        "fp_mac fp8 x fp8 into fp16, 4 lanes",
        FpMacPE(activation="fp8_e4m3", weight="fp8_e5m2", accumulator="fp16", lanes=4),
        "",
    ),
    ("lut, 4 inputs", LutPE(inputs=4), ""),
    ("ant, flint4", AntPE(), ""),
    ("olive", OlivePE(), ""),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """A comparison: what, on which rung, against which, how many numbers, whether all agree."""

    name: str
    rung: str
    against: str
    cases: int
    agree: bool
    first: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class NotRun:
    """A comparison that was not made, and how to make it."""

    name: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Verification:
    """All comparisons of a run."""

    checks: tuple[Check, ...]
    not_run: tuple[NotRun, ...]

    @property
    def agree(self) -> bool:
        """Whether nothing disagrees."""
        return all(check.agree for check in self.checks)


def _compared(
    name: str, rungs: tuple[str, str], seen: tuple[Array, ...], wanted: tuple[Array, ...]
) -> Check:
    first, cases = "", 0
    for one, other in zip(seen, wanted, strict=True):
        cases += one.size
        same = (one == other) | (np.isnan(one) & np.isnan(other))
        if not same.all() and not first:
            at = int(np.argmin(same))
            first = f"number {at}: {one[at]} instead of {other[at]}"
    rung, against = rungs
    return Check(name=name, rung=rung, against=against, cases=cases, agree=not first, first=first)


def _narrow(name: str, pe: SplitPE) -> Check:
    """Return the comparison of multipliers that split, for operands of every mode."""
    mac, shape = pe.mac, shape_of(pe)
    seen, wanted = [], []
    for weight in shape.weights:
        for activation in shape.activations:
            together = weight.parts * activation.parts if shape.joined else 1
            bits = activation.digits * shape.bits, weight.digits * shape.bits
            one = replace(
                mac, split_bits=None, lanes=mac.lanes * together, activation_bits=bits[0],
                weight_bits=bits[1],
            )  # fmt: skip
            operands = DOTS[mac.kind].operands(one, "", SHAPE, SEED)
            seen.append(split_mac_dot(operands[0], operands[1], *bits, mac))
            wanted.append(reference(one, "", operands)[0])
    rungs = "bit", "reference"
    return _compared(f"{name}, split", rungs, (np.concatenate(seen),), (np.concatenate(wanted),))


def subjects_of(arch: Arch) -> tuple[Subject, ...]:
    """Return the PE of a chip with each weight format that its layers have, in any phase.

    Raises
    ------
    BitlatheError
        A bit-serial PE whose weights are of stated bits alone: no terms follow from them.
    """
    pe = arch.pe.record
    if not isinstance(pe, BitSerialPE):
        return ((f"{arch.name} {pe.kind}", pe, ""),)
    found: dict[str, Subject] = {}
    for _, weight in arch.weights:
        if weight.scheme is not None:
            element = weight.scheme.element
            key = weight_key(element)
            found[key] = (f"{arch.name} {pe.kind}, {element.name}", pe, element)
    if not found:
        raise BitlatheError(
            f"{arch.name}: formats.linear.weight states bits alone; a scheme, such as "
            "int8@channel, is needed for the terms of a bit-serial PE"
        )
    return tuple(found.values())


def _hardware(name: str, pe: PEKind, weight: Any) -> Iterator[Check | NotRun]:
    """Yield the comparisons of generated hardware with the bit rung."""
    simulators: tuple[tuple[str, Callable[[Design, Case], Agreement], int, str | None], ...] = (
        ("hardware (compiled)", QUICK, COMPILED_ROWS, missing_for_cxxrtl()),
        ("hardware (Icarus)", check_iverilog, ICARUS_ROWS, missing_for_iverilog()),
    )
    try:
        design = pe_design(pe, weight)
    except BitlatheError as error:
        yield NotRun(name=f"{name}, hardware", why=str(error))
        return
    for rung, check, rows, lacking in simulators:
        if lacking is not None:
            yield NotRun(name=f"{name}, {rung}", why=lacking)
            continue
        found = check(design, pe_case(pe, weight, rows, SEED))
        yield Check(
            name=name,
            rung=rung,
            against="bit",
            cases=found.numbers,
            agree=found.agree,
            first=found.first,
        )
    yield from _array(name, pe, weight)


def _array(name: str, pe: PEKind, weight: Any) -> Iterator[Check | NotRun]:
    """Yield the comparisons of small arrays of PEs, bits and clocks, with the array's rung."""
    rung = "x".join(map(str, SIDES))
    for dataflow in ("",) if isinstance(pe, BitSerialPE) else DATAFLOWS:
        named = f"array {rung} {dataflow}".rstrip()
        try:
            design = array_design(pe, weight, SIDES, dataflow)
        except BitlatheError as error:
            yield NotRun(name=f"{name}, {named}", why=str(error))
            continue
        if (lacking := missing_for_iverilog()) is not None:
            yield NotRun(name=f"{name}, {named}", why=lacking)
            continue
        case = array_case(pe, weight, SIDES, ARRAY_ROWS, SEED, dataflow)
        found = check_iverilog(design, case)
        yield Check(
            name=name,
            rung=f"{named} (Icarus)",
            against="bit, its clocks",
            cases=found.numbers,
            agree=found.agree,
            first=found.first,
        )


def verify(
    subjects: Iterable[Subject] | None = None,
    *,
    device: str | None = None,
    show: Callable[[Iterable[Any], str], Iterable[Any]] = lambda each, _: each,
) -> Verification:
    """Compare every rung that is installed here with the bit rung.

    Parameters
    ----------
    subjects : iterable of (name, PE, weight format), optional
        What is compared; `subjects_of` gives those of a chip. By default every kind of PE.
    device : str, optional
        What the CUDA kernels run on: ``cuda``, a GPU; ``cpu``, numba's simulator; by default a GPU
        where there is one.
    show : callable
        Wraps what is iterated over, for a progress bar.

    Returns
    -------
    Verification

    Raises
    ------
    BitlatheError
        A tool that is installed fails, or there is no such device.
    """
    on_device(device)  # says so before anything runs
    given = tuple(DEFAULT if subjects is None else subjects)
    jobs, bits = [], []
    found: list[Check | NotRun] = []
    for name, pe, weight in show(given, "bit and reference"):
        dots = DOTS[pe.kind]
        operands: Operands = dots.operands(pe, weight, SHAPE, SEED)
        jobs.append((pe, weight, operands))
        bits.append(dots.run(pe, weight, operands, "cpu"))
        if isinstance(pe, BitSerialPE) and pe.numerics.exact:
            found.append(NotRun(name=f"{name}, reference", why="exact sums are the reference"))
        else:
            wanted = reference(pe, weight, operands)
            found.append(_compared(name, ("bit", "reference"), bits[-1], wanted))
        if splits(pe):
            found.append(_narrow(name, pe))
    twins = cuda_results(jobs, device)
    for (name, _, _), twin, bit in zip(given, twins, bits, strict=True):
        found.append(_compared(name, (cuda_name(device), "bit"), twin, bit))
    for name, pe, weight in show(given, "hardware"):
        found += _hardware(name, pe, weight)
    return Verification(
        checks=tuple(each for each in found if isinstance(each, Check)),
        not_run=tuple(each for each in found if isinstance(each, NotRun)),
    )
