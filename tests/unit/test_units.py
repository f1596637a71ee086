"""Quantities: text to numbers with a unit and back, and nothing else gets through."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.errors import BadQuantity, RackrateError
from rackrate.units import (
    GIB_PER_UNIT,
    HOURS_PER_MONTH,
    HOURS_PER_YEAR,
    Range,
    format_age,
    parse_age,
    parse_instant,
    parse_number,
    parse_price,
    parse_range,
)

ends = st.one_of(st.integers(0, 10**9), st.floats(0, 1e9, allow_subnormal=False)).map(float)


@given(ends, ends)
def test_a_range_reads_back_as_it_is_written(a: float, b: float) -> None:
    low, high = sorted((a, b))
    for found in (Range(low, high), Range(low, low), Range(low=low), Range(high=high), Range()):
        assert parse_range(str(found), "vram") == found


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2", 2, 2),
        ("1..8", 1, 8),
        ("24..", 24, math.inf),
        ("..80", -math.inf, 80),
        ("40GiB..80 gb", 40, 80),
        (" 24 G ", 24, 24),
        ("..", -math.inf, math.inf),
    ],
)
def test_ranges(text: str, low: float, high: float) -> None:
    assert parse_range(text, "vram") == Range(low, high)


@pytest.mark.parametrize("text", ["", "x", "8..1", "-1", "-2..4", "1..2..3", "nan", "inf", "1e999", "4..-1"])
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(BadQuantity) as caught:
        parse_range(text, "vram")
    assert caught.value.code == "bad-quantity"
    assert "vram" in caught.value.message


@given(ends, ends, ends)
def test_a_range_contains_what_lies_between_its_ends(a: float, b: float, value: float) -> None:
    low, high = sorted((a, b))
    assert (value in Range(low, high)) == (low <= value <= high)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_reads_back(value: float) -> None:
    assert parse_number(repr(value), "n") == value


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-inf", "1e400", "1_000", "0x10", "1,2", "", " ", "٣x", "--1"]
)
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(BadQuantity):
        parse_number(text, "n")


@given(st.floats(0, 1e6))
def test_a_price_reads_with_and_without_its_dollar_sign(usd: float) -> None:
    assert parse_price(f"${usd!r}", "price") == parse_price(f" {usd!r} ", "price") == usd


@pytest.mark.parametrize("text", ["-1", "$-0.01", "free", "€1", "$"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(BadQuantity):
        parse_price(text, "price")


@pytest.mark.parametrize(
    ("text", "hours"),
    [("36h", 36), ("90d", 2160), ("2w", 336), ("3m", 3 * 730), ("1y", 8760), ("5", 120), (" 0.5 D ", 12)],
)
def test_ages(text: str, hours: float) -> None:
    assert parse_age(text, "age") == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["0", "-1d", "1x", "d", "", "1e300y", "1e999", "1e-300h", "1 2d"])
def test_what_is_no_age_is_refused(text: str) -> None:
    with pytest.raises(BadQuantity):
        parse_age(text, "age")


@given(st.datetimes(datetime(1970, 1, 1), datetime(9998, 12, 30), timezones=st.just(UTC)))  # noqa: DTZ001
def test_an_instant_reads_back(at: datetime) -> None:
    assert parse_instant(at.isoformat(), "at") == at
    if at.time().isoformat() != "00:00:00":
        assert parse_instant(at.replace(tzinfo=None).isoformat(), "at") == at


def test_a_day_is_meant_to_its_end_and_an_offset_is_heeded() -> None:
    day = parse_instant("2026-08-22", "at")
    assert day == datetime(2026, 8, 22, 23, 59, 59, 999999, UTC)
    assert parse_instant("2026-08-22T02:00+02:00", "at") == datetime(2026, 8, 22, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["", "soon", "2026-02-30", "2026-13-01T00:00", "0001-01-01T00:00+23:00", "9999-12-31T23:59-12:00"]
)
def test_what_is_no_instant_is_refused(text: str) -> None:
    with pytest.raises(BadQuantity):
        parse_instant(text, "at")


@given(st.text())
def test_no_text_brings_a_reader_down(text: str) -> None:
    for read in (parse_range, parse_number, parse_price, parse_age, parse_instant):
        try:
            read(text, "it")
        except RackrateError as error:
            assert error.message  # noqa: PT017 - either outcome is right, another exception is not


def test_a_year_of_months_is_a_year_and_units_of_memory_agree() -> None:
    assert 12 * HOURS_PER_MONTH == HOURS_PER_YEAR == 365 * 24
    assert GIB_PER_UNIT["TIB"] == 1024 * GIB_PER_UNIT["GIB"] == 1024 * 1024 * GIB_PER_UNIT["MIB"]
    assert GIB_PER_UNIT["GB"] == pytest.approx(0.931322574615)
    assert GIB_PER_UNIT["TB"] == pytest.approx(1e12 * GIB_PER_UNIT["B"])


@pytest.mark.parametrize(
    ("hours", "text"), [(0.9, "under 1 h"), (3, "3 h"), (47.4, "47 h"), (48, "2 days"), (290, "12 days")]
)
def test_ages_are_written_for_people(hours: float, text: str) -> None:
    assert format_age(timedelta(hours=hours)) == text
