"""A chip's share of a mixture: some of the experts, for its own tokens and those of other chips."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from ..slices import Slice
from ..vector_step import VectorStep
from .experts import Experts
from .forward import Forward
from .matrix import Matrix, Product
from .part import Part
from .routing import even_spread, rows_of


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertShare(Part):
    """Experts of one chip of several that share them; each routes its own tokens to all.

    Attributes
    ----------
    mixture : Experts
        All experts; the router and the shared expert are on every chip.
    own : Slice
        Which of the experts the chip has.
    group_rows : Fraction
        Tokens of all the chips for one of its own.
    """

    mixture: Experts
    own: Slice
    group_rows: Fraction

    @property
    def exits(self) -> tuple[str, ...]:
        """Names of the products whose results the part leaves."""
        return self.mixture.exits

    @property
    def rank(self) -> int:
        """As of the whole mixture."""
        return self.mixture.rank

    @property
    def other_parameters(self) -> int:
        """As of the whole mixture."""
        return self.mixture.other_parameters

    def matrices(self) -> Iterator[tuple[Matrix, int]]:
        """Yield each weight matrix with the number of its instances, in order."""
        yield from self.mixture.common_matrices()
        yield from self.mixture.expert_matrices(self.own.of(self.mixture.total))

    def spread(self, run: Forward) -> tuple[tuple[int, int], ...]:
        """Return how many of the chip's experts get how many rows in a pass.

        All chips' visits go to experts as evenly as they go (`Experts.products`), and the experts
        in use to chips in turn, those that get one row more first. Where loads say how often each
        expert is visited, a chip has so many of them in a row, in the order of the loads.
        """
        experts, active = self.mixture.total, self.mixture.active
        tokens = int(run.rows * self.group_rows)
        if self.mixture.loads:
            first, mine = self.own.start(experts), self.own.of(experts)
            rows = rows_of(self.mixture.loads, active, tokens)[first : first + mine]
            return tuple(sorted(Counter(n for n in rows if n).items(), reverse=True))
        spread = even_spread(experts, active, tokens, self.mixture.idle)
        visits, busy = sum(n * many for n, many in spread), sum(many for _, many in spread)
        each, more = divmod(visits, busy or 1)
        here = self.own.of(more)
        return ((each + 1, here), (each, self.own.of(busy) - here))

    def products(self, run: Forward) -> Iterator[Product]:
        """Yield the products of a forward pass of the chip's own tokens."""
        yield from self.mixture.of_every_token(run)
        yield from self.mixture.visited(self.spread(run))

    def vector_steps(self, run: Forward) -> Iterator[VectorStep]:
        """Yield the choice of experts, the activations of those here, the sum of own tokens."""
        visits = sum(rows * experts for rows, experts in self.spread(run))
        yield from self.mixture.between(run, visits)
