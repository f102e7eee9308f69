"""The chart of the study: what buffers and a DRAM interface are worth."""

from ..lines import Lines

CHART = Lines(
    title="What a larger buffer and a wider DRAM interface are worth",
    x=("dram_gb_per_s",),
    x_words="DRAM bandwidth (GB/s), log scale",
    y=("seconds", "energy_pj.total"),
    lines=("buffers.weight.size_kib",),
    line_words="{} KiB in each buffer",
    panels=("phase",),
    equal=("buffers.weight.size_kib", "buffers.io.size_kib"),
    only={"context": 256},
)
