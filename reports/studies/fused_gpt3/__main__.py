"""Print the study: ``python -m bitlathe.reports.studies.fused_gpt3``."""

from ...terminal import print_table
from .study import rows

if __name__ == "__main__":
    print_table(rows(), title="One layer of GPT-3 175B, 2,048 tokens, TPU-v4i-like chip")
