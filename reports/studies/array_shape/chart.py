"""The chart of the study: 1024 PEs as arrays from tall to wide."""

from ..lines import Lines

CHART = Lines(
    title="1024 PEs as rows of output channels × columns of tokens",
    x=("array.rows", "array.columns"),
    x_words="rows × columns",
    y=("seconds", "energy_pj.total"),
    lines=("phase", "batch"),
    line_words="{}, batch {}",
    relative=True,
)
