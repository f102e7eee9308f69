"""What a scheme has to know of a coder: what it takes, and what it stores beside the codes.

How a coder finds codes, and what they stand for, is in the rooms above.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..formats.format import Format
from .finer import plus_values, refined_values

ALL_SCALES = ("none", "float", "ocp", "pot", "bitmod_mx", "step", "int", "e4m3")


@dataclass(frozen=True, slots=True, kw_only=True)
class CoderFacts:
    """The facts of a way to find codes.

    Attributes
    ----------
    name : str
    scales : tuple of str
        Kinds of scales it goes with.
    scale_rule : str
        The same as a sentence, for errors.
    integers : bool
        Whether it codes integers of at most 8 bits only.
    unsigned : bool
        Whether these must be unsigned.
    least_bits : int
        Fewest bits of a code; `least_rule` is the same as a sentence, for errors.
    zero_point : bool
        Whether a group has a zero point, as wide as a code.
    planes : bool
        Whether a group has a scale for each bit of its codes.
    entries : bool
        Whether a group has, in place of scales, a value for each of its codes.
    pairs : bool
        Whether two codes together say what both stand for.
    along_rows : bool
        Whether it works along a row, so that blocks of several rows are not for it.
    clips : tuple of str or None
        The clips it takes; None for all.
    paper : tuple of str
        The scales under which ``+paper`` has an arithmetic for it.
    offset : bool
        Whether a group has a minimum or zero point that is a number of its own.
    extra_bits : int
        Bits of a group beside its codes, for elements that are stored finer.
    elements : callable or None
        Of a format, every value of an element in units of the scale, where there are more than
        the format has.
    whole : str
        The only groups and scales it goes with, as in a scheme; empty for all.
    """

    name: str
    scales: tuple[str, ...] = ALL_SCALES
    scale_rule: str = ""
    integers: bool = True
    unsigned: bool = True
    least_bits: int = 1
    least_rule: str = ""
    zero_point: bool = False
    planes: bool = False
    entries: bool = False
    pairs: bool = False
    along_rows: bool = False
    clips: tuple[str, ...] | None = None
    paper: tuple[str, ...] = ()
    offset: bool = False
    extra_bits: int = 0
    elements: Callable[[Format], NDArray[np.float64]] | None = None
    whole: str = ""

    @property
    def mixed(self) -> bool:
        """Whether the codes of other elements have a say in what a code stands for."""
        return self.pairs or self.extra_bits > 0

    @property
    def alone(self) -> bool:
        """Whether a code by itself stands for a number in units of one scale."""
        return not (self.mixed or self.planes or self.entries or self.offset)

    @property
    def plain(self) -> bool:
        """Whether a code by itself stands for a value of the format."""
        return self.alone and not self.zero_point


_LISTED = (
    CoderFacts(name="table", integers=False, unsigned=False, paper=("fp16", "mxbm")),
    CoderFacts(
        name="asym",
        scales=("float", "pot", "step", "int"),
        scale_rule="a zero point needs a real, power-of-two or integer scale, not {scale!r}",
        zero_point=True,
        paper=("fp16",),
    ),
    CoderFacts(
        name="olive",
        scales=("float", "ocp", "pot", "step", "int", "e4m3"),
        scale_rule=(
            "outlier-victim pairs need a scale of their searched range, such as fp16 or int8"
        ),
        unsigned=False,
        least_bits=3,
        least_rule="outlier-victim pairs take 3 bits or more",
        pairs=True,
        along_rows=True,
        clips=("absmax", "mse"),  # it searches its range anyway; mse in finer steps
    ),
    CoderFacts(
        name="bcq",
        scales=("planes", "float"),
        scale_rule="a sum of signed scales stores them as pot1, pot2, pot3, fp16, bf16 or fp32",
        planes=True,
        clips=("absmax",),
    ),
    CoderFacts(
        name="kmeans",
        scales=("float",),
        scale_rule="a learned book stores its entries as fp16, bf16 or fp32",
        entries=True,
        clips=("absmax",),
    ),
    CoderFacts(
        name="refined",
        scales=("ocp",),
        scale_rule="M2XFP's activations have scales of e8m0",
        integers=False,
        unsigned=False,
        clips=("absmax",),
        extra_bits=8,
        elements=refined_values,
        whole="@g32/e8m0",
    ),
    CoderFacts(
        name="plus",
        scales=("ocp",),
        scale_rule="MX+ has scales of e8m0",
        integers=False,
        unsigned=False,
        clips=("absmax",),
        extra_bits=8,
        elements=plus_values,
        whole="@g32/e8m0",
    ),
    CoderFacts(name="levels", scales=("levels",), integers=False, unsigned=False),
    CoderFacts(name="offset", scales=("levels",), integers=False, unsigned=False, offset=True),
    CoderFacts(
        name="dgq",
        scales=("int",),
        scale_rule="dual grain keeps its group scales as integers: int2 to int8",
        zero_point=True,
        along_rows=True,
        clips=("absmax",),
    ),
)
CODERS: Final = {facts.name: facts for facts in _LISTED}
