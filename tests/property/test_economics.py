"""Rent or own: what must hold for every machine, tariff and rent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rackrate.plan.doubt import Doubt
from rackrate.plan.economics import (
    LONGEST_YEARS,
    NEVER,
    Ownership,
    SimpleView,
    breakeven_years,
    cost_terms,
    cost_usd_per_hour,
)
from rackrate.plan.estimate import Estimate
from rackrate.plan.ownership import KEYS

shares = st.floats(0, 1)
machines = st.builds(
    Ownership,
    price_usd=st.floats(100, 50_000),
    host_usd=st.floats(0, 50_000),
    gpus_per_host=st.integers(1, 8),
    power_w=st.floats(50, 1500),
    idle_frac=shares,
    load_frac=shares,
    host_factor=st.floats(1, 2),
    pue=st.floats(1, 2),
    kwh_usd=st.floats(0, 1),
    colo_usd_per_kw_month=st.floats(0, 500),
    hours_per_day=st.floats(0.5, 24),
    years=st.floats(0.5, 10),
    resale_frac=shares,
    selling_frac=shares,
    rate_frac=st.floats(0, 0.3),
    support_frac=st.floats(0, 0.3),
)
rents = st.floats(0, 20)
more = st.floats(1, 5)
SLACK_YEARS = 1e-6  # of the halving


def breakeven(own: Ownership, rent_usd_per_hour: float) -> float:
    return breakeven_years(lambda years: cost_usd_per_hour(own, years), rent_usd_per_hour)


@given(machines)
def test_no_term_pays_one_back(own: Ownership) -> None:
    assert all(usd >= -1e-9 for usd in cost_terms(own).values())


@given(machines, more, rents)
def test_dearer_electricity_never_makes_owning_cheaper(own: Ownership, factor: float, rent: float) -> None:
    dearer = replace(own, kwh_usd=own.kwh_usd * factor + 0.001)
    assert cost_usd_per_hour(dearer) >= cost_usd_per_hour(own)
    assert breakeven(dearer, rent) >= breakeven(own, rent) - SLACK_YEARS
    simple, dear = (
        SimpleView(own.price_usd, own.power_w, x.kwh_usd, own.hours_per_day) for x in (own, dearer)
    )
    assert dear.breakeven_days(rent) >= simple.breakeven_days(rent)


@given(machines, more, rents)
def test_more_hours_a_day_never_lengthen_the_breakeven(own: Ownership, factor: float, rent: float) -> None:
    busier = replace(own, hours_per_day=min(own.hours_per_day * factor, 24.0))
    assert cost_usd_per_hour(busier) <= cost_usd_per_hour(own) * (1 + 1e-9)
    assert breakeven(busier, rent) <= breakeven(own, rent) + SLACK_YEARS


@given(machines, more, rents)
def test_a_higher_rent_never_lengthens_the_breakeven(own: Ownership, factor: float, rent: float) -> None:
    assert breakeven(own, rent * factor) <= breakeven(own, rent)


@given(machines, more, rents)
def test_a_dearer_card_never_shortens_the_breakeven(own: Ownership, factor: float, rent: float) -> None:
    dearer = replace(own, price_usd=own.price_usd * factor)
    assert breakeven(dearer, rent) >= breakeven(own, rent) - SLACK_YEARS


@given(machines, rents, shares, more)
def test_never_stays_never_at_a_lower_rent_or_a_dearer_tariff(
    own: Ownership, rent: float, lower: float, factor: float
) -> None:
    assume(breakeven(own, rent) == NEVER)
    assert breakeven(own, rent * lower) == NEVER
    assert breakeven(replace(own, pue=own.pue * factor), rent) == NEVER
    assert breakeven(replace(own, support_frac=own.support_frac * factor), rent) == NEVER


@given(machines, rents)
def test_the_breakeven_is_the_only_place_where_the_two_meet(own: Ownership, rent: float) -> None:
    """A walk over the years finds owning dearer before the breakeven, and not after."""
    found = breakeven(own, rent)
    for half_years in range(1, 2 * round(LONGEST_YEARS) + 1):
        years = half_years / 2
        cost = cost_usd_per_hour(own, years)
        if years < found - SLACK_YEARS:
            assert cost > rent - 1e-6
        elif years > found + SLACK_YEARS:
            assert cost <= rent + 1e-6


@given(machines, rents, st.lists(st.tuples(shares, more), min_size=len(KEYS), max_size=len(KEYS)))
def test_ranges_hold_their_value(own: Ownership, rent: float, ends: list[tuple[float, float]]) -> None:
    most = {
        "hours_per_day": 24.0,
        **dict.fromkeys(("idle_frac", "load_frac", "resale_frac", "selling_frac"), 1.0),
    }
    estimates = []
    for key, (below, above) in zip(KEYS, ends, strict=True):
        value = getattr(own, key)
        low = max(value * below, 0.5) if key in ("hours_per_day", "years", "gpus_per_host") else value * below
        high = min(max(value * above, value), most.get(key, 1e9))
        estimates.append(Estimate(key, key, "", value, min(low, value), high, "drawn"))
    doubt = Doubt(estimates)
    cost = doubt.cost()
    assert 0 <= cost.low <= cost.value <= cost.high
    assert cost.value == pytest.approx(cost_usd_per_hour(own))
    years = doubt.breakeven(rent)
    assert years.low - SLACK_YEARS <= years.value <= years.high + SLACK_YEARS
