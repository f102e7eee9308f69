"""Whether a PE's figures are those of the PE that a chip describes.

A component was synthesized for one kind, one number of lanes, one node, one clock and certain
widths. A chip that asks for something else is refused, unless it gives ``energy_pj`` and
``area_um2`` of its own, or says in ``pe.unpriced`` which keys it takes at the component's cost.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from ..datatypes.base.errors import BitlatheError, unknown_name
from ..datatypes.schemes.scheme import Scheme
from .components import PEComponent, component_names, name_of, pe_component
from .numerics import PENumerics
from .parts import Technology
from .pe_base import PEKind, PESection
from .supports import refusal

OWN = "or give energy_pj and area_um2 of your own PE"
REGISTER_BIT_UM2 = 2.69
"""A bit of register at 28 nm: BitMoD's synthesis sheet, TSMC 28HPC+."""
REGISTER_NODE_NM = 28
PORTS_AND_WIDTHS = frozenset(
    [
        "activation",
        "weight",
        "accumulator",
        "table",
        "numerics",
        "scale_bits",
        "skip_zero_terms",
        "weight_bits",
        "activation_bits",
        "accumulator_bits",
    ]
)
"""Keys that a component has a port or a width for, whether it states them or not."""


def _fields(value: Any) -> dict[str, Any]:
    return {key: getattr(value, key) for key in PENumerics.__dataclass_fields__}


def _stated(where: str, given: Mapping[str, Any], usual: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a component states, checked; ports and widths that it leaves out as usual."""
    limits: dict[str, Any] = {}
    for key, limit in given.items():
        if key not in usual:
            raise BitlatheError(f"{where}: {unknown_name('key', str(key), usual)}")
        has = usual[key]
        if isinstance(has, PENumerics):
            if not isinstance(limit, Mapping):
                raise BitlatheError(f"{where}.{key}: keys and values, got {limit!r}")
            limits[key] = _stated(f"{where}.{key}", limit, _fields(has))
        elif type(limit) is not (int if has is None else type(has)):
            sort = {str: "a name", bool: "true or false"}.get(type(has), "a whole number")
            raise BitlatheError(f"{where}.{key}: {sort}, got {limit!r}")
        else:
            limits[key] = limit
    return limits


def _limits(part: PEComponent, name: str, pe: PESection) -> dict[str, Any]:
    """Return the ports and widths of a component; those that it leaves out are its kind's own."""
    record = pe.record_of({})
    usual = {key: record.value(key) for key in pe.arithmetic_keys()}
    limits = _stated(f"pe.component: {name!r}: arithmetic", part.arithmetic, usual)
    for key in usual.keys() & PORTS_AND_WIDTHS:
        own = usual[key]
        if isinstance(own, PENumerics):
            widths = ("exact", "guard_bits", "accumulator_bits")
            limits[key] = {k: getattr(own, k) for k in widths} | limits.get(key, {})
        elif own is not None:
            limits.setdefault(key, own)
    return limits


def _beyond(limits: Mapping[str, Any], record: PEKind) -> Iterator[tuple[str, Any]]:
    """Yield the keys in which a PE's record goes beyond what was synthesized, and the limit."""
    for key, limit in limits.items():
        has = record.value(key)
        if isinstance(limit, Mapping):
            parts = ((part, getattr(has, part), most) for part, most in limit.items())
            yield from ((f"{key}.{part}", most) for part, had, most in parts if _more(had, most))
        elif _more(has, limit):
            yield key, limit


def _more(has: Any, limit: Any) -> bool:
    """Return whether a port is another, or a width more; a width of None follows from others."""
    return has is not None and bool(has != limit if isinstance(limit, str) else has > limit)


def check_priced(pe: PESection, technology: Technology, record: PEKind) -> None:
    """Check that a chip's PE, whose arithmetic is ``record``, is the one its component prices.

    Raises
    ------
    BitlatheError
        It names the key, what the component is, and what would do.
    """
    if pe.operators is not None and pe.operators.node_nm != technology.node_nm:
        raise BitlatheError(
            f"pe.operators.node_nm: {pe.operators.node_nm} nm, and technology.node_nm is "
            f"{technology.node_nm}; give the same"
        )
    if pe.own_costs or pe.component is None:
        return
    part, name = pe_component(pe.component), name_of(pe.component)
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
    if part.node_nm != technology.node_nm and not technology.scaled:
        raise BitlatheError(
            f"technology.node_nm: component {name!r} was made at {part.node_nm} nm, not "
            f"{technology.node_nm} nm; use node_nm: {part.node_nm}, technology.scaled: true, {OWN}"
        )
    if technology.clock_ghz > part.clock_ghz:
        raise BitlatheError(
            f"technology.clock_ghz: component {name!r} was made for at most {part.clock_ghz:g} "
            f"GHz, not {technology.clock_ghz:g} GHz; use a slower clock, {OWN}"
        )
    for key, limit in _beyond(_limits(part, name, pe), record):
        if key.partition(".")[0] not in pe.unpriced:
            most = str(limit).lower() if isinstance(limit, bool | str) else f"at most {limit}"
            raise BitlatheError(
                f"pe.{key}: component {name!r} was made for {most}; use that, {OWN}, or say "
                f"unpriced: [{key.partition('.')[0]}] to take it at the component's cost"
            )


def takers(pe: PESection, node_nm: int, operands: Mapping[str, Scheme]) -> list[str]:
    """Return the components of a PE's kind and a node that take these weights and inputs."""
    found = []
    for name in component_names("pe"):
        part = pe_component(name)
        if (part.kind, part.node_nm) == (pe.kind, node_nm):
            others = dict.fromkeys(part.names_for(pe.kind)) | {
                "component": name,
                "lanes": part.lanes,
            }
            record = pe.model_copy(update=others).record
            if not any(refusal(record, operand, s) for operand, s in operands.items()):
                found.append(name)
    return found
