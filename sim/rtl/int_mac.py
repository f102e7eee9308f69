"""Verilog of an integer multiply-accumulate."""

from ...arch.pe import IntMacPE
from .verilog import Design, Event, Port, library, library_modules, with_parameters


def int_mac_design(pe: IntMacPE) -> Design:
    """Return the Verilog of an integer MAC, whose multipliers do not split (`split`)."""
    parameters = {
        "LANES": pe.lanes,
        "ACTIVATION_BITS": pe.activation_bits,
        "WEIGHT_BITS": pe.weight_bits,
        "ACCUMULATOR_BITS": pe.accumulator_bits,
        "SATURATE": int(pe.overflow == "saturate"),
    }
    sums = (Port(name="sum", bits=pe.accumulator_bits, signed=True),)
    return Design(
        top="int_mac",
        modules=library_modules(("shift_mac",))
        | {"int_mac": with_parameters(library("int_mac"), parameters)},
        inputs=(
            Port(name="in_valid", bits=1),
            Port(name="in_first", bits=1),
            Port(name="in_last", bits=1),
            Port(name="activations", bits=pe.lanes * pe.activation_bits),
            Port(name="weights", bits=pe.lanes * pe.weight_bits),
        ),
        ready=None,
        events=(Event(valid="sum_valid", values=sums),),
    )
