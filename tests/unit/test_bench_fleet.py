"""The benchmarks of fleets: what is written of what was measured, and what is struck when."""

from __future__ import annotations

from collections import Counter
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
    runs[64, "Dask LocalCluster"] = ["failed: no memory", "did not come up in 300 s"]
    says = fleet.goals(runs, [])
    assert "64 nodes ready: 4.00 s (longest of 1 runs), goal 5 s: met." in says
    alone = [{"ready": 5.5}, {"ready": 3.0}]
    assert "64 nodes ready: 5.50 s (longest of 3 runs), goal 5 s: missed." in fleet.goals(runs, alone)
    assert "LocalCluster: did not come up in 300 s." in says
    assert "21.0 MiB a node, goal 19.1: missed." in says
    runs[64, "Dask LocalCluster"] = [{**told, "ready": 36.0}]
    assert "9.0 times ahead of LocalCluster, goal 10: missed." in fleet.goals(runs, [])
    assert "| rackrate.Fleet | 2.00 s | 200 us |" in fleet.overhead(
        {"rackrate.Fleet": [{"tasks": 2.0}]}, 10_000
    )


def test_many_runs_are_held_to_their_95th_percentile_and_a_failed_one_is_no_goal_met() -> None:
    import fleet  # noqa: PLC0415 - only here is its folder on the path

    runs: list[dict[str, float] | str] = [{"live": 10.0}] * 39 + [{"live": 30.0}]
    assert fleet.held(runs, "live", "curves", 15.0) == "curves: 10.00 s (p95 of 40 runs), goal 15 s: met."
    assert fleet.held([*runs, "failed: no memory"], "live", "curves", 15.0).endswith(
        "goal 15 s: not measured."
    )


def test_a_peer_that_fails_or_is_late_is_a_row_with_its_reason() -> None:
    import fleet  # noqa: PLC0415 - only here is its folder on the path

    said = fleet.once("    raise MemoryError('too many nodes')", 2)
    assert said == "failed: MemoryError: too many nodes"
    assert fleet._cells(2, [said]) == ["0 of 1", said, "", "", "", ""]
    assert "| Ray | failed: MemoryError: too many nodes |  |" in fleet.overhead({"Ray": [said]}, 10)


def test_a_lost_event_is_a_missed_goal() -> None:
    import fleet_events  # noqa: PLC0415 - only here is its folder on the path

    late_s = [0.1] * 99 + [0.4]
    good = fleet_events.Run(100, 0, 0, 5100.0, late_s, 90)
    assert fleet_events.section(64, {10.0: good}).count("met") == 3
    bad = fleet_events.Run(100, 1, 0, 4000.0, [0.6] * 99, 90)
    assert fleet_events.section(64, {10.0: bad}).count("missed") == 3
    assert "None lost or doubled: missed" in fleet_events.section(64, {10.0: good}, bad)


def test_a_trial_that_leaves_something_is_counted_as_broken() -> None:
    import fleet_deaths  # noqa: PLC0415 - only here is its folder on the path

    found = [("owner killed", 0.5), ("owner killed", None), ("owner killed", 11.5), ("keeper killed", 10.9)]
    outcomes = [fleet_deaths.Outcome(kind, "a trial", seconds, "today") for kind, seconds in found]
    text = fleet_deaths.section(outcomes, "method", 10.0)
    assert "| owner killed | 3 | 1 | 6.00 s | 11.50 s | 1 of 3 |" in text
    assert "| keeper killed | 1 | 0 | 10.90 s | 10.90 s | 1 of 1 |" in text
    assert text.endswith("2 of 4. Not so: a trial, something stayed. Not so: a trial, 11.50 s.")


def test_every_kind_of_death_has_its_turn_in_an_order_of_the_seed() -> None:
    import fleet_deaths  # noqa: PLC0415 - only here is its folder on the path

    def drawn(seed: int, *, is_root: bool = True) -> list[fleet_deaths.Trial]:
        return list(fleet_deaths.trials(100, seed, (2, 5), 10.0, is_root=is_root))

    first = drawn(0)
    assert first == drawn(0) != drawn(1)
    assert {trial.kind for trial in first} == {*fleet_deaths.KINDS, fleet_deaths.PAIR, fleet_deaths.BOOTING}
    for trial in first:
        assert 2 <= trial.nodes <= 5
        assert 0 <= trial.delay_s <= 5
        assert len(trial.strikes) == (2 if trial.kind == fleet_deaths.PAIR else 1)
        assert all(how != "cut" or trial.place == "emulated" for _, how in trial.strikes)
    assert {trial.place for trial in drawn(0, is_root=False)} == {"local"}


def test_a_series_goes_on_where_it_was_interrupted(tmp_path: Path) -> None:
    import fleet_deaths  # noqa: PLC0415 - only here is its folder on the path

    drawn = list(fleet_deaths.trials(5, 0, (2, 5), 10.0, is_root=False))
    first = fleet_deaths.Series(tmp_path / "outcomes")
    first.add(drawn[3], 9.5)
    first.add(drawn[0], None)
    again = fleet_deaths.Series(tmp_path / "outcomes")
    assert again.outcomes == first.outcomes
    assert again.lacks(drawn) == [drawn[1], drawn[2], drawn[4]]


@pytest.mark.alone
def test_a_trial_strikes_a_real_fleet_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fleet_deaths  # noqa: PLC0415 - only here is its folder on the path

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    trial = fleet_deaths.Trial("node killed", "local", 1, 5.0, (("node", "killed"),), 0.0, 0.0, 1)
    seconds = fleet_deaths.run(trial, tmp_path / "late")
    assert seconds is not None
    assert seconds < 5


def test_a_bill_that_differs_by_a_cent_is_a_missed_goal_and_a_reaped_one_is_none_of_it() -> None:
    import fleet_bills  # noqa: PLC0415 - only here is its folder on the path

    closed = fleet_bills.Bill(0.0500, 0.0492, None, (0.0480, 0.0500))
    reaped = fleet_bills.Bill(0.2000, 0.0500, 9.0, (0.0100, 0.2000))
    found = {("vast", "worked"): [closed], ("vast", "keeper killed"): [reaped]}
    says = fleet_bills.section(found, "method", 10.0)
    assert "differs: 0.08 cents, goal 1: met." in says
    assert "9.00 s at most, goal 11 s: met." in says
    assert "in the range that the ledger gives: 2 of 2." in says
    found["vast", "worked"].append(fleet_bills.Bill(0.05, 0.04, None, (0.045, 0.05)))
    says = fleet_bills.section(found, "method", 10.0)
    assert "1.00 cents, goal 1: missed." in says
    assert "in the range that the ledger gives: 2 of 3." in says


def test_a_machine_that_is_left_and_a_bound_that_is_passed_are_counted() -> None:
    import fleet_money  # noqa: PLC0415 - only here is its folder on the path

    from rackrate.testing.spending import Outcome, Trial  # noqa: PLC0415 - as above

    good = Outcome(1.0, 1.2, 0.9, 0.9, 0.93, 0.8, 0.95, 2, (), "idle")
    runs = [
        (Trial("vast", ["n_error"], 1), good),
        (Trial("vast", ["n_mute"], 2, is_killed=True), replace(good, bill_usd=1.1, said_usd=1.05)),
        (Trial("vast", ["n_mute"], 3), replace(good, left=("rr-1",), bill_usd=1.3, said_usd=1.3)),
        (Trial("vast", ["bill_lag_s"], 4), replace(good, said_usd=0.0)),
        (Trial("vast", ["pull_s"], 5), None),
    ]
    text = fleet_money.section({"vast": runs}, "")
    assert "| vast | 5 | 4 | 1 | 2 (1) | 1 | within 0.050000 USD | 2 of 4 | 3.0 / 3.0 cents |" in text
    assert "nothing left: 3 of 5." in text


def test_a_verdict_that_is_late_and_a_gate_that_is_slow_are_missed_goals() -> None:
    import fleet_latency  # noqa: PLC0415 - only here is its folder on the path

    direct = dict.fromkeys(fleet_latency.SIZES, [0.010] * 9)
    gated = {"an integer": [0.015] * 9, "1 MiB": [0.025] * 9}
    says = fleet_latency.section(
        [0.1] * 99, dict(zip(fleet_latency.PLACES, (direct, gated), strict=True)), ""
    )
    assert "Verdict p99 100 ms, goal 250 ms: met." in says
    assert "takes 1.5 times (an integer), 2.5 times (1 MiB) as long" in says
    assert says.endswith("goal 2: missed.")
    assert "| result, 1 MiB, through the gate | 9 | 25.0 ms | 25.0 ms | 25.0 ms |" in says
    late = fleet_latency.section([0.3] * 99, dict.fromkeys(fleet_latency.PLACES, direct), "")
    assert "Verdict p99 300 ms, goal 250 ms: missed." in late
    assert late.endswith("goal 2: met.")


def test_the_time_of_a_report_in_a_sweep_that_is_judged_is_taken_on_its_node() -> None:
    import fleet_latency  # noqa: PLC0415 - only here is its folder on the path

    found = fleet_latency.verdicts(1, 20.0, 2.0)
    assert len(found) == 19  # the first second is left out
    assert all(0 < seconds < 2 for seconds in found)


def test_an_answer_that_is_not_as_published_is_a_missed_goal_and_few_exchanges_are_no_goal() -> None:
    import fleet_spec  # noqa: PLC0415 - only here is its folder on the path

    good = fleet_spec.Found(Counter({200: 9_000, 422: 1_000}), 6_000)
    text = fleet_spec.section({"vast": good}, "")
    assert "| vast | 10,000 | 6,000 | 200: 9,000, 422: 1,000 | 0 |" in text
    assert text.endswith("0 of 10,000 exchanges, goal 0 of 10,000: met.")
    bad = replace(good, troubles=Counter({"GET /v2/pods 200: no": 2}))
    assert fleet_spec.section({"vast": bad}, "").endswith("2 of 10,000 exchanges, goal 0 of 10,000: missed.")
    few = fleet_spec.Found(Counter({200: 9}), 5)
    assert fleet_spec.section({"vast": few}, "").endswith("not measured.")


@pytest.mark.parametrize("name", ["runpod", "vast"])
def test_what_is_spoiled_at_random_is_answered_as_published(
    name: str, shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fleet_spec  # noqa: PLC0415 - only here is its folder on the path

    provider = fleet_spec.CLOUDS[name][2]
    for variable in (provider.url_variable, provider.key_variable):
        monkeypatch.setenv(variable, "")  # the bench sets it; this puts it back
    found = fleet_spec.fuzzed(name, shared / "data" / "openapi", 120, seed=1)
    assert not found.troubles
    assert 0 < found.n_ours < found.n
    assert len(found.statuses) > 3


def test_a_rule_is_held_to_both_what_it_saves_and_what_it_loses() -> None:
    import sweep  # noqa: PLC0415 - only here is its folder on the path

    loses, saves = sweep.RULES[0], sweep.RULES[3]
    runs = {
        ("64", "any", loses): [(0.9, 0.02), (0.7, 0.0)],
        ("64", "any", saves): [(0.7, 0.0), (0.59, 0.01)],
    }
    text = sweep.section(runs)
    assert "| 64 | any | `asha:first=32,eta=4` | 80% | 70% | 1 of 2 | 2.0% |" in text
    assert text.endswith("in every order. 64, any: met by `asha:first=88,eta=2`.")
    runs["64", "any", saves].append((0.5, 0.0))
    assert sweep.section(runs).endswith("64, any: missed.")


def test_a_trial_is_replayed_at_about_the_pace_that_it_had() -> None:
    import sweep  # noqa: PLC0415 - only here is its folder on the path

    slow = [sweep.Report(step, 2.0 * step, 1.0 / step) for step in range(1, 13)]
    fast = [sweep.Report(step, 0.5 * step, 3.0) for step in range(1, 13)]
    paces = sweep.as_it_ran({0: slow, 1: fast}, sweep.random.Random(1))
    assert paces[0] == pytest.approx(2.0, rel=0.25)
    assert paces[1] == pytest.approx(0.5, rel=0.25)
    saved, loss = sweep.replay(sweep.Asha(first=3, eta=2), {0: slow, 1: fast}, sweep.as_it_ran, 1)
    assert loss == 0
    assert 0 < saved < 0.25, "the fast one goes on until the slow one is there"
