"""Arrays of generated PEs: every PE gives the bits of the bit rung, in the array's clocks."""

import numpy as np
import pytest

from bitlathe.arch.numerics import HPCA25
from bitlathe.arch.pe import BitSerialPE
from bitlathe.datatypes.base.errors import BitlatheError
from bitlathe.sim.array.tile.clock import simulate_tile_array
from bitlathe.sim.array.tile.model import TileArray, group_clocks
from bitlathe.sim.rtl.bit_serial_tile import tile_case, tile_design
from bitlathe.sim.rtl.check import check_iverilog
from bitlathe.sim.rtl.expected import handed_over
from rtl_cases import needs_iverilog

TILES = {
    "2 x 3 aligned bitmod_fp4": (BitSerialPE(), "bitmod_fp4", 2, 3),
    "3 x 2 hpca25 int6, gaps": (BitSerialPE(numerics=HPCA25, group_gap=2), "int6", 3, 2),
    "1 x 3 skipping": (BitSerialPE(skip_zero_terms=True, lanes=2), "int8", 1, 3),
    "3 x 2 skipping": (BitSerialPE(skip_zero_terms=True, lanes=1), "int8", 3, 2),
    "2 x 2 hpca25 skipping": (
        BitSerialPE(numerics=HPCA25, skip_zero_terms=True, lanes=2, group_gap=1),
        "fp3",
        2,
        2,
    ),
    "1 x 4 without rescale units": (BitSerialPE(scale_bits=0, lanes=1), "fp3", 1, 4),
}


@needs_iverilog
@pytest.mark.parametrize("name", TILES)
def test_every_bit_and_clock_of_an_array(name: str) -> None:
    pe, weight, rows, columns = TILES[name]
    case = tile_case(pe, weight, rows, columns, 60, seed=3)
    found = check_iverilog(tile_design(pe, weight, rows, columns), case)
    assert found.agree, found.first
    assert found.numbers >= rows * columns * 5


def test_the_clocks_are_those_of_the_array_clock_by_clock() -> None:
    """Equal groups: the last products with scales, then the rows leave, one a clock."""
    rows, size, groups, pe = 4, 5, 4, BitSerialPE(lanes=4)
    rng = np.random.default_rng(4)
    k = size * pe.lanes * groups
    array = TileArray(
        rows=rows, cols=3, lanes=pe.lanes, group_size=size * pe.lanes, rescale_cycles=pe.scale_bits
    )
    run = simulate_tile_array(
        np.rint(rng.normal(size=(3, k)) * 8), rng.integers(-128, 128, (rows, k)), array
    )
    issue = group_clocks(np.ones((rows, k, 4), np.bool_), array)[0, 0]
    last = handed_over(issue, pe.scale_bits, 0)[-1] + pe.scale_bits
    assert run.cycles == last + rows


@needs_iverilog
def test_an_activation_of_another_column_is_noticed() -> None:
    pe, weight, rows, columns = TILES["2 x 3 aligned bitmod_fp4"]
    case = tile_case(pe, weight, rows, columns, 20, seed=3)
    swapped = np.asarray(case.fields["activations"]).reshape(20, columns, -1)[:, ::-1]
    wrong = case._replace(fields={**case.fields, "activations": swapped.reshape(20, -1)})
    assert not check_iverilog(tile_design(pe, weight, rows, columns), wrong).agree


def test_arrays_that_cannot_be_made_are_refused() -> None:
    with pytest.raises(BitlatheError, match="columns"):
        tile_design(BitSerialPE(), "int8", 8, 9)
    with pytest.raises(BitlatheError, match="rows"):
        tile_design(BitSerialPE(), "int8", 0, 1)
