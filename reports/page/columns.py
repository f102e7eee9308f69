"""What the columns of a sweep's rows mean to a reader: label, unit, scale. Data only."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """How a column is shown: its words, its unit, and the factor from the stored unit to it."""

    text: str
    unit: str = ""
    scale: float = 1.0

    @property
    def full(self) -> str:
        """The words with the unit in brackets."""
        return f"{self.text} ({self.unit})" if self.unit else self.text


_MJ, _MM2, _MIB = 1e-9, 1e-6, 1 / 8 / 2**20

_ENERGY = {
    "total": "energy",
    "pe": "energy, PEs",
    "sram_read": "energy, SRAM reads",
    "sram_write": "energy, SRAM writes",
    "dram": "energy, DRAM",
    "leakage": "energy, leakage",
}
_AREA = {
    "total": "area",
    "pe_array": "area, PE array",
    "decoders": "area, decoders",
    "weight_buffer": "area, weight buffer",
    "io_buffer": "area, input and output buffer",
}
_DRAM = {
    "total": "DRAM traffic",
    "weight": "DRAM traffic, weights",
    "input": "DRAM traffic, inputs",
    "output": "DRAM traffic, outputs",
}

_STALLS = {
    "weights": "waiting for weights",
    "inputs": "waiting for inputs",
    "outputs": "results on their way out",
    "bandwidth": "DRAM or an SRAM port busy otherwise",
    "rescale": "group rescale",
    "pipeline": "fill, drain and loads",
}
# results by the parts they are made of; parts without a label of their own show their name
_BROKEN_DOWN = ("energy_pj.", "area_um2.", "dram_bits.", "stall_")

# columns that are results; all others say what was run
RESULTS: dict[str, Label] = {
    "cycles": Label(text="clocks"),
    "seconds": Label(text="latency", unit="ms", scale=1e3),
    "compute_cycles": Label(text="clocks, computing"),
    "dram_cycles": Label(text="clocks, DRAM busy"),
    "stall_cycles": Label(text="clocks, stalled"),
    **{f"stall_{k}_cycles": Label(text=f"clocks stalled, {v}") for k, v in _STALLS.items()},
    "macs": Label(text="multiply-accumulates"),
    "peak_macs_per_cycle": Label(text="lanes of the array"),
    "utilization": Label(text="utilization"),
    **{f"energy_pj.{k}": Label(text=v, unit="mJ", scale=_MJ) for k, v in _ENERGY.items()},
    "power_w": Label(text="power", unit="W"),
    "edp_pj_s": Label(text="energy × delay", unit="mJ s", scale=1e-9),
    "tokens_per_second": Label(text="tokens a second"),
    "time_to_first_token_s": Label(text="time to the first token", unit="ms", scale=1e3),
    "energy_per_token_pj": Label(text="energy a token", unit="mJ", scale=_MJ),
    "model_flops_utilization": Label(text="model FLOPs utilization"),
    **{f"area_um2.{k}": Label(text=v, unit="mm²", scale=_MM2) for k, v in _AREA.items()},
    **{f"dram_bits.{k}": Label(text=v, unit="MiB", scale=_MIB) for k, v in _DRAM.items()},
    "dram_gb_per_s": Label(text="DRAM bandwidth", unit="GB/s"),
    "weight_bits": Label(text="stored bits per weight"),
    "perplexity_se": Label(text="standard error of the perplexity's growth"),
    "loss_se_nats": Label(text="standard error of the loss", unit="nats"),
}

# measures whose standard error is a column of its own
ERROR_OF = {"perplexity": "perplexity_se", "loss_nats": "loss_se_nats"}

# `explore.accuracy.MEASURES`: the report charts the first that a row has
ACCURACY: dict[str, Label] = {
    "perplexity": Label(text="perplexity"),
    "kl_nats": Label(text="KL divergence from the unquantized model", unit="nats"),
    "loss_nats": Label(text="loss of log-likelihood a token", unit="nats"),
    "output_error": Label(text="relative output error, a proxy"),
    "weight_error": Label(text="relative weight error, a proxy"),
    "weight_error.minilm": Label(text="relative weight error of MiniLM-L6, a proxy"),
    "weight_error.gaussian": Label(text="relative error of Gaussian weights, a proxy"),
}
# columns that say what was run, in the order of tables and filters
RUN: dict[str, Label] = {
    "format": Label(text="format"),
    "arch": Label(text="chip"),
    "model": Label(text="model"),
    "phase": Label(text="phase"),
    "context": Label(text="context", unit="tokens"),
    "batch": Label(text="batch"),
    "causal": Label(text="causal mask skipped"),
    "fidelity": Label(text="fidelity"),
    "mapper": Label(text="mapper"),
    "fusion": Label(text="attention may be fused"),
    "array.rows": Label(text="array rows"),
    "array.columns": Label(text="array columns"),
    "buffers.weight.size_kib": Label(text="weight buffer", unit="KiB"),
    "buffers.io.size_kib": Label(text="input and output buffer", unit="KiB"),
    "dram.bits_per_clock": Label(text="DRAM width", unit="bits per clock"),
    "scheme.linear": Label(text="format of linear layers"),
    "scheme.attention": Label(text="format of the K/V cache"),
    "scheme.lm_head": Label(text="format of the output head"),
    "scheme.conv": Label(text="format of convolutions"),
}

# what makes two points answer the same question: fronts are drawn within it
WORKLOAD = ("model", "phase", "context", "batch")


def label_of(name: str) -> Label:
    """Return how a column is shown; keys without an entry show as they are.

    Examples
    --------
    >>> label_of("seconds").full, label_of("pe.lanes").full
    ('latency (ms)', 'pe.lanes')
    """
    for table in (RESULTS, ACCURACY, RUN):
        if name in table:
            return table[name]
    for prefix, total in (("energy_pj.", "energy"), ("area_um2.", "area"), ("dram_bits.", "DRAM")):
        if name.startswith(prefix):
            like = RESULTS[f"{prefix}total"]
            part = name.removeprefix(prefix).replace("_", " ")
            return Label(text=f"{total}, {part}", unit=like.unit, scale=like.scale)
    return Label(text=name)


def is_result(name: str) -> bool:
    """Whether a column is a result rather than something that was chosen."""
    return name in RESULTS or name in ACCURACY or name.startswith(_BROKEN_DOWN)
