"""Rules that stop trials: what holds for every order of every value."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.errors import BadQuantity, UnknownName
from rackrate.fleet.rules import Asha, Median, Rule, from_dict, rule_of, to_dict

VALUES = st.one_of(st.floats(allow_nan=True, allow_infinity=True), st.integers(-3, 3).map(float))
RULES: st.SearchStrategy[Rule] = st.one_of(
    st.builds(
        Asha,
        first=st.one_of(st.none(), st.integers(1, 5)),
        eta=st.integers(2, 5),
        least=st.one_of(st.none(), st.integers(1, 8)),
    ),
    st.builds(Median, first=st.one_of(st.none(), st.integers(1, 5)), least=st.integers(1, 4)),
)


@st.composite
def reports(draw: st.DrawFn) -> list[tuple[int, int, float]]:
    """Draw what trials report, mixed in any order; steps go up, with jumps and repeats."""
    n = draw(st.integers(1, 12))
    at = dict.fromkeys(range(n), 0)
    found = []
    for trial in draw(st.lists(st.integers(0, n - 1), max_size=80)):
        at[trial] = max(at[trial] + draw(st.sampled_from((1, 1, 1, 4, -2))), 0)
        found.append((trial, at[trial], draw(VALUES)))
    return found


def verdicts(rule: Rule, seen: list[tuple[int, int, float]]) -> list[bool]:
    judge = rule.judge()
    return [judge.see(*one) for one in seen]


@given(RULES, reports())
def test_the_same_values_again_give_the_same_verdicts(rule: Rule, seen: list[Any]) -> None:
    assert verdicts(rule, seen) == verdicts(rule, seen)


@given(RULES, reports(), reports())
def test_a_verdict_depends_only_on_what_was_seen_before(
    rule: Rule, seen: list[Any], later: list[Any]
) -> None:
    assert verdicts(rule, seen + later)[: len(seen)] == verdicts(rule, seen)


@given(RULES, reports())
def test_a_rule_survives_the_journal(rule: Rule, seen: list[Any]) -> None:
    again = from_dict(to_dict(rule))
    assert again == rule
    assert verdicts(again, seen) == verdicts(rule, seen)


class Bookkeeper:
    """ASHA reckoned again from its definition: the values of each rung, from all that was seen."""

    def __init__(self, rule: Asha) -> None:
        self.rule = rule
        self.first = rule.first
        self.least = max(rule.eta, rule.least or rule.eta)
        self.rungs: list[dict[int, tuple[float, int]]] = []

    def see(self, trial: int, step: int, value: float) -> None:
        if self.first is None and step > 0:
            self.first = 4 * step
        if self.first is None:
            return
        rung = 0
        while step >= self.first * self.rule.eta**rung:
            if rung == len(self.rungs):
                self.rungs.append({})
            entry = (math.inf if math.isnan(value) else value, len(self.rungs[rung]))
            self.rungs[rung].setdefault(trial, entry)
            rung += 1

    def judging(self, trial: int) -> dict[int, tuple[float, int]] | None:
        """Return the rung that a trial is judged by."""
        fit = [rung for rung in self.rungs if trial in rung and len(rung) >= self.least]
        return fit[-1] if fit else None


@given(
    st.builds(
        Asha,
        first=st.one_of(st.none(), st.integers(1, 4)),
        eta=st.integers(2, 4),
        least=st.one_of(st.none(), st.integers(1, 6)),
    ),
    reports(),
)
def test_no_more_than_one_in_eta_goes_on_by_a_rung_and_the_best_always_does(
    rule: Asha, seen: list[tuple[int, int, float]]
) -> None:
    judge, book = rule.judge(), Bookkeeper(rule)
    for trial, step, value in seen:
        is_stopped = judge.see(trial, step, value)
        book.see(trial, step, value)
        rung = book.judging(trial)
        if rung is None:
            assert not is_stopped, "nobody is stopped before a rung holds enough"
            continue
        n_better = sum(other < rung[trial] for other in rung.values())
        assert is_stopped == (n_better >= len(rung) // rule.eta)
        if n_better == 0:
            assert not is_stopped
        goes_on = [one for one in rung if sum(o < rung[one] for o in rung.values()) < len(rung) // rule.eta]
        assert len(goes_on) <= len(rung) / rule.eta


@given(st.integers(2, 5), st.lists(st.floats(-100, 100), min_size=5, max_size=40, unique=True))
def test_of_trials_that_come_together_asha_leaves_the_best_of_the_rung(eta: int, values: list[float]) -> None:
    judge = Asha(first=1, eta=eta).judge()
    for trial, value in enumerate(values):
        judge.see(trial, 1, value)
    left = {trial for trial, value in enumerate(values) if not judge.see(trial, 1, value)}
    assert left == set(sorted(range(len(values)), key=values.__getitem__)[: len(values) // eta])


@given(reports())
def test_the_median_rule_never_stops_the_best_so_far(seen: list[tuple[int, int, float]]) -> None:
    judge, best = Median(first=1, least=1).judge(), math.inf
    for trial, step, value in seen:
        is_best = not math.isnan(value) and value < best
        is_stopped = judge.see(trial, step, value)
        if is_best and not any(
            other == trial and at >= step for other, at, _ in seen[: seen.index((trial, step, value))]
        ):
            assert not is_stopped
        best = min(best, math.inf if math.isnan(value) else value)


@pytest.mark.parametrize("seed", range(10))
def test_of_trials_in_lockstep_the_median_rule_does_not_halve_what_is_left_at_each_step(seed: int) -> None:
    levels = random.Random(seed).sample(range(64), 64)  # noqa: S311 - an order
    judge, live = Median(first=4).judge(), set(range(64))
    for step in range(1, 100):
        live -= {trial for trial in sorted(live) if judge.see(trial, step, levels[trial] + 10 / step)}
    assert levels.index(0) in live
    assert 20 <= len(live) <= 44


def test_a_step_that_no_rung_knows_counts_at_the_next_report_past_it() -> None:
    judge = Asha(first=10, eta=2).judge()
    assert [judge.see(0, 7, 9.0), judge.see(1, 7, 1.0)] == [False, False]
    assert [judge.see(1, 14, 1.0), judge.see(0, 14, 9.0)] == [False, True]


def test_an_early_arrival_is_spared_until_enough_have_come() -> None:
    judge = Asha(first=1, eta=2, least=4).judge()
    seen = [(0, 3.0), (1, 1.0), (2, 4.0), (0, 3.0), (3, 5.0), (0, 3.0), (1, 1.0)]
    assert [judge.see(trial, 1, value) for trial, value in seen] == [False] * 4 + [True, False, False]


def test_without_a_first_rung_it_is_four_times_the_first_step() -> None:
    judge = Asha(eta=2).judge()
    for step in (0, 5, 10, 15):
        assert [judge.see(0, step, 1.0), judge.see(1, step, 2.0)] == [False, False]
    assert [judge.see(0, 20, 1.0), judge.see(1, 20, 2.0)] == [False, True]


def test_no_number_is_the_worst_of_all() -> None:
    judge = Asha(first=1, eta=2).judge()
    assert [judge.see(0, 1, math.nan), judge.see(1, 1, 1e300), judge.see(0, 2, 0.0)] == [False, False, True]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Asha(eta=1),
        lambda: Asha(first=0),
        lambda: Asha(least=0),
        lambda: Asha(first=2.5),  # type: ignore[arg-type]
        lambda: Median(least=0),
        lambda: Median(least=True),
    ],
)
def test_settings_that_cannot_be_are_told(make: Any) -> None:
    with pytest.raises(BadQuantity):
        make()


def test_rules_are_found_by_name_and_the_nearest_is_told() -> None:
    assert rule_of("asha") == Asha()
    assert rule_of("median") == Median()
    assert rule_of(None) is None
    with pytest.raises(UnknownName, match="unknown rule 'ascha'") as caught:
        rule_of("ascha")
    assert caught.value.nearest == ("asha",)
