"""Ledger and budget: bills reckoned by hand, and a bound that no order of events may pass."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.errors import BadQuantity
from rackrate.fleet.budget import Budget
from rackrate.fleet.ledger import MICROUSD, Ledger, Line, Rate

L40S = Rate(790_000)  # 0.79 USD an hour, by the second
HOURLY = Rate(1_570_000, least_s=3600, step_s=3600)

rates = st.builds(Rate, st.integers(0, 10**8), st.integers(0, 7200), st.sampled_from([1, 60, 3600]))
times = st.integers(0, 200_000)
WITH_DISK = Rate(3_600_000, waiting_microusd_per_hour=360_000)


@pytest.mark.parametrize(
    ("rate", "seconds", "microusd"),
    [
        (L40S, 3600, 790_000),
        (L40S, 60, 13_167),  # 13,166.67 rounded up
        (L40S, 0.2, 220),  # a begun second: 219.44
        (L40S, 0, 0),
        (HOURLY, 1, 1_570_000),
        (HOURLY, 3601, 3_140_000),
        (Rate(3_600_000, least_s=600), 5, 600_000),
        (Rate(0, least_s=600), 5000, 0),
    ],
)
def test_seconds_cost_what_a_bill_says(rate: Rate, seconds: float, microusd: int) -> None:
    assert rate.microusd(seconds) == microusd


@given(rates, times, times)
def test_a_longer_life_costs_no_less_and_no_less_than_the_exact_price(rate: Rate, a: int, b: int) -> None:
    assert rate.microusd(min(a, b)) <= rate.microusd(max(a, b))
    exact = Fraction(rate.microusd_per_hour * a, 3600)
    assert exact <= rate.microusd(a)
    billed = max(a, rate.least_s) + rate.step_s
    assert rate.microusd(a) <= Fraction(rate.microusd_per_hour * billed, 3600) + 1


@pytest.mark.parametrize("bad", [(-1, 0, 1), (1, -1, 1), (1, 0, 0)])
def test_a_rate_that_cannot_be_is_refused(bad: tuple[int, int, int]) -> None:
    with pytest.raises(BadQuantity):
        Rate(*bad)


def test_a_bill_adds_what_runs_and_what_is_gone() -> None:
    bill = Ledger.of([Line("a", L40S, 0, 3600), Line("b", L40S, 1800), Line("c", HOURLY, 3000)])
    assert bill.microusd(5400) == 790_000 + 790_000 + 1_570_000
    assert bill.microusd_per_hour() == 790_000 + 1_570_000


def test_a_budget_counts_what_is_still_billed_after_the_decision() -> None:
    budget = Budget(MICROUSD, exposure_s=360)
    bill = Ledger.of([Line("a", Rate(MICROUSD), 0)])
    assert not budget.is_crossed(bill, 3240)  # 3,600 s to pay for: exactly a dollar
    assert budget.is_crossed(bill, 3241)
    assert budget.left_microusd(bill, 1440) == 500_000
    assert Budget().left_microusd(bill, 1e9) is None
    assert not Budget().is_crossed(bill, 1e9)


def test_a_node_billed_by_the_hour_is_not_ordered_on_half_an_hours_money() -> None:
    assert Budget(785_000).n_allowed(Ledger(), HOURLY, 0) == 0
    assert Budget(1_570_000).n_allowed(Ledger(), HOURLY, 0) == 1


@given(rates, st.integers(0, 10**9), st.integers(0, 600), st.integers(1, 20), st.integers(1, 900))
def test_whoever_asks_the_budget_each_tick_never_pays_more(
    rate: Rate, limit: int, latency_s: int, n_wanted: int, tick_s: int
) -> None:
    """Order while it allows, end all when it is crossed, be billed for the latency: the bill fits."""
    budget = Budget(limit, exposure_s=latency_s + tick_s)
    lines: list[Line] = []
    at = 0
    for _ in range(50):
        if budget.is_crossed(Ledger.of(lines), at):
            break
        if len(lines) < n_wanted and budget.n_allowed(Ledger.of(lines), rate, at) >= 1:
            lines.append(Line(str(at), rate, at))
        at += tick_s
    assert sum(line.rate.microusd(at + latency_s - line.from_s) for line in lines) <= limit


@given(rates, st.integers(0, 10**7), st.integers(0, 600), st.integers(0, 5), st.integers(0, 900))
def test_as_many_nodes_are_allowed_as_the_budget_is_not_crossed_by(
    rate: Rate, limit: int, exposure_s: int, n_old: int, at_s: int
) -> None:
    budget = Budget(limit, exposure_s)
    old = [Line(str(n), rate, 0) for n in range(n_old)]

    def is_crossed_by(n: int) -> bool:
        return budget.is_crossed(Ledger.of([*old, *[Line("", rate, at_s)] * n]), at_s)

    n_allowed = budget.n_allowed(Ledger.of(old), rate, at_s)
    if n_allowed == math.inf:
        assert not is_crossed_by(1000)
    else:
        n = min(int(n_allowed), 1000)
        assert not n or not is_crossed_by(n)
        assert n == 1000 or is_crossed_by(n + 1)


def test_until_it_is_known_to_run_a_machine_is_billed_for_its_disk_alone() -> None:
    assert Line("n", WITH_DISK, 0, 100, runs_from_s=40).microusd(500) == 40 * 100 + 60 * 1000


def test_a_machine_of_which_nobody_knows_whether_it_ran_counts_as_running() -> None:
    assert Line("n", WITH_DISK, 0, 100).microusd(500) == 100 * 1000


def test_a_machine_that_never_was_costs_nothing_whatever_the_least_is() -> None:
    assert Line("n", Rate(3_600_000, least_s=60), 5, 5).microusd(500) == 0


def test_a_price_below_nothing_is_none() -> None:
    with pytest.raises(BadQuantity):
        Rate(1, waiting_microusd_per_hour=-1)


def test_a_machine_is_billed_at_least_for_the_time_in_which_it_was_heard() -> None:
    line = Line("n", WITH_DISK, 0, 100, runs_from_s=40, made_s=10, heard_s=90)
    assert line.least_microusd() == 30 * 100 + 50 * 1000
    assert line.microusd(500) == 40 * 100 + 60 * 1000
    assert line.most_microusd(500) == 100 * 1000


def test_a_machine_that_never_called_home_is_billed_for_nothing_that_is_certain() -> None:
    assert Line("n", WITH_DISK, 0, 100, made_s=10).least_microusd() == 0


@given(rates, times, times, times, times)
def test_what_is_certain_is_never_more_than_what_is_possible(
    rate: Rate, made: int, ran: int, heard: int, gone: int
) -> None:
    made, ran, heard, gone = sorted((made, ran, heard, gone))
    for waiting in (None, 0, rate.microusd_per_hour):
        one = Rate(rate.microusd_per_hour, rate.least_s, rate.step_s, waiting)
        line = Line("n", one, 0, gone, ran, made, heard)
        assert line.least_microusd() <= line.most_microusd(gone)
