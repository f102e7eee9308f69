"""Mixers that keep a state of fixed size: short convolutions, linear attention, state spaces."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from ..vector_step import Tensor, VectorStep
from .forward import Forward
from .matrix import ENTRY, Matrix, Product
from .part import Part, linear, streamed

Rule = Literal[
    "convolution", "delta_rule", "channel_delta_rule", "selective_scan", "state_space",
    "decayed_sum",
]  # fmt: skip


_DELTA = ("delta_rule", "channel_delta_rule")


class _Gates(NamedTuple):
    """Operations that make the decay of a head, its rate, and gate its results.

    ``each_key``: a decay for each channel of a head's keys. No decay: the same for all tokens.
    """

    decay: str | None
    output: tuple[str, ...]
    rate: str | None = None
    each_key: bool = False


_GATES: Mapping[Rule, _Gates] = {
    "delta_rule": _Gates("decay", ("rms_norm", "silu", "multiply"), "sigmoid"),
    "channel_delta_rule": _Gates("decay", ("rms_norm", "sigmoid", "multiply"), "sigmoid", True),
    "selective_scan": _Gates("softplus", ("silu", "multiply")),
    "state_space": _Gates("decay", ("silu", "multiply", "rms_norm")),
    "decayed_sum": _Gates(None, ("rms_norm", "sigmoid", "multiply")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrent(Part):
    """A mixer whose state is as large after a million tokens as after one.

    A short convolution along the sequence, each channel with taps of its own; behind it, unless
    the convolution is all, a state of ``key_dim`` x ``value_dim`` for each head. With decay a and
    rate b of a token, both made of its input, its query q, key k and value v:

    * ``delta_rule`` (arXiv:2412.06464, eq. 10): S' = a S, S = S' + b k (v - k S')^T, o = q S;
      ``channel_delta_rule`` (arXiv:2510.26692, eq. 1): a is a vector over the keys' channels
    * ``selective_scan`` (arXiv:2312.00752, algorithm 2): each channel a head of value_dim 1,
      S = exp(d A) S + d x B, y = C S + D x
    * ``state_space`` (arXiv:2405.21060, section 6): the same with one A for a head
    * ``decayed_sum`` (lightning attention, arXiv:2501.08313, section 2.2): S = a S + k v^T,
      o = q S, with an a of each head that no token changes; there is no convolution

    Operations are those of the recurrence. It needs the fewest; chunked forms (the same sources;
    arXiv:2406.06484) regroup it for matrix units. From them stands how often the state passes
    memory: once a chunk, which for a token that decodes is once a token.

    Attributes
    ----------
    inputs : tuple of Matrix
        Those that read the hidden width.
    behind : tuple of (Matrix, str)
        Others, with the name of the product that each reads.
    out : Matrix
        The one that leaves the hidden width.
    rule : str
        As above, or ``convolution``.
    channels, taps : int
        Of the convolution.
    heads, key_dim, value_dim, key_heads : int
        Of the state; 0 where there is none. Heads may share keys.
    chunk : int or None
        Tokens between two passes of the state through memory; None: all of a pass.
    vectors : int
        Parameters of the convolution, norms, decays and skips.
    gate_norm : bool
        Whether gated results are normalized, where the rule does so.
    normed, norms : int
        Elements of a token that are normalized ahead of the recurrence, and in how many rows.
    """

    inputs: tuple[Matrix, ...]
    out: Matrix
    rule: Rule
    channels: int
    taps: int
    behind: tuple[tuple[Matrix, str], ...] = ()
    heads: int = 0
    key_dim: int = 0
    value_dim: int = 0
    key_heads: int = 0
    chunk: int | None = None
    vectors: int = 0
    gate_norm: bool = True
    normed: int = 0
    norms: int = 0

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return (self.out.name,)

    @property
    def rank(self) -> int:
        """Behind full attention and all windows."""
        return 2**40

    @property
    def other_parameters(self) -> int:
        """Parameters of the convolution, norms, decays and skips."""
        return self.vectors

    @property
    def memory_elements(self) -> int:
        """Elements of the recurrence's state, without those of the convolution."""
        return self.heads * self.key_dim * self.value_dim

    @property
    def state_elements(self) -> int:
        """Elements kept of a sequence: the state, and of each channel as many inputs as taps.

        The newest input is among them, as the newest token is among those of a window.
        """
        return self.memory_elements + self.channels * self.taps

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        for matrix in (*self.inputs, *(matrix for matrix, _ in self.behind), self.out):
            yield matrix, 1

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass, in the order of execution."""
        for matrix in self.inputs:
            yield linear(matrix, run, (ENTRY,))
        for matrix, source in self.behind:
            yield linear(matrix, run, (source,))
        read = {source for _, source in self.behind}
        made = (*self.inputs, *(matrix for matrix, _ in self.behind))
        last = tuple(matrix.name for matrix in made if matrix.name not in read)
        yield linear(self.out, run, (self.inputs[0].name, *(n for n in last if n != made[0].name)))

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield the convolution, what gates, the recurrence, and what follows it.

        Where the convolution is all there is, its inputs are gated, and its results too
        (arXiv:2511.23404, section 2.1).
        """
        first, rows = self.inputs[0].name, run.rows
        wide = rows * self.channels
        if not self.heads:
            yield streamed("input_gate", "multiply", wide, wide, (first,))
            yield self._convolution(run)
            left = Tensor(wide, self.channels, operand="input")
            gate = streamed("output_gate", "multiply", wide, wide, (first,))
            yield replace(gate, makes=(left,))
            return
        if self.taps:
            yield self._convolution(run)
        yield streamed("conv_activation", "silu", wide, wide, (first,))
        yield from self._gates(run)
        yield self._recurrence(run)
        yield self._gated(run)

    def _convolution(self, run: Forward) -> VectorStep:
        """Return the taps of all channels; a pass leaves the last inputs for the next one."""
        before = self.taps - 1
        read = sum(g.sequences * min(before, g.cached) for g in run.groups) * self.channels
        kept = sum(g.sequences * min(before, g.new) for g in run.groups) * self.channels
        return VectorStep(
            name="conv",
            operations=("weighted_sum",),
            rows=run.rows * self.channels,
            elements=run.rows * self.channels * self.taps,
            after=(self.inputs[0].name,),
            streams=True,
            pieces=run.rows,
            reads=_kept(read, self.channels),
            writes=_kept(kept, self.channels),
        )

    def _gates(self, run: Forward) -> Iterator[VectorStep]:
        """Yield norms ahead of the recurrence, and the decay and the rate of each token."""
        gates, heads = _GATES[self.rule], run.rows * self.heads
        made = self.behind[-1][0].name if self.behind else self.inputs[-1].name
        if self.normed:
            of = self.inputs[0].name if self.rule in _DELTA else made
            norm = "l2_norm" if self.rule in _DELTA else "rms_norm"
            held, rows = 0 if norm == "l2_norm" else self.normed, run.rows * self.norms
            yield streamed("state_norm", norm, run.rows * self.normed, rows, (of,), learned=held)
        decays = heads * (self.key_dim if gates.each_key else 1)
        if gates.decay:
            yield streamed("decay", gates.decay, decays, decays, (made,))
        if gates.rate:
            yield streamed("rate", gates.rate, heads, heads, (made,))

    def _recurrence(self, run: Forward) -> VectorStep:
        """Return the update of the state by each token, and what it gives for its query."""
        rows, wide = run.rows, self.heads * self.value_dim
        state = self.memory_elements
        read = written = 0
        for group in run.groups:
            chunks = 1 if self.chunk is None else -(-group.new // self.chunk)
            written += group.sequences * chunks * state
            read += group.sequences * (chunks - (group.cached == 0)) * state
        return VectorStep(
            name=self.rule,
            operations=(self.rule,),
            rows=rows * wide,
            elements=rows * state,
            after=(self.inputs[0].name,),
            reads=(Tensor(rows * self.channels, self.channels), *_kept(read, self.key_dim)),
            writes=(Tensor(rows * wide, wide), *_kept(written, self.key_dim)),
        )

    @property
    def _normed_together(self) -> int:
        """How many parts of a token's results are normalized, each for itself."""
        if self.rule == "decayed_sum":
            return 1
        return self.heads if self.rule in _DELTA else max(1, self.key_heads)

    def _gated(self, run: Forward) -> VectorStep:
        """Return the gate and the norm ahead of the last matrix."""
        wide = self.heads * self.value_dim
        vector = Tensor(run.rows * wide, wide)
        done = _GATES[self.rule].output
        normed = self.gate_norm and "rms_norm" in done
        return VectorStep(
            name="output_gate",
            operations=done if self.gate_norm else tuple(n for n in done if n != "rms_norm"),
            rows=run.rows * self._normed_together,
            elements=vector.elements,
            after=(self.inputs[0].name,),
            reads=(vector, vector),
            writes=(vector._replace(operand="input"),),
            learned=(self.value_dim if self.rule in _DELTA else wide) if normed else 0,
        )


def _kept(elements: int, width: int) -> tuple[Tensor, ...]:
    """Return what is kept between passes, as a tensor; nothing where it is empty."""
    return (Tensor(elements, width, kept=True),) if elements else ()
