"""Print the study: ``python -m bitlathe.reports.studies.accelforge``, or a layer of GPT-3 6.7B."""

import sys

from ...terminal import print_table
from .study import LAYERS, PRODUCTS, rows

TITLES = {
    "products": "Products and chains of two, least energy",
    "prefill": "One layer of GPT-3 6.7B, 2,048 tokens, Eyeriss-like chip, least energy",
    "decode": "One layer of GPT-3 6.7B, a token after 2,048, Eyeriss-like chip, least energy",
}

if __name__ == "__main__":
    asked = sys.argv[1] if len(sys.argv) > 1 else "products"
    if asked not in TITLES:
        sys.exit(f"{asked} is no part of the study; give one of {', '.join(TITLES)}.")
    print_table(rows(PRODUCTS if asked == "products" else LAYERS[asked]), title=TITLES[asked])
