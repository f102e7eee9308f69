"""Compute the pinned runs anew; say what changed, and note why it may.

python tests/golden/regenerate.py --why "Heads are laid out one by one"
"""

import argparse
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from datetime import date
from typing import Any

sys.path.insert(0, __file__.rsplit("/golden", 1)[0])

from golden import cases

SHOWN = 12  # differences printed a chip


def computed(name: str) -> dict[str, Any]:
    """Return a chip's runs as they are now."""
    return dict(cases.runs(name))


def summary(changes: list[tuple[str, Any, Any]]) -> str:
    """Return how many figures changed, by their last key."""
    kinds = Counter(place.rsplit("/", 1)[-1] for place, _, _ in changes)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(8))


def main() -> None:
    """Regenerate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--why", required=True, help="the reason, for changes.md")
    parser.add_argument("chips", nargs="*", default=cases.CHIPS)
    given = parser.parse_args()
    notes = []
    with ProcessPoolExecutor(2) as pool:
        for name, after in zip(given.chips, pool.map(computed, given.chips), strict=True):
            before = cases.read(name) if cases.path(name).exists() else {}
            changes = list(cases.differences(before, after))
            totals = [change for change in changes if change[0].count("/") == 2]
            print(f"{name}: {len(changes)} figures changed")
            for place, old, new in totals[:SHOWN]:
                print(f"  {place}: {old} -> {new}")
            if changes:
                notes.append(f"  * {name}: {len(changes)} figures ({summary(changes)})")
                cases.path(name).write_text(cases.text(after), encoding="utf-8")
    if notes:
        with (cases.FOLDER / "changes.md").open("a", encoding="utf-8") as file:
            file.write("\n".join([f"* {date.today()}: {given.why}", *notes]) + "\n")


if __name__ == "__main__":
    main()
