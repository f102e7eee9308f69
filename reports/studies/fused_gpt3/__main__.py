"""Print the study: ``python -m bitlathe.reports.studies.fused_gpt3``, or with ``decode``."""

import sys

from ...terminal import print_table
from .study import MAPPERS, rows

TITLES = {
    "prefill": "One layer of GPT-3 175B, 2,048 tokens, TPU-v4i-like chip",
    "decode": "One layer of GPT-3 175B, a token after 2,048, TPU-v4i-like chip",
}

if __name__ == "__main__":
    phase = sys.argv[1] if len(sys.argv) > 1 else "prefill"
    if phase not in MAPPERS:
        sys.exit(f"{phase} is no phase of the study; give one of {', '.join(MAPPERS)}.")
    print_table(rows(phase), title=TITLES[phase])
