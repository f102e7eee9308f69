"""A mixture of experts: a router, experts of which each token visits some, perhaps a shared one."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ..vector_step import Tensor, VectorStep
from .forward import Forward
from .matrix import ENTRY, Matrix, Product
from .mlp import Mlp
from .part import Part, linear
from .routing import Spread, even_spread, rows_of, spread_of

_SHARED = "shared_expert_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts(Part):
    """A mixture of experts in the place of an MLP.

    Attributes
    ----------
    total, active : int
        Experts, and those that a token visits.
    expert : Mlp
        One of them.
    shared : Mlp or None
        The expert that every token visits.
    shared_gate : bool
        Whether a matrix of one output weighs the shared expert.
    router_bias : bool
        Whether the router has a bias.
    vectors : int
        Parameters of scales.
    idle : int
        Experts beside these, among which a token chooses too, that give back what they get.
    loads : tuple of int
        Of each expert, and behind them of those that give back what they get, relative to the
        others': how often tokens visit it; empty: all alike.
    """

    total: int
    active: int
    expert: Mlp
    shared: Mlp | None = None
    shared_gate: bool = False
    router_bias: bool = False
    vectors: int = 0
    idle: int = 0
    loads: tuple[int, ...] = ()

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        shared = () if self.shared is None else (_SHARED + self.shared.names[-1],)
        return (*shared, "expert_" + self.expert.names[-1])

    @property
    def rank(self) -> int:
        """Behind the MLPs of dense layers."""
        return 1

    @property
    def other_parameters(self) -> int:
        """Parameters of scales."""
        return self.vectors

    @property
    def router(self) -> Matrix:
        """The matrix that chooses experts."""
        return Matrix(
            stage="router",
            name="router",
            outputs=self.total + self.idle,
            inputs=self.expert.hidden,
            bias=self.router_bias,
        )

    def _shared(self) -> tuple[Matrix, ...]:
        """Return the gate of the shared expert, if there is one, and its matrices."""
        if self.shared is None:
            return ()
        gate = Matrix(stage="mlp", name="shared_expert_gate", outputs=1, inputs=self.expert.hidden)
        return (*((gate,) if self.shared_gate else ()), *self.shared.into_and_back("mlp", _SHARED))

    def _routed(self) -> tuple[Matrix, ...]:
        return self.expert.into_and_back("experts", "expert_")

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        yield from self.common_matrices()
        yield from self.expert_matrices(self.total)

    def common_matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield the matrices of all tokens: of the router, and of the shared expert."""
        for matrix in (self.router, *self._shared()):
            yield matrix, 1

    def expert_matrices(self, experts: int) -> Iterator[tuple[Matrix, int]]:
        """Yield the matrices of so many experts."""
        for matrix in self._routed():
            yield matrix, experts

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a pass; of the experts, those that get the most rows first.

        The visits are spread as evenly as they go: of t k visits to e experts, (t k mod e)
        experts get ceil(t k / e) rows and the others floor(t k / e); or as ``loads`` say.
        """
        yield from self.of_every_token(run)
        yield from self.visited(self.spread(run.rows))

    def spread(self, tokens: int) -> Spread:
        """Return how many experts get how many rows of some tokens."""
        if self.loads and not self.idle:
            return spread_of(self.loads, self.active, tokens)
        if self.loads:
            rows = Counter(rows_of(self.loads, self.active, tokens)[: self.total])
            return tuple(sorted(((n, many) for n, many in rows.items() if n), reverse=True))
        return even_spread(self.total, self.active, tokens, self.idle)

    def of_every_token(self, run: Forward) -> Iterator[Product]:
        """Yield the products of all tokens: of the router, and of the shared expert."""
        yield linear(self.router, run)
        if self.shared is not None:
            *into, back = self._shared()
            for matrix in into:
                yield linear(matrix, run)
            yield linear(back, run, tuple(matrix.name for matrix in into))

    def visited(self, spread: Sequence[tuple[int, int]]) -> Iterator[Product]:
        """Yield the products of experts, given as rows and how many experts get so many."""
        *into, back = self._routed()
        busy = sum(instances for m, instances in spread if m)
        for m, instances in spread:
            if not instances or not m:
                continue
            for matrix in into:
                gemm = replace(matrix.gemm(m), count=instances)
                chosen = (ENTRY, self.router.name)
                yield Product(stage=matrix.stage, gemm=gemm, inputs=chosen)
            yield Product(
                stage=back.stage,
                gemm=replace(back.gemm(m), count=instances),
                inputs=tuple(matrix.name for matrix in into),
                parts=busy,
            )

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield the choice of experts, their activations, and the weighted sum of what they give.

        The sum is a row for each token, read and written back with each of its experts.
        """
        yield from self.between(run, sum(m * experts for m, experts in self.spread(run.rows)))

    def between(self, run: Forward, visits: int) -> Iterator[VectorStep]:
        """Yield the vector steps of a chip whose experts get ``visits`` rows, its own or others."""
        width = self.expert.hidden
        yield VectorStep(
            name="router_softmax",
            operations=("softmax",),
            rows=run.rows,
            elements=run.rows * (self.total + self.idle),
            after=(self.router.name,),
            streams=True,
        )
        if self.shared is not None:
            yield self.shared.activated(run.rows, _SHARED)
        if visits:
            yield self.expert.activated(visits, "expert_")
        sums = Tensor(run.rows * self.active * width, width)
        yield VectorStep(
            name="experts_sum",
            operations=("weighted_sum",),
            rows=run.rows * self.active,
            elements=sums.elements,
            after=self.exits,
            streams=True,
            pieces=sums.elements,
            reads=(sums,),
        )
