"""Compute the pins anew; say what changed, and note why it may.

python tests/golden/regenerate.py --why "Heads are laid out one by one" [PIN...]

A pin is a chip's name, ``formats``, ``keys`` or ``searched``; all of them without one.
"""

import argparse
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from typing import Any

sys.path.insert(0, __file__.rsplit("/golden", 1)[0])

from golden import cases

SHOWN = 12  # differences printed a pin
WIDTH = 40  # characters of a value that are printed


def summary(changes: list[tuple[str, Any, Any]]) -> str:
    """Return how many figures changed, by their last key."""
    kinds = Counter(place.rsplit("/", 1)[-1] for place, _, _ in changes)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(8))


def shown(place: str, before: Any, after: Any) -> str:
    """Return a difference in a line; of long texts the part where they part."""
    sides, start = [str(before), str(after)], 0
    if max(map(len, sides)) > WIDTH and isinstance(before, str) and isinstance(after, str):
        start = next((i for i, (a, b) in enumerate(zip(*sides, strict=False)) if a != b), 0)
    if start:
        place += f" from character {start}"
    cut = [side[start : start + WIDTH] + "..." * (len(side) > start + WIDTH) for side in sides]
    return f"  {place}: {cut[0]} -> {cut[1]}"


def worth_showing(name: str, place: str) -> bool:
    """Say whether a difference is printed: of a chip, those of whole runs."""
    return name not in cases.CHIPS or place.count("/") == 2


def main() -> None:
    """Regenerate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--why", required=True, help="the reason, for changes.md")
    parser.add_argument("pins", nargs="*", default=cases.PINS)
    given = parser.parse_args()
    notes = []
    with ProcessPoolExecutor(2) as pool:
        for name, after in zip(given.pins, pool.map(cases.found, given.pins), strict=True):
            before = cases.read(name) if cases.path(name).exists() else {}
            changes = list(cases.differences(before, after))
            printed = [change for change in changes if worth_showing(name, change[0])]
            print(f"{name}: {len(changes)} figures changed")
            for change in printed[:SHOWN]:
                print(shown(*change))
            if changes:
                what = summary(changes) if before else "all new"
                notes.append(f"  * {name}: {len(changes)} figures ({what})")
                cases.path(name).write_text(cases.text(name, after), encoding="utf-8")
    if notes:
        with (cases.FOLDER / "changes.md").open("a", encoding="utf-8") as file:
            file.write("\n".join([f"* {date.today()}: {given.why}", *notes]) + "\n")


if __name__ == "__main__":
    main()
