"""One layer as a matrix product: what the chip is asked to multiply."""

from dataclasses import dataclass
from typing import Literal

from ..datatypes.errors import BitlatheError

Kind = Literal["linear", "attention_qk", "attention_av", "conv"]
KINDS = ("linear", "attention_qk", "attention_av", "conv")
COUNTER_LIMIT = 2**63  # counters are 64-bit signed integers in the kernels


def check_size(what: str, value: object, *, least: int = 1) -> int:
    """Return ``value`` if it is an integer from ``least`` up to the counter limit.

    Parameters
    ----------
    what : str
        How an error names the value, e.g. ``"context"``.
    value : object
        The value to check.
    least : int
        The smallest value allowed.

    Raises
    ------
    BitlatheError
        If the value is no integer, or out of range.
    """
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise BitlatheError(f"{what} is {value!r}; it must be an integer of at least {least}.")
    number = int(value.__index__())
    if number < least:
        raise BitlatheError(f"{what} is {number}; it must be at least {least}.")
    if number >= COUNTER_LIMIT:
        raise BitlatheError(f"{what} is {number}; it must be below 2^63, the range of a counter.")
    return number


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm:
    """A matrix product ``(m, k) x (k, n)``, ``batch`` times over, in ``count`` equal layers.

    Attributes
    ----------
    name : str
        Name of the layer, e.g. ``"q_proj"``.
    m, n, k : int
        Tokens (rows of the input), outputs, and inputs (the reduction).
    batch : int
        Independent products, each with its own weights and inputs.
    count : int
        Identical layers in the model. The derived figures below are for one of them.
    kind : {"linear", "attention_qk", "attention_av", "conv"}
        What the product does in the model.
    stationary : {"weight", "kv_cache"}
        What the ``(k, n)`` operand is.
    causal : {None, "n", "k"}
        Which dimension a causal mask cuts, if any: row ``r`` belongs to token
        ``r // rows_per_token`` and sees ``visible_before + token + 1`` entries of it.
    rows_per_token : int
        Rows that belong to one token: in attention, the query heads of one key/value head,
        stacked token by token.
    visible_before : int
        Cached tokens ahead of the first row's own.
    input_elements : int or None
        Distinct input elements of one batch entry where they are not ``m*k``: the feature map
        ahead of the im2col transform.
    """

    name: str
    m: int
    n: int
    k: int
    batch: int = 1
    count: int = 1
    kind: Kind = "linear"
    stationary: Literal["weight", "kv_cache"] = "weight"
    causal: Literal["n", "k"] | None = None
    rows_per_token: int = 1
    visible_before: int = 0
    input_elements: int | None = None

    def __post_init__(self) -> None:
        where = f"layer {self.name!r}: "
        for field in ("m", "n", "k", "batch", "count", "rows_per_token"):
            # stored as a Python integer: products of numpy integers would wrap around
            object.__setattr__(self, field, check_size(where + field, getattr(self, field)))
        check_size(where + "visible_before", self.visible_before, least=0)
        if self.input_elements is not None:
            check_size(where + "input_elements", self.input_elements)
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
        dense = self.m * self.n * self.k * self.batch * self.count
        if dense >= COUNTER_LIMIT:
            raise BitlatheError(
                f"{where}{dense} multiply-accumulates (m*n*k*batch*count) do not fit the 64-bit "
                "counters; use a smaller context, batch or model."
            )

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one instance, all its batch, exact under a causal mask."""
        if self.causal is None:
            return self.m * self.n * self.k * self.batch
        cut, full = (self.n, self.k) if self.causal == "n" else (self.k, self.n)
        return self._visible_entries(cut) * full * self.batch

    def _visible_entries(self, cut: int) -> int:
        """Sum over the rows of min(visible_before + token + 1, cut), in closed form."""
        tokens, ragged = divmod(self.m, self.rows_per_token)
        rising = min(tokens, max(0, cut - self.visible_before))  # tokens that see less than all
        triangle = rising * self.visible_before + rising * (rising + 1) // 2
        whole = triangle + (tokens - rising) * cut
        return whole * self.rows_per_token + ragged * min(self.visible_before + tokens + 1, cut)

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
