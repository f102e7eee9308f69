"""Errors a user can mend: each names the place, what was wrong and what would be right."""

import difflib
from collections.abc import Iterable


class BitlatheError(ValueError):
    """Bad input from the user. The command line prints it as one paragraph and exits with 2."""


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Return up to ``limit`` of the known names most like ``name``, best first.

    Examples
    --------
    >>> nearest("bitmod_pf4", ["bitmod_fp4", "int8", "bitmod_fp3"])
    ['bitmod_fp4', 'bitmod_fp3']
    """
    by_lower = {k.lower(): k for k in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=limit, cutoff=0.6)
    return [by_lower[f] for f in found]


def unknown_name(kind: str, name: object, known: Iterable[str]) -> str:
    """Return a sentence that says a name is unknown and which known ones are near it.

    Examples
    --------
    >>> unknown_name("dataflow", "wss", ["ws", "os", "is"])
    "unknown dataflow 'wss'; did you mean 'ws'? Known: is, os, ws"
    """
    names = sorted(known)
    near = nearest(name, names) if isinstance(name, str) else []
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    listed = ", ".join(names) if len(names) <= 40 else ", ".join(names[:40]) + ", ..."
    return f"unknown {kind} {name!r}{hint} Known: {listed}"
