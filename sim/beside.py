"""Steps of the vector unit for what linear layers compute beside their products (`arch.beside`).

Of a layer of ``n`` outputs and ``k`` inputs a row takes

=========  =============================================================  =========================
outliers   ``c = ceil(share k)`` inputs gathered (a clock of a lane       beside the array's product
           each), ``c n`` products and sums
sparse     ``s = ceil(share n k)`` inputs gathered, ``s`` products, sums  beside the array's product
rank       ``r (k + n)`` products and sums                                beside the array's product
rotation   ``k log2(b)`` sums and ``k`` products, in blocks of b; of a    before the array's product
           matrix ``k k`` products and sums
divisors   ``k`` products                                                 before the array's product
=========  =============================================================  =========================

What stands before a product delays it whole; the rest goes on piece by piece while it runs. Weights
that this takes come with the layer's own, whose stored bits count them.
"""

from collections.abc import Iterable, Iterator
from functools import partial

from ..arch.beside import Beside
from ..datatypes.base.numbers import share_of
from ..workloads.gemm import HEAD, Gemm
from ..workloads.vector_step import VectorStep


def beside_steps(beside: Beside, gemms: Iterable[Gemm]) -> tuple[VectorStep, ...]:
    """Return the steps of all linear layers but the output head.

    Parameters
    ----------
    beside : Beside
    gemms : iterable of Gemm

    Examples
    --------
    >>> from bitlathe.arch.beside import Beside
    >>> layer = Gemm(name="up", m=2, n=8, k=64)
    >>> for step in beside_steps(Beside(rank=4, rotation="hadamard"), [layer]):
    ...     print(step.name, step.totals.adds, step.totals.multiplies)
    up_low_rank 576 576
    up_rotation 768 0
    up_factors 0 128
    """
    asked = (each for each in gemms if each.kind == "linear" and each.name != HEAD)
    return tuple(step for gemm in asked for step in _steps(beside, gemm))


def _step(gemm: Gemm, what: str, operation: str, elements: int, pieces: int = 1) -> VectorStep:
    """Return a step of so many elements for each row of a product's inputs."""
    rows = gemm.m * gemm.batch
    return VectorStep(
        name=f"{gemm.name}_{what}",
        operations=(operation,),
        rows=rows,
        elements=rows * elements,
        after=(gemm.name,),
        streams=True,
        pieces=pieces,
        count=gemm.count,
    )


def _steps(beside: Beside, gemm: Gemm) -> Iterator[VectorStep]:
    n, k, step = gemm.n, gemm.k, partial(_step, gemm)

    if beside.outlier_fraction:
        columns = share_of(beside.outlier_fraction, k, up=True)
        yield step("gather", "add", columns, n)
        yield step("outliers", "weighted_sum", columns * n, n)
    if beside.sparse_fraction:
        single = share_of(beside.sparse_fraction, n * k, up=True)
        yield step("sparse_gather", "add", single, n)
        yield step("sparse", "weighted_sum", single, n)
    if beside.rank:
        yield step("low_rank", "weighted_sum", beside.rank * (k + n), n)
    if beside.rotation == "dense":
        yield step("rotation", "weighted_sum", k * k)
    elif beside.rotation == "hadamard":
        block = k & -k
        if block > 1:
            yield step("rotation", "add", k * (block.bit_length() - 1))
    if beside.divisors or beside.rotation == "hadamard":
        yield step("factors", "multiply", k)
