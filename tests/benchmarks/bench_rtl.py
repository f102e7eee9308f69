"""Speed of generated hardware in compiled simulation, ``g++ -O3``: clocks a second of one core.

Run by ``python tests/benchmarks/bench_rtl.py``; the goal for a PE of four lanes is a million.
"""

import time

import numpy as np

from bitlathe.arch.numerics import HPCA25
from bitlathe.arch.pe import BitSerialPE, IntMacPE, LutPE
from bitlathe.reports.terminal import print_table
from bitlathe.sim.rtl.cxxrtl import simulate
from bitlathe.sim.rtl.generate import array_case, array_design, pe_case, pe_design
from bitlathe.sim.rtl.rows import pack
from bitlathe.sim.rtl.tools import missing_for_cxxrtl

ROWS = 50_000
SKIPPING = BitSerialPE(numerics=HPCA25, skip_zero_terms=True)
DESIGNS = {
    "bit-serial, 4 lanes, int8, hpca25": (BitSerialPE(numerics=HPCA25), None),
    "bit-serial, 4 lanes, int8, aligned": (BitSerialPE(), None),
    "2 x 2 bit-serial, int8, hpca25, skipping": (SKIPPING, (2, 2)),
    "integer 8 x 8 into 32": (IntMacPE(), None),
    "3 x 2 integer, systolic": (IntMacPE(), (3, 2)),
    "look-up, 4 inputs": (LutPE(inputs=4), None),
}


def clocks_a_second(pe, sides, times=5):
    """Return the most clocks a CPU second of several runs, events unpacked, and the clocks."""
    if sides is None:
        design, case = pe_design(pe, "int8"), pe_case(pe, "int8", ROWS, 1)
    else:
        rows = ROWS // (sides[0] * sides[1])
        design, case = array_design(pe, "int8", sides), array_case(pe, "int8", sides, rows, 1)
    rows = pack(design, case.fields)
    simulate(design, rows, case.clocks, optimize="-O3")  # builds
    spent = []
    for _ in range(times):
        start = time.process_time()
        simulate(design, rows, case.clocks, optimize="-O3")
        spent.append(time.process_time() - start)
    return round(case.clocks / np.min(spent)), case.clocks


def main():
    """Print the table."""
    if (lacking := missing_for_cxxrtl()) is not None:
        print(f"compiled simulation {lacking}")
        return
    lines = []
    for name, (pe, sides) in DESIGNS.items():
        rate, clocks = clocks_a_second(pe, sides)
        lines.append({"design": name, "clocks": clocks, "clocks a CPU second": rate})
    print_table(lines)


if __name__ == "__main__":
    main()
