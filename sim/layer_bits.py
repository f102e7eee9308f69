"""Stored bits of a layer's operands, and the clocks that a chunk of its weights takes."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from ..arch.decoder import Decoder
from ..arch.formats import LayerFormats, Operand
from ..arch.pe_base import Split
from ..arch.schema import Arch, OperandName
from ..arch.splitting import WHOLE
from ..datatypes.base.hashed import Hashed, hashed_once
from ..datatypes.base.numbers import ceil_div
from ..workloads.gemm import Gemm
from .scales import NO_WORK, UnitWork, planes_of, scales_first, scaling_of

if TYPE_CHECKING:
    from .array.tile.term_clocks import TermClocks


ChunkSize = tuple[int, int]
"""Weights of a chunk, and how many chunks have so many."""


@hashed_once
@dataclass(frozen=True, slots=True, kw_only=True)
class LayerBits(Hashed):
    """Stored bits per element of a layer's operands; clocks a chunk takes (bit-serial terms).

    ``group`` weights along K share a scale (0: all of K), which is applied to their sum: a chunk
    holds weights of one group. An integer scale has ``rescale_bits`` bits, which a bit-serial array
    applies one a clock. ``skipping`` gives the clocks where zero terms are skipped.
    ``weight_code``, ``input_code`` and ``output_code`` are the bits of an element's code alone,
    which a step reads, or a row of results writes; the rest (scales, zero points, selectors of
    each group) is read once a group. None: all of the stored bits are code. ``input_group`` inputs
    along K share a scale (0: all of K), of every ``input_run`` by themselves: a filter spans
    positions of a feature map, whose channels are rows of their own. ``split`` says into how many a
    multiplier splits for these operands, along weights and along inputs. ``planes`` are the scales
    of a group: one a bit plane. ``decoder`` is what weights pass at the border, if they do.
    ``table_additions`` fill the look-up tables of a chunk. ``unit_work`` is what the vector unit
    does for each product of the layer, to multiply by scales (`scales`); ``unscaled`` says that
    there is such work, and no unit.
    """

    weight: Fraction
    input: Fraction
    output: Fraction
    terms: int
    buffered_weight: Fraction
    group: int = 0
    rescale_bits: int = 0
    skipping: "TermClocks | None" = None
    weight_code: Fraction | None = None
    input_code: Fraction | None = None
    output_code: Fraction | None = None
    input_group: int = 0
    input_run: int = 0
    split: Split = WHOLE
    planes: int = 1
    decoder: Decoder | None = None
    table_additions: int = 0
    unit_work: UnitWork = NO_WORK
    unscaled: bool = False

    @classmethod
    def of(
        cls,
        arch: Arch,
        formats: LayerFormats,
        gemm: Gemm,
        weights: Any | None = None,
        output: tuple[Fraction, Fraction] | None = None,
        *,
        by_rows: bool = False,
    ) -> "LayerBits":
        """Count the bits of a layer's operands, and the clocks a chunk takes.

        Those are the terms of a bit-serial PE, the bit planes of a look-up PE, else one.

        Parameters
        ----------
        arch : Arch
        formats : LayerFormats
        gemm : Gemm
        weights : (N, K) array or QuantizedTensor, optional
            Weights whose zero terms a PE skips; a seeded stand-in by default.
        output : (Fraction, Fraction), optional
            Mean bits of a result, and of its code, as what reads it has it (`sim.results`); as the
            layer's own format of results by default.
        by_rows : bool
            Whether rows are stored each by itself, as rules pad them (`mapping.whole_buffer`): what
            all of a tensor shares is not counted.
        """

        def bits_of(operand: OperandName) -> Fraction:
            rows, length = gemm.stored(operand)
            stored: Operand = getattr(formats, operand)
            bits_each = stored.row_bits if by_rows else stored.bits_per_element
            return bits_each(length, rows)

        bits = bits_of("weight")
        pe = arch.pe.record
        rescale_bits = formats.weight.integer_scale_bits if pe.serial else 0
        if output is None:
            output = bits_of("output"), formats.output.code_bits
        stored, code = output
        before = scales_first(arch, formats.weight, gemm)
        scaled = scaling_of(arch, formats, gemm, before=before, run=_input_run(formats.input, gemm))
        return cls(
            weight=bits,
            input=bits_of("input"),
            output=stored,
            terms=pe.step_clocks(formats.weight),
            buffered_weight=bits,
            group=0 if before else formats.weight.scale_group,
            rescale_bits=rescale_bits,
            skipping=_skipping(arch, formats, gemm, rescale_bits, weights),
            weight_code=formats.weight.code_bits,
            input_code=formats.input.code_bits,
            output_code=code,
            input_group=formats.input.scale_group,
            input_run=_input_run(formats.input, gemm),
            split=pe.split(formats.weight, formats.input),
            planes=planes_of(formats.weight) if scaled.in_pes and not before else 0,
            decoder=None if gemm.kind.startswith("attention") else arch.pe.decoder,
            table_additions=pe.fill_additions(formats.weight),
            unit_work=scaled.unit,
            unscaled=scaled.missing,
        )

    def chunk_sizes(self, k: int, lanes: int) -> dict[int, int]:
        """Return how many chunks of each size ``k`` weights make: each group's own.

        Examples
        --------
        >>> bits = Fraction(8)
        >>> layer = LayerBits(
        ...     weight=bits, input=bits, output=bits, terms=4, buffered_weight=bits, group=6
        ... )
        >>> layer.chunk_sizes(16, 4)  # groups of 6, 6 and 4: two full and two of 2; a full one
        {4: 3, 2: 2}
        """
        size = self.group or k
        groups, rest = divmod(k, size)
        sizes: dict[int, int] = {}
        for count, length in ((groups, size), (1, rest)):
            for many, chunk in ((length // lanes, lanes), (1, length % lanes)):
                if count and many and chunk:
                    sizes[chunk] = sizes.get(chunk, 0) + count * many
        return sizes

    def sizes_between(self, k: int, lanes: int, first: int, last: int) -> tuple[ChunkSize, ...]:
        """Return (weights of a chunk, how many) of chunks ``first`` to ``last - 1`` of K.

        Parameters
        ----------
        k : int
            Weights along K.
        lanes : int
            Most weights of a chunk.
        first, last : int

        Examples
        --------
        >>> bits = Fraction(8)
        >>> layer = LayerBits(
        ...     weight=bits, input=bits, output=bits, terms=4, buffered_weight=bits, group=6
        ... )
        >>> layer.sizes_between(16, 4, 1, 5)  # of 4 2 4 2 4
        ((4, 2), (2, 2))
        """
        size = min(self.group or k, k)
        each = ceil_div(size, lanes)

        def weights_before(chunk: int) -> int:
            groups, chunks = divmod(chunk, each)
            return min(groups * size + min(chunks * lanes, size), k)

        found = self.chunk_sizes(weights_before(last), lanes)
        before = self.chunk_sizes(weights_before(first), lanes) if first else {}
        for chunk, count in before.items():
            found[chunk] -= count
        return tuple((chunk, count) for chunk, count in found.items() if count)

    def groups(self, k: int, *, of_inputs: bool = False) -> int:
        """Return the groups of ``k`` weights (or inputs) that share a scale."""
        size = self.input_group if of_inputs else self.group
        run = (self.input_run or k) if of_inputs else k
        runs, rest = divmod(k, run)
        return runs * ceil_div(run, size or run) + ceil_div(rest, size or run)

    def scaled_sums(self, k: int) -> int:
        """Return the sums that get a scale in a dot product of ``k``: those of the finer groups.

        A look-up PE scales the sum of each bit plane.
        """
        return self.planes * max(self.groups(k), self.groups(k, of_inputs=True))

    def beside_codes(self, k: int, *, of_inputs: bool = False) -> Fraction:
        """Return the bits of scales, zero points and selectors of one group of ``k`` elements."""
        stored, code = (
            (self.input, self.code_of("input"))
            if of_inputs
            else (self.weight, self.code_of("weight"))
        )
        return (stored - code) * k / self.groups(k, of_inputs=of_inputs)

    def code_of(self, operand: OperandName) -> Fraction:
        """Return the bits of the code of an operand's element; all stored bits if not known."""
        code, stored = {
            "weight": (self.weight_code, self.weight),
            "input": (self.input_code, self.input),
            "output": (self.output_code, self.output),
        }[operand]
        return stored if code is None else code

    def codes_in_bytes(self, operand: OperandName, size_bytes: int) -> int:
        """Return the bits of codes in so many stored bytes of weights or inputs.

        Scales and selectors stand in columns of their own: they go through no port of the codes.
        Results are counted as they are stored.
        """
        if operand == "output":
            return 8 * size_bytes
        stored = self.weight if operand == "weight" else self.input
        return math.ceil(8 * size_bytes * self.code_of(operand) / stored)

    def chunks(self, k: int, lanes: int) -> int:
        """Return the chunks of up to ``lanes`` weights in ``k`` of them: each group's own.

        Examples
        --------
        >>> bits = Fraction(8)
        >>> layer = LayerBits(
        ...     weight=bits, input=bits, output=bits, terms=4, buffered_weight=bits, group=6
        ... )
        >>> layer.chunks(16, 4)  # groups of 6, 6 and 4 take 2, 2 and 1
        5
        """
        size = self.group or k
        groups, rest = divmod(k, size)
        return groups * ceil_div(size, lanes) + ceil_div(rest, lanes)


def _input_run(stored: Operand, gemm: Gemm) -> int:
    """Return the inputs along K that lie in one row: channels; 0 where rows share all scales."""
    if gemm.conv is None or stored.scheme is None or stored.scheme.granularity.rows == 0:
        return 0
    return gemm.conv.in_channels // gemm.conv.groups


def _skipping(
    arch: Arch, formats: LayerFormats, gemm: Gemm, rescale_bits: int, weights: Any | None
) -> "TermClocks | None":
    """Return the clocks of a layer's row folds, where the PE skips zero terms."""
    scheme = formats.weight.scheme
    if not arch.pe.record.skip_zero_terms or scheme is None:
        return None
    from .array.tile.term_clocks import CountedClocks, StandInClocks, skipping_array

    array = skipping_array(arch, scheme, rescale_bits)
    if weights is not None:
        return CountedClocks.of(weights, scheme, array, gemm)
    distribution = arch.pe.record.skip_weights
    return StandInClocks(scheme=scheme, k=gemm.k, distribution=distribution, array=array)
