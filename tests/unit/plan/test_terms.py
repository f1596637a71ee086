"""What an offer costs beside its hours: disk, traffic and the least time, each worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from rackrate.catalog.provider import find_provider
from rackrate.plan.question import Promise, Question
from rackrate.plan.terms import COLUMNS, Terms, disk_gb
from rackrate.plan.traffic import traffic

UNKNOWN = Terms.all(1, math.nan)
FREE = Terms.all(1, 0.0)


def terms(**known: float) -> Terms:
    """Return the terms of one offer of which nothing else is known."""
    return Terms(**{name: np.array([known.get(name, math.nan)]) for name in Terms.__dataclass_fields__})


def of_market(**said: Any) -> Terms:
    """Return the terms of one offer of the market."""
    nobody: dict[str, Any] = {"provider": "nobody"}
    return Terms.of({name: [(nobody | said).get(name)] for name in COLUMNS})


def test_a_disk_holds_weights_system_and_image() -> None:
    assert disk_gb(50.2 * 1e9 / 2**30) == 151  # 50.2 GB are sold as 51


def test_disk_is_paid_beyond_what_is_included() -> None:
    asked = terms(storage_usd_per_gb_month=0.15, included_disk_gb=8)
    assert asked.disk_usd_per_hour(108.0) == pytest.approx(100 * 0.15 / 730)
    assert asked.disk_usd_per_hour(8.0) == 0
    assert terms(storage_usd_per_gb_month=0.15).disk_usd_per_hour(100.0) == pytest.approx(15 / 730)


def test_a_disk_of_unknown_price_is_unknown_unless_it_is_included() -> None:
    assert np.isnan(UNKNOWN.disk_usd_per_hour(100.0))
    assert np.isnan(terms(included_disk_gb=99).disk_usd_per_hour(100.0))
    assert terms(included_disk_gb=100).disk_usd_per_hour(100.0) == 0
    assert FREE.disk_usd_per_hour(100.0) == 0


def test_traffic_included_a_month_is_included_by_the_hour() -> None:
    asked = terms(egress_usd_per_gb=0.01, included_egress_gb_per_month=7300)
    assert asked.egress_usd(30.0, 2.0) == pytest.approx((30 - 2 * 10) * 0.01)
    assert asked.egress_usd(20.0, 2.0) == 0
    assert terms(included_egress_gb_per_month=7300).egress_usd(20.0, 2.0) == 0
    assert np.isnan(terms(included_egress_gb_per_month=7300).egress_usd(21.0, 2.0))
    assert np.isnan(UNKNOWN.egress_usd(0.1, 1.0))
    assert UNKNOWN.egress_usd(0.0, 1.0) == 0


def test_traffic_received_costs_where_a_list_says_so() -> None:
    assert terms(ingress_usd_per_gb=0.005).ingress_usd(100.0) == pytest.approx(0.5)
    assert UNKNOWN.ingress_usd(100.0) == 0


@pytest.mark.parametrize(
    ("least_s", "step_s", "hours", "billed"),
    [
        (math.nan, math.nan, 0.1234, 0.1234),
        (3600, math.nan, 1 / 6, 1.0),
        (math.nan, 3600, 1 / 6, 1.0),
        (math.nan, 3600, 2.0, 2.0),
        (60, 1, 2.00001, 2.0 + 1 / 3600),
        (3600, 600, 1.1, 4200 / 3600),
        (0, 0, 0.5, 0.5),
    ],
)
def test_a_run_is_billed_for_its_least_time_in_whole_steps(
    least_s: float, step_s: float, hours: float, billed: float
) -> None:
    assert terms(least_s=least_s, step_s=step_s).billed_hours(hours) == pytest.approx(billed)


def test_an_offer_speaks_before_its_provider_and_the_provider_before_nobody() -> None:
    aws = find_provider("aws")
    silent = of_market(provider="aws")
    assert silent.egress_usd_per_gb == aws.egress_usd_per_gb.value
    assert silent.storage_usd_per_gb_month == aws.storage_usd_per_gb_month.value
    assert (silent.least_s, silent.step_s) == (aws.min_rental_s.value, aws.billing_increment_s.value)
    said = of_market(provider="aws", egress_usd_per_gb=0.0, min_rental_s=3600)
    assert (said.egress_usd_per_gb, said.least_s) == (0, 3600)
    resold = of_market(provider="aws", seller="shadeform")
    assert np.isnan([resold.egress_usd_per_gb, resold.storage_usd_per_gb_month, resold.step_s]).all()
    unheard_of = of_market()
    assert all(np.isnan(getattr(unheard_of, name)) for name in Terms.__dataclass_fields__)


def test_a_disk_that_an_offer_has_comes_with_it_unless_it_says_how_much_does() -> None:
    assert of_market(disk_gib=100.0).included_disk_gb == pytest.approx(107.3741824)
    assert of_market(disk_gib=100.0, included_disk_gb=8).included_disk_gb == 8


def test_a_reservation_is_paid_to_its_end() -> None:
    assert of_market(term_months=1).billed_hours(10.0) == 730
    assert of_market(term_months=1, min_rental_s=60).billed_hours(10.0) == 730
    assert of_market(term_months=1).billed_hours(1000.0) == 1000


ANSWERS = Question("llm-serving", "m", rate_per_s=10, input_tokens=1000, output_tokens=500)


@pytest.mark.parametrize(
    ("question", "sent_gb", "received_gb"),
    [
        # 36,000 answers an hour of 500 tokens in one piece, 4 bytes each, to prompts of 1,000
        (ANSWERS, 0.072, 0.144),
        (Question("image-generation", "m", rate_per_s=1, pixels=1_000_000), 5.4, 0.0),  # 1.5 MB each
        (Question("asr", "m", rate_per_s=100), 0.0, 5.76),  # 100 streams of 16 kB/s
        (Question("rendering", rate_per_s=1), 0.0, 0.0),
        # each of 3 machines fetches 50 GB; what was trained goes home once, an adapter hardly counts
        (Question("finetune-full", "m", amount=1), 50.0, 150.0),
        (Question("finetune-lora", "m", amount=1), 0.0, 150.0),
        (Question("bert-sweep", "m", amount=1), 0.0, 150.0),
    ],
)
def test_what_travels(question: Question, sent_gb: float, received_gb: float) -> None:
    found = traffic(question, 50.0, 3.0)
    assert (found.sent_gb, found.received_gb) == (pytest.approx(sent_gb), pytest.approx(received_gb))


def test_an_answer_that_somebody_waits_for_is_streamed_in_events_of_json() -> None:
    waited_for = Question("llm-serving", "m", rate_per_s=10, output_tokens=500, promise=Promise(2.0, 0.1))
    assert traffic(waited_for, 50.0, 1.0).sent_gb == pytest.approx(36_000 * 500 * 200 / 1e9)
