"""Whether a PE's figures are those of the PE that a chip describes.

A component was synthesised for one kind, one number of lanes, one node, one clock and certain
widths. A chip that asks for something else is refused, unless it gives ``energy_pj`` and
``area_um2`` of its own, or says in ``pe.unpriced`` which keys it takes at the component's cost.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..datatypes.base.errors import BitlatheError
from .components import PEComponent, component_names, pe_component
from .holds import refusal
from .pe import FpMacPE, PEKind

if TYPE_CHECKING:
    from .pe_section import PE
    from .schema import Arch

OWN = "or give energy_pj and area_um2 of your own PE"
REGISTER_BIT_UM2 = 2.69
"""A bit of register at 28 nm: BitMoD's synthesis sheet, TSMC 28HPC+."""
REGISTER_NODE_NM = 28


def _beyond(limits: Mapping[str, Any], record: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys in which a PE's record goes beyond what was synthesised, and the limit.

    A width that is None follows from others.
    """
    for key, limit in limits.items():
        has = getattr(record, "inputs" if key == "lanes" else key)
        if isinstance(limit, Mapping):
            yield from _beyond(limit, has, f"{prefix}{key}.")
        elif has is not None and (has != limit if isinstance(limit, str) else has > limit):
            yield f"{prefix}{key}", limit


def check_priced(arch: "Arch", record: PEKind) -> None:
    """Check that a chip's PE is the one its component prices.

    Raises
    ------
    BitlatheError
        It names the key, what the component is, and what would do.
    """
    pe, technology = arch.pe, arch.technology
    if pe.own_costs or pe.component is None:
        return
    part, name = pe_component(pe.component), pe.component
    if part.kind != pe.kind:
        near = [
            other
            for other in component_names("pe")
            if (pe_component(other).kind, pe_component(other).node_nm)
            == (pe.kind, technology.node_nm)
        ]
        raise BitlatheError(
            f"pe.component: {name!r} is a PE of kind {part.kind!r}, not {pe.kind!r}; use "
            f"{', '.join([*near, OWN])}"
        )
    if part.lanes != pe.lanes:
        raise BitlatheError(
            f"pe.lanes: component {name!r} has {part.lanes} lanes, not {pe.lanes}; use lanes: "
            f"{part.lanes}, {OWN}"
        )
    if part.node_nm != technology.node_nm:
        raise BitlatheError(
            f"technology.node_nm: component {name!r} was made at {part.node_nm} nm, not "
            f"{technology.node_nm} nm; use node_nm: {part.node_nm}, {OWN}"
        )
    if technology.clock_ghz > part.clock_ghz:
        raise BitlatheError(
            f"technology.clock_ghz: component {name!r} was made for at most {part.clock_ghz:g} "
            f"GHz, not {technology.clock_ghz:g} GHz; use a slower clock, {OWN}"
        )
    for key, limit in _beyond(part.arithmetic, record):
        if key.partition(".")[0] not in pe.unpriced:
            most = str(limit).lower() if isinstance(limit, bool | str) else f"at most {limit}"
            raise BitlatheError(
                f"pe.{key}: component {name!r} was made for {most}; use that, {OWN}, or say "
                f"unpriced: [{key.partition('.')[0]}] to take it at the component's cost"
            )


def made_for(part: PEComponent, kind: str) -> dict[str, str]:
    """Return the names of ports that a PE has for want of keys of its own: its component's."""
    names = {key: value for key, value in part.arithmetic.items() if isinstance(value, str)}
    return names if part.kind == kind else {}


def takers(pe: "PE", node_nm: int, operands: Mapping[str, str]) -> list[str]:
    """Return the floating-point components of a node that take these weights and inputs."""
    if pe.kind != "fp_mac":
        return []
    found = []
    for name in component_names("pe"):
        part = pe_component(name)
        if part.kind == "fp_mac" and part.node_nm == node_nm:
            record = FpMacPE(lanes=part.lanes, **part.arithmetic)
            if not any(refusal(record, part.kind, op, s) for op, s in operands.items()):
                found.append(name)
    return found
