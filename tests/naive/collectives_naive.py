"""Collectives message by message: ports, wires and what a chip must have before it sends on."""

from fractions import Fraction
from heapq import heappop, heappush


class Net:
    """Chips that send messages: one at a time each, to the next chip or to any."""

    def __init__(self, bits_per_clock: Fraction, latency: Fraction) -> None:
        self.rate, self.latency = bits_per_clock, latency
        self.free: dict[int, Fraction] = {}
        self.events: list[tuple[Fraction, int, tuple]] = []
        self.order = 0
        self.bits = 0

    def send(self, now: Fraction, chip: int, to: int, bits: int, what: tuple) -> None:
        start = max(now, self.free.get(chip, Fraction(0)))
        self.free[chip] = start + bits / self.rate
        self.bits += bits
        self.order += 1
        heappush(self.events, (self.free[chip] + self.latency, self.order, (to, *what)))

    def arrivals(self):
        while self.events:
            at, _, what = heappop(self.events)
            yield at, what


def part_bits(bits: int, p: int) -> int:
    return -(-bits // p)


def ring_pass(p, bits, rate, latency, times):
    """Each chip starts with one part; every part goes ``times`` (p - 1) links around the ring."""
    net, last = Net(rate, latency), Fraction(0)
    size, goal = part_bits(bits, p), times * (p - 1)
    for chip in range(p):
        net.send(Fraction(0), chip, (chip + 1) % p, size, (chip, 1))
    for at, (chip, part, links) in net.arrivals():
        last = at
        if links < goal:
            net.send(at, chip, (chip + 1) % p, size, (part, links + 1))
    return last, net.bits


def ring_all_to_all(p, bits, rate, latency):
    """Each round a chip passes on, as one message, all that is not at its place yet."""
    clock, total = Fraction(0), 0
    size = part_bits(bits, p)
    waiting = {chip: [(chip + d) % p for d in range(1, p)] for chip in range(p)}
    while any(waiting.values()):
        sent = {chip: list(goals) for chip, goals in waiting.items()}
        waiting = {chip: [] for chip in range(p)}
        clock += max(len(goals) * size / rate + latency for goals in sent.values())
        for chip, goals in sent.items():
            total += len(goals) * size
            waiting[(chip + 1) % p] = [g for g in goals if g != (chip + 1) % p]
    return clock, total


def switch(p, bits, rate, latency, times):
    """Each chip sends every other its part; ``times`` over, when all have arrived."""
    start, total = Fraction(0), 0
    for _ in range(times):
        net, last = Net(rate, latency), start
        for chip in range(p):
            for d in range(1, p):
                net.send(start, chip, (chip + d) % p, part_bits(bits, p), ())
        for at, _ in net.arrivals():
            last = max(last, at)
        start, total = last, total + net.bits
    return start, total


def walk(kind, topology, p, bits, rate, latency):
    """Return clocks (exact) and bits over links."""
    if kind == "send":
        return bits / rate + latency, bits
    if topology == "all_to_all":
        return switch(p, bits, rate, latency, 2 if kind == "all_reduce" else 1)
    if kind == "all_to_all":
        return ring_all_to_all(p, bits, rate, latency)
    return ring_pass(p, bits, rate, latency, 2 if kind == "all_reduce" else 1)


def pipeline(jobs):
    """Return when the last job leaves the last machine; jobs are clocks by machine, in order."""
    done = [0] * len(jobs[0])
    for job in jobs:
        now = 0
        for i, clocks in enumerate(job):
            now = max(now, done[i]) + clocks
            done[i] = now
    return done[-1]
