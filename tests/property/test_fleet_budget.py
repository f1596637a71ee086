"""A small budget, and clouds on which each two faults happen together: what is paid stays in the bound.

Each trial is a keeper in a process of its own, a third of them killed, and an emulated cloud asked over HTTP;
`bench/fleet_money.py` runs as many as one likes.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path

import pytest

from rackrate.testing.clouds.faults import KNOBS, in_pairs
from rackrate.testing.spending import CLOUDS, Outcome, Trial, trials

SEED = 1
AT_ONCE = 4
SECOND_USD = 0.01
"""What a machine costs a second in a trial, and so by how much a begun one may be seen otherwise."""


@pytest.mark.timeout(400)
@pytest.mark.parametrize("provider", CLOUDS)
def test_whatever_two_faults_meet_the_budget_holds_and_nothing_is_left_after_one_reap(
    provider: str, tmp_path: Path
) -> None:
    asked = trials(provider, SEED)

    def outcome(number: int) -> tuple[Trial, Outcome]:
        (home := tmp_path / str(number)).mkdir()
        return asked[number], asked[number].run(home)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(outcome, range(len(asked))))
    for trial, came_to in found:
        said = f"{sorted(trial.knobs)}: {came_to}"
        assert not came_to.left, said
        assert came_to.bill_usd <= came_to.bound_usd, said
        assert came_to.bill_usd <= came_to.ledger_usd + SECOND_USD * max(came_to.n_made, 1), said
        assert came_to.is_in_range, said
        if trial.is_bill_whole:
            assert came_to.said_usd == pytest.approx(came_to.bill_usd, abs=SECOND_USD / 100), said
    assert sum(came_to.n_made for _, came_to in found) > len(found)
    assert sum(came_to.bill_usd for _, came_to in found) > SECOND_USD * len(found)
    assert any(came_to.why == "reaped" for _, came_to in found)
    assert any(came_to.why == "the budget is committed" for _, came_to in found)


@pytest.mark.parametrize("seed", range(3))
def test_each_two_faults_are_in_one_trial_together(seed: int) -> None:
    sets = in_pairs(random.Random(seed))  # noqa: S311 - no secret
    together = {frozenset(pair) for knobs in sets for pair in combinations(knobs, 2)}
    assert together == {frozenset(pair) for pair in combinations(KNOBS, 2)}
    assert max(map(len, sets)) <= 6


@pytest.mark.parametrize(
    ("more", "verdict"),
    [({}, "kept"), ({"bill_usd": 1.3}, "broken"), ({"bill_usd": 1.2}, "kept"), ({"left": ("a",)}, "broken")],
)
def test_a_bound_that_is_passed_or_a_machine_that_is_left_is_told(
    more: dict[str, object], verdict: str
) -> None:
    usual = {"budget_usd": 1.0, "bound_usd": 1.2, "bill_usd": 0.9, "said_usd": 0.9, "ledger_usd": 0.9}
    usual |= {"least_usd": 0.8, "most_usd": 0.9}
    found = Outcome(**{**usual, "n_made": 2, "left": (), "why": "idle", **more})  # type: ignore[arg-type]
    assert found.is_kept == (verdict == "kept")
