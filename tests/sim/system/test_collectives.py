"""Collectives in closed form: equal to a walk of their messages; published formulas; laws."""

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitlathe.arch.system import Links
from bitlathe.sim.system.collectives import ROUNDS, collective
from bitlathe.sim.system.stages import interval, makespan
from naive.collectives_naive import pipeline, walk

KINDS = ("all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send")


def links(gb_per_s=100, latency_ns=20.0, topology="ring"):
    return Links(gb_per_s=gb_per_s, latency_ns=latency_ns, energy_pj_per_bit=1.0, topology=topology)


@given(
    kind=st.sampled_from(KINDS),
    topology=st.sampled_from(sorted(ROUNDS)),
    p=st.integers(2, 9),
    bits=st.integers(1, 5000),
    gb_per_s=st.sampled_from([0.5, 3.0, 12.8, 100.0]),
    latency_ns=st.sampled_from([0.0, 0.3, 7.0, 20.0]),
    clock=st.sampled_from([1.0, 0.94, 2.5]),
)
def test_closed_forms_are_the_walk_of_all_messages(
    kind, topology, p, bits, gb_per_s, latency_ns, clock
):
    found = collective(kind, bits, p, links(gb_per_s, latency_ns, topology), clock)
    rate = Fraction(str(gb_per_s)) * 8 / Fraction(str(clock))
    clocks, sent = walk(
        kind, topology, p, bits, rate, Fraction(str(latency_ns)) * Fraction(str(clock))
    )
    assert (found.cycles, found.link_bits) == (math.ceil(clocks), sent)


def test_a_ring_all_reduce_moves_two_p_minus_one_over_p_of_the_vector():
    p, bits = 8, 8 * 10**6
    cost = collective("all_reduce", bits, p, links(latency_ns=0.0), 1.0)
    assert cost.cycles == 2 * (p - 1) * bits // p // 800
    assert cost.link_bits == 2 * (p - 1) * bits


@pytest.mark.parametrize("topology", sorted(ROUNDS))
@pytest.mark.parametrize("kind", KINDS)
def test_faster_links_are_never_slower_and_one_chip_sends_nothing(kind, topology):
    costs = [
        collective(kind, 123_457, 6, links(speed, wait, topology), 1.0).cycles
        for speed, wait in ((1, 90), (10, 90), (10, 9), (1000, 9), (1000, 0))
    ]
    assert costs == sorted(costs, reverse=True)
    alone = collective(kind, 123_457, 1, links(topology=topology), 1.0)
    assert (alone.cycles, alone.link_bits) == (0, 0)


def test_an_all_reduce_is_a_reduce_scatter_and_an_all_gather():
    for topology in ROUNDS:
        one, *parts = (
            collective(kind, 4096, 4, links(topology=topology), 1.0)
            for kind in ("all_reduce", "reduce_scatter", "all_gather")
        )
        assert one.link_bits == sum(each.link_bits for each in parts)
        assert one.cycles <= sum(each.cycles for each in parts) <= one.cycles + 1


@given(
    st.integers(1, 5).flatmap(
        lambda n: st.lists(
            st.tuples(st.integers(1, 5), st.tuples(*[st.integers(0, 9)] * n)),
            min_size=1,
            max_size=4,
        )
    )
)
def test_the_makespan_is_that_of_micro_batches_sent_one_by_one(batches):
    jobs = [clocks for count, clocks in batches for _ in range(count)]
    assert makespan(batches) == pipeline(jobs)
    assert interval(batches) <= makespan(batches)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 6))
def test_independent_steps_follow_at_the_interval(clocks, count):
    batches, steps = [(count, tuple(clocks))], 7
    jobs = [tuple(clocks)] * count
    assert pipeline(jobs * steps) == makespan(batches) + (steps - 1) * interval(batches)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 5), st.integers(0, 5))
def test_generated_steps_wait_for_their_own_tokens(clocks, count, back):
    """The same flow shop, each micro-batch starting when its last token is back."""
    batches = [(count, tuple(clocks))]
    ready, done, ends = [0] * count, [0] * len(clocks), []
    for _ in range(40):
        for job in range(count):
            now = ready[job]
            for i, each in enumerate(clocks):
                now = max(now, done[i]) + each
                done[i] = now
            ready[job] = now + back
        ends.append(now)
    assert ends[-1] - ends[-21] == 20 * interval(batches, back)
