"""Area, leakage and what has no price, by component: of chips with buffers and with memories."""

from .long_form import memory_costs
from .schema import Arch

PE_ARRAY = "pe_array"
DECODERS = "decoders"
VECTOR_UNIT = "vector_unit"


def areas_um2(arch: Arch) -> dict[str, float]:
    """Return the area of the PE array (cells, before place and route), memories, vector unit.

    Buffers are named ``weight_buffer``; memories by their names, all copies together. Decoders at
    the border of the array are there where they have an area.
    """
    found = array_areas_um2(arch)
    if arch.memories:
        costs = memory_costs(arch)
        found |= {name: cost.copies * cost.area_um2 for name, cost in costs.items()}
    names = arch.buffers.priced
    found |= {f"{name}_buffer": arch.sram_cost(name).area_um2 for name in names}
    return found | ({VECTOR_UNIT: arch.vector_area_um2} if arch.vector_unit else {})


def array_areas_um2(arch: Arch) -> dict[str, float]:
    """Return the area of the PE array, and of the decoders beside it where it is stated."""
    found = {PE_ARRAY: arch.pes * arch.pe_area_um2}
    return found | ({DECODERS: arch.decoder_area_um2} if arch.decoder_area_um2 else {})


def leakages_mw(arch: Arch) -> dict[str, float]:
    """Return the leakage of the PE array and of each memory, named as in `areas_um2`."""
    found = {PE_ARRAY: arch.pe_leakage_mw}
    if arch.memories:
        costs = memory_costs(arch)
        found |= {name: cost.copies * cost.leakage_mw for name, cost in costs.items()}
    names = arch.buffers.priced
    found |= {f"{name}_buffer": arch.sram_cost(name).leakage_mw for name in names}
    return found | ({VECTOR_UNIT: arch.vector_leakage_mw} if arch.vector_unit else {})


def unpriced(arch: Arch) -> tuple[str, ...]:
    """Return what a chip takes though no figure covers it: keys of the PE, costs of memories."""
    costs = memory_costs(arch) if arch.memories else {}
    parts = (
        f"memories.{name} ({', '.join(c.unpriced)})" for name, c in costs.items() if c.unpriced
    )
    return (*arch.pe.unpriced, *parts)
