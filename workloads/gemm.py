"""One layer as a matrix product: what the chip is asked to multiply."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.hashed import Hashed, hashed_once
from .conv_shape import ConvShape
from .sizes import COUNTER_LIMIT, check_size

Kind = Literal["linear", "attention_qk", "attention_av", "conv"]
KINDS = ("linear", "attention_qk", "attention_av", "conv")
Role = Literal["linear", "head", "conv", "scores", "mix"]
Operand = Literal["weight", "input", "output"]
HEAD = "lm_head"
ROUTERS = ("router", "shared_expert_gate")
_ROLES: dict[Kind, Role] = {
    "linear": "linear", "conv": "conv", "attention_qk": "scores", "attention_av": "mix"
}  # fmt: skip


class VisibleBlock(NamedTuple):
    """Rows of a masked product, and the m x n x k product of what they see.

    ``low`` to ``high - 1`` are the entries of the dimension that the mask cuts.
    """

    low: int
    high: int
    m: int
    n: int
    k: int


@hashed_once
@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm(Hashed):
    """A matrix product ``(m, k) x (k, n)``, ``batch`` times over, in ``count`` equal layers.

    Attributes
    ----------
    name : str
        Name of the layer, e.g. ``"q_proj"``. The two Gemms of experts that get different numbers
        of rows share one name.
    m, n, k : int
        Tokens (rows of the input), outputs, and inputs (the reduction).
    batch : int
        Independent products, each with its own weights and inputs.
    sequences : int
        Sequences or images that the rows come from, ``m / sequences`` rows of each, stacked. They
        share the weights.
    count : int
        Identical layers in the model. The derived figures below are for one of them.
    kind : {"linear", "attention_qk", "attention_av", "conv"}
        What the product does in the model.
    stationary : {"weight", "kv_cache"}
        What the ``(k, n)`` operand is.
    causal : {None, "n", "k"}
        Which dimension a causal mask cuts, if any: row ``r`` belongs to token
        ``r // rows_per_token``, whose position is ``p = visible_before + token``, and sees the
        entries up to ``p`` of it.
    rows_per_token : int
        Rows that belong to one token: in attention, the query heads of one key/value head,
        stacked token by token.
    visible_before : int
        Cached tokens ahead of the first row's own.
    window : int or None
        Under a causal mask, how many entries a row sees at most: ``p - window + 1`` to ``p``.
        None: from entry 0.
    input_elements : int or None
        Distinct input elements of one batch entry where they are not ``m*k``: what a convolution
        reads of its feature maps, ahead of the im2col transform, all images together.
    conv : ConvShape or None
        The convolution that the product is, its groups the batch and its images the sequences.
    keys, values : int
        Outputs that are keys, and values, of the K/V cache.
    layers : tuple of int
        Numbers of the model's layers that it stands for, where layers are told apart.
    """

    name: str
    m: int
    n: int
    k: int
    batch: int = 1
    sequences: int = 1
    count: int = 1
    kind: Kind = "linear"
    stationary: Literal["weight", "kv_cache"] = "weight"
    causal: Literal["n", "k"] | None = None
    rows_per_token: int = 1
    visible_before: int = 0
    window: int | None = None
    input_elements: int | None = None
    conv: ConvShape | None = None
    keys: int = 0
    values: int = 0
    layers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        where = f"layer {self.name!r}: "
        for field in ("m", "n", "k", "batch", "sequences", "count", "rows_per_token"):
            # stored as a Python integer: products of numpy integers would wrap around
            object.__setattr__(self, field, check_size(where + field, getattr(self, field)))
        before = check_size(where + "visible_before", self.visible_before, least=0)
        object.__setattr__(self, "visible_before", before)
        for field in ("window", "input_elements"):
            if getattr(self, field) is not None:
                object.__setattr__(self, field, check_size(where + field, getattr(self, field)))
        for field in ("keys", "values"):
            object.__setattr__(
                self, field, check_size(where + field, getattr(self, field), least=0)
            )
        if self.keys + self.values > self.n:
            raise BitlatheError(
                f"{where}keys and values are {self.keys} and {self.values}, more than the "
                f"{self.n} outputs (n); they are part of the outputs."
            )
        for field, known in (
            ("kind", KINDS),
            ("stationary", ("weight", "kv_cache")),
            ("causal", (None, "n", "k")),
        ):
            if getattr(self, field) not in known:
                raise BitlatheError(
                    f"{where}{field} is {getattr(self, field)!r}; "
                    f"it must be one of {', '.join(map(repr, known))}."
                )
        if self.m % self.sequences:
            raise BitlatheError(
                f"{where}sequences is {self.sequences}, which does not divide the {self.m} rows "
                "(m); each sequence has as many rows as the others."
            )
        if self.causal is None and self.window is not None:
            raise BitlatheError(
                f"{where}window is {self.window}, but there is no mask; set causal to 'n' or 'k'."
            )
        if self.causal is not None and self.sequences > 1:
            raise BitlatheError(
                f"{where}sequences is {self.sequences} under a causal mask, which counts the "
                "tokens of one sequence; use batch for the others."
            )
        if self.causal is not None and self.macs == 0:
            raise BitlatheError(
                f"{where}no row sees anything: window is {self.window}, visible_before "
                f"{self.visible_before}, and the mask cuts {self.causal}; let them meet."
            )
        dense = self.m * self.n * self.k * self.batch * self.count
        if dense >= COUNTER_LIMIT:
            raise BitlatheError(
                f"{where}{dense} multiply-accumulates (m*n*k*batch*count) do not fit the 64-bit "
                "counters; use a smaller context, batch or model."
            )

    @property
    def role(self) -> Role:
        """What the product does in a model; ``head``: the output head, known by its name."""
        role = _ROLES[self.kind]
        return "head" if self.name == HEAD and role in ("linear", "conv") else role

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one instance, all its batch, exact under mask and window."""
        if self.causal is None:
            return self.m * self.n * self.k * self.batch
        cut, full = (self.n, self.k) if self.causal == "n" else (self.k, self.n)
        visible = self._entries_up_to(self.visible_before, cut)
        if self.window is not None:
            visible -= self._entries_up_to(self.visible_before - self.window, cut)
        return visible * full * self.batch

    def _entries_up_to(self, last: int, cut: int) -> int:
        """Sum over the rows of the entries from 0 to ``last + token``, within 0 to ``cut - 1``.

        Token ``t`` has clamp(last + 1 + t, 0, cut) of them: a difference of sums of min(j, cut).
        """
        tokens, ragged = divmod(self.m, self.rows_per_token)
        whole = _sum_of_min(last + tokens, cut) - _sum_of_min(last, cut)
        return whole * self.rows_per_token + ragged * min(max(last + 1 + tokens, 0), cut)

    def seen(self, first: int, rows: int) -> tuple[int, int]:
        """Return the range of the cut dimension that a block of rows sees, all rows together.

        Parameters
        ----------
        first, rows : int
            The block is rows ``first`` to ``first + rows - 1``; ``rows`` is at least 1.

        Returns
        -------
        low, high : int
            The block sees nothing outside entries ``low`` to ``high - 1`` of ``n`` (``causal``
            "n") or ``k`` ("k"). Without a mask that is all of ``n``.

        Examples
        --------
        >>> Gemm(name="qk", m=8, n=8, k=64, causal="n", window=3).seen(4, 2)
        (2, 6)
        """
        if self.causal is None:
            return 0, self.n
        cut = self.n if self.causal == "n" else self.k
        low, high = 0, self.visible_before + (first + rows - 1) // self.rows_per_token + 1
        if self.window is not None:
            low = max(0, self.visible_before + first // self.rows_per_token - self.window + 1)
        return min(low, cut), min(high, cut)

    def visible_blocks(self, rows: int) -> tuple[VisibleBlock, ...]:
        """Return the blocks of ``rows`` rows of a masked product that see something.

        Examples
        --------
        >>> scores = Gemm(name="qk", m=8, n=8, k=64, causal="n", window=3)
        >>> scores.visible_blocks(4)[1]
        VisibleBlock(low=2, high=8, m=4, n=6, k=64)
        """
        found = []
        for first in range(0, self.m, rows):
            m = min(rows, self.m - first)
            low, high = self.seen(first, m)
            n, k = (high - low, self.k) if self.causal == "n" else (self.n, high - low)
            if low < high:
                found.append(VisibleBlock(low, high, m, n, k))
        return tuple(found)

    @property
    def weight_elements(self) -> int:
        """Elements of the stationary operand, all the batch."""
        return self.n * self.k * self.batch

    @property
    def distinct_input_elements(self) -> int:
        """Distinct elements of the moving operand, all the batch."""
        single = self.m * self.k if self.input_elements is None else self.input_elements
        return single * self.batch

    @property
    def output_elements(self) -> int:
        """Elements of the result, all the batch."""
        return self.m * self.n * self.batch

    def stored(self, operand: Operand) -> tuple[int, int]:
        """Return the rows of the tensor that an operand is, all the batch, and elements of a row.

        Keys and values of each head of each sequence are tensors of their own. Along a row groups
        of elements share a scale. Rows of weights are outputs; rows of inputs and results are
        tokens, or positions of a feature map: the channels of one, those of all groups of a
        convolution.

        Parameters
        ----------
        operand : {"weight", "input", "output"}

        Examples
        --------
        >>> Gemm(name="q_proj", m=5, n=8, k=16).stored("output")
        (5, 8)
        """
        if operand == "weight":
            return self.n * (1 if self.stationary == "kv_cache" else self.batch), self.k
        if self.conv is not None:
            high, wide = self.conv.size
            if operand == "input":
                return self.sequences * high * wide, self.conv.in_channels
            return self.m, self.conv.out_channels
        if operand == "output":
            return self.m * self.batch, self.n
        return max(1, self.distinct_input_elements // self.k), self.k


def _sum_of_min(last: int, cut: int) -> int:
    """Return the sum over j = 1 ... last of min(j, cut); 0 where ``last`` is not positive."""
    rising = max(0, min(last, cut))
    return rising * (rising + 1) // 2 + max(0, last - cut) * cut
