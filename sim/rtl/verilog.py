"""Designs: Verilog modules from the library, their parameters set, and what stands at the top."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files

from ...datatypes.base.errors import BitlatheError


@dataclass(frozen=True, kw_only=True, slots=True)
class Port:
    """A port of the top module; ``signed`` says how its bits are read."""

    name: str
    bits: int
    signed: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """Something a design says: a clock in which ``valid`` is 1, and what it shows then."""

    valid: str
    values: tuple[Port, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Design:
    """A synthesizable design and how it is driven.

    Parameters
    ----------
    top : str
        Module at the top; it has inputs ``clk`` and ``rst`` besides.
    modules : dict of str to str
        Verilog-2005 text by module name, the top last.
    inputs : tuple of Port
        The first one marks rows that hold something. A row stays until it is taken.
    ready : str or None
        Output that says that the row is taken; None takes one each clock.
    events : tuple of Event
        What is observed.
    """

    top: str
    modules: Mapping[str, str] = field(hash=False)
    inputs: tuple[Port, ...]
    ready: str | None
    events: tuple[Event, ...]

    @property
    def text(self) -> str:
        """All modules as one text."""
        return "\n".join(self.modules.values())

    @property
    def outputs(self) -> tuple[Port, ...]:
        """Ports that events name, each once."""
        found = {}
        for event in self.events:
            found[event.valid] = Port(name=event.valid, bits=1)
            found |= {port.name: port for port in event.values}
        if self.ready is not None:
            found[self.ready] = Port(name=self.ready, bits=1)
        return tuple(found.values())


def bits_to_hold(most: int) -> int:
    """Return the bits of numbers up to ``most``, one at least."""
    return max(most.bit_length(), 1)


@lru_cache(maxsize=64)
def library(name: str) -> str:
    """Return the text of a module of the library."""
    return (files(__package__) / "library" / f"{name}.v").read_text(encoding="utf-8")


def library_modules(names: Iterable[str]) -> dict[str, str]:
    """Return the texts of modules of the library by name."""
    return {name: library(name) for name in names}


def literal(fields: Iterable[int], bits: int) -> str:
    """Return unsigned fields of equal width, the first one lowest, as one Verilog constant.

    Raises
    ------
    BitlatheError
        A field does not fit its width.
    """
    whole, count = 0, 0
    for value in fields:
        if not 0 <= value < 1 << bits:
            raise BitlatheError(f"fields: {value} does not fit {bits} bits")
        whole |= value << (count * bits)
        count += 1
    return f"{count * bits}'h{whole:x}"


def with_parameters(text: str, values: Mapping[str, int | str]) -> str:
    """Return a module's text with other defaults of its parameters.

    Parameters
    ----------
    text : str
        Text of one module, each parameter on its own line.
    values : mapping of str to int or str
        Value by parameter.

    Raises
    ------
    BitlatheError
        The module has no such parameter.
    """
    for name, value in values.items():
        pattern = rf"(^ +parameter (?:\[[^=]*\] )?{name} = )[^,/\n]*?(,?)( *//|\n)"
        text, count = re.subn(pattern, rf"\g<1>{value}\g<2>\g<3>", text, flags=re.M)
        if count != 1:
            raise BitlatheError(f"parameter {name!r}: the module has no such parameter")
    return text
