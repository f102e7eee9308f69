"""Lists that go in a circle: layers that read what only comes of them."""

from collections.abc import Iterable, Mapping, Sequence

Reads = Mapping[str, Sequence[str]]
"""What each layer reads, by its name."""


def reads_of(entries: Iterable[object], *, in_turn: bool = False) -> dict[str, list[str]]:
    """Return what the entries of a list say that they read, by name; of two alike the first's.

    Parameters
    ----------
    entries : iterable
        Mappings with the keys ``name`` (``layer`` and their place where they have none) and
        ``from``; others are passed over.
    in_turn : bool
        Whether an entry without ``from`` reads the one before it.
    """
    found: dict[str, list[str]] = {}
    before: list[str] = []
    for place, entry in enumerate(entries):
        if isinstance(entry, Mapping):
            given = entry.get("from")
            names = given if isinstance(given, list) else before if given is None else [given]
            name = str(entry.get("name") or f"layer{place}")
            found.setdefault(name, [each for each in names if isinstance(each, str)])
            before = [name] if in_turn else []
    return found


def circle_through(start: str, reads: Reads) -> tuple[str, ...]:
    """Return the shortest circle from a layer over those that it reads to itself; none: empty.

    Examples
    --------
    >>> circle_through("a", {"a": ["c"], "b": ["a"], "c": ["b"]})
    ('a', 'c', 'b', 'a')
    """
    paths, seen = list[tuple[str, ...]]([(start,)]), set[str]()
    for path in paths:
        for name in reads.get(path[-1], ()):
            if name == start:
                return (*path, name)
            if name not in seen:
                seen.add(name)
                paths.append((*path, name))
    return ()


def why_not_earlier(name: str, reader: str, reads: Reads) -> str:
    """Return what is wrong with a layer that stands not before its reader; nothing: no such layer.

    Parameters
    ----------
    name, reader : str
    reads : mapping of str to sequence of str
    """
    circle = circle_through(reader, reads)
    if circle and name == circle[1]:
        return f" in a circle, which no order runs: {' reads '.join(circle)}; take one out."
    if name in reads:
        return ", which stands further down; put each behind those that it reads."
    return ""
