"""The days of a market as sorted arrays: any rows come back as they were, by GPU and kind, in their order."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.market.store.days import Row, sorted_days

START = date(2026, 1, 1)
KINDS, GPUS, NAMES = ("on_demand", "spot"), ("a10", "l40s"), ("acme", "b|USD|2x", "Ärger", "acme2")

rows_of = st.dictionaries(
    st.tuples(
        st.sampled_from(KINDS), st.sampled_from(GPUS), st.integers(0, 9), st.sampled_from(NAMES),
        st.sampled_from(NAMES),
    ),
    st.tuples(st.floats(0.01, 100), st.sampled_from((1.0, 1.17, 0.0089))),
    max_size=60,
).map(
    lambda found: [(k, g, START + timedelta(d), p, s, *of) for (k, g, d, p, s), of in found.items()]
)  # fmt: skip


@given(rows_of, st.integers(1, 7), st.integers(0, 9), st.integers(0, 9))
def test_a_slice_is_what_a_search_of_the_rows_finds(
    rows: list[Row], size: int, first: int, last: int
) -> None:
    parts = [rows[at : at + size] for at in range(0, len(rows), size)]
    days = sorted_days([*parts, []])
    since, until = START + timedelta(first), START + timedelta(last)
    for kind in KINDS:
        wanted = sorted(row[1:] for row in rows if row[0] == kind and since <= row[2] <= until)
        assert list(days.of_kind(kind, since, until)) == wanted
        for gpu in (*GPUS, "none"):
            assert list(days.of_gpu(gpu, kind, since, until)) == [row[1:] for row in wanted if row[0] == gpu]


@pytest.mark.parametrize("parts", [[], [[]]])
def test_a_market_without_days_has_none(parts: list[list[Row]]) -> None:
    days = sorted_days(parts)
    assert list(days.of_kind("on_demand", date.min, date.max)) == []
    assert list(days.of_gpu("l40s", "on_demand", date.min, date.max)) == []


def test_any_day_may_be_asked_for() -> None:
    row: Row = ("spot", "l40s", START, "acme", "x", 1.5, 1.0)
    days = sorted_days([[row]])
    assert list(days.of_kind("spot", date.min, date.max)) == [row[1:]]
    assert list(days.of_kind("spot", date.max, date.min)) == []
