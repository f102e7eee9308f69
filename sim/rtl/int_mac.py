"""Verilog of an integer multiply-accumulate."""

from ...arch.pe import IntMacPE
from ...datatypes.base.errors import BitlatheError
from .verilog import Design, Event, Port, library, library_modules, with_parameters


def check_whole(pe: IntMacPE) -> None:
    """Check that the multipliers of an integer MAC do not split.

    Raises
    ------
    BitlatheError
        They do, for narrower operands.
    """
    if pe.split_bits is not None:
        raise BitlatheError(
            f"pe.split_bits: no hardware is generated for multipliers that split down to "
            f"{pe.split_bits} bits; leave the key out for one product a lane and clock"
        )


def int_mac_design(pe: IntMacPE) -> Design:
    """Return the Verilog of an integer MAC.

    Raises
    ------
    BitlatheError
        Its multipliers split for narrower operands.
    """
    check_whole(pe)
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
