"""Print both tables: ``python -m bitlathe.reports.studies.seeds [FOLDER] [--perplexity TOKENS]``.

With a folder they are written as seeds.json too. Perplexities are those of SmolLM2-135M, of rows
that round to nearest and leave inputs in fp16.
"""

import argparse
import json
import sys
from pathlib import Path

from ...terminal import print_table, progress_bar
from ..papers.study import encoder_layers
from .study import asked, reproduce, with_perplexity

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bitlathe.reports.studies.seeds")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--perplexity", type=int, metavar="TOKENS")
    given = parser.parse_args()
    pairs, reason = encoder_layers(asked()["passages"])
    if pairs is None:
        sys.exit(reason)
    with progress_bar() as show:
        found = reproduce([pairs[name] for name in asked()["layers"]], show)
        if given.perplexity:
            found = with_perplexity(found, given.perplexity, show)
    of = f"{asked()['model']}, {asked()['phase']}, {asked()['context']} tokens"
    print_table(found.methods, title=f"Methods; clocks and energy of {of}")
    print_table(found.formats, title="Formats, rounded to nearest")
    if given.folder:
        given.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(found.plain(), indent=1) + "\n"
        (given.folder / "seeds.json").write_text(text, encoding="utf-8")
