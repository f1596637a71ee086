"""The cost of an owned hour against sums worked out by hand, annuity tables and cash flows year by year."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from rackrate.plan.economics import (
    LONGEST_YEARS,
    NEVER,
    Ownership,
    SimpleView,
    breakeven_years,
    cost_terms,
    cost_usd_per_hour,
    recovery,
)

ROUND = Ownership(
    price_usd=8760.0,
    host_usd=0.0,
    gpus_per_host=1,
    power_w=1000.0,
    idle_frac=0.0,
    load_frac=1.0,
    host_factor=1.0,
    pue=1.5,
    kwh_usd=0.2,
    colo_usd_per_kw_month=73.0,
    hours_per_day=24.0,
    years=1.0,
    resale_frac=0.5,
    selling_frac=0.0,
    rate_frac=0.0,
    support_frac=0.1,
)
"""Figures that can be added up in one's head: a year has 8,760 hours."""

BARE = replace(
    ROUND, price_usd=3650.0, hours_per_day=10.0, kwh_usd=0.0, colo_usd_per_kw_month=0.0, support_frac=0.0
)


def breakeven(own: Ownership, rent_usd_per_hour: float) -> float:
    return breakeven_years(lambda years: cost_usd_per_hour(own, years), rent_usd_per_hour)


@pytest.mark.parametrize(
    ("rent_usd_per_hour", "kwh_usd", "days"),
    [(0.28, 0.12, 1576), (0.28, 0.16, 1674), (0.28, 0.0, 1339), (0.92, 0.12, 427)],
)
def test_the_rental_page_s_own_example(rent_usd_per_hour: float, kwh_usd: float, days: int) -> None:
    """9,000 USD, 350 W, 24 h a day: about 4.3 years at 0.28 and 0.12, 427 days at the page's median."""
    found = SimpleView(9000.0, 350.0, kwh_usd, 24.0).breakeven_days(rent_usd_per_hour)
    assert round(found) == days
    assert days != 1576 or found / 365 == pytest.approx(4.3, abs=0.05)


def test_the_simple_view_never_pays_where_power_costs_the_rent() -> None:
    assert SimpleView(9000.0, 350.0, 0.8, 24.0).breakeven_days(0.28) == NEVER
    assert SimpleView(9000.0, 350.0, 0.8, 24.0).breakeven_days(0.2) == NEVER


def test_a_year_round_the_clock_by_hand() -> None:
    """Half of 8,760 USD is lost in 8,760 h; 1 kW x 1.5 x 0.2; 876 USD a year for the kW; a tenth."""
    assert cost_terms(ROUND) == pytest.approx(
        {"card": 0.5, "host": 0.0, "support": 0.1, "electricity": 0.3, "colocation": 0.1}
    )
    assert cost_usd_per_hour(ROUND) == pytest.approx(1.0)


def test_half_the_hours_pay_for_all_that_runs_on() -> None:
    terms = cost_terms(replace(ROUND, hours_per_day=12.0))
    assert terms == pytest.approx(
        {"card": 1.0, "host": 0.0, "support": 0.2, "electricity": 0.3, "colocation": 0.2}
    )


def test_an_idle_machine_draws_power_that_used_hours_pay() -> None:
    """1 kW: 600 W in use, 200 W idle, 400 W on average; 0.8 kWh x 1.5 x 0.2 for a used hour."""
    own = replace(ROUND, idle_frac=0.2, load_frac=0.5, hours_per_day=12.0)
    assert (own.busy_w, own.idle_w, own.mean_w) == pytest.approx((600.0, 200.0, 400.0))
    assert cost_terms(own)["electricity"] == pytest.approx(0.24)
    assert own.co2_kg_per_hour(500.0) == pytest.approx(0.6)  # 1.2 kWh x 500 g


def test_the_host_is_shared_and_factors_multiply_the_power() -> None:
    own = replace(ROUND, host_usd=35040.0, gpus_per_host=8, host_factor=1.4)
    assert own.host_share_usd == 4380.0
    terms = cost_terms(own)
    assert terms["host"] == pytest.approx(0.25)
    assert terms["support"] == pytest.approx(0.15)
    assert (terms["electricity"], terms["colocation"]) == pytest.approx((0.42, 0.14))


@pytest.mark.parametrize(
    ("rate_frac", "years", "factor"),
    [(0.08, 5, 0.25046), (0.12, 10, 0.17698), (0.10, 3, 0.40211), (0.0, 4, 0.25)],
)
def test_recovery_as_in_printed_annuity_tables(rate_frac: float, years: float, factor: float) -> None:
    assert recovery(rate_frac, years) == pytest.approx(factor, abs=5e-6)


def test_recovery_is_continuous_where_interest_vanishes() -> None:
    assert recovery(1e-9, 5.0) == pytest.approx(0.2, rel=1e-6)


@pytest.mark.parametrize("years", [1, 3, 5])
def test_yearly_payments_at_that_cost_have_the_worth_of_price_less_proceeds(years: int) -> None:
    own = replace(BARE, rate_frac=0.07, selling_frac=0.1)
    paid_usd_per_year = cost_usd_per_hour(own, years) * 3650
    worth = sum(paid_usd_per_year / 1.07**year for year in range(1, years + 1))
    proceeds = 3650 * 0.9 * 0.5**years
    assert worth == pytest.approx(3650 - proceeds / 1.07**years)


def test_without_resale_the_rent_of_3650_hours_is_paid_back_in_a_year() -> None:
    assert breakeven(replace(BARE, resale_frac=0.0), 1.0) == pytest.approx(1.0, abs=1e-6)
    assert breakeven(replace(BARE, resale_frac=0.0), 0.5) == pytest.approx(2.0, abs=1e-6)


@pytest.mark.parametrize(("years", "kept_frac"), [(1, 0.45), (2, 0.225), (3, 0.1125)])
def test_what_a_sale_would_bring_then_counts(years: int, kept_frac: float) -> None:
    """Half of the value a year, a tenth for the sale: what is lost in n years is n years' rent."""
    rent_usd_per_hour = 3650 * (1 - kept_frac) / (3650 * years)
    assert breakeven(replace(BARE, selling_frac=0.1), rent_usd_per_hour) == pytest.approx(years, abs=1e-6)


def test_never_is_an_answer() -> None:
    dear = replace(BARE, kwh_usd=1.0)
    assert breakeven(dear, 0.5) == NEVER == math.inf
    assert breakeven(BARE, 0.0) == NEVER
    just = cost_usd_per_hour(BARE, LONGEST_YEARS)
    assert breakeven(BARE, just) == pytest.approx(LONGEST_YEARS)
    assert breakeven(BARE, just * 0.999) == NEVER


def test_what_pays_at_once_pays_within_a_day() -> None:
    assert breakeven(BARE, 100.0) == pytest.approx(1 / 365)
