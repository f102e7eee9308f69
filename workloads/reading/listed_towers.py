"""Towers that are lists of products: one image and one sound, each by the class's own structure."""

from collections.abc import Callable
from dataclasses import dataclass

from ..config import Config
from ..products import Products

Towers = tuple[dict[str, Products], list[str]]
"""Towers by name, and notes on how large image and sound are taken."""


@dataclass(frozen=True, slots=True)
class ListedTower:
    """A tower that a file may have.

    Attributes
    ----------
    name : str
    section : str
        The nested configuration of it.
    read : callable
        Returns its products from that configuration and the width of the text; None where they
        are not told.
    size : str
        The key that says how large what comes in is; no key of the class.
    taken : str
        How large it is taken otherwise.
    """

    name: str
    section: str
    read: Callable[[Config, int], Products | None]
    size: str
    taken: str


def read_listed(towers: tuple[ListedTower, ...], config: Config, hidden: int) -> Towers:
    """Read what a file has of some towers.

    Parameters
    ----------
    towers : tuple of ListedTower
    config : Config
        That of the whole model.
    hidden : int
        The width of the text.

    Returns
    -------
    Towers

    Raises
    ------
    BitlatheError
        If a key looks mistyped, or a value is impossible.
    """
    found: dict[str, Products] = {}
    notes: list[str] = []
    for tower in towers:
        if not isinstance(config.data.get(tower.section), dict):
            continue
        own = config.child(tower.section)
        products = tower.read(own, hidden)
        if products is not None:
            found[tower.name] = products
            if tower.size not in own.data:
                notes.append(f"{tower.taken}: {tower.size!r} in {tower.section!r} is of others.")
    return found, notes
