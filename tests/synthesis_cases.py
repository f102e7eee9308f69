"""A cell library of round figures, and a netlist made of it by hand."""

from pathlib import Path

from bitlathe.sim.rtl.verilog import Design, Port
from bitlathe.sim.synthesis.flow import Netlist

TINY = """
/* an inverter, a gate and a register; every figure can be checked in the head */
library (tiny) {
  time_unit : "1ns"; capacitive_load_unit (1, pf); nom_voltage : 2.0;
  lu_table_template (two) {
    variable_1 : total_output_net_capacitance; variable_2 : input_net_transition;
    index_1 ("0, 1"); index_2 ("0, 1");
  }
  cell (INV) { area : 1; pin (A) { direction : input; capacitance : 0.25; }
    pin (Y) { direction : output; function : "!A";
      timing () { related_pin : "A";
        cell_rise (two) { values ("1, 1", \\
                                  "3, 3"); }
        cell_fall (two) { values ("1, 1", "5, 5"); }
        rise_transition (two) { values ("0, 0", "0.5, 0.5"); } }
      internal_power () { rise_power (two) { values ("1, 1", "1, 1"); }
                          fall_power (two) { values ("3, 3", "3, 3"); } } } }
  cell (XOR) { area : 3; pin (A) { direction : input; capacitance : 0.5; }
    pin (B) { direction : input; capacitance : 0.5; }
    pin (Y) { direction : output; function : "(A B') + (A' B)"; } }
  cell (DFF) { area : 6; ff (IQ, IQN) { next_state : "D"; clocked_on : "C"; }
    pin (C) { direction : input; capacitance : 0.125; clock : true; }
    pin (D) { direction : input; capacitance : 0.125; }
    pin (Q) { direction : output; function : "IQ"; } }
}
"""


def tiny(folder: Path, text: str = TINY) -> Path:
    """Write the library into a folder."""
    path = folder / "tiny.lib"
    path.write_text(text, encoding="utf-8")
    return path


# q <= q ^ a, and its complement: a bit that toggles where a is 1
TOGGLE = Netlist(
    top="toggle",
    ports={"clk": ("input", [2]), "rst": ("input", [7]), "a": ("input", [3]), "q": ("output", [5]),
           "n": ("output", [6])},
    cells=[
        ("INV", {"A": 5, "Y": 6}),
        ("XOR", {"A": 3, "B": 5, "Y": 4}),
        ("DFF", {"C": 2, "D": 4, "Q": 5}),
    ],
    logic_ns=1.0,
)  # fmt: skip
TOGGLE_DESIGN = Design(
    top="toggle",
    modules={},
    inputs=(Port(name="a", bits=1),),
    ready=None,
    events=(),
)
