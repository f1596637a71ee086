"""Rules of a watch on random markets: told once each time they come to hold, whatever happens between."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import groupby, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from rackrate.alerts.rule import Below, Facts, Held, Moved, NewProvider, News, Prices, Rule, Stale, settle
from rackrate.alerts.state import load, save
from rackrate.market.offer import Kind
from rackrate.market.stats import HistoryDay, Spread

START = datetime(2026, 8, 1, tzinfo=UTC)
USD = st.floats(0.1, 10).map(lambda usd: round(usd, 3))
SPREADS = st.none() | st.dictionaries(st.sampled_from("abcd"), USD, min_size=1)
LOOKS = st.lists(SPREADS, max_size=12)


def spread(by_provider: dict[str, float] | None) -> Spread | None:
    if by_provider is None:
        return None
    ranked = dict(sorted(by_provider.items(), key=lambda item: item[1]))
    return Spread(Kind.ON_DEMAND, START.date(), ranked, 1.0, 0.0)


def looks(of: Sequence[dict[str, float] | None]) -> list[Facts]:
    return [
        Facts(START + timedelta(hours=n), {("l40s", Kind.ON_DEMAND): Prices(spread(each))}, {})
        for n, each in enumerate(of)
    ]


def told(rules: Sequence[Rule], seen: Sequence[Facts]) -> list[News]:
    held: Held = {}
    news = []
    for facts in seen:
        held, found = settle(held, rules, facts)
        news += found
    return news


@given(LOOKS, USD)
def test_a_price_is_told_once_for_each_stretch_below(
    prices: list[dict[str, float] | None], limit: float
) -> None:
    below = [min(each.values()) < limit for each in prices if each is not None]
    stretches = sum(is_below for is_below, _ in groupby(below))
    assert len(told([Below("l40s", Kind.ON_DEMAND, limit)], looks(prices))) == stretches


@given(LOOKS)
def test_a_provider_is_told_each_time_that_it_comes_after_the_first_look(
    prices: list[dict[str, float] | None],
) -> None:
    known = [set(each) for each in prices if each is not None]
    came = [who for before, now in pairwise(known) for who in sorted(now - before)]
    news = told([NewProvider("l40s", Kind.ON_DEMAND)], looks(prices))
    assert sorted(each.subject for each in news) == sorted(came)


@given(LOOKS, USD)
def test_looking_again_at_the_same_market_is_never_news(
    prices: list[dict[str, float] | None], limit: float
) -> None:
    rules = [Below("l40s", Kind.ON_DEMAND, limit), NewProvider("l40s", Kind.ON_DEMAND)]
    twice = [facts for facts in looks(prices) for _ in range(2)]
    assert told(rules, twice) == told(rules, looks(prices))


@given(LOOKS, USD)
def test_a_restart_between_any_two_looks_changes_nothing(
    prices: list[dict[str, float] | None], limit: float
) -> None:
    rules = [Below("l40s", Kind.ON_DEMAND, limit), NewProvider("l40s", Kind.ON_DEMAND)]
    news: list[News] = []
    with TemporaryDirectory() as folder:
        path = Path(folder) / "state.json"
        for facts in looks(prices):
            state = load(path)
            state.held, found = settle(state.held, rules, facts)
            news += found
            save(path, replace(state, told=[*state.told, *found]))
        assert load(path).told == told(rules, looks(prices)) == news


@given(LOOKS, USD)
def test_ids_are_unique(prices: list[dict[str, float] | None], limit: float) -> None:
    news = told([Below("l40s", Kind.ON_DEMAND, limit), NewProvider("l40s", Kind.ON_DEMAND)], looks(prices))
    assert len({each.id for each in news}) == len(news)


def day(n: int, median: float, index: float = 100.0) -> HistoryDay:
    return HistoryDay(date(2026, 8, 1) + timedelta(days=n), median, median, median, 3, index, 3, (), ())


@given(st.lists(USD, min_size=1, max_size=30), st.integers(1, 9), st.integers(1, 60))
def test_a_move_is_that_of_the_median_over_the_days_asked_for(
    medians: list[float], days: int, percent: int
) -> None:
    history = [day(n, median) for n, median in enumerate(medians)]
    facts = Facts(START, {("l40s", Kind.ON_DEMAND): Prices(spread({"a": 1.0}), history)}, {})
    found = Moved("l40s", Kind.ON_DEMAND, percent, days).judge(facts)
    if len(medians) <= days:
        assert found is None
        return
    # in thousandths of a dollar, whole numbers: no rounding of ours
    then, now = (round(1000 * medians[at]) for at in (-1 - days, -1))
    is_moved = 100 * abs(now - then) >= percent * then
    assert found is not None
    assert set(found) == ({"up" if now > then else "down"} if is_moved else set())


def test_a_move_says_what_is_like_for_like() -> None:
    history = [day(0, 1.0), day(7, 0.9, index=100.0)]
    facts = Facts(START, {("l40s", Kind.ON_DEMAND): Prices(spread({"a": 1.0}), history)}, {})
    (found,) = (Moved("l40s", Kind.ON_DEMAND, 10, 7).judge(facts) or {}).values()
    assert "median 1.000 to 0.900 USD/GPU-h since 2026-08-01 (-10.0%); like for like +0.0%" in found.text


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(0, 100)), st.integers(1, 100))
def test_a_list_is_stale_beyond_its_age_and_not_at_it(hours: dict[str, int], limit: int) -> None:
    listed = {source: START - timedelta(hours=age) for source, age in hours.items()}
    found = Stale("", timedelta(hours=limit)).judge(Facts(START, {}, listed))
    assert set(found) == {source for source, age in hours.items() if age > limit}
    alone = Stale("a", timedelta(hours=limit)).judge(Facts(START, {}, listed))
    assert set(alone) == set(found) & {"a"}


def test_a_changed_rule_is_another_and_what_a_removed_one_held_is_forgotten() -> None:
    (facts,) = looks([{"a": 1.0}])
    held, news = settle({}, [Below("l40s", Kind.ON_DEMAND, 2.0)], facts)
    again, more = settle(held, [Below("l40s", Kind.ON_DEMAND, 3.0)], facts)
    assert len(news) == len(more) == 1
    assert set(again) == {"below l40s on_demand 3.0"}
