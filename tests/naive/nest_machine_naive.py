"""The machine of a mapping in plain Python: every visit a record, every event in its turn.

Shares nothing with the package but the walk of the nest in `nest_naive`. Times are Fractions of a
clock. Written from the section "The machine of a mapping" of docs/cycle.md.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from . import nest_naive

OPERANDS = ("weight", "input", "output")


@dataclass(eq=False)
class Job:
    """A tile on its way between a memory and the next one."""

    edge: "Edge"
    kind: str  # fetch, write, readback
    visit: int
    ports: tuple
    rest: list
    latency: Fraction
    moving: bool = False
    arrives: Fraction | None = None
    done: bool = False

    def order(self):
        """Return what goes first on a port: less time, results, inner; then the earlier needed."""
        e = self.edge
        needed = self.visit
        if self.kind == "write":
            needed += 2 if e.doubled else 1
        return (*e.rank, needed, self.kind != "write")


class Edge:
    """Two neighbors of an operand's chain, and all visits to the inner one's tiles."""

    def __init__(self, operand, place, stays, doubled, turns):
        self.operand, self.place, self.doubled = operand, place, doubled
        self.first = [0]
        self.early, self.late = [], []  # steps of the first pass, of the last pass
        for stay in stays:
            begin = self.first[-1]
            early, late = turns(begin, begin + stay.steps)
            self.early.append(early)
            self.late.append(late)
            self.first.append(begin + stay.steps)
        self.visits = len(stays)
        self.jobs = {}
        self.parent = self.child = None

    def visit_at(self, step):
        """Return the visit that a step belongs to."""
        return max(v for v in range(self.visits) if self.first[v] <= step)

    def done(self, kind, visit):
        """Whether a transfer is complete, or was never to be."""
        job = self.jobs.get((kind, visit))
        return job is None or job.done


def passes(steps, loops, cut, dims):
    """Return the steps of the first and of the last turn over all blocks of a tile.

    A turn is all that goes on inside the loops outside the first one that moves over the tile.

    Parameters
    ----------
    steps : list of lists of dict
        For each step of the visit the ranges outside each loop, and of the step.
    loops : list of (dim, tile)
    cut : int
        Loops outside the tile.
    dims : tuple of str
        Dimensions of the operand.
    """
    for j in range(cut, len(loops)):
        dim = loops[j][0]
        if dim in dims and len({step[j + 1][dim] for step in steps}) > 1:
            first = [step[j] == steps[0][j] for step in steps]
            last = [step[j] == steps[-1][j] for step in steps]
            return sum(first), sum(last)
    return 1, 1


class Machine:
    """Everything about a run.

    Parameters
    ----------
    sizes, indexes, loops, spatial
        As `nest_naive.walk` takes them.
    chains : dict of str to list of (memory name, loops outside, doubled)
    memories : dict of str to dict
        ``per``, ``ports`` as (direction, width, operands, bits of a burst or None), ``latency``,
        ``words``.
    axes : tuple of str
    bits : function of (operand, partial, code) to Fraction
    step_cycles : Fraction
    staying : tuple of str
        Operands of which nothing moves between the outermost memory and the next.
    """

    def __init__(
        self, sizes, indexes, loops, spatial, chains, memories, axes, bits, step_cycles, staying=()
    ):
        self.staying = staying
        self.memories, self.axes, self.bits, self.step_cycles = memories, axes, bits, step_cycles
        outside = {op: [place[1] for place in chains[op]] for op in OPERANDS}
        stays = nest_naive.walk(sizes, indexes, loops, spatial, outside)
        self.chains, self.stays = chains, stays
        self.steps = len(stays["weight", len(chains["weight"])])
        self.edges, self.jobs = [], []
        ranges = {dim: (0, size) for dim, size in sizes.items()}
        walked = list(nest_naive._walk(ranges, loops, []))
        full = dict(sizes)
        several = []
        for dim, tile in loops:
            several.append(tile < full[dim])
            full[dim] = min(tile, full[dim])
        for op in OPERANDS:
            above = None
            for i in range(1, len(chains[op])):
                _, cut, doubled = chains[op][i]
                edge = Edge(
                    op,
                    i,
                    stays[op, i],
                    doubled,
                    lambda low, high, op=op, cut=cut: passes(
                        walked[low:high], loops, cut, indexes[op]
                    ),
                )
                moving = [j for j, (d, _) in enumerate(loops) if d in indexes[op] and several[j]]
                if doubled:
                    window = max([j + 1 for j in moving if j < cut], default=0)
                else:
                    window = min([j for j in moving if j >= cut], default=len(loops))
                edge.rank = (-window, ["output", "weight", "input"].index(op), -i)
                edge.parent = above
                if above:
                    above.child = edge
                self.edges.append(edge)
                above = edge
                self._add_jobs(edge)
        self.time, self.at, self.running = Fraction(0), 0, False
        self.taken = {}
        self.results = {}  # when the results of a step are in the innermost memory
        self.stalls = {}

    def clocks(self, op, place, stay, kind, partial):
        """Return ports and clocks at both ends of a transfer to or from a place."""
        names = [each[0] for each in self.chains[op]] + [None]
        parent, child = names[place - 1], names[place]
        down = kind != "write"
        found = []
        code = child is None or self.memories[child]["words"] is not None
        width = self.bits(op, partial, code)
        for name, reads in ((parent, down), (child, not down)):
            if name is None:
                continue
            per = self.memories[name]["per"]
            share = max(map(len, nest_naive._copies(stay, per).values()))
            if place == 1 and op in self.staying:
                share = 0
            for i, (direction, port, operands, *burst) in enumerate(self.memories[name]["ports"]):
                if direction in ("both", "read" if reads else "write") and op in operands:
                    bits = share * width
                    if burst and burst[0] is not None:
                        bits = ceil(bits / burst[0]) * burst[0]
                    found.append(((name, i), ceil(bits / port)))
        return found

    def _add_jobs(self, edge):
        stays = self.stays[edge.operand, edge.place]
        latency = self.memories[self.chains[edge.operand][edge.place - 1][0]]["latency"]
        if edge.place == 1 and edge.operand in self.staying:
            latency = 0
        seen = set()
        for v, stay in enumerate(stays):
            if edge.operand != "output":
                kinds = [("fetch", False)]
            else:
                again = any(other.key == stay.key for other in stays[v + 1 :])
                kinds = [("write", again)]
                if stay.key in seen:
                    kinds.append(("readback", True))
                seen.add(stay.key)
            for kind, partial in kinds:
                ends = self.clocks(edge.operand, edge.place, stay, kind, partial)
                job = Job(
                    edge,
                    kind,
                    v,
                    tuple(port for port, _ in ends),
                    [Fraction(taken) for _, taken in ends],
                    Fraction(latency if kind != "write" else 0),
                )
                edge.jobs[kind, v] = job
                self.jobs.append(job)

    # ---- rules

    def begun(self, step):
        return self.at > step or (self.at == step and self.running)

    def ended(self, edge, visit):
        """Whether the array has done the last step of a visit."""
        return visit < 0 or self.at >= edge.first[visit + 1]

    def outside(self, e):
        """Return the edges of weights and inputs that are further out in their chains."""
        return [each for each in self.edges if each.operand != "output" and each.place < e.place]

    def may_move(self, job):
        """Whether a transfer's place is free and its elements are there."""
        rule = {"fetch": self._may_come, "write": self._may_leave, "readback": self._may_return}
        return rule[job.kind](job.edge, job.visit)

    def _may_come(self, e, v):
        if v == 0:
            return all(each.jobs["fetch", 0].done for each in self.outside(e))
        if e.doubled:
            free = self.ended(e, v - 2) and self.begun(0)
        else:
            free = self.begun(e.first[v] - e.late[v - 1])
        if not free or e.parent is None:
            return free
        up = e.parent.visit_at(e.first[v])
        here = e.parent.doubled or self.ended(e.parent, up - 1)
        return here and e.parent.done("fetch", up)

    def _may_leave(self, e, v):
        if not self.ended(e, v) or not e.done("readback", v):
            return False
        if e.child is None:
            return self.results[e.first[v + 1] - 1] <= self.time
        return e.child.done("write", e.child.visit_at(e.first[v + 1] - 1))

    def _may_return(self, e, v):
        if not self.ended(e, v - 2 if e.doubled else v - 1) or not e.done("write", v - 2):
            return False
        return e.parent is None or e.parent.done("readback", e.parent.visit_at(e.first[v]))

    def gating(self):
        """Return what is not complete and must be before the next step."""
        found = []
        for e in self.edges:
            v = e.visit_at(self.at)
            if e.operand != "output":
                need = [("fetch", v)]
            else:
                need = [("write", v - 2), ("readback", v - 1)]
                if self.at >= e.first[v] + e.early[v]:
                    need += [("readback", v)] if e.doubled else [("write", v - 1), ("readback", v)]
            found += [e.jobs[key] for key in need if not e.done(*key)]
        return found

    def release(self):
        for job in self.jobs:
            if not job.moving and self.may_move(job):
                job.moving = True

    # ---- time

    def advance(self, limit, urgent):
        """Move time to the next event, at most by ``limit`` clocks; return how far."""
        heads, delta = {}, limit
        for memory, each in self.memories.items():
            for i in range(len(each["ports"])):
                port = (memory, i)
                if self.taken.get(port, 0) > 0:
                    delta = min(delta, self.taken[port])
                    continue
                waiting = [
                    (job not in urgent, job.order(), n, job.ports.index(port), job)
                    for n, job in enumerate(self.jobs)
                    if job.moving and port in job.ports and job.rest[job.ports.index(port)] > 0
                ]
                if waiting:
                    *_, end, job = min(waiting)
                    heads[port] = (job, end)
                    delta = min(delta, job.rest[end])
        for job in self.jobs:
            if job.arrives is not None and not job.done:
                delta = min(delta, job.arrives - self.time)
        for when in self.results.values():
            if when > self.time:
                delta = min(delta, when - self.time)
        if any(job.moving and job.arrives is None and not any(job.rest) for job in self.jobs):
            delta = 0  # nothing is to move: it is there
        assert delta < 10**9, "stands still"
        self.time += delta
        for port in self.taken:
            self.taken[port] = max(Fraction(0), self.taken[port] - delta)
        for job, end in heads.values():
            job.rest[end] -= delta
        for job in self.jobs:
            if job.moving and job.arrives is None and not any(job.rest):
                job.arrives = self.time + job.latency
            if job.arrives is not None and job.arrives <= self.time:
                job.done = True
        return delta

    def cause(self, waited):
        """Return what is waited for, as text."""
        waited = sorted(waited, key=lambda job: job.order())
        slow = [job for job in waited if job.moving]
        job = slow[0] if slow else waited[0] if waited else None
        while job is not None and not job.moving:
            job, _ = self.blocker(job), None
        if job is None:
            name, port = next(iter(p for p, left in self.taken.items() if left > 0))
            way = self.memories[name]["ports"][port][0]
            return f"{name}.{'port' if way == 'both' else way} array"
        names = [each[0] for each in self.chains[job.edge.operand]]
        parent, child = names[job.edge.place - 1], names[job.edge.place]
        if job.arrives is not None:
            return f"{parent}.latency {job.edge.operand}"
        end = int(job.rest[1] > job.rest[0])
        reads = (end == 0) != (job.kind == "write")
        return f"{(parent, child)[end]}.{'read' if reads else 'write'} {job.edge.operand}"

    def blocker(self, job):
        """Return the transfer that another waits for; None: the array's own results."""
        e, v = job.edge, job.visit
        if job.kind == "write":
            if not e.done("readback", v):
                return e.jobs["readback", v]
            return e.child and e.child.jobs["write", e.child.visit_at(e.first[v + 1] - 1)]
        if job.kind == "readback" and not e.done("write", v - 2):
            return e.jobs["write", v - 2]
        kind = job.kind
        return e.parent.jobs[kind, e.parent.visit_at(e.first[v])]

    def wait(self, what):
        """Let time pass until nothing that ``what`` returns is left."""
        while True:
            self.release()
            waited, urgent = what()
            if not waited and not (self.at == self.steps and any(self.taken.values())):
                return
            cause = self.cause(waited)
            delta = self.advance(Fraction(10**9), urgent)
            self.stalls[cause] = self.stalls.get(cause, 0) + delta

    def run(self):
        """Return clocks until the last result is stored."""
        seen = set()
        outs = self.stays["output", len(self.chains["output"])]
        for s in range(self.steps):
            self.at, self.running = s, False
            self.wait(lambda: (self.gating(), set(self.gating())))
            self.running = True
            own = []
            for op in OPERANDS[:2]:
                place = len(self.chains[op])
                own += self.clocks(op, place, self.stays[op, place][s], "fetch", False)
            place = len(self.chains["output"])
            if outs[s].key in seen:
                own += self.clocks("output", place, outs[s], "readback", True)
            seen.add(outs[s].key)
            for port, taken in own:
                self.taken[port] = self.taken.get(port, Fraction(0)) + taken
            longest = max([self.step_cycles, *self.taken.values()])
            if longest > self.step_cycles:
                (name, i) = next(
                    (name, i)
                    for name, each in self.memories.items()
                    for i in range(len(each["ports"]))
                    if self.taken.get((name, i), 0) == longest
                )
                way = self.memories[name]["ports"][i][0]
                cause = f"{name}.{'port' if way == 'both' else way} array"
                more = longest - self.step_cycles
                self.stalls[cause] = self.stalls.get(cause, 0) + more
            end = self.time + longest
            while self.time < end:
                self.release()
                self.advance(end - self.time, set())
            again = any(other.key == outs[s].key for other in outs[s + 1 :])
            ((port, taken),) = self.clocks("output", place, outs[s], "write", again)
            self.taken[port] = Fraction(taken)
            self.results[s] = self.time + taken
        self.at, self.running = self.steps, False
        self.wait(lambda: ([job for job in self.jobs if not job.done], set()))
        return self.time
