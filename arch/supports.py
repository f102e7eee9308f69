"""Which formats a PE can take: weights through its decoder, activations as they are."""

from functools import lru_cache

from ..datatypes.formats import catalogue
from ..datatypes.schemes.scheme import Scheme
from .pe_base import PEKind


# by the scheme, not its text: a format may stand in a file that changes
@lru_cache(maxsize=4096)
def _takes(pe: PEKind, operand: str, scheme: Scheme) -> bool:
    return pe.takes_weight(scheme) if operand == "weight" else pe.takes_activation(scheme)


def supports(
    pe: PEKind, weight_format: str | Scheme | None, activation_format: str | Scheme | None
) -> bool:
    """Return whether a PE can take weights and activations of these schemes.

    Parameters
    ----------
    pe : PEKind
        A record of `PE_KINDS`.
    weight_format, activation_format : str, Scheme or None
        Schemes (``"int4_asym@g128"``) or names of formats; None is not asked.

    Raises
    ------
    BitlatheError
        If a text is not a scheme.

    Examples
    --------
    >>> from bitlathe.arch.pe import IntMacPE
    >>> supports(IntMacPE(), "nf4", None), supports(IntMacPE(), "int4_asym", "int8")
    (False, True)
    """
    asked = {"weight": weight_format, "input": activation_format}
    return all(
        given is None or _takes(pe, operand, Scheme.parse(given))
        for operand, given in asked.items()
    )


def lacks(pe: PEKind, operand: str, scheme: Scheme) -> str | None:
    """Return that a PE cannot take an operand (``weight`` or ``input``), or None if it can."""
    if _takes(pe, operand, scheme):
        return None
    role = "weights" if operand == "weight" else "activations"
    ports = ", ".join(f"{key} {value}" for key, value in pe.ports.items())
    return f"a PE of kind {pe.kind} ({ports}) cannot take {str(scheme)!r} as {role}"


def refusal(pe: PEKind, operand: str, scheme: Scheme) -> str | None:
    """Return why a PE cannot take an operand (``weight`` or ``input``), or None if it can.

    The sentence lists the formats that it can take.
    """
    found = lacks(pe, operand, scheme)
    return found and f"{found}; it takes {', '.join(supported_formats(pe, operand))}"


@lru_cache(maxsize=64)
def supported_formats(pe: PEKind, operand: str = "weight") -> tuple[str, ...]:
    """Return the names of the catalogue's formats that a PE can take as an operand."""
    return tuple(n for n in catalogue.names() if _takes(pe, operand, Scheme.parse(n)))
