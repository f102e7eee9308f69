"""How a bit-serial PE aligns, adds and rounds: a frozen record, and the presets.

The presets `hpca25` and `aligned` follow BitMoD (arXiv 2411.11745) and the widths of its authors'
register-transfer code; `exact` is plain integer arithmetic, the reference for their errors.
"""

from dataclasses import dataclass, replace
from typing import Literal

from pydantic import Field

from ..datatypes.base.errors import BitlatheError, unknown_name
from ..datatypes.base.numbers import whole_number
from ..datatypes.base.yamlfile import Record


@dataclass(frozen=True, kw_only=True, slots=True)
class PENumerics:
    """Arithmetic of the accumulator of a bit-serial PE.

    Parameters
    ----------
    name : str
        Label for reports.
    exact : bool
        Integer accumulation without alignment, truncation or rounding; the other fields are
        ignored.
    guard_bits : int
        Bits kept below the significand when lanes are aligned, 0..8.
    reference : {'lanes', 'lanes_and_accumulator'}
        What the reference exponent of a clock is the maximum of.
    gate_zero_terms : bool
        A lane whose term is zero in a clock takes no part in that clock's reference exponent, so
        that an activation whose weight is zero cannot shift the others out; a clock in which all
        terms are zero leaves the accumulator as it is. Without, every lane takes part, as in the
        published register-transfer code.
    alignment : {'floor', 'sticky'}
        What happens to bits that leave on the right when accumulator and incoming sum are aligned:
        lost (arithmetic shift), or kept for the one rounding at the end of the clock (guard, round
        and sticky bits).
    rounding : {'floor', 'nearest_even'}
        How the sum becomes the accumulator's mantissa.
    overflow : {'wrap', 'saturate'}
        What happens beyond ``exponent_bits``, and beyond ``sum_bits`` where that is given.
    accumulator_bits : int
        Signed width of the accumulator's mantissa, 4..32.
    sum_bits : int or None
        Signed width of the adder in front of the normalizer; None is wide enough for any sum, and
        the only choice with sticky alignment.
    exponent_bits : int or None
        Width of the accumulator's exponent; None gives the activation's exponent one bit more, and
        never fewer than 6.
    """

    name: str = "custom"
    exact: bool = False
    guard_bits: int = 3
    reference: Literal["lanes", "lanes_and_accumulator"] = "lanes"
    gate_zero_terms: bool = True
    alignment: Literal["floor", "sticky"] = "sticky"
    rounding: Literal["floor", "nearest_even"] = "nearest_even"
    overflow: Literal["wrap", "saturate"] = "saturate"
    accumulator_bits: int = 15
    sum_bits: int | None = None
    exponent_bits: int | None = None

    def __post_init__(self) -> None:
        _in_range("guard_bits", self.guard_bits, 0, 8)
        _in_range("accumulator_bits", self.accumulator_bits, 4, 32)
        if self.sum_bits is not None:
            _in_range("sum_bits", self.sum_bits, self.accumulator_bits, 62)
            if self.alignment == "sticky":
                raise BitlatheError(
                    "PENumerics.sum_bits: only with alignment='floor'; a sticky adder has no width"
                )
        if self.exponent_bits is not None:
            _in_range("exponent_bits", self.exponent_bits, 4, 16)
        if not isinstance(self.gate_zero_terms, bool):
            raise BitlatheError(
                f"PENumerics.gate_zero_terms: True or False, got {self.gate_zero_terms!r}"
            )
        _one_of("reference", self.reference, ("lanes", "lanes_and_accumulator"))
        _one_of("alignment", self.alignment, ("floor", "sticky"))
        _one_of("rounding", self.rounding, ("floor", "nearest_even"))
        _one_of("overflow", self.overflow, ("wrap", "saturate"))


def _in_range(field: str, value: int, low: int, high: int) -> None:
    whole_number(f"PENumerics.{field}", value, low, high)


def _one_of(field: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise BitlatheError(f"PENumerics.{field}: {unknown_name('value', str(value), known)}")


HPCA25 = PENumerics(
    name="hpca25",
    reference="lanes_and_accumulator",
    gate_zero_terms=False,
    alignment="floor",
    rounding="floor",
    overflow="wrap",
    sum_bits=23,
)
ALIGNED = PENumerics(name="aligned")
EXACT = PENumerics(name="exact", exact=True)

PRESETS: dict[str, PENumerics] = {p.name: p for p in (HPCA25, ALIGNED, EXACT)}


def numerics_of(numerics: str | PENumerics) -> PENumerics:
    """Return a preset by name, or the value itself.

    Raises
    ------
    BitlatheError
        If no preset has that name.
    """
    if isinstance(numerics, PENumerics):
        return numerics
    if not isinstance(numerics, str) or numerics not in PRESETS:
        raise BitlatheError(unknown_name("PE numerics", str(numerics), PRESETS))
    return PRESETS[numerics]


class Numerics(Record):
    """Arithmetic of a bit-serial PE: a preset, and the fields of `PENumerics` that differ."""

    preset: Literal["hpca25", "aligned", "exact"] = Field(
        default="aligned",
        description="hpca25: as published; aligned: rounded to nearest; exact: no rounding",
    )
    guard_bits: int | None = Field(
        default=None, description="bits kept below the significand when lanes are aligned"
    )
    reference: Literal["lanes", "lanes_and_accumulator"] | None = Field(
        default=None, description="what the reference exponent of a clock is the maximum of"
    )
    gate_zero_terms: bool | None = Field(
        default=None, description="lanes whose term is zero take no part in the reference exponent"
    )
    alignment: Literal["floor", "sticky"] | None = Field(
        default=None,
        description="bits that leave on the right: lost (floor), or kept for the rounding (sticky)",
    )
    rounding: Literal["floor", "nearest_even"] | None = Field(
        default=None, description="how a sum becomes the accumulator's mantissa"
    )
    overflow: Literal["wrap", "saturate"] | None = Field(
        default=None, description="what happens beyond the exponent's bits"
    )
    accumulator_bits: int | None = Field(
        default=None, description="signed width of the accumulator's mantissa"
    )
    sum_bits: int | None = Field(
        default=None, description="signed width of the adder before the normalizer"
    )
    exponent_bits: int | None = Field(
        default=None, description="width of the accumulator's exponent"
    )

    @property
    def record(self) -> PENumerics:
        """The numerics as `sim.pe` takes them."""
        given = self.model_dump(exclude={"preset"}, exclude_none=True)
        base = numerics_of(self.preset)
        return replace(base, name="custom", **given) if given else base
