"""The chart of the study: perplexity on arrays of equal area."""

from ..points import Points

CHART = Points(
    title="Perplexity on arrays of equal area",
    cost="edp_pj_s",
    cost_words="energy × delay over the FP16 chip's, log scale",
    base="fp16",
    log=True,
)
