"""Statistics of prices: what must hold for every market, and the same numbers found another way."""

from __future__ import annotations

import random
from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.errors import UsageError
from rackrate.market.offer import Kind
from rackrate.market.stats import DayPrices, by_day, group_days, history, spread, step

START = date(2026, 7, 5)
Row = tuple[date, str, str, float]

prices = st.integers(1, 100_000).map(lambda milli: milli / 1000)
offers = st.dictionaries(
    st.sampled_from([f"p{i}" for i in range(8)]),
    st.dictionaries(st.sampled_from(["x1", "x2", "x8"]), prices, min_size=1),
    min_size=1,
)


@st.composite
def markets(draw: st.DrawFn) -> list[Row]:
    """Rows of one to six days; some days may be missing."""
    days = draw(st.lists(st.integers(0, 9), min_size=1, max_size=6, unique=True))
    return [
        (START + timedelta(days=n), provider, series, usd)
        for n in days
        for provider, asked in draw(offers).items()
        for series, usd in asked.items()
    ]


def indices(rows: list[Row]) -> list[float]:
    return [day.index for day in history(group_days(Kind.ON_DEMAND, rows))]


def middle(values: list[float]) -> float:
    ranked = sorted(values)
    half = len(ranked) // 2
    return ranked[half] if len(ranked) % 2 else (ranked[half - 1] + ranked[half]) / 2


@given(markets(), offers)
def test_a_provider_that_enters_moves_nothing_on_that_day(
    rows: list[Row], more: dict[str, dict[str, float]]
) -> None:
    last = max(row[0] for row in rows)
    new = [(last, f"new-{p}", series, usd) for p, asked in more.items() for series, usd in asked.items()]
    assert indices([*rows, *new]) == indices(rows)


@given(markets())
def test_a_provider_that_leaves_moves_nothing_on_that_day(rows: list[Row]) -> None:
    last = max(row[0] for row in rows)
    today = {row[1] for row in rows if row[0] == last}
    gone = min(today)
    left = [row for row in rows if row[:2] != (last, gone)]
    stays = [row for row in rows if row[1] != gone]
    days = group_days(Kind.ON_DEMAND, left)
    if len(today) > 1 and len(days) > 1:
        without = {day.day: day for day in group_days(Kind.ON_DEMAND, stays)}
        before = next(day for day in reversed(days) if day.day < last)
        assert step(before, days[-1]) == step(
            without.get(before.day, DayPrices(Kind.ON_DEMAND, before.day, {})), without[last]
        )


@given(markets(), st.sampled_from(["x1", "x2", "x8"]))
def test_a_shape_that_is_new_at_a_provider_moves_nothing_on_that_day(rows: list[Row], series: str) -> None:
    last = max(row[0] for row in rows)
    provider = next(row[1] for row in rows if row[0] == last)
    assert indices([*rows, (last, provider, f"new-{series}", 0.001)]) == indices(rows)


@given(offers, st.integers(1, 8))
def test_constant_prices_give_a_constant_index(asked: dict[str, dict[str, float]], n_days: int) -> None:
    days = [DayPrices(Kind.SPOT, START + timedelta(days=n), asked) for n in range(n_days)]
    assert {day.index for day in history(days)} == {100.0}


@given(markets(), st.integers(1, 1000).map(lambda k: k / 10))
def test_scaling_all_prices_scales_medians_and_leaves_the_steps(rows: list[Row], k: float) -> None:
    scaled = [(day, provider, series, usd * k) for day, provider, series, usd in rows]
    plain, large = (history(group_days(Kind.ON_DEMAND, found)) for found in (rows, scaled))
    for one, other in zip(plain, large, strict=True):
        assert other.median_usd_per_gpu_hour == pytest.approx(k * one.median_usd_per_gpu_hour)
        assert other.index == pytest.approx(one.index)
        assert (other.n, other.n_matched, other.entered) == (one.n, one.n_matched, one.entered)


@given(offers, st.integers(2, 30).map(lambda k: k / 10))
def test_a_common_move_moves_the_index_by_just_that(asked: dict[str, dict[str, float]], k: float) -> None:
    moved = {p: {series: usd * k for series, usd in of.items()} for p, of in asked.items()}
    then, now = DayPrices(Kind.SPOT, START, asked), DayPrices(Kind.SPOT, START, moved)
    assert step(then, now) == (pytest.approx(k), len(asked))


@given(markets(), st.integers(0, 2**32))
def test_the_order_of_rows_does_not_matter(rows: list[Row], seed: int) -> None:
    shuffled = random.Random(seed).sample(rows, len(rows))  # noqa: S311 - any order will do
    one, other = (group_days(Kind.ON_DEMAND, found) for found in (rows, shuffled))
    assert history(one) == history(other)
    assert [spread(day) for day in one] == [spread(day) for day in other]


@given(markets())
def test_days_one_after_the_other_are_the_days_all_at_once(rows: list[Row]) -> None:
    assert list(by_day(Kind.ON_DEMAND, sorted(rows))) == group_days(Kind.ON_DEMAND, sorted(rows))


@given(offers)
def test_spread_lies_within_its_bounds(asked: dict[str, dict[str, float]]) -> None:
    found = spread(DayPrices(Kind.ON_DEMAND, START, asked))
    assert found is not None
    assert found.cheapest[1] <= found.median_usd_per_gpu_hour <= found.dearest[1]
    assert 0 <= found.cheaper_frac < 1
    assert found.n == len(asked)
    assert found.kind is Kind.ON_DEMAND
    assert list(found.by_provider.values()) == sorted(min(of.values()) for of in asked.values())


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=12))
def test_the_middle_half_of_the_providers_asks_what_the_quartiles_say(asked: list[float]) -> None:
    found = spread(DayPrices(Kind.ON_DEMAND, START, {f"p{at}": {"s": usd} for at, usd in enumerate(asked)}))
    assert found
    if len(asked) < 4:
        assert found.quartiles is None
        return
    assert found.quartiles
    low, high = found.quartiles
    assert min(asked) <= low <= found.median_usd_per_gpu_hour <= high <= max(asked)
    assert sum(usd < low for usd in asked) <= -(-len(asked) // 4)
    assert sum(usd > high for usd in asked) <= -(-len(asked) // 4)


def test_there_is_no_spread_of_nothing() -> None:
    assert spread(DayPrices(Kind.ON_DEMAND, START, {})) is None
    assert history([]) == []


@given(offers, st.permutations(list(Kind)))
def test_kinds_are_never_mixed(asked: dict[str, dict[str, float]], kinds: list[Kind]) -> None:
    one, other = (DayPrices(kind, START, asked) for kind in kinds[:2])
    with pytest.raises(UsageError):
        step(one, other)
    with pytest.raises(UsageError):
        history([one, one, other])


@given(markets())
def test_spread_median_and_index_are_those_worked_out_from_the_rows(rows: list[Row]) -> None:
    asked: dict[date, dict[tuple[str, str], float]] = {}
    for day, provider, series, usd in rows:
        asked.setdefault(day, {})[provider, series] = usd

    def lows(day: date, keys: set[tuple[str, str]]) -> list[float]:
        providers = sorted({provider for provider, _ in keys})
        return [min(asked[day][key] for key in keys if key[0] == provider) for provider in providers]

    index = [100.0]
    for before, after in pairwise(sorted(asked)):
        both = asked[before].keys() & asked[after].keys()
        moved = middle(lows(after, both)) / middle(lows(before, both)) if both else 1
        index.append(index[-1] * moved)
    for day, expected in zip(history(group_days(Kind.ON_DEMAND, rows)), index, strict=True):
        values = lows(day.day, set(asked[day.day]))
        assert day.index == pytest.approx(expected)
        assert day.median_usd_per_gpu_hour == pytest.approx(middle(values))
        assert (day.low_usd_per_gpu_hour, day.high_usd_per_gpu_hour) == (min(values), max(values))
        assert day.n == len(values)


@given(offers, st.floats(0.5, 2.0))
def test_a_rate_of_exchange_alone_moves_nothing(asked: dict[str, dict[str, float]], rate: float) -> None:
    then = [(START, p, f"{p}{series}", usd, 1.0) for p, of in asked.items() for series, usd in of.items()]
    now = [(START + timedelta(1), p, series, usd * rate, rate) for _, p, series, usd, _ in then]
    days = history(group_days(Kind.ON_DEMAND, [*then, *now]))
    assert days[1].index == pytest.approx(100)
    assert days[1].median_usd_per_gpu_hour == pytest.approx(rate * days[0].median_usd_per_gpu_hour)


def test_who_entered_and_left_is_told() -> None:
    def on(n: int, *providers: str) -> list[Row]:
        return [(START + timedelta(days=n), provider, "x1", 1.0) for provider in providers]

    days = history(group_days(Kind.ON_DEMAND, [*on(0, "a", "b"), *on(1, "b", "c"), *on(2, "c")]))
    assert [(day.entered, day.left, day.n_matched) for day in days] == [
        ((), (), 0),
        (("c",), ("a",), 1),
        ((), ("b",), 1),
    ]


def test_days_without_a_common_offer_leave_the_index_and_rest_on_nothing() -> None:
    rows = [(START, "a", "x1", 1.0), (START + timedelta(1), "b", "x1", 9.0)]
    after = history(group_days(Kind.ON_DEMAND, rows))[1]
    assert (after.index, after.n_matched) == (100.0, 0)
