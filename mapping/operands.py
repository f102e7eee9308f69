"""What an element of a layer's operands takes in storage, and the clocks of a step."""

from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil
from typing import Any

from ..datatypes.base.errors import BitlatheError
from ..datatypes.base.hashed import Hashed, hashed_once

_ELEMENTS = ("weight", "input", "output", "weight_code", "input_code", "output_code")


@hashed_once
@dataclass(frozen=True, slots=True, kw_only=True)
class OperandBits(Hashed):
    """Bits of an element of each operand, scales and selectors of its group in proportion.

    Attributes
    ----------
    weight, input, output : Fraction
        Bits of a stored element; tiles of a rational width sum to the whole.
    partial : int
        Bits of an unfinished sum.
    weight_code, input_code, output_code : Fraction or None
        Bits of an element's code alone: what the array takes or leaves in a step. Scales and
        selectors stand in columns of their own; they cost energy but no clocks of the codes'
        port. None: all of the stored bits.
    step_cycles : Fraction
        Clocks of one step of the array: the terms of a bit-serial PE, 1 of a MAC.
    """

    weight: Fraction
    input: Fraction
    output: Fraction
    partial: int = 32
    step_cycles: Fraction = Fraction(1)
    weight_code: Fraction | None = None
    input_code: Fraction | None = None
    output_code: Fraction | None = None

    def __post_init__(self) -> None:
        for name in ("weight", "input", "output", "partial", "step_cycles"):
            value = Fraction(getattr(self, name))
            if value <= 0:
                what = "clocks of a step" if name == "step_cycles" else f"bits of {name}"
                raise BitlatheError(f"{what}: {value}; they must be more than 0.")
            if name != "partial":
                object.__setattr__(self, name, value)
        for operand in ("weight", "input", "output"):
            code, stored = getattr(self, f"{operand}_code"), getattr(self, operand)
            if code is not None and not 0 < code <= stored:
                raise BitlatheError(
                    f"{operand}_code: {code} bits; an element is stored in {stored}, its code "
                    "takes more than 0 of them and not more than all."
                )

    def of(self, operand: str, *, partial: bool = False) -> Fraction:
        """Return the bits of an element of an operand, or of an unfinished sum."""
        if partial:
            return Fraction(self.partial)
        found: Fraction = getattr(self, operand)
        return found

    def code(self, operand: str, *, partial: bool = False) -> Fraction:
        """Return the bits of an element's code, or of an unfinished sum."""
        found: Fraction | None = None if partial else getattr(self, f"{operand}_code")
        return self.of(operand, partial=partial) if found is None else found

    def coarser(self, parts: int) -> "OperandBits":
        """Return these bits with those of elements rounded up.

        Parameters
        ----------
        parts : int
            Parts of a bit, of which elements then have whole numbers.
        """
        names = [name for name in _ELEMENTS if getattr(self, name) is not None]
        up: dict[str, Any] = {
            name: Fraction(ceil(getattr(self, name) * parts), parts) for name in names
        }
        return replace(self, **up)
