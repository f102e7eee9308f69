"""Print both tables: ``python -m bitlathe.reports.studies.seeds [FOLDER] [--perplexity TOKENS]``.

With a folder they are written as seeds.json and, as docs/seeds.md has them, seeds.md. Perplexities
are those of SmolLM2-135M that perplexities.yaml keeps; ``--perplexity`` measures those of rows that
round to nearest and leave inputs in fp16, and of what ``bitlathe calibrate smollm2-135m`` wrote
(``--calibrated FOLDER``, repeatable).
"""

import argparse
import json
import sys
from pathlib import Path

from ...terminal import print_table, progress_bar
from ..papers.study import encoder_layers
from .page import markdown
from .study import asked, reproduce, with_kept, with_perplexity

UNSHOWN = {"options", "perplexity_on", "calibrated_on", "no_perplexity"}  # in the terminal

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bitlathe.reports.studies.seeds")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--perplexity", type=int, metavar="TOKENS")
    parser.add_argument("--calibrated", action="append", default=[], metavar="FOLDER")
    given = parser.parse_args()
    if given.calibrated and not given.perplexity:
        parser.error("--calibrated: for --perplexity TOKENS; give that too")
    pairs, reason = encoder_layers(asked()["passages"])
    if pairs is None:
        sys.exit(reason)
    with progress_bar() as show:
        found = with_kept(reproduce([pairs[name] for name in asked()["layers"]], show))
        if given.perplexity:
            found = with_perplexity(found, given.perplexity, show, given.calibrated)
    of = f"{asked()['model']}, {asked()['phase']}, {asked()['context']} tokens"
    methods, formats = (
        [{key: value for key, value in row.items() if key not in UNSHOWN} for row in rows]
        for rows in (found.methods, found.formats)
    )
    print_table(methods, title=f"Methods; clocks and energy of {of}")
    print_table(formats, title="Formats, rounded to nearest")
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found.plain(), indent=1) + "\n"
        (given.folder / "seeds.json").write_text(text, encoding="utf-8")
        (given.folder / "seeds.md").write_text(markdown(found), encoding="utf-8")
