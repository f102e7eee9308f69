"""Energy of a clock of gates: what toggles, times what a transition of it takes.

``E = sum over nets of toggles (C V^2 / 2 + internal energy of the driver) + clock pins``, with the
capacitances and tables of the library; no wires, no glitches, no clock tree.
"""

import numpy as np

from ..rtl.rows import Int64Array
from .flow import Netlist
from .gates import Activity, Circuit
from .liberty import ZERO, Library


def energy_pj(circuit: Circuit, library: Library, netlist: Netlist, seen: Activity) -> float:
    """Return the energy of a clock of a stream, in the library's own node and voltage.

    Parameters
    ----------
    circuit : Circuit
    library : Library
    netlist : Netlist
    seen : Activity
        Of a run of these gates.
    """
    _, slew = library.fanout_of_4
    square = library.voltage**2
    loads, passive, clocked = np.zeros(circuit.nets), np.zeros(circuit.nets), 0.0
    for name, pins in netlist.cells:
        cell = library.cells[name]
        for pin, bit in pins.items():
            part = cell.pins[pin]
            if part.output:
                continue
            own = float(part.tables.get("energy", ZERO).at(0.0, slew))
            if pin == cell.clock:  # rises and falls once a clock
                clocked += part.capacitance * square + 2 * own
            elif bit != "x":
                loads[circuit.number[bit]] += part.capacitance
                passive[circuit.number[bit]] += own
    each = loads * square / 2 + passive
    kinds: dict[tuple[str, str], list[int]] = {}
    for net, driver in circuit.drivers.items():
        kinds.setdefault(driver, []).append(net)
    for (name, output), driven in kinds.items():
        nets: Int64Array = np.array(driven)
        table = library.cells[name].pins[output].tables.get("energy", ZERO)
        each[nets] += table.at(loads[nets], slew)
    return clocked + float(seen.toggles @ each) / seen.clocks
