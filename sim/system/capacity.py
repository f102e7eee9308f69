"""What a chip's DRAM has to hold: its share of the weights, and of the K/V cache."""

from fractions import Fraction
from math import ceil

from ...arch.schema import Arch
from ...datatypes.base.numbers import ceil_div
from ...workloads.gemm import ROUTERS
from ...workloads.model import Model
from ...workloads.transformer import Forward, Transformer
from ...workloads.transformer.matrix import Matrix
from ...workloads.transformer.products import staged
from ..policy import formats_for, formats_of
from ..results import Rule, cached_bits

GIB_BITS = 8 * 2**30


def weight_bits(arch: Arch, model: Model) -> int:
    """Return the bits of all parameters of a model, or of a share of one, as a chip stores them.

    Matrices are stored as the weights of their kind of layer; biases, norms and embeddings as
    results are. Of models that are no transformers, matrices only.
    """
    if not isinstance(model.shape, Transformer):
        phase = "prefill" if not model.has_decode else "decode"
        context = model.context_of()
        gemms = model.gemms(phase, context)
        stored = (g for g in gemms if g.stationary == "weight")
        total = Fraction(0)
        for gemm in stored:
            rows, length = gemm.stored("weight")
            bits = formats_for(arch, gemm).weight.bits_per_element(length, rows)
            total += gemm.weight_elements * gemm.count * bits
        return ceil(total)
    return ceil(_transformer_bits(arch, model.shape))


def _transformer_bits(arch: Arch, shape: Transformer) -> Fraction:
    total = Fraction(0)
    for layers in shape.layers:
        numbers = layers.numbers if layers.told_apart else ()
        stored = (each for part in layers.parts for each in part.stored(layers.copies))
        for part, copies in stored:
            for matrix, count in part.matrices():
                bits = _matrix_bits(arch, matrix, "linear", numbers)
                total += count * copies * bits
    for head in shape.heads:
        kind = "lm_head" if head.words else "linear"
        total += 0 if shape.tied and head.words else _matrix_bits(arch, head.matrix, kind)
    stems = {stem.matrix for stem in (*shape.stems, *((shape.patches,) if shape.patches else ()))}
    for matrix in shape.matrices_ahead():
        total += _matrix_bits(arch, matrix, "conv" if matrix in stems else "linear")
    beside = shape.vectors + sum(table.elements for table in shape.tables)
    norms = sum(layers.norm_parameters * layers.copies for layers in shape.layers)
    beside += sum(part.other_parameters * copies for part, copies in shape.stored_parts())
    norms += sum(head.norm for head in shape.heads)
    total += _plain_bits(arch, beside, shape.hidden)
    norm = arch.formats.norm
    if norm is None:
        total += _plain_bits(arch, norms, shape.hidden)
    else:
        total += norms * norm.weight.bits_per_element(shape.hidden, 1)
    return total + (_transformer_bits(arch, shape.encoder) if shape.encoder else 0)


def _plain_bits(arch: Arch, elements: int, width: int) -> Fraction:
    """Return the bits of elements that are stored as results are, in rows."""
    stored = formats_of(arch, "linear").output
    return elements * stored.bits_per_element(width, max(1, ceil_div(elements, width)))


def _matrix_bits(arch: Arch, matrix: Matrix, kind: str, numbers: tuple[int, ...] = ()) -> Fraction:
    kind = "router" if matrix.name in ROUTERS else kind
    formats, outputs = arch.formats.of(kind, matrix.name, numbers), matrix.outputs
    biases = (matrix.parameters - matrix.elements) * formats.output.bits_per_element(outputs, 1)
    return matrix.elements * formats.weight.bits_per_element(matrix.inputs, outputs) + biases


def cache_bits(arch: Arch, model: Model, run: Forward, phase: str) -> int:
    """Return the bits that a chip keeps of the sequences of a pass: the cache behind it.

    Keys and values take what they do where attention reads them; an element of a state what one of
    results does, as layers that keep a state move it.

    Parameters
    ----------
    arch : Arch
    model : Model
        The chip's share.
    run : Forward
        The pass of all its sequences.
    phase : {"prefill", "decode"}
    """
    shape = model.shape
    if not isinstance(shape, Transformer) or not model.has_decode:
        return 0
    rule, plain = Rule(arch=arch, grows=phase == "decode"), formats_of(arch, "attention").weight
    total = Fraction(0)
    for layer in staged(shape, run).layers:
        for part, products in zip(layer.layers.parts, layer.parts, strict=True):
            elements = sum(part.cache_elements(each.seen) * each.sequences for each in run.groups)
            if run.source:
                elements += part.source_elements(run.source) * run.sequences
            each = None if arch.published_accounting else cached_bits(rule, products)
            total += layer.layers.count * elements * (plain.code_bits if each is None else each)
    states = shape.state_elements() * run.sequences
    return ceil(total + _plain_bits(arch, states, shape.hidden))


def shortfall(arch: Arch, weights: int, cache: int, where: str) -> str | None:
    """Return by how much a chip's DRAM is too small, in a sentence; None where it is not.

    Parameters
    ----------
    arch : Arch
    weights, cache : int
        Bits.
    where : str
        Which chip.
    """
    size_gib = arch.dram.size_gib
    needed = Fraction(weights + cache, GIB_BITS)
    if size_gib is None or needed <= Fraction(str(size_gib)):
        return None
    over = float(needed - Fraction(str(size_gib)))
    return (
        f"{where} needs {float(needed):,.2f} GiB of DRAM (weights {weights / GIB_BITS:,.2f}, K/V "
        f"cache {cache / GIB_BITS:,.2f}) and has {size_gib:g}: {over:,.2f} GiB too little."
    )
