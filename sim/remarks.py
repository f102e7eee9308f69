"""What a run says of scales and codes: what of them is in no figure, and what they hold up.

In figures are scales that divide K (`scales`), and decoders that a chip states. Not in them are
scales of results, a product in K each, whose number and energy are said instead, and the decoding
of codes that reach PEs through no decoder of known operators.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from ..arch.formats import LayerFormats, Operand
from ..arch.grids import is_format, is_integer
from ..arch.group_scales import decoded, in_pe, result_scales
from ..arch.pe_base import PESection
from ..arch.schema import SPLITTING, Arch
from ..workloads.gemm import Gemm
from .chip import Chip
from .layer_bits import LayerBits
from .mapped import array_cycles, fold_cycles
from .policy import formats_for
from .scales import NO_WORK, scales_first


def remarks_of(chip: Chip, bits: Mapping[Gemm, LayerBits]) -> tuple[str, ...]:
    """Return what a run says of scales and codes; nothing of chips that count as a study does.

    Parameters
    ----------
    chip : Chip
    bits : mapping of Gemm to LayerBits
        The products of the run.
    """
    arch = chip.arch
    if arch.published_accounting or arch.mapper in SPLITTING:
        return ()
    formats = {gemm: formats_for(arch, gemm) for gemm in bits}
    found: dict[str, list[str]] = {}
    for gemm, each in bits.items():
        for remark in (
            *_held_up(chip, formats[gemm], gemm, each),
            *_decoding(arch.pe, formats[gemm], gemm),
        ):
            found.setdefault(remark, []).append(gemm.name)
    said = [f"{', '.join(dict.fromkeys(names))}: {remark}" for remark, names in found.items()]
    products = sum(
        scales_of_results(arch, formats[gemm], gemm, each) * gemm.count
        for gemm, each in bits.items()
    )
    return (*said, _of_results(arch, products)) if products else tuple(said)


def scales_of_results(arch: Arch, formats: LayerFormats, gemm: Gemm, bits: LayerBits) -> int:
    """Return the products of a layer's results by scales that cover all of K.

    One for each result and level, of weights and of inputs, that neither PEs nor decoders apply.

    Parameters
    ----------
    arch : Arch
    formats : LayerFormats
        Of the layer.
    gemm : Gemm
    bits : LayerBits
    """
    pe, weight, inputs = arch.pe, formats.weight, formats.input
    levels = list(result_scales(inputs, gemm.k, bits.input_run))
    if not scales_first(arch, weight, gemm):
        border = not gemm.kind.startswith("attention")
        levels += [
            scale
            for scale in result_scales(weight, gemm.k)
            if not (border and decoded(pe, weight, scale))
        ]
    return sum(not in_pe(pe, weight, scale) for scale in levels) * gemm.output_elements


def _of_results(arch: Arch, products: int) -> str:
    said = f"scales of results are not counted: {products:,} products"
    if arch.vector_lane is None:
        return said
    return f"{said}, {arch.unit_pj(0, products) / 1e6:,.3g} uJ of the vector unit"


def _held_up(chip: Chip, formats: LayerFormats, gemm: Gemm, bits: LayerBits) -> Iterator[str]:
    """Yield by how much scales hold the array up, against chunks of any weights and no scales."""
    if not bits.unit_work.operations and bits.group != 1:
        return
    plain = replace(bits, group=0, input_group=0, unit_work=NO_WORK)
    times = fold_cycles(chip, gemm.k, bits) / array_cycles(chip, gemm.k, plain)
    if bits.group == 1 and formats.weight.scales_columns:
        yield (
            f"each product takes a scale by itself, which takes {float(times):.1f} x the clocks of "
            f"the array: inputs ({formats.input.label}) take no scales here (docs/chips.md)"
        )
    elif times > 1:
        yield f"products by scales take {float(times):.1f} x the clocks of the array"


def _decoding(pe: PESection, formats: LayerFormats, gemm: Gemm) -> Iterator[str]:
    """Yield what turns stored weights into those of the PEs' ports, and is not in the energy."""
    weight, border = formats.weight, not gemm.kind.startswith("attention")
    if border and pe.decoder is not None:
        return
    if border and pe.decoder_um2:
        yield "energy of decoders is not counted, whose area alone is stated (pe.decoder_um2)"
    elif what := _turned(pe, weight):
        yield f"{what} is not counted" + ("; pe.decoder counts it" if border else "")


def _turned(pe: PESection, weight: Operand) -> str:
    scheme, ports = weight.scheme, pe.record.ports
    if scheme is None:
        return ""
    if scheme.coder_facts.zero_point:
        return f"taking zero points off ({weight.label})"
    port = ports.get("weight")
    if port is not None:
        return "" if is_format(scheme, port) else f"turning {weight.label} into {port}"
    if pe.kind == "int_mac" and not is_integer(scheme, ports["weight_bits"]):
        return f"turning {weight.label} into integers of {ports['weight_bits']} bits"
    return ""
