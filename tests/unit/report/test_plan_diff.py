"""What differs between two plans: what was asked otherwise, and figures side by side."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import rackrate
from rackrate.market.store import Store
from rackrate.plan.answer import Plan
from rackrate.plan.doubt import Ranged
from rackrate.report.block import Table, Text
from rackrate.report.plan_diff import PlanDiff


@pytest.fixture(scope="module")
def serving() -> Plan:
    """Return a plan of one request a second on L40S."""
    return rackrate.plan("llama-3.1-8b", rps=1, gpu="l40s", data=Store.sample()).plan


def with_best(plan: Plan, **changed: Any) -> Plan:
    return replace(plan, rows=(replace(plan.best, **changed), *plan.rows[1:]))


def recommended(diff: PlanDiff) -> dict[str, list[str]]:
    table = diff.blocks()[1]
    assert isinstance(table, Table)
    return {row[0]: row[1:] for row in table.cells()}


def test_a_plan_does_not_differ_from_itself(serving: Plan) -> None:
    diff = PlanDiff(serving, serving)
    assert diff.asked() == {}
    assert all(before == after for before, after in diff.figures().values())
    asked, _ = diff.blocks()
    assert isinstance(asked, Text)
    assert asked.lines == ("the same",)
    changes = {change for *_, change in recommended(diff).values()}
    assert changes == {"", "+0.0%"}


def test_a_price_that_moved_is_a_share(serving: Plan) -> None:
    dearer = with_best(serving, usd_per_hour=Ranged(2.5, 2.5, 2.5))
    cheap = with_best(serving, usd_per_hour=Ranged(2.0, 2.0, 2.0))
    assert recommended(PlanDiff(cheap, dearer))["USD/h"] == ["2", "2.5", "+25.0%"]
    assert recommended(PlanDiff(dearer, cheap))["USD/h"] == ["2.5", "2", "-20.0%"]
    assert PlanDiff(cheap, dearer).to_dict()["recommended"]["USD/h"] == {"before": 2.0, "after": 2.5}


def test_another_provider_is_other_and_no_share(serving: Plan) -> None:
    moved = with_best(serving, provider="elsewhere", region="moon")
    row = recommended(PlanDiff(serving, moved))["provider"]
    assert row[1:] == ["elsewhere moon", "other"]
    assert repr(PlanDiff(serving, moved)).startswith("<PlanDiff: 1 x l40s -> 1 x l40s")


def test_what_was_asked_otherwise_stands_alone(serving: Plan) -> None:
    allowed = {**serving.question["allowed"], "max_usd_per_hour": 5.0}
    other = replace(serving, question={**serving.question, "rate_per_s": 3.0, "allowed": allowed})
    assert PlanDiff(serving, other).asked() == {"rate_per_s": (1.0, 3.0), "max_usd_per_hour": (None, 5.0)}
    asked, _ = PlanDiff(serving, other).blocks()
    assert isinstance(asked, Text)
    assert set(asked.lines) == {"rate_per_s: 1.0 -> 3.0", "max_usd_per_hour: None -> 5.0"}


def test_plans_of_different_work_show_what_either_has(serving: Plan) -> None:
    run = rackrate.plan("finetune bert-base-uncased", gpu="l40s", tokens="10M", data=Store.sample()).plan
    found = recommended(PlanDiff(serving, run))
    assert found["hours"][0] == found["ttft_s"][1] == "-"
    assert found["hours"][2] == "other"


def test_the_days_of_the_prices_are_named(serving: Plan) -> None:
    old = replace(serving, as_of="2026-01-02T03:04:05+00:00")
    *_, table = PlanDiff(old, replace(serving, as_of="")).blocks()
    assert isinstance(table, Table)
    assert table.notes == ("prices of 2026-01-02 and no date",)
