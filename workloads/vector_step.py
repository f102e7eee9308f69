"""Work between matrix products, element by element and row by row: what a vector unit does."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, NamedTuple

from ..datatypes.base.errors import BitlatheError, unknown_name
from ..datatypes.base.hashed import Hashed, hashed_once
from .sizes import check_size


class Operation(NamedTuple):
    """What one operation asks of each element, and of each row beside.

    ``adds`` are additions, maxima and roundings; ``specials`` exponentials, reciprocals and
    reciprocal square roots.
    """

    adds: int = 0
    multiplies: int = 0
    specials: int = 0
    row_adds: int = 0
    row_multiplies: int = 0
    row_specials: int = 0


OPERATIONS: Mapping[str, Operation] = {
    # maximum, difference, exponential, sum; the row's 1 / sum; product
    "softmax": Operation(adds=3, multiplies=1, specials=1, row_specials=1),
    # square, sum, product with the row's 1 / sqrt(mean + epsilon), product with the weight
    "rms_norm": Operation(1, 3, 0, row_adds=1, row_multiplies=1, row_specials=1),
    # sum, difference to the mean, square, sum, product with 1 / deviation, weight, bias
    "layer_norm": Operation(4, 3, 0, row_adds=1, row_multiplies=2, row_specials=1),
    # x cos + x' sin
    "rotary": Operation(adds=1, multiplies=2),
    # x / (1 + exp(-x))
    "silu": Operation(adds=1, multiplies=1, specials=2),
    # x / (1 + exp(-2u)), u = sqrt(2 / pi) (x + 0.044715 x^3): the form with tanh
    "gelu": Operation(adds=2, multiplies=4, specials=2),
    "sigmoid": Operation(adds=1, specials=2),
    # 1 - 2 / (exp(2x) + 1)
    "tanh": Operation(adds=2, multiplies=2, specials=2),
    # a x^2 + b x, or a (exp(x) - 1 - x) + b x below 0 (arXiv 2411.13010)
    "xielu": Operation(adds=3, multiplies=3, specials=1),
    "linear": Operation(),
    # an exponential, logarithm, root, reciprocal, sine or cosine
    "special": Operation(specials=1),
    "relu": Operation(adds=1),
    "relu6": Operation(adds=2),
    "relu2": Operation(adds=1, multiplies=1),
    "multiply": Operation(multiplies=1),
    "add": Operation(adds=1),
    # product with a weight, sum: of what each expert gives
    "weighted_sum": Operation(adds=1, multiplies=1),
    # square, sum, product with the row's 1 / sqrt(sum + epsilon), which a scale enters
    "l2_norm": Operation(1, 2, 0, row_adds=1, row_multiplies=1, row_specials=1),
    # sum, difference to the mean, square, sum; none below mean + c deviations
    "cutoff": Operation(5, 1, row_adds=1, row_multiplies=3, row_specials=1),
    # log(1 + exp(x + b))
    "softplus": Operation(adds=2, specials=2),
    # exp(-a log(1 + exp(x + b)))
    "decay": Operation(adds=2, multiplies=1, specials=3),
    # of a state's element a s, its part of k a s, its growth k d, its part of q s; a row is a
    # column of the state: d = b (v - k a s)
    "delta_rule": Operation(3, 4, row_adds=1, row_multiplies=1),
    "channel_delta_rule": Operation(3, 4, row_adds=1, row_multiplies=1),
    # exp(d a) s + b (d x), its part of c s; a row is a channel: d x, and D x added
    "selective_scan": Operation(2, 4, 1, row_adds=1, row_multiplies=2),
    # the same, with a decay that is there
    "state_space": Operation(2, 3, row_adds=1, row_multiplies=2),
    # a s, its growth k v, its part of q s
    "decayed_sum": Operation(adds=2, multiplies=3),
    # of a channel's numerator, denominator and maximum: k + u, the greater of it and m, two
    # differences, two exponentials, both sums of two products, one quotient; and the same without
    # u and the quotient for what is kept (arXiv 2305.13048, section 3.1 and appendix D)
    "wkv": Operation(adds=12, multiplies=7, specials=5),
    # largest magnitude, product with the row's 1 / scale, rounding; a row is a group
    "quantize": Operation(adds=2, multiplies=1, row_specials=1),
}
"""Operations of the vector unit; each counts what its formula says, nothing shared."""
QUANTIZE = "quantize"


def work(operation: str, elements: int, rows: int) -> Operation:
    """Return the elementary operations of an operation on elements in rows.

    Examples
    --------
    >>> work("softmax", 100, 10)
    Operation(adds=300, multiplies=100, specials=100, row_adds=0, row_multiplies=0, row_specials=10)
    """
    asked = OPERATIONS[operation]
    return Operation(*(n * elements for n in asked[:3]), *(n * rows for n in asked[3:]))


def summed(works: Iterable[Operation]) -> Operation:
    """Return the elementary operations of several pieces of work."""
    return Operation(*(sum(each) for each in zip(Operation(), *works, strict=True)))


class Tensor(NamedTuple):
    """Numbers that a step reads from memory or leaves there.

    Stored as the ``operand`` of a ``kind`` of layer is, in rows of ``width``; the inputs of norms
    are the stream that layers add to. Where that is not the format of the kind's results, whoever
    makes it quantizes it. ``kept``: a state, which lies there between passes, so that it passes
    memory even where results stay on the chip. ``maker``: the product whose results it is as they
    lie, or the step that left it, where that is known. ``product``, ``layers``: the product whose
    operand it is, and the layers for which that stands, where a chip has it in a format of its own;
    ``bits_each``: what an element takes on a chip, where that is found from what made or reads it
    (both `sim.results`).
    """

    elements: int
    width: int
    kind: Literal["linear", "attention", "conv", "lm_head", "router", "norm"] = "linear"
    operand: Literal["weight", "input", "output"] = "output"
    kept: bool = False
    maker: str = ""
    product: str = ""
    layers: tuple[int, ...] = ()
    bits_each: Fraction | None = None


@hashed_once
@dataclass(frozen=True, slots=True, kw_only=True)
class VectorStep(Hashed):
    """Operations on the same numbers, in ``count`` equal layers of a model.

    Attributes
    ----------
    name : str
        E.g. ``"attention_softmax"``.
    operations : tuple of str
        Of `OPERATIONS`, in order, all on the same elements.
    rows : int
        Rows of all sequences and heads.
    elements : int
        Elements of all rows, those under a mask left out.
    after : tuple of str
        The products, or steps, that make what it works on.
    streams : bool
        Whether it takes the results of the last of ``after`` on their way out of the array: these
        are not read from memory, and its own results are written in their place.
    pieces : int
        Parts that follow each other, each of which may start when the array has made it, while the
        array goes on with the next: heads of all sequences, say. 1: all rows are needed first.
    reads, writes : tuple of Tensor
        What it reads from memory beside what streams in, and leaves there beside what streams out.
    makes : tuple of Tensor
        What streams out, where it is stored in another format than results.
    direct : bool
        Whether what streams are results each in its place: nothing ahead of it moves any.
    learned : int
        Numbers that its norms hold, scales and shifts: read once, however many the rows.
    count : int
        Identical layers in the model.

    Examples
    --------
    >>> VectorStep(name="silu", operations=("silu",), rows=4, elements=64, after=("up",)).totals
    Operation(adds=64, multiplies=64, specials=128, row_adds=0, row_multiplies=0, row_specials=0)
    """

    name: str
    operations: tuple[str, ...]
    rows: int
    elements: int
    after: tuple[str, ...]
    streams: bool = False
    pieces: int = 1
    reads: tuple[Tensor, ...] = ()
    writes: tuple[Tensor, ...] = ()
    makes: tuple[Tensor, ...] = ()
    direct: bool = True
    learned: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        where = f"vector step {self.name!r}: "
        for field in ("rows", "elements", "pieces", "count"):
            object.__setattr__(self, field, check_size(where + field, getattr(self, field)))
        for operation in self.operations:
            if operation not in OPERATIONS:
                raise BitlatheError(where + unknown_name("operation", operation, OPERATIONS))

    @property
    def totals(self) -> Operation:
        """Elementary operations of one instance: of its elements, and of its rows."""
        asked = [OPERATIONS[name] for name in self.operations]
        sums = [sum(each[i] for each in asked) for i in range(6)]
        return Operation(*(n * self.elements for n in sums[:3]), *(n * self.rows for n in sums[3:]))

    def of_inputs(self, inputs: int) -> "VectorStep":
        """Return the step of so many inputs of the model at once, where this is that of one."""

        def all_of(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return tuple(each._replace(elements=each.elements * inputs) for each in tensors)

        return replace(
            self,
            rows=self.rows * inputs,
            elements=self.elements * inputs,
            pieces=self.pieces * inputs,
            reads=all_of(self.reads),
            writes=all_of(self.writes),
            makes=all_of(self.makes),
        )


def merged_steps(steps: Iterable[VectorStep], stands: Mapping[str, str]) -> tuple[VectorStep, ...]:
    """Return steps of which equal ones stand once, with a count, under the first one's name.

    Parameters
    ----------
    steps : iterable of VectorStep
    stands : mapping of str to str
        From a product to the one that stands for it and its equals.
    """
    names: dict[VectorStep, str] = {}
    count: dict[VectorStep, int] = {}
    for step in steps:
        after = tuple(dict.fromkeys(stands[name] for name in step.after))
        reads = tuple(tensor._replace(maker="") for tensor in step.reads)
        alone = replace(step, name="", after=after, reads=reads, count=1)
        names.setdefault(alone, step.name)
        count[alone] = count.get(alone, 0) + step.count
    return tuple(replace(step, name=names[step], count=count[step]) for step in names)
