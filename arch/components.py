"""Component tables: energy and area of PEs, SRAM banks and DRAM, with their sources."""

import re
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field

from ..datatypes.base.errors import BitlatheError, unknown_name
from ..datatypes.base.yamlfile import Record, read_yaml, validate

FOLDER = Path(__file__).parent / "components"


class Component(Record):
    """What prices a part of a chip; ``name`` is that of the file it stands in, else empty."""

    name: str = ""

    def __hash__(self) -> int:
        return hash((type(self), self.name, self.model_dump_json()))


ComponentT = TypeVar("ComponentT", bound=Component)


class PEComponent(Component):
    """Cost of one processing element, and what it was made for.

    ``energy_pj`` per clock in which it works. ``clock_ghz`` is the clock it was synthesized for.
    ``arithmetic`` are keys of the ``pe`` section: names are those of its ports, numbers the widest
    that it has (`arch.priced`).
    """

    kind: str
    lanes: int = Field(ge=1)
    energy_pj: float = Field(ge=0)
    area_um2: float = Field(ge=0)
    leakage_mw: float = Field(default=0.0, ge=0)
    node_nm: int = Field(gt=0)
    clock_ghz: float = Field(gt=0)
    arithmetic: dict[str, Any]
    table_addition_pj: float | None = Field(default=None, ge=0)
    source: str

    def names_for(self, kind: str) -> dict[str, str]:
        """Return the names of its ports, the defaults of a PE of its kind."""
        names = {key: value for key, value in self.arithmetic.items() if isinstance(value, str)}
        return names if self.kind == kind else {}


class DramComponent(Component):
    """Energy of one bit moved between DRAM and the chip; of a read or a write where known apart.

    ``background_mw_per_gb_s``: standby and refresh of the devices that give a bandwidth of 1 GB/s.
    ``latency_ns``: from a read of a closed row to its first bit.
    """

    energy_pj_per_bit: float = Field(ge=0)
    read_pj_per_bit: float | None = Field(default=None, ge=0)
    write_pj_per_bit: float | None = Field(default=None, ge=0)
    background_mw_per_gb_s: float = Field(default=0.0, ge=0)
    latency_ns: float = Field(default=0.0, ge=0)
    source: str

    def bit_pj(self, direction: Literal["read", "write"]) -> float:
        """Return the energy of one bit read or written."""
        own = self.read_pj_per_bit if direction == "read" else self.write_pj_per_bit
        return self.energy_pj_per_bit if own is None else own


class SramTable(Record):
    """The file of SRAM bank costs; device, temperature and ports where it covers only one."""

    file: str
    device: str | None = None
    temperature_k: int | None = None
    ports: int | None = None
    source: str


class RegisterComponent(Component):
    """Area of one bit of a register or register file, and energies of it where they are known.

    Areas follow the square of the node; energies hold at ``node_nm`` alone.
    """

    area_um2_per_bit: float = Field(ge=0)
    read_pj_per_bit: float | None = Field(default=None, ge=0)
    write_pj_per_bit: float | None = Field(default=None, ge=0)
    node_nm: int = Field(gt=0)
    source: str


class _Scaled(Component):
    """Figures of one node, which others are scaled from."""

    node_nm: int = Field(gt=0)

    def scale(self, figure: str, node_nm: int) -> float:
        """Return a figure at a node: energies and leakage follow it, areas its square."""
        power = 2 if figure == "area_um2" else 1
        value: float = getattr(self, figure)
        return value * (node_nm / self.node_nm) ** power


class VectorComponent(_Scaled):
    """Cost of one lane of a vector unit, and the clocks of its special functions.

    Energies are those of one operation on one element; ``area_um2`` and ``leakage_mw`` of the lane.
    """

    add_pj: float = Field(ge=0)
    multiply_pj: float = Field(ge=0)
    special_pj: float = Field(ge=0)
    special_cycles: int = Field(ge=1)
    area_um2: float = Field(ge=0)
    leakage_mw: float = Field(default=0.0, ge=0)
    source: str


class OperatorComponent(_Scaled):
    """Energy of one operation of an arithmetic operator, and its area."""

    energy_pj: float = Field(ge=0)
    area_um2: float = Field(ge=0)
    source: str


_RECORDS: dict[str, type[Record]] = {
    "pe": PEComponent,
    "dram": DramComponent,
    "sram": SramTable,
    "registers": RegisterComponent,
    "vector": VectorComponent,
    "operators": OperatorComponent,
}
_OWN_KINDS = ("pe", "dram", "registers", "vector")
_OWN = re.compile(r"(.+\.ya?ml)#(.+)", re.IGNORECASE)


@cache
def _catalogue(kind: str) -> dict[str, Record]:
    document = read_yaml(FOLDER / f"{kind}.yaml")
    return {name: _RECORDS[kind].model_validate(data) for name, data in document.data.items()}


def own_component(kind: str, text: str) -> Record | None:
    """Read a component from a file of tables of one's own.

    Parameters
    ----------
    kind : {"pe", "dram", "registers", "vector"}
        The table of the file.
    text : str
        ``FILE.yaml#NAME``.

    Returns
    -------
    Record or None
        None if the text does not name a file.

    Raises
    ------
    BitlatheError
        The file cannot be read, lacks the table or the name, or a figure of it is wrong.
    """
    parts = _OWN.fullmatch(text)
    if parts is None:
        return None
    document = read_yaml(Path(parts[1]), "component file")
    tables = document.data if isinstance(document.data, dict) else {}
    rows = tables.get(kind)
    if not isinstance(rows, dict):
        raise BitlatheError(
            f"{document.source}: no table {kind!r}; write {kind}: {{{parts[2]}: {{...}}}}, with "
            f"the keys of arch/components/{kind}.yaml."
        )
    if parts[2] not in rows:
        problem = unknown_name(f"{kind} component", parts[2], map(str, rows))
        raise BitlatheError(f"{document.where((kind,))}: {problem}.")
    found = validate(_RECORDS[kind], document.part(kind, parts[2]))
    return found.model_copy(update={"name": text})


def _of_file(kind: str) -> BeforeValidator:
    def read(value: Any) -> Any:
        return (own_component(kind, value) or value) if isinstance(value, str) else value

    return BeforeValidator(read, json_schema_input_type=str | None)


PEPart = Annotated[PEComponent | str | None, _of_file("pe")]
DramPart = Annotated[DramComponent | str | None, _of_file("dram")]
RegisterPart = Annotated[RegisterComponent | str | None, _of_file("registers")]
VectorPart = Annotated[VectorComponent | str | None, _of_file("vector")]


def name_of(part: Component | str | None) -> str:
    """Return what a component is called in messages."""
    return part if isinstance(part, str) else (part.name if part else "") or "of one's own"


def component_names(kind: str) -> list[str]:
    """Return the names in a table: ``pe``, ``dram``, ``sram``, ``registers``, ``operators`` ..."""
    return sorted(_catalogue(kind))


def _component(kind: str, name: str) -> Record:
    table = _catalogue(kind)
    name = name if name in table else name.lower().replace("-", "_")
    if name not in table:
        longer = [known for known in table if known.startswith(f"{name}_")]
        said = unknown_name(f"{kind} component", name, table, longer)
        own = " One of your own: component: FILE.yaml#NAME (docs/chips.md)." * (kind in _OWN_KINDS)
        gates = " Without one: area_source: synthesis, by its gates (docs/synthesis.md)."
        raise BitlatheError(f"{said.removesuffix('.')}.{own}{gates * (kind == 'pe')}")
    return table[name]


def pe_component(name: str | PEComponent) -> PEComponent:
    """Return a PE's cost by name; an unknown name raises BitlatheError with the nearest ones."""
    found = name if isinstance(name, PEComponent) else _component("pe", name)
    assert isinstance(found, PEComponent)
    return found


def dram_component(name: str | DramComponent) -> DramComponent:
    """Return a DRAM's cost by name; an unknown name raises BitlatheError with the nearest ones."""
    found = name if isinstance(name, DramComponent) else _component("dram", name)
    assert isinstance(found, DramComponent)
    return found


def sram_table(name: str) -> SramTable:
    """Return an SRAM table by name; an unknown name raises BitlatheError with the nearest ones."""
    found = _component("sram", name)
    assert isinstance(found, SramTable)
    return found


def register_component(name: str | RegisterComponent) -> RegisterComponent:
    """Return a register's cost by name; an unknown name raises BitlatheError with nearest ones."""
    found = name if isinstance(name, RegisterComponent) else _component("registers", name)
    assert isinstance(found, RegisterComponent)
    return found


def vector_component(name: str | VectorComponent) -> VectorComponent:
    """Return a vector lane's cost by name; an unknown name raises BitlatheError with near ones."""
    found = name if isinstance(name, VectorComponent) else _component("vector", name)
    assert isinstance(found, VectorComponent)
    return found


def operator_component(name: str) -> OperatorComponent:
    """Return an operator's cost by name; an unknown name raises BitlatheError with near ones."""
    found = _component("operators", name)
    assert isinstance(found, OperatorComponent)
    return found
