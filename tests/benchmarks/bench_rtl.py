"""Speed of generated hardware in compiled simulation, ``g++ -O3``: clocks a second of one core.

Run by ``python tests/benchmarks/bench_rtl.py``; the goal for a PE of four lanes is a million.
"""

import time

import numpy as np

from bitlathe.arch.numerics import HPCA25
from bitlathe.arch.pe import AntPE, BitSerialPE, FpMacPE, IntMacPE, LutPE
from bitlathe.reports.terminal import print_table
from bitlathe.sim.rtl.cxxrtl import simulate
from bitlathe.sim.rtl.generate import array_case, array_design, pe_case, pe_design
from bitlathe.sim.rtl.rows import pack
from bitlathe.sim.rtl.tools import missing_for_cxxrtl

ROWS = 50_000
SKIPPING = BitSerialPE(numerics=HPCA25, skip_zero_terms=True)
SPLIT = IntMacPE(split_bits=4, split_over="axes")
# a PE, and of an array its sides and dataflow
DESIGNS = {
    "bit-serial, 4 lanes, int8, hpca25": (BitSerialPE(numerics=HPCA25), None),
    "bit-serial, 4 lanes, int8, aligned": (BitSerialPE(), None),
    "2 x 2 bit-serial, int8, hpca25, skipping": (SKIPPING, (2, 2, "os")),
    "integer 8 x 8 into 32": (IntMacPE(), None),
    "3 x 2 integer, output stationary": (IntMacPE(), (3, 2, "os")),
    "3 x 2 integer, weight stationary": (IntMacPE(), (3, 2, "ws")),
    "integer 8 x 8 that splits down to 2 bits": (IntMacPE(split_bits=2), None),
    "ant, 8 x 8 that splits down to 4 bits": (AntPE(mac=SPLIT), None),
    "fp16 x fp16 into fp32": (FpMacPE(), None),
    "3 x 2 fp16 x fp16 into fp32, output stationary": (FpMacPE(), (3, 2, "os")),
    "look-up, 4 inputs": (LutPE(inputs=4), None),
}


def clocks_a_second(pe, array, times=5):
    """Return the most clocks a CPU second of several runs, events unpacked, and the clocks."""
    if array is None:
        design, case = pe_design(pe, "int8"), pe_case(pe, "int8", ROWS, 1)
    else:
        *sides, flow = array
        rows = ROWS // (sides[0] * sides[1])
        design = array_design(pe, "int8", tuple(sides), flow)
        case = array_case(pe, "int8", tuple(sides), rows, 1, flow)
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
    for name, (pe, array) in DESIGNS.items():
        rate, clocks = clocks_a_second(pe, array)
        lines.append({"design": name, "clocks": clocks, "clocks a CPU second": rate})
    print_table(lines)


if __name__ == "__main__":
    main()
