"""The rules of the BitFusion lineage as a table: one model, and what each of its heirs changed."""

from dataclasses import dataclass
from typing import Literal

Flow = Literal["cheapest", "os", "ws"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How layers are laid on a chip.

    Attributes
    ----------
    source : str
        The publication and its authors' published model.
    dataflow : {"cheapest", "os", "ws"}
        The array's; ``cheapest`` is, tile by tile, the one of input, output and weight stationary
        whose SRAM ports move the fewest bits by estimate.
    fused : bool
        PEs use all that they multiply at once along K (a fusion unit adds what its parts
        multiply). Else each operand's narrowness widens the side of the array along which it lies.
    im2col : {"first", "always"}
        Whether all layers lie with the kernel along K, or those alone that say so.
    output_bits : int
        Bits of a result and of a partial sum.
    sums_read_back : bool
        Whether partial sums are read from DRAM again before they are added to; where not, tiles of
        outputs are not held to half of their SRAM either.
    column_tiles : bool
        Output channels are tiled, and stored, in whole columns of the array (not under im2col).
    last_store_copied : bool
        Take as size of the last store, where results still fit, that of the sums read back (a
        quirk of the published model: 0 where none are).
    """

    source: str
    dataflow: Flow
    fused: bool = True
    im2col: Literal["first", "always"] = "first"
    output_bits: int = 32
    sums_read_back: bool = True
    column_tiles: bool = True
    last_store_copied: bool = True


def _ant(dataflow: Flow) -> Rule:
    return Rule(
        source="ANT (MICRO 2022), github.com/clevercool/ANT-Quantization",
        dataflow=dataflow,
        fused=False,
        im2col="always",
        output_bits=16,
        sums_read_back=False,
        column_tiles=False,
    )


RULES: dict[str, Rule] = {
    "bitfusion": Rule(
        source="BitFusion (ISCA 2018), github.com/hsharma35/bitfusion", dataflow="cheapest"
    ),
    "ant-os": _ant("os"),
    "ant-ws": _ant("ws"),
}
"""By the name that a chip gives as its ``mapper``."""
