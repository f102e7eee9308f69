"""The ``beside`` section of a chip: what linear layers compute next to their products."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ..datatypes.base.yamlfile import Record

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class Beside(Record):
    """Work of the vector unit for each linear layer, the output head left out.

    What a calibration asks for where nothing else takes it in: inputs kept in fp16 are gathered and
    multiplied apart, single weights likewise, a product of low rank is added, inputs are rotated or
    divided before. Weights that this takes are stored bits of the layer (`formats.linear.weight`).
    """

    outlier_fraction: Share = Field(
        default=0.0, description="fraction of inputs multiplied apart, in fp16"
    )
    sparse_fraction: Share = Field(
        default=0.0, description="fraction of weights multiplied apart, in fp16"
    )
    rank: Annotated[int, Field(ge=0)] = Field(
        default=0, description="rank of the product that is added"
    )
    rotation: Literal["none", "hadamard", "dense"] = Field(
        default="none",
        description="of inputs: blocks of the largest power of two that divides them, or a matrix",
    )
    divisors: bool = Field(default=False, description="inputs are multiplied by a factor each")

    @property
    def asked(self) -> bool:
        """Whether there is any of it."""
        return self != Beside()
