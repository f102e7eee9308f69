"""How a family's layers without attention are built: linear attention, state spaces, convolutions.

Each record tells the keys that it is read from, and which layers attend instead:

* ``none`` do
* ``intervals``: each ``full_attention_interval``-th (4), unless ``layer_types`` says so
* ``kimi``: those of ``linear_attn_config``, else each fourth but the first, unless ``layer_types``
  says so
* ``fourths``: each fourth, else the last one, unless ``layer_types`` says so
* ``periods``: those at ``attn_layer_offset`` of each ``attn_layer_period``
* ``indices``: those of ``attn_layer_indices``
* ``listed``: those of ``full_attn_idxs``, all by default, unless ``layer_types`` says so
* ``evens``: even ones, unless ``layer_types`` says so
* ``typed``: as ``layer_types`` or ``layers_block_type`` says; none by default
* ``beside``: all do, beside what is built here
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from .outputs import Rule

Attending = Literal[
    "none", "intervals", "kimi", "fourths", "periods", "indices", "listed", "evens", "typed",
    "beside",
]  # fmt: skip
ATTENDING_KEYS: Mapping[Attending, tuple[str, ...]] = {
    "none": (),
    "intervals": ("layer_types", "full_attention_interval"),
    "kimi": ("layer_types", "linear_attn_config"),
    "fourths": ("layer_types",),
    "periods": ("attn_layer_period", "attn_layer_offset"),
    "indices": ("attn_layer_indices",),
    "listed": ("layer_types", "full_attn_idxs"),
    "evens": ("layer_types",),
    "typed": ("layer_types", "layers_block_type"),
    "beside": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaFacts:
    """Linear attention by the gated delta rule.

    ``projections``: of queries, keys, values and output gate together and the gates of the state
    together (``fused``); queries, keys and values together and a matrix for each gate (``split``);
    a matrix for each of all (``single``); or that, with decays and output gate by way of a head's
    width (``channels``), where each channel of a key decays by itself.
    """

    attending: Attending
    projections: Literal["fused", "split", "single", "channels"]

    def keys(self) -> Iterator[str]:
        """Yield the keys that it is read from."""
        yield from ATTENDING_KEYS[self.attending]
        yield "linear_conv_kernel_dim"
        if self.projections == "channels":
            yield from ("linear_head_dim", "linear_num_heads")
        else:
            yield from ("linear_num_key_heads", "linear_num_value_heads")
            yield from ("linear_key_head_dim", "linear_value_head_dim")


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFacts:
    """A state space (Mamba): of channels, or of heads where a key of their number is named.

    Attributes
    ----------
    attending
        As above.
    state, taps : str
        Keys of the elements that a channel keeps, and of the taps of the convolution.
    expand : str or None
        Key of the channels as a multiple of the hidden width; None: those of all heads.
    channels : str or None
        Key of the channels themselves, which decides where it is given.
    rank : str or None
        Key of the width between the two matrices of the step sizes; ``"auto"`` is hidden / 16.
    heads, head_dim, groups, chunk : str or None
        Keys of the heads, of their channels, of the groups of heads that share B and C, and of the
        tokens of a chunk.
    bias, out_bias, conv_bias : rule
        Whether the matrices into the part and out of it have biases, the latter as the former
        where it is None; whether the convolution has.
    gate_norm : rule
        Whether gated results are normalized, of a state space of heads.
    normed : {"no", "plain", "scaled"}
        Whether step sizes, B and C are normalized, and with a scale.
    """

    attending: Attending = "none"
    state: str = "state_size"
    taps: str = "conv_kernel"
    expand: str | None = "expand"
    channels: str | None = None
    rank: str | None = None
    heads: str | None = None
    head_dim: str = "head_dim"
    groups: str = "n_groups"
    chunk: str = "chunk_size"
    bias: Rule = ("use_bias", False)
    out_bias: Rule | None = None
    conv_bias: Rule = ("use_conv_bias", True)
    gate_norm: Rule = True
    normed: Literal["no", "plain", "scaled"] = "no"

    def keys(self) -> Iterator[str]:
        """Yield the keys that it is read from."""
        yield from ATTENDING_KEYS[self.attending]
        yield from (self.state, self.taps)
        yield from (key for key in (self.expand, self.channels, self.rank) if key is not None)
        if self.heads is not None:
            yield from (self.heads, self.head_dim, self.groups, self.chunk)
        rules = (self.bias, self.out_bias, self.conv_bias, self.gate_norm)
        yield from (rule[0] for rule in rules if isinstance(rule, tuple))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvolutionFacts:
    """A gated short convolution (LFM2): its taps and biases."""

    attending: Attending = "listed"
    taps: str = "conv_L_cache"
    bias: Rule = ("conv_bias", False)

    def keys(self) -> Iterator[str]:
        """Yield the keys that it is read from."""
        yield from (*ATTENDING_KEYS[self.attending], self.taps)
        yield from (rule[0] for rule in (self.bias,) if isinstance(rule, tuple))


@dataclass(frozen=True, slots=True, kw_only=True)
class DecayFacts:
    """Linear attention whose heads forget at rates of their own (lightning attention).

    Heads and their width are those of attention; ``chunk`` is the key of the tokens of a chunk.
    """

    attending: Attending = "evens"
    chunk: str = "block_size"

    def keys(self) -> Iterator[str]:
        """Yield the keys that it is read from."""
        yield from (*ATTENDING_KEYS[self.attending], self.chunk)


RecurrentFacts = DeltaFacts | StateFacts | ConvolutionFacts | DecayFacts
