"""The ``whole-buffer`` mappers: an operand that fits its buffer is read once, else refetched whole.

The traffic rule of the BitMoD study (HPCA 2025): no tiling of the reduction dimension, so when
neither weights nor inputs fit, one of them is read again for every buffer-full of the other.
``whole-buffer`` lays out the products of a layer (heads, sequences) one by one;
``hpca25-whole-buffer`` compares the operands of all of them with the buffers, as the study does.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

from ..datatypes.base.numbers import ceil_div, units_of
from ..workloads.gemm import Gemm


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Bytes of one product's operands, how often each is read, and how many products there are.

    Attributes
    ----------
    weight_bytes, input_bytes, output_bytes : int
        One product's operands, each once. Under a mask inputs and outputs are what it leaves.
    products : int
        Independent products of the layer; each moves the same bytes.
    weight_reads, input_reads : int
        How often an operand is read from DRAM.
    visible : Fraction
        Part of the reads of a refetched operand that the mask leaves; 1 without a mask.
    scores_read : bool
        The inputs are scores, of which ``input_bytes`` are what the mask leaves.
    weights_fit, inputs_fit : bool
        The operand stays in its buffer as a whole.
    input_kept, output_kept : bool
        Inputs are on the chip already, results stay there.
    weight_room_bytes, input_room_bytes : int
        Bytes of buffer for an operand; 0 where not set.
    """

    weight_bytes: int
    input_bytes: int
    output_bytes: int
    products: int = 1
    weight_reads: int = 1
    input_reads: int = 1
    visible: Fraction = Fraction(1)
    scores_read: bool = False
    weights_fit: bool = True
    inputs_fit: bool = True
    input_kept: bool = False
    output_kept: bool = False
    weight_room_bytes: int = 0
    input_room_bytes: int = 0

    def _moved(self, once: int, reads: int, visible: Fraction) -> int:
        return once if reads == 1 else max(once, units_of(once * reads, visible, 1))

    @property
    def weight_moved_bytes(self) -> int:
        """Weight bytes that one product reads from DRAM, refetches counted."""
        return self._moved(self.weight_bytes, self.weight_reads, self.visible)

    @property
    def input_moved_bytes(self) -> int:
        """Input bytes that one product would read from DRAM, refetches counted."""
        visible = Fraction(1) if self.scores_read else self.visible
        return self._moved(self.input_bytes, self.input_reads, visible)

    @property
    def weight_bits(self) -> int:
        """Weight bits moved from DRAM by all products."""
        return 8 * self.products * self.weight_moved_bytes

    @property
    def input_bits(self) -> int:
        """Input bits moved from DRAM by all products."""
        return 0 if self.input_kept else 8 * self.products * self.input_moved_bytes

    @property
    def output_bits(self) -> int:
        """Output bits moved to DRAM by all products."""
        return 0 if self.output_kept else 8 * self.products * self.output_bytes

    @property
    def total_bits(self) -> int:
        """All bits moved between DRAM and the chip."""
        return self.weight_bits + self.input_bits + self.output_bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """Bytes of buffer for weights, inputs and unfinished sums (None: beside the inputs)."""

    weight: int
    input: int
    sums: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sums:
    """Bytes of unfinished sums that are live at once over the whole product.

    ``of_rows`` where the inputs stay and weights pass by, for all rows; ``of_outputs`` where the
    weights stay, for all outputs.
    """

    of_rows: int = 0
    of_outputs: int = 0


NO_SUMS = Sums()


def operand_bytes(
    gemm: Gemm,
    weight_bits: Fraction,
    input_bits: Fraction,
    output_bits: Fraction,
    *,
    masked: bool = True,
) -> Traffic:
    """Return the bytes of one product's operands, each row padded to whole bytes, read once.

    W = ceil(K b / 8) N, I = ceil(K b_i / 8) M, O = ceil(N b_o / 8) M; an input with fewer
    distinct elements than the product (a feature map before im2col) counts those. Under a causal
    mask scores that nobody sees are neither stored nor read.

    Parameters
    ----------
    gemm : Gemm
    weight_bits, input_bits, output_bits : Fraction
        Stored bits per element.
    masked : bool
        Whether a causal mask saves inputs and outputs.
    """
    cut = gemm.causal if masked else None
    seen = gemm.macs // (gemm.batch * (gemm.k if gemm.causal == "n" else gemm.n))
    if cut == "k":
        inputs = units_of(seen, input_bits)
    elif gemm.input_elements is None:
        inputs = units_of(gemm.k, input_bits) * gemm.m
    else:
        inputs = units_of(gemm.input_elements, input_bits)
    row_bytes = units_of(gemm.n, output_bits)
    outputs = units_of(seen, output_bits) if cut == "n" else row_bytes * gemm.m
    entries = gemm.m * (gemm.n if cut == "n" else gemm.k)
    return Traffic(
        weight_bytes=units_of(gemm.k, weight_bits) * gemm.n,
        input_bytes=inputs,
        output_bytes=outputs,
        products=gemm.batch,
        visible=Fraction(seen, entries) if cut else Fraction(1),
        scores_read=cut == "k",
    )


def whole_buffer(
    once: Traffic,
    capacity: Capacity,
    *,
    sums: Sums = NO_SUMS,
    live_weight_bytes: int | None = None,
    pooled: bool = False,
) -> Traffic:
    """Return the traffic under the whole-buffer rule: one product decides, the others do the same.

    With p = ceil(I / S_io) and q = ceil(W / S_w): when W > S_w and I > S_io, the weights are read
    p times if p W + I < q I + W, else the inputs q times; otherwise both once. Sums that wait for
    the rest of the reduction take room too: with p (or q) groups, each group's must fit.

    Parameters
    ----------
    once : Traffic
        The operands, read once.
    capacity : Capacity
        Bytes of buffer that they have.
    sums : Sums
        Unfinished sums that are live at once.
    live_weight_bytes : int, optional
        What must stay of the weights for each to be read once, if it is less than all of them
        (an attention window that slides along).
    pooled : bool
        The rule of the BitMoD study (``hpca25-whole-buffer``): the operands of all products
        together are compared with the buffers, and all products read as often.
    """
    together = once.products if pooled else 1
    W, I = once.weight_bytes * together, once.input_bytes * together  # noqa: E741
    live = W if live_weight_bytes is None else live_weight_bytes
    beside = capacity.sums is None
    rows_room = capacity.input if capacity.sums is None else capacity.sums
    outputs_room = max(1, capacity.input // 2 if capacity.sums is None else capacity.sums)
    staying = I + sums.of_rows if beside else I
    inputs_fit = staying <= capacity.input and sums.of_rows <= rows_room
    weights_fit = live <= capacity.weight and sums.of_outputs <= outputs_room
    found = replace(once, weights_fit=weights_fit, inputs_fit=inputs_fit)
    if weights_fit or inputs_fit:
        return found
    p = max(ceil_div(staying, capacity.input), ceil_div(sums.of_rows, rows_room))
    q = max(ceil_div(W, capacity.weight), ceil_div(sums.of_outputs, outputs_room))
    if p * W + I < q * I + W:
        return replace(found, weight_reads=p)
    return replace(found, input_reads=q)


def output_tiled(once: Traffic, gemm: Gemm, *, io_buffer_bytes: int) -> Traffic:
    """Return the least traffic of a mapping that tiles the reduction dimension.

    An m x n tile of 32-bit partial sums stays in half of the input/output buffer while slices of
    K pass through; weights are then read ceil(M / m) times and inputs ceil(N / n) times, whatever
    K is. The tile with the least traffic is taken; never more than reading whole operands again.
    Used to show what the whole-buffer rule costs.
    """
    tile = io_buffer_bytes // 2 // 4
    best = None
    p = 1
    while p <= gemm.m:
        m = ceil_div(gemm.m, p)
        n = min(gemm.n, tile // m)
        if n:
            q = ceil_div(gemm.n, n)
            moved = p * once.weight_bytes + q * once.input_bytes
            if best is None or moved < best[0]:
                best = (moved, p, q)
        p += 1
        if best is not None and p * once.weight_bytes + once.input_bytes >= best[0]:
            break
    assert best is not None
    return replace(once, weight_reads=best[1], input_reads=best[2])
