"""Ranges: root of the sum of squares, each input alone, and `never` at either end."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from rackrate.catalog.gpu import find_gpu
from rackrate.plan.doubt import Doubt
from rackrate.plan.electricity import find_place
from rackrate.plan.estimate import Estimate
from rackrate.plan.ownership import inputs_for


def inputs(**said: Any) -> list[Estimate]:
    return list(inputs_for(find_gpu("l40s"), find_place(), said))


def only(*unsure: str, **said: Any) -> Doubt:
    """Return a machine of which only these inputs are unsure."""
    return Doubt(
        each if each.key in unsure else replace(each, low=each.value, high=each.value)
        for each in inputs(**said)
    )


def test_without_doubt_the_range_is_the_value() -> None:
    cost = only().cost()
    assert cost.low == cost.value == cost.high
    assert only().swings(1.5) == []


def test_one_input_reaches_as_far_as_it_moves_the_cost() -> None:
    """0.49 kW x 12 / 2,190 h: of 450 - 217.3 USD 0.6248 USD/h more, of 217.3 - 115 USD 0.2747 less."""
    cost = only("colo_usd_per_kw_month", hours_per_day=6).cost()
    assert cost.high - cost.value == pytest.approx(0.6248, abs=1e-4)
    assert cost.value - cost.low == pytest.approx(0.2747, abs=1e-4)


def test_two_inputs_add_up_as_independent() -> None:
    one, two = only("colo_usd_per_kw_month").cost(), only("support_frac").cost()
    both = only("colo_usd_per_kw_month", "support_frac").cost()
    assert (both.high - both.value) ** 2 == pytest.approx(
        (one.high - one.value) ** 2 + (two.high - two.value) ** 2
    )
    assert (both.value - both.low) ** 2 == pytest.approx(
        (one.value - one.low) ** 2 + (two.value - two.low) ** 2
    )


def test_terms_hold_their_own_doubt_and_sum_to_the_cost() -> None:
    doubt = only("kwh_usd")
    terms = doubt.terms()
    assert sum(term.value for term in terms.values()) == pytest.approx(doubt.cost().value)
    assert [name for name, term in terms.items() if term.low < term.high] == ["electricity"]


def test_the_breakeven_is_earlier_at_the_low_end_and_may_be_never_at_the_high_one() -> None:
    doubt = Doubt(inputs(hours_per_day=8, kwh_usd=0.15, price_usd=9000))
    found = doubt.breakeven(1.535)
    assert found.low < found.value < found.high == math.inf
    assert doubt.cost(found.low).low == pytest.approx(1.535, abs=1e-5)
    assert doubt.cost(found.value).value == pytest.approx(1.535, abs=1e-5)
    sure = doubt.breakeven(2.5)
    assert sure.low < sure.value < sure.high < 10
    assert doubt.cost(sure.high).high == pytest.approx(2.5, abs=1e-5)


def test_swings_come_strongest_first_and_agree_with_the_single_change() -> None:
    doubt = Doubt(inputs())
    swings = doubt.swings(1.535)
    reaches = [swing.reach_usd_per_hour for swing in swings]
    assert reaches == sorted(reaches, reverse=True)
    assert len(swings) == sum(not each.is_exact for each in doubt.inputs) == 14
    hours = next(swing for swing in swings if swing.unit == "h/day")
    assert hours.cost_usd_per_hour[0] == pytest.approx(only(hours_per_day=2.4).cost().value)
    assert hours.breakeven_years[1] == only(hours_per_day=10.8).breakeven(1.535).value


def test_how_long_it_is_kept_moves_the_cost_and_not_the_breakeven() -> None:
    doubt = only("years", hours_per_day=24)
    assert doubt.cost().low < doubt.cost().high
    found = doubt.breakeven(0.9)
    assert found.low == found.value == found.high
