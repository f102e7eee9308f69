"""What a scale may be stored as: bits, second level, and how a real scale becomes a stored one."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleFormat:
    """How the scale of a group is stored.

    Attributes
    ----------
    name : str
        As written after ``/`` in a scheme string.
    bits : int
        Bits of one stored scale.
    kind : str
        ``none``, ``float`` (rounded to nearest even), ``ocp`` (power of two from the exponent of
        the group's maximum and of the grid's), ``pot`` (power of two from the real scale),
        ``bitmod_mx``, ``step`` (maximum of the row over a power of two), ``int`` (integer times a
        scale of the row), ``e4m3`` (under a scale of the tensor), ``planes`` (sums of powers of
        two, one scale per bit plane).
    rule : str
        Rounding of the exponent: ``floor``, ``ceil``, ``even``, ``rceil`` or ``nearest``.
    outer : str
        Where the second-level scale lives: ``none``, ``row`` (one fp16 per row of groups) or
        ``tensor`` (one fp32).
    source : str
    """

    name: str
    bits: int
    kind: str
    rule: str = ""
    outer: str = "none"
    source: str = ""

    @property
    def outer_bits(self) -> int:
        """Bits of one second-level scale."""
        return {"none": 0, "row": 16, "tensor": 32}[self.outer]


def _power_of_two() -> list[ScaleFormat]:
    ocp = "OCP MX v1.0; ceil, even, rceil: torchao and microxcaling"
    zeroquant = "ZeroQuant-FP, arXiv 2307.09782"
    return [
        ScaleFormat(name="e8m0", bits=8, kind="ocp", rule="floor", source=ocp),
        ScaleFormat(name="e8m0_ceil", bits=8, kind="ocp", rule="ceil", source=ocp),
        ScaleFormat(name="e8m0_even", bits=8, kind="ocp", rule="even", source=ocp),
        ScaleFormat(name="e8m0_rceil", bits=8, kind="ocp", rule="rceil", source=ocp),
        ScaleFormat(name="pot", bits=8, kind="pot", rule="nearest", source=zeroquant),
        ScaleFormat(name="pot_ceil", bits=8, kind="pot", rule="ceil", source=f"{zeroquant}, M1"),
        ScaleFormat(name="pot_floor", bits=8, kind="pot", rule="floor", source=zeroquant),
        ScaleFormat(name="m2", bits=4, kind="step", rule="nearest", outer="row", source=zeroquant),
        ScaleFormat(name="m2_ceil", bits=4, kind="step", rule="ceil", outer="row"),
        ScaleFormat(name="m2_floor", bits=4, kind="step", rule="floor", outer="row"),
        ScaleFormat(name="mxbm", bits=8, kind="bitmod_mx", source="BitMoD's MX baseline"),
    ]


def _all() -> dict[str, ScaleFormat]:
    listed = [
        ScaleFormat(name="none", bits=0, kind="none"),
        ScaleFormat(name="fp32", bits=32, kind="float"),
        ScaleFormat(name="fp16", bits=16, kind="float"),
        ScaleFormat(name="bf16", bits=16, kind="float"),
        *_power_of_two(),
        ScaleFormat(name="e4m3", bits=8, kind="e4m3", outer="tensor", source="NVFP4"),
        *(
            ScaleFormat(name=f"int{b}", bits=b, kind="int", outer="row", source="VS-Quant")
            for b in range(2, 9)
        ),
        *(
            ScaleFormat(name=f"pot{k}", bits=8 * k, kind="planes", source="ShiftAddLLM")
            for k in (1, 2, 3)
        ),
    ]
    return {s.name: s for s in listed}


SCALES: Final[dict[str, ScaleFormat]] = _all()
