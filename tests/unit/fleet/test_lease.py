"""A lease: lengths of time, counted from the question, never more handed on than is left."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rackrate.fleet.lease import FROZEN_FRAC, Freeze, Lease

seconds = st.floats(0, 1e6)
lengths = st.floats(0.1, 1e4)


def test_a_lease_of_10_s_asked_for_at_5_s_ends_at_15_s() -> None:
    lease = Lease.asked_at(5, 10)
    assert (lease.until_s, lease.period_s) == (15, 2.5)
    assert lease.is_live(14.9)
    assert not lease.is_live(15)
    assert (lease.left_s(12), lease.left_s(20)) == (3, 0)


@given(seconds, lengths, st.lists(seconds, max_size=8))
def test_answers_in_any_order_leave_the_end_of_the_latest_question(
    start: float, ttl: float, asked: list[float]
) -> None:
    lease = Lease.asked_at(start, ttl)
    for at in asked:
        lease = lease.renewed(at)
    assert lease.until_s == max([start, *asked]) + ttl


@given(seconds, lengths, st.lists(st.tuples(seconds, lengths), min_size=1, max_size=5))
def test_a_chain_of_leases_ends_with_its_first(
    start: float, ttl: float, links: list[tuple[float, float]]
) -> None:
    holder = first = Lease.asked_at(start, ttl)
    for asked, length in links:
        left_s = holder.left_s(asked)
        if left_s > 0:  # else it is refused
            holder = Lease.asked_at(asked, min(length, left_s))
        assert holder.until_s <= first.until_s + 1e-6


def test_a_part_that_is_stopped_has_half_a_lease_to_come_back_each_time() -> None:
    freeze = Freeze()
    looks = [(0, True), (4.9, True), (5, False), (6, True), (10.9, True), (11, True)]
    assert [freeze.is_over(at, 10, is_frozen=stopped) for at, stopped in looks] == [False] * 5 + [True]


@given(lengths, st.lists(st.tuples(st.floats(0, 1e3), st.booleans()), min_size=1, max_size=12))
def test_a_part_is_given_up_when_the_looks_since_it_last_worked_span_what_it_may(
    ttl: float, looks: list[tuple[float, bool]]
) -> None:
    looks.sort()
    freeze, stopped_s = Freeze(), []
    for at, is_frozen in looks:
        stopped_s = [*stopped_s, at] if is_frozen else []
        is_over = freeze.is_over(at, ttl, is_frozen=is_frozen)
        assert is_over == (is_frozen and at - stopped_s[0] >= ttl * FROZEN_FRAC)
