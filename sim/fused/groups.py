"""The layers of a pass that may be fused: products, a step on their results, a product of those.

Attention is one such group: scores, softmax, mix. An MLP is another, of a dense layer or of
experts: the products into its inner width, the activation, the product back.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from ...workloads.gemm import Gemm
from ...workloads.vector_step import OPERATIONS, QUANTIZE, Tensor, VectorStep


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Layers that may be fused.

    Attributes
    ----------
    into : tuple of Gemm
        The products that make the middle of the same inputs: scores; gate and up.
    step : VectorStep
        What works on the middle, in this group and perhaps in others.
    out : Gemm
        The product of the step's results.
    """

    into: tuple[Gemm, ...]
    step: VectorStep
    out: Gemm

    @property
    def gemms(self) -> tuple[Gemm, ...]:
        """Its products, in the order of execution."""
        return *self.into, self.out

    @property
    def name(self) -> str:
        """Name of the group: of its products, the first word once where they share it."""
        first, *others = (gemm.name for gemm in self.gemms)
        shared = f"{first.split('_')[0]}_"
        return "+".join([first, *(name.removeprefix(shared) for name in others)])

    @property
    def names(self) -> tuple[str, ...]:
        """Names of its layers, in the order of execution."""
        return *(gemm.name for gemm in self.into), self.step.name, self.out.name

    @property
    def count(self) -> int:
        """Identical groups in the model."""
        return self.out.count

    @property
    def rows(self) -> int:
        """Rows of the step that one instance takes."""
        return self.out.m * self.out.batch

    @property
    def attends(self) -> bool:
        """Whether it is attention, else an MLP."""
        return self.out.role == "mix"


def groups_of(
    gemms: Iterable[Gemm],
    steps: Sequence[VectorStep],
    edges: Iterable[tuple[str, str]] = (),
) -> Iterator[Group]:
    """Yield the groups of a pass, no layer in two of them.

    Parameters
    ----------
    gemms : iterable of Gemm
        Products in the order of execution.
    steps : sequence of VectorStep
        What stands between them. Products that another step works on are left alone, and so are
        those whose results anything but the group reads.
    edges : iterable of (str, str)
        Names of a product and of one that reads its results; without them no MLP is found, and
        scores are taken to be those of the next product that may be their mix.
    """
    products, readers = list(gemms), _readers(edges)
    yield from _attention(list(products), steps, readers)
    yield from (group for group, _ in _mlps(products, steps, readers))


def kept_apart(
    gemms: Iterable[Gemm],
    steps: Sequence[VectorStep],
    edges: Iterable[tuple[str, str]] = (),
) -> Iterator[tuple[Group, str]]:
    """Yield what would be MLPs of `groups_of` without some steps on what they make, and why not.

    Parameters
    ----------
    gemms, steps, edges
        As of `groups_of`.
    """
    for group, between in _mlps(list(gemms), steps, _readers(edges), apart=True):
        names = [step.name for step in between]
        shown = ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
        yield group, f"steps beside its products work on what they make: {shown}."


def _readers(edges: Iterable[tuple[str, str]]) -> Mapping[str, set[str]]:
    readers: Mapping[str, set[str]] = defaultdict(set)
    for tail, head in edges:
        readers[tail].add(head)
    return readers


def left_of(step: VectorStep, fused: Iterable[Group]) -> VectorStep | None:
    """Return what is left of a step where some groups take their part; None where nothing is.

    Groups that take all of its rows leave it to fewer layers, others (experts) fewer rows.
    """
    count, rows = step.count, step.rows
    for group in fused:
        if group.rows == step.rows:
            count -= group.count
        else:
            rows -= group.rows * group.count // step.count
    if not count or not rows:
        return None

    def part(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(each._replace(elements=each.elements * rows // step.rows) for each in tensors)

    return replace(
        step,
        count=count,
        rows=rows,
        elements=step.elements * rows // step.rows,
        pieces=max(1, step.pieces * rows // step.rows),
        reads=part(step.reads),
        writes=part(step.writes),
        makes=part(step.makes),
    )


def _attention(
    products: list[Gemm], steps: Sequence[VectorStep], readers: Mapping[str, set[str]]
) -> Iterator[Group]:
    left = Counter({step: step.count for step in steps})
    works = (step for step in steps if not _is_softmax(step) and step.operations != (QUANTIZE,))
    others = {name for step in works for name in step.after}
    for i, scores in enumerate(products):
        if scores.role != "scores" or scores.name in others:
            continue
        mix = next((each for each in products[i + 1 :] if _mixes(scores, each)), None)
        softmax = next((step for step in left if _follows(step, scores)), None)
        if mix is None or mix.name in others or softmax is None or left[softmax] < scores.count:
            continue
        if readers and readers[scores.name] != {mix.name}:
            continue
        products[products.index(mix, i + 1)] = scores  # no other scores' mix
        left[softmax] -= scores.count
        yield Group(into=(scores,), step=softmax, out=mix)


def _is_softmax(step: VectorStep) -> bool:
    return step.operations == ("softmax",) and len(step.after) == 1


def _follows(step: VectorStep, scores: Gemm) -> bool:
    elements = scores.macs // scores.k
    same = (step.after, step.rows, step.elements)
    return _is_softmax(step) and same == ((scores.name,), scores.m * scores.batch, elements)


def _mixes(scores: Gemm, mix: Gemm) -> bool:
    """Return whether a product takes the results of some scores, mask and all."""
    of_mask = ("rows_per_token", "visible_before", "window", "batch", "count", "m")
    return (
        mix.role == "mix"
        and mix.k == scores.n
        and (mix.causal is None) == (scores.causal is None)
        and all(getattr(mix, name) == getattr(scores, name) for name in of_mask)
    )


def _mlps(
    products: Sequence[Gemm],
    steps: Sequence[VectorStep],
    readers: Mapping[str, set[str]],
    *,
    apart: bool = False,
) -> Iterator[tuple[Group, list[VectorStep]]]:
    """Yield MLPs; with ``apart`` those on whose products other steps work, and these steps."""
    taken: set[int] = set()
    for step in steps:
        between = [other for other in steps if _disturbs(other, step)] if _activates(step) else []
        if not _activates(step) or bool(between) != apart:
            continue
        left = step.rows * step.count
        for i, first in enumerate(products):
            if first.name != step.after[0] or i in taken:
                continue
            found = _matched(products, i, step, readers, taken)
            if found is None:
                continue
            group = Group(
                into=tuple(products[j] for j in found[:-1]), step=step, out=products[found[-1]]
            )
            rows = group.rows * group.count
            if rows > left or (group.rows != step.rows and rows % step.count):
                continue
            left -= rows
            taken.update(found)
            yield group, between


def _activates(step: VectorStep) -> bool:
    """Return whether a step works on each element alone, of what products make, and streams."""
    each = [OPERATIONS[name] for name in step.operations]
    return (
        step.streams
        and step.direct
        and bool(each)
        and not any(work.row_adds or work.row_multiplies or work.row_specials for work in each)
        and step.elements % step.rows == 0
        and sum(read.elements for read in step.reads) == step.elements * (len(step.after) - 1)
        and not step.writes
        and all(made.elements == step.elements for made in step.makes)
    )


def _disturbs(other: VectorStep, step: VectorStep) -> bool:
    """Return whether another step works on what a step's products make, in the same layers."""
    if other is step or not set(other.after) & set(step.after):
        return False
    elsewhere = other.name == step.name and other.operations == step.operations
    return not elsewhere or other.elements * step.rows == step.elements * other.rows


def _matched(
    products: Sequence[Gemm],
    i: int,
    step: VectorStep,
    readers: Mapping[str, set[str]],
    taken: set[int],
) -> tuple[int, ...] | None:
    """Return the places of the products of a group whose first is the ``i``-th; None: no group."""
    first, width = products[i], step.elements // step.rows
    found, at = [i], i
    for name in step.after[1:]:
        at = _next(products, at, taken, replace(first, name=name).__eq__)
        if at < 0:
            return None
        found.append(at)
    if any(products[j].n % width or products[j].role != "linear" for j in found):
        return None
    at = _next(products, at, taken, lambda each: _reads(each, first, width))
    if at < 0 or any(readers[products[j].name] != {products[at].name} for j in found):
        return None
    return *found, at


def _next(products: Sequence[Gemm], at: int, taken: set[int], fits: Callable[[Gemm], bool]) -> int:
    places = (j for j in range(at + 1, len(products)) if j not in taken and fits(products[j]))
    return next(places, -1)


def _reads(out: Gemm, first: Gemm, width: int) -> bool:
    alike = ("m", "batch", "sequences", "count", "layers", "stationary")
    return (
        out.role == "linear"
        and out.k == width
        and all(getattr(out, name) == getattr(first, name) for name in alike)
    )
