"""PEs priced by synthesis: area, energy and clock of generated hardware, at 28 nm equivalents.

``components/synthesis.yaml`` holds what ``bitlathe synthesize --out`` measured; what a user
measures is kept below the user's folder and found in the same way. A PE of an array shares what
lies at the edges: term encoders with its row, unpacked activations with its column.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BeforeValidator, Field

from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.user_folder import kept_folder
from ..datatypes.base.yamlfile import Record, read_yaml, validate
from ..datatypes.formats.format import Format, Mixture
from .fields import NonNegative
from .formats import Operand
from .pe_base import PEKind
from .priced import REGISTER_NODE_NM

SHIPPED = Path(__file__).parent / "components" / "synthesis.yaml"
LEAKAGE_RATIO = 0.00958
"""Leakage over dynamic power at 28 nm and 1 GHz: FIGNA with 8-bit weights, as AxCore lists it
(MICRO 2025): 2,282 / 238,167 nW. Leakage of an older library says nothing of 28 nm."""
NO_HARDWARE = ("skip_sync", "skip_weights", "name")
"""Fields of a PE's record that change no gate."""
MADE = "all cells by one constant"
"""How results are made; those of an earlier way are not found."""
PartName = Literal["pe", "row_edge", "column_edge"]


def _number(value: Any) -> Any:
    """Read ``1e-05``, which is a text in YAML 1.1, as the number that it is."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


Figure = Annotated[NonNegative, BeforeValidator(_number)]


class Part(Record):
    """Gates of a part: their area in the library's units, registers among them, energy of a clock.

    ``energy_pj`` is that of the library's own node; ``path_ns`` the longest path between
    registers, with the register's own delay and setup.
    """

    units: Figure
    registers: int = Field(ge=0)
    energy_pj: Figure
    path_ns: Figure


class Block(Record):
    """A module of a PE by itself: its area in the library's units, and registers among its gates.

    Gates that modules share count in each, so blocks add up to a little more than their PE.
    """

    units: Figure
    registers: int = Field(ge=0)


class SynthesizedLibrary(Record):
    """The library that gates are of, and what turns its figures into those of 28 nm."""

    name: str
    units_per_um2: Annotated[Figure, Field(gt=0)]
    pj_per_pj: Annotated[Figure, Field(gt=0)]
    fanout_of_4_ns: Annotated[Figure, Field(gt=0)]
    operands: str

    def area_um2(self, part: Part | Block) -> float:
        """Return the area of a part or block at 28 nm."""
        return part.units / self.units_per_um2

    def energy_pj(self, part: Part) -> float:
        """Return the energy of a clock of a part at 28 nm."""
        return part.energy_pj / self.pj_per_pj

    def depth(self, part: Part) -> float:
        """Return the longest path of a part in delays of an inverter that drives four."""
        return part.path_ns / self.fanout_of_4_ns


class SynthesizedPE(Record):
    """A PE in a weight format, in parts: itself, and its share of the edges of an array.

    ``blocks`` are the modules that the parts are made of, all copies together.
    """

    pe: str
    weight: str = ""
    parts: Annotated[dict[PartName, Part], Field(min_length=1)]
    blocks: dict[str, Block] = Field(default_factory=dict)


class Results(Record):
    """What was measured, with one library."""

    library: SynthesizedLibrary
    pes: Annotated[list[SynthesizedPE], Field(min_length=1)]


class PECosts(NamedTuple):
    """Area, energy of a clock of work, and leakage of one PE; energy of an addition for a table."""

    area_um2: float
    energy_pj: float
    leakage_mw: float
    table_addition_pj: float = 0.0


def pe_key(pe: PEKind) -> str:
    """Return what of a PE decides its gates, as one line.

    Examples
    --------
    >>> from .pe import IntMacPE
    >>> pe_key(IntMacPE(lanes=2))
    'int_mac accumulator_bits=32 activation_bits=8 lanes=2 overflow=saturate weight_bits=8'
    """
    return " ".join([pe.kind, *sorted(_pairs(pe, ""))])


def _pairs(record: Any, before: str) -> Iterable[str]:
    for each in fields(record):
        value = getattr(record, each.name)
        whole = each.name == "split_over" and record.split_bits is None
        if each.name in NO_HARDWARE or value is None or whole:
            continue
        if is_dataclass(value):
            yield from _pairs(value, f"{each.name}.")
        else:
            yield f"{before}{each.name}={str(value).lower() if isinstance(value, bool) else value}"


def weight_key(element: Format | Mixture | None) -> str:
    """Return the name of a weight format; one that is not the catalogue's with a hash."""
    from ..datatypes.formats import catalogue

    if element is None:
        return ""
    if element.name in catalogue.names() and catalogue.element(element.name) == element:
        return element.name
    members = element.formats if isinstance(element, Mixture) else (element,)
    grid = repr([tuple(map(float, each.values)) for each in members])
    return f"{element.name}#{hashlib.sha256(grid.encode()).hexdigest()[:8]}"


def weight_keys(weights: Iterable[tuple[str, Operand]]) -> tuple[str, ...]:
    """Return the names of the formats of weights, given by kind of layer (`weight_key`).

    Raises
    ------
    BitlatheError
        Weights of some layers are stated bits alone, from which no gates follow.
    """
    found = []
    for kind, weight in weights:
        if weight.scheme is None:
            raise BitlatheError(
                f"pe.area_source: formats.{kind}.weight states bits alone, from which no encoder "
                "of terms follows; give a scheme, such as int8@channel, or a component"
            )
        found.append(weight_key(weight.scheme.element))
    return tuple(dict.fromkeys(found))


def kept_path(key: str, weight: str) -> Path:
    """Return the file of a user's own result."""
    name = hashlib.sha256(f"{key}\0{weight}\0{MADE}".encode()).hexdigest()[:32]
    return kept_folder() / "synthesis" / f"pe-{name}.yaml"


def write_results(results: Results) -> str:
    """Return results as the text of a file, a PE a line."""
    library = results.library.model_dump()
    lines = ["library:", *(f"  {key}: {_plain(value)}" for key, value in library.items()), "pes:"]
    for each in results.pes:
        lines.append(f'  - {{pe: "{each.pe}", weight: "{each.weight}",')
        lines.append(f"     parts: {{{_flow(each.parts)}}},")
        lines.append(f"     blocks: {{{_flow(each.blocks)}}}}}")
    return "\n".join(lines) + "\n"


def _flow(records: Mapping[Any, Record]) -> str:
    return ", ".join(
        f"{name}: {{{', '.join(f'{k}: {_plain(v)}' for k, v in each.model_dump().items())}}}"
        for name, each in records.items()
    )


def _plain(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value:.6g}"


def read_results(path: Path) -> Results:
    """Return the results in a file.

    Raises
    ------
    BitlatheError
        The file cannot be read, or is not one of `write_results`.
    """
    return validate(Results, read_yaml(path))


@cache
def shipped() -> tuple[SynthesizedLibrary, Mapping[tuple[str, str], SynthesizedPE]]:
    """Return the shipped results by PE and weight format."""
    results = read_results(SHIPPED)
    return results.library, {(each.pe, each.weight): each for each in results.pes}


def find(key: str, weight: str) -> tuple[SynthesizedLibrary, SynthesizedPE] | None:
    """Return a PE's result: shipped, else the user's own; None where there is none.

    Raises
    ------
    BitlatheError
        The user's own is damaged.
    """
    library, found = shipped()
    if (key, weight) in found:
        return library, found[key, weight]
    path = kept_path(key, weight)
    if not path.is_file():
        return None
    try:
        results = read_results(path)
    except BitlatheError as err:
        wrong = str(err).partition("\n")[0].rstrip(".")
    else:
        first = results.pes[0]
        if (first.pe, first.weight) == (key, weight):
            return results.library, first
        wrong = f"{path}: it is of another PE ({first.pe})"
    raise BitlatheError(
        f"pe.area_source: what synthesis found is damaged, {wrong}; remove this file, and measure "
        "the PE again"
    )


def synthesized_costs(
    pe: PEKind, weights: Iterable[str], rows: int, columns: int, node_nm: int
) -> PECosts:
    """Return what a PE of an array costs.

    Areas follow the square of the node, energies the node, from 28 nm. A row has an encoder for
    each of the weight formats; the energy is that of the costliest. The table of a look-up PE is
    its column's: its area is shared, its energy is that of its additions.

    Parameters
    ----------
    pe : PEKind
    weights : iterable of str
        Weight formats that the array takes (`weight_key`); an empty one for MACs.
    rows, columns : int
        PEs that share a column's edge, and a row's.
    node_nm : int

    Raises
    ------
    BitlatheError
        It was not measured; the error says how to.
    """
    key, area, row_area, energy, addition = pe_key(pe), 0.0, 0.0, 0.0, 0.0
    shares = {"pe": 1.0, "row_edge": 1 / columns, "column_edge": 1 / rows}
    additions = pe.table_additions
    for weight in dict.fromkeys(weights):
        result = find(key, weight)
        if result is None:
            named = f" with {weight} weights" if weight else ""
            raise BitlatheError(
                f"pe.area_source: no synthesis of this PE{named} ({key}); measure it with "
                "bitlathe synthesize --arch FILE (not exact numerics), "
                "or give a component"
            )
        library, found = result
        areas = {name: library.area_um2(part) for name, part in found.parts.items()}
        row_area += areas.pop("row_edge", 0.0) / columns
        area = max(area, sum(areas[name] * shares[name] for name in areas))
        clocks = {name: library.energy_pj(part) for name, part in found.parts.items()}
        if additions:  # a column's table works where it is filled, an entry a clock
            addition = clocks.pop("column_edge", 0.0) * (1 << pe.lanes) / additions
        energy = max(energy, sum(clock * shares[name] for name, clock in clocks.items()))
    scale = node_nm / REGISTER_NODE_NM
    return PECosts(
        area_um2=(area + row_area) * scale**2,
        energy_pj=energy * scale,
        leakage_mw=energy * scale * LEAKAGE_RATIO,
        table_addition_pj=addition * scale,
    )
