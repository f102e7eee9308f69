"""Which layers are stored in more bits: the choices of each, and the best within a budget."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ...datatypes.base.errors import BitlatheError, check_name
from ...datatypes.methods.budget import allocate, by_importance, shiftadd_importance
from ...datatypes.methods.calibrate import Way
from ...datatypes.methods.layer import QuantizedLinear, measured
from ...datatypes.methods.task import NoOutputsError, Task
from ...datatypes.schemes.scheme import Scheme

RULES: Final = ("program", "sort")
BYTES: Final = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9,
                "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What all calibrated layers together may store, and by which rule it is shared out.

    Attributes
    ----------
    text : str
        Bits a weight (``2.5``) or a size (``40MiB``).
    rule : str
        ``program``: the sum of the layers' relative errors of outputs is the least, exactly;
        ``sort``: the more bits of two choices to the layers of largest importance (ShiftAddLLM,
        arXiv 2406.05981), or blocks in the order of what each takes off the error for its bits.
    """

    text: str
    rule: str = "program"

    def __post_init__(self) -> None:
        check_name("rule of a budget", self.rule, RULES)
        self.bits(1)

    def bits(self, weights: int) -> int:
        """Return the bits that so many weights may take.

        Raises
        ------
        BitlatheError
            Raised if the text is neither bits a weight nor a size.
        """
        found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([A-Za-z]*)\s*", self.text)
        unit = found and (found[2] or "bits")
        if not found or unit not in ("bits", *BYTES) or not float(found[1]):
            raise BitlatheError(
                f"budget {self.text!r}: write bits a weight, such as 2.5, or a size, such as 40MiB"
            )
        number = float(found[1])
        return int(number * weights) if unit == "bits" else int(number * 8 * BYTES[str(unit)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What a layer may be: for each choice its stored bits and its error, and its importance.

    Attributes
    ----------
    bits : tuple of int
    errors : tuple of float
        Of outputs, relative, on the inputs of the unquantized model.
    importance : float
        ShiftAddLLM's; 0 where no output tells choices apart.
    """

    bits: tuple[int, ...]
    errors: tuple[float, ...]
    importance: float = 0.0

    @classmethod
    def of(cls, ways: Sequence[Way], weights: Any, inputs: Any, *, important: bool) -> "Choices":
        """Measure the choices of a layer.

        Parameters
        ----------
        ways : sequence of Way
        weights : (outputs, inputs) array
        inputs : (tokens, inputs) array
        important : bool
            Whether its importance is asked for.
        """
        try:
            layers = list(_layers(ways, weights, inputs))
        except NoOutputsError:
            layers = [way.silent(weights) for way in ways]
        importance = 0.0
        if important and layers[0].relative_error > 0:
            task = Task.of(weights, inputs, ways[0].scheme, None)
            importance = shiftadd_importance(task.weights.astype(float), task.activations)
        return cls(
            bits=tuple(layer.total_bits for layer in layers),
            errors=tuple(layer.relative_error for layer in layers),
            importance=importance,
        )


def _layers(ways: Sequence[Way], weights: Any, inputs: Any) -> Iterator[QuantizedLinear]:
    """Yield a layer in each way; of a method whose layers can be cut, all that are shorter."""
    for way in ways:
        made = way.layer(weights, inputs)
        if way.method.shorter is None:
            yield made
        else:
            task = Task.of(weights, inputs, way.scheme, way.activation_scheme)
            yield from (measured(each, task) for each in way.method.shorter(made))


def check_choices(ways: Sequence[Way], budget: Budget | None) -> None:
    """Refuse a budget that has nothing to choose from, and choices without a budget.

    Raises
    ------
    BitlatheError
    """
    cut = ways[0].method.shorter is not None
    schemes: list[Scheme] = [way.scheme for way in ways]
    if len(set(schemes)) < len(schemes):
        twice = next(s for s in schemes if schemes.count(s) > 1)
        raise BitlatheError(f"scheme {twice} is given twice; give each once")
    name = ways[0].method.name
    if cut and len(ways) > 1:
        raise BitlatheError(f"scheme: {name} has codes of its own; give one, or none")
    if budget is None:
        if len(ways) > 1:
            raise BitlatheError(
                f"scheme: {len(ways)} of them are choices for each layer; give a budget as well, "
                "such as 2.5 bits a weight, or one scheme"
            )
    elif not cut and len(ways) == 1:
        raise BitlatheError(
            f"budget: {name} in {schemes[0]} leaves nothing to choose; give two schemes or more"
        )
    elif not cut and budget.rule == "sort" and len(ways) != 2:
        raise BitlatheError(
            f"rule sort: it gives layers the one or the other of two schemes; {len(ways)} are given"
        )


def share(choices: Sequence[Choices], budget: Budget, weights: int, *, cut: bool) -> list[int]:
    """Return the number of the choice that each layer takes.

    Parameters
    ----------
    choices : sequence of Choices
    budget : Budget
    weights : int
        Of all layers.
    cut : bool
        Whether the choices of a layer are parts of each other, block upon block.

    Raises
    ------
    BitlatheError
        Raised if the fewest bits are more than the budget.
    """
    limit = budget.bits(weights)
    fewest = sum(min(each.bits) for each in choices)
    if fewest > limit:
        raise BitlatheError(
            f"budget {budget.text}: {limit:,} bits for {weights:,} weights, and the fewest that "
            f"the choices take are {fewest:,}, {fewest / weights:.4g} a weight"
        )
    if budget.rule == "program":
        rows = [list(zip(each.bits, each.errors, strict=True)) for each in choices]
        return list(allocate(rows, limit))
    if cut:
        return _by_blocks(choices, limit - fewest)
    low = [each.bits[0] for each in choices]
    high = [each.bits[1] for each in choices]
    if sum(low) > sum(high):
        taken = by_importance([each.importance for each in choices], high, low, limit)
        return [1 - each for each in taken]
    return list(by_importance([each.importance for each in choices], low, high, limit))


def _by_blocks(choices: Sequence[Choices], left: int) -> list[int]:
    """Return the last block of each layer; each has one, the rest go where they are worth most."""
    from ...datatypes.methods.bitstack import share_out

    gains = [
        [each.errors[i] - each.errors[i + 1] for i in range(len(each.errors) - 1)]
        for each in choices
    ]
    return list(share_out(gains, [each.bits[0] for each in choices], left))
