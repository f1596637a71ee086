"""What a fleet has cost: what was reckoned, what is billed, which of them counts, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rackrate.fleet import billing
from rackrate.fleet.backends.runpod import RUNPOD
from rackrate.fleet.billing import Bill
from rackrate.fleet.spec import Spec
from rackrate.fleet.status import Cost

NODE = {"state": "gone", "billed_s": 10.0, "least_usd": 0.0, "most_usd": 0.02}
DATA: dict[str, Any] = {
    "fleet": "f1ee7",
    "spent_usd": 0.03,
    "least_usd": 0.02,
    "most_usd": 0.031,
    "usd_per_hour": 0.0,
    "budget_usd": 1.0,
    "budget_left_usd": 0.9,
    "nodes": [
        {"node": "rr-f1ee7-1", "usd": 0.02, **NODE},
        {"node": "rr-f1ee7-2", "usd": 0.01, **NODE},
        {"node": "rr-f1ee7-3", "usd": 0.0, **NODE},  # refused: nobody bills it
    ],
}
WHOLE = {"rr-f1ee7-1": 19_000, "rr-f1ee7-2": 9_500}


def said(cost: Cost) -> str:
    (table,) = cost.blocks()
    return "\n".join(table.notes)  # type: ignore[union-attr]


def test_what_nobody_bills_is_reckoned_and_said_to_be() -> None:
    cost = Cost(DATA)
    assert cost.usd == 0.03
    assert cost.to_dict()["bill"] is None
    assert "nobody bills these nodes" in said(cost)


@pytest.mark.parametrize(("is_final", "usd"), [(False, 0.03), (True, 0.0285)])
def test_the_bill_is_shown_beside_what_was_reckoned_and_counts_when_it_is_final(
    is_final: bool,  # noqa: FBT001 - a parameter of the test
    usd: float,
) -> None:
    cost = Cost(DATA, Bill(1.0, WHOLE, is_final=is_final))
    assert cost.usd == usd
    found = cost.to_dict()
    assert found["spent_usd"] == 0.03
    assert found["bill"]["usd"] == 0.0285
    assert found["bill"]["less_than_reckoned_usd"] == pytest.approx(0.0015)
    assert [node["bill_usd"] for node in found["nodes"]] == [0.019, 0.0095, None]
    assert "0.028500 USD, 0.001500 USD less than was reckoned" in said(cost)
    assert ("not final" not in said(cost)) == is_final
    assert "does not have" not in said(cost)


def test_a_bill_above_what_was_reckoned_is_said_to_be() -> None:
    assert "0.010000 USD more than" in said(Cost(DATA, Bill(1.0, {"rr-f1ee7-1": 40_000})))


def test_nodes_that_cost_something_and_are_on_no_bill_are_counted() -> None:
    assert "not yet: 1" in said(Cost(DATA, Bill(1.0, {"rr-f1ee7-1": 19_000})))


def test_a_bill_with_nothing_yet_is_no_sum_of_zero() -> None:
    cost = Cost(DATA, Bill(1.0, {}))
    assert cost.usd == 0.03
    assert cost.to_dict()["bill"]["usd"] is None
    assert "bills none of it yet" in said(cost)


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    return Spec("f1ee7", str(tmp_path), backend="runpod", opened_at_s=1.0)


def test_without_a_key_the_last_bill_stays_and_the_reason_is_said(
    spec: Spec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(RUNPOD.key_variable, raising=False)
    Bill(7.0, WHOLE).write(tmp_path / "bill")
    found = billing.latest(spec, tmp_path / "bill", 100.0)
    assert found
    assert (found.asked_at, found.microusd) == (7.0, WHOLE)
    assert RUNPOD.key_variable in found.trouble
    assert "could not be asked" in said(Cost(DATA, found))
    assert billing.read(tmp_path / "bill") == Bill(7.0, WHOLE)


@pytest.mark.parametrize("ended_at", [None, 100.0])
def test_nobody_is_asked_while_a_keeper_asks_or_when_the_bill_is_final(
    spec: Spec, tmp_path: Path, ended_at: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RUNPOD.url_variable, "http://127.0.0.1:1")
    monkeypatch.setenv(RUNPOD.key_variable, "k")
    bill = Bill(7.0, WHOLE, is_final=ended_at is not None)
    bill.write(tmp_path / "bill")
    assert billing.latest(spec, tmp_path / "bill", ended_at) == bill


@pytest.mark.parametrize(
    ("bill", "range_usd"),
    [
        (None, (0.02, 0.031)),
        (Bill(1.0, {}), (0.02, 0.031)),
        (Bill(1.0, {"rr-f1ee7-1": 25_000}), (0.025, 0.031)),
        (Bill(1.0, {"rr-f1ee7-1": 40_000}), (0.04, 0.04)),
        (Bill(1.0, WHOLE, is_final=True), (0.0285, 0.0285)),
    ],
)
def test_between_what_it_lies_is_said_until_the_bill_is_final(
    bill: Bill | None, range_usd: tuple[float, float]
) -> None:
    cost = Cost(DATA, bill)
    assert cost.range_usd == range_usd
    assert (cost.to_dict()["least_usd"], cost.to_dict()["most_usd"]) == range_usd
    is_open = range_usd[0] < range_usd[1]
    assert (f"between {range_usd[0]:.6f} and {range_usd[1]:.6f} USD" in said(cost)) == is_open
