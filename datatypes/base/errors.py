"""Errors a user can correct: each names the place, what was wrong and what would be right."""

import difflib
from collections.abc import Iterable

# no known name is longer; a comparison takes time with the square of the length
NAME_MAX = 200
LINE_MAX = 2500  # characters of a line of an error; the longest that are meant list known keys
LINES_MAX = 100


class BitlatheError(ValueError):
    """Bad input from the user. The command line prints it as one paragraph and exits with 2.

    Whatever of the input a message quotes, it can be read: letters that cannot be printed are
    escaped, the middle of long lines is left out.
    """

    def __init__(self, message: object = "") -> None:
        super().__init__(_readable(str(message)))


def _readable(text: str) -> str:
    """Return a text whose lines can be printed, none too long, not too many."""
    lines = text.split("\n", LINES_MAX)
    if len(lines) > LINES_MAX:
        lines[LINES_MAX] = "..."
    return "\n".join(cut(_printable(line[: LINE_MAX * 4]), LINE_MAX) for line in lines)


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)


def cut(text: str, longest: int = 80) -> str:
    """Return a text, its middle left out if it is longer than ``longest`` characters.

    Examples
    --------
    >>> cut("0123456789", 7)
    '01...89'
    """
    if len(text) <= longest:
        return text
    head = (longest - 2) // 2
    return f"{text[:head]}...{text[head + 3 - longest :]}"


def shown(value: object, longest: int = 80) -> str:
    """Return ``repr(value)`` as an error shows it: of what is long, both ends.

    Examples
    --------
    >>> shown([1, "a"])
    "[1, 'a']"
    """
    return cut(repr(value), longest)


def to_install(packages: str, extra: str) -> str:
    """Return how to get packages that are not installed, in a checkout or beside a wheel.

    It names no distribution of this project, which is on no index.

    Examples
    --------
    >>> to_install("matplotlib", "report")
    "pip install matplotlib, or in the checkout pip install -e '.[report]'"
    """
    return f"pip install {packages}, or in the checkout pip install -e '.[{extra}]'"


def nearest(name: str, known: Iterable[str], limit: int = 3) -> list[str]:
    """Return up to ``limit`` of the known names most like ``name``, best first.

    Examples
    --------
    >>> nearest("bitmod_pf4", ["bitmod_fp4", "int8", "bitmod_fp3"])
    ['bitmod_fp4', 'bitmod_fp3']
    """
    if len(name) > NAME_MAX:
        return []
    by_lower = {k.lower(): k for k in known}
    found = difflib.get_close_matches(name.lower(), by_lower, n=limit, cutoff=0.6)
    return [by_lower[f] for f in found]


def unknown_name(kind: str, name: object, known: Iterable[str], meant: Iterable[str] = ()) -> str:
    """Return a sentence that says a name is unknown and which known ones are near it.

    Parameters
    ----------
    kind : str
        What is named.
    name : object
        The unknown name.
    known : iterable of str
        The names there are.
    meant : iterable of str
        What was meant, where that is known: in the place of names that are spelled alike.

    Examples
    --------
    >>> unknown_name("dataflow", "wss", ["ws", "os", "is"])
    "unknown dataflow 'wss'; did you mean 'ws'? Known: is, os, ws"
    """
    names = sorted(known)
    near = [*meant] or (nearest(name, names) if isinstance(name, str) else [])
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    listed = ", ".join(names) if len(names) <= 40 else ", ".join(names[:40]) + ", ..."
    return f"unknown {kind} {shown(name, NAME_MAX)}{hint} Known: {listed}"


def check_name(kind: str, name: object, known: Iterable[str]) -> None:
    """Refuse a name that is not among the known ones.

    Raises
    ------
    BitlatheError
        With the sentence of `unknown_name`.
    """
    known = tuple(known)
    if name not in known:
        raise BitlatheError(unknown_name(kind, name, known))
