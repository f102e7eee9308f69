"""The chart of the study: formats on arrays of equal area."""

from ..points import Points

CHART = Points(
    title="Formats on arrays of equal area",
    cost="edp_pj_s",
    cost_words="energy × delay over the FP16 chip's, log scale",
    base="fp16",
)
