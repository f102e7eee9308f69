"""Which chips of a system compute which sequences: replicas, and micro-batches of each."""

from collections import Counter
from dataclasses import dataclass

from ...arch.system import Parallel
from ...datatypes.base.errors import BitlatheError
from ...workloads.slices import shares


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """Sequences that go through the stages together: of each chip that shares the experts."""

    sequences: tuple[int, ...]

    @property
    def all_sequences(self) -> int:
        """Those of all these chips."""
        return sum(self.sequences)


@dataclass(frozen=True, slots=True)
class Replica:
    """A copy of the model: its micro-batches in order, each with how often it is alike."""

    micro_batches: tuple[tuple[MicroBatch, int], ...]

    @property
    def sequences(self) -> tuple[int, ...]:
        """Sequences of each chip that shares the experts."""
        each = [[n * times for n in batch.sequences] for batch, times in self.micro_batches]
        return tuple(map(sum, zip(*each, strict=True)))


def replicas(parallel: Parallel, batch: int) -> Counter[Replica]:
    """Return the copies of a model, each with how many are alike.

    Sequences are divided as equally as they go: among the copies, within one among the chips that
    share its experts, of a chip among micro-batches.

    Parameters
    ----------
    parallel : Parallel
    batch : int
        Sequences of all copies.

    Raises
    ------
    BitlatheError
        Of fewer sequences than chips, or micro-batches, that have their own.

    Examples
    --------
    >>> [(r.sequences, n) for r, n in replicas(Parallel(expert=2, data=2), 7).items()]
    [((2, 2), 1), ((2, 1), 1)]
    """
    least = parallel.data * parallel.expert
    if batch < least:
        raise BitlatheError(
            f"batch is {batch}, but data {parallel.data} x expert {parallel.expert} = {least} "
            f"chips have sequences of their own; give a batch of at least {least}."
        )
    fewest = batch // parallel.data // parallel.expert
    given = parallel.micro_batches
    if given is not None and given > fewest:
        raise BitlatheError(
            f"micro_batches is {given}, but a chip may have {fewest} of the {batch} sequences; use "
            f"at most {fewest}."
        )
    parts = min(parallel.pipeline, fewest) if given is None else given
    more = batch % parallel.data
    sizes = {batch // parallel.data + 1: more, batch // parallel.data: parallel.data - more}
    found: Counter[Replica] = Counter()
    for sequences, copies in sizes.items():
        if copies:
            found[_replica(shares(sequences, parallel.expert), parts)] += copies
    return found


def _replica(sequences: tuple[int, ...], parts: int) -> Replica:
    in_order = zip(*(shares(each, parts) for each in sequences), strict=True)
    return Replica(tuple(Counter(map(MicroBatch, in_order)).items()))
