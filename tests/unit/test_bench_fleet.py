"""The benchmarks of fleets: what is written of what was measured, and what is struck when."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Import as `python bench/...` does."""
    monkeypatch.syspath_prepend(str(BENCH))


def test_goals_are_held_against_the_largest_fleet_and_a_peer_that_fails_is_told() -> None:
    import fleet  # noqa: PLC0415 - only here is its folder on the path

    told = {"ready": 4.0, "result": 5.0, "closed": 1.0, "pss_mib": 64 * 21.0, "idle_cores": 0.1}
    runs = {(64, name): [told] for name in fleet.CONTENDERS}
    runs[64, "Dask LocalCluster"] = [None, None]
    says = fleet.goals(runs)
    assert "64 nodes ready in 4.00 s, goal 5 s: met." in says
    assert "LocalCluster did not come up" in says
    assert "21.0 MiB a node, goal 19.1: missed." in says
    runs[64, "Dask LocalCluster"] = [{**told, "ready": 36.0}]
    assert "9.0 times ahead of LocalCluster, goal 10: missed." in fleet.goals(runs)
    assert "| rackrate.Fleet | 2.00 s | 200 us |" in fleet.overhead(
        {"rackrate.Fleet": [{"tasks": 2.0}]}, 10_000
    )


def test_a_lost_event_is_a_missed_goal() -> None:
    import fleet_events  # noqa: PLC0415 - only here is its folder on the path

    late_s = [0.1] * 99 + [0.4]
    good = fleet_events.Run(100, 0, 0, 5100.0, late_s, 90)
    assert fleet_events.section(64, {10.0: good}).count("met") == 3
    bad = fleet_events.Run(100, 1, 0, 4000.0, [0.6] * 99, 90)
    assert fleet_events.section(64, {10.0: bad}).count("missed") == 3


def test_a_trial_that_leaves_something_is_counted_as_broken() -> None:
    import fleet_deaths  # noqa: PLC0415 - only here is its folder on the path

    found = {"owner killed": [0.5, None, 11.5], "keeper killed": [10.9]}
    text = fleet_deaths.section(found, "method", 10.0)
    assert "| owner killed | 3 | 1 | 6.00 s | 11.50 s | 1 of 3 |" in text
    assert "| keeper killed | 1 | 0 | 10.90 s | 10.90 s | 1 of 1 |" in text
    assert "Within the lease and 1 s: 2 of 4." in text


def test_every_fault_has_its_turn_in_an_order_of_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    import fleet_deaths  # noqa: PLC0415 - only here is its folder on the path

    def orders(seed: int) -> list[tuple[str, float]]:
        struck: list[tuple[str, float]] = []
        monkeypatch.setattr(
            fleet_deaths, "trial", lambda fault, _n, _s, delay_s: struck.append((fault, delay_s))
        )
        fleet_deaths.series(2 * len(fleet_deaths.FAULTS), 4, 10.0, seed)
        return struck

    first = orders(0)
    assert first == orders(0) != orders(1)
    assert {fault for fault, _ in first[: len(fleet_deaths.FAULTS)]} == set(fleet_deaths.FAULTS)
    assert all(0 <= delay_s <= 5 for _, delay_s in first)


def test_a_machine_that_is_left_and_a_bound_that_is_passed_are_counted() -> None:
    import fleet_money  # noqa: PLC0415 - only here is its folder on the path

    from rackrate.testing.spending import Outcome, Trial  # noqa: PLC0415 - as above

    good = Outcome(1.0, 1.2, 0.9, 0.9, 0.9, 2, (), "idle")
    runs = [
        (Trial("vast", ["n_error"], 1), good),
        (Trial("vast", ["n_mute"], 2, is_killed=True), replace(good, bill_usd=1.1, said_usd=1.05)),
        (Trial("vast", ["n_mute"], 3), replace(good, left=("rr-1",), bill_usd=1.3, said_usd=1.3)),
        (Trial("vast", ["bill_lag_s"], 4), replace(good, said_usd=0.0)),
        (Trial("vast", ["pull_s"], 5), None),
    ]
    text = fleet_money.section({"vast": runs}, "")
    assert "| vast | 5 | 4 | 1 | 2 (1) | 1 | within 0.050000 USD |" in text
    assert "nothing left: 3 of 5." in text
