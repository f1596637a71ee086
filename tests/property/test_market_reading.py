"""Reading offers: what must hold for any number, rate and list that somebody may write."""

from __future__ import annotations

import dataclasses
import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.errors import UsageError
from rackrate.market.currency import Rates, bundled_rates
from rackrate.market.normalise import (
    IN_CURRENCY,
    OF_ROW,
    OF_SHAPE,
    Batch,
    Reject,
    Unreadable,
    instant,
    normalise,
    number,
    plain,
)
from rackrate.market.offer import COLUMNS, Offer, RawOffer, RawShape

AT = datetime(2026, 8, 22, 6, tzinfo=UTC)
NAMES = list(COLUMNS)
finite = st.floats(allow_nan=False, allow_infinity=False)
anything = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2)
)
moderate = st.floats(1e-4, 1e4)


def raw(**fields: Any) -> RawOffer:
    """Return an offer of these fields, those of its shape among them."""
    stated = {"provider": "acme", "gpu_raw": "L40S", "price": 1.2} | fields
    shape = {f.name: stated.pop(f.name) for f in dataclasses.fields(RawShape) if f.name in stated}
    return RawOffer(RawShape(**shape), "list.csv", 1, AT, **stated)


def offers_of(batch: Batch) -> list[dict[str, Any]]:
    """Return the rows of a batch, by column; the gate's own columns as it would leave them."""
    shapes = [dict(zip(OF_SHAPE, values, strict=True)) for values in batch.shapes]
    gate = {"flags": (), "is_counted": True, "is_last": True}
    whole = [shapes[number] | dict(zip(OF_ROW, values, strict=True)) | gate for number, *values in batch.rows]
    for row in whole:
        for stated, name in IN_CURRENCY.items():
            row[name] = None if row[stated] is None else row[stated] * row["usd_per_unit"]
    return [{name: row[name] for name in NAMES} for row in whole]


def one(**fields: Any) -> dict[str, Any]:
    """Return the one row that an offer becomes, by column."""
    batch = normalise("acme", [raw(**fields)], bundled_rates())
    assert not batch.rejects
    return offers_of(batch)[0]


@given(finite)
def test_a_number_reads_as_itself_and_as_its_text(value: float) -> None:
    assert number(value, "price") == number(repr(value), "price") == number(f" {value!r} ", "price") == value


@given(st.integers(0, 10**9), st.integers(0, 99))
def test_thousands_are_separated_by_commas(whole: int, cents: int) -> None:
    assert number(f"{whole:,}.{cents:02d}", "price") == pytest.approx(whole + cents / 100)
    assert number(f"${whole:,}", "price") == whole


@given(anything)
def test_a_number_is_finite_or_absent_or_unreadable(value: Any) -> None:
    try:
        found = number(value, "price")
    except Unreadable as error:
        assert error.rule == "price"  # noqa: PT017 - one of the two right outcomes
    else:
        assert found is None or math.isfinite(found)


@given(anything)
def test_an_instant_is_utc_or_unreadable(value: Any) -> None:
    try:
        assert instant(value, "at").tzinfo is UTC
    except Unreadable as error:
        assert error.rule == "malformed"  # noqa: PT017 - one of the two right outcomes


@given(st.text(st.characters()))
def test_plain_text_can_be_stored(text: str) -> None:
    assert "\0" not in plain(text)
    assert plain(plain(text)) == plain(text)
    plain(text).encode()


@given(st.lists(st.fixed_dictionaries({"provider": anything, "price": anything, "gpu_count": anything,
                                       "vram_gib": anything, "vcpu": anything, "currency": anything,
                                       "sku": anything, "available": anything,
                                       "region": anything})))  # fmt: skip
def test_no_record_is_lost_whatever_stands_in_it(fields: list[dict[str, Any]]) -> None:
    rejected = Reject("list.csv", 9, "malformed", "why", "what")
    rows = [*(raw(**each) for each in fields), rejected]
    batch = normalise("acme", rows, bundled_rates())
    assert len(batch.rows) + len(batch.rejects) == len(rows)
    for offer in offers_of(batch):
        assert math.isfinite(offer["usd_per_gpu_hour"])
        assert offer["provider"]


@given(moderate, st.integers(1, 64), st.sampled_from([1.0, 1 / 3600, 730.0, 8760.0]))
def test_price_of_one_gpu_and_of_all_agree(price: float, count: int, hours: float) -> None:
    whole = one(price=price, gpu_count=count, price_per="instance", price_hours=hours)
    each = one(price=price, gpu_count=count, price_per="gpu", price_hours=hours)
    assert whole["usd_per_hour"] == pytest.approx(price / hours)
    assert each["usd_per_gpu_hour"] == pytest.approx(price / hours)
    for row in (whole, each):
        assert row["usd_per_hour"] == pytest.approx(row["usd_per_gpu_hour"] * count)


def test_what_the_source_wrote_stays_beside_what_we_make_of_it() -> None:
    row = one(
        price="1,25 €",
        currency="eur",
        gpu_raw="nvidia l40s 48gb",
        provider="DataCrunch",
        vram_gib=46068 / 1024,
    )
    assert (row["price"], row["currency"], row["gpu_raw"], row["provider_raw"]) == (
        1.25, "EUR", "nvidia l40s 48gb", "DataCrunch",
    )  # fmt: skip
    assert (row["gpu"], row["provider"], row["vram_gib"]) == ("l40s", "verda", 48)
    assert row["usd_per_gpu_hour"] == pytest.approx(1.25 * row["usd_per_unit"])


@given(st.dictionaries(st.dates(date(2020, 1, 1), date(2030, 1, 1)), moderate, min_size=1), st.dates())
def test_the_rate_of_a_day_is_one_of_the_rates_and_says_how_far_off_it_lies(
    rates: dict[date, float], day: date
) -> None:
    found = Rates.of(("EUR", at, rate) for at, rate in rates.items()).usd_for_one("EUR", day)
    assert found is not None
    usd, off = found
    assert usd in {rate for at, rate in rates.items() if abs(day - at) == off}
    if day in rates:
        assert found == (rates[day], timedelta())


@given(st.sampled_from([0.0, -1.0, math.nan, math.inf, -math.inf]))
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(UsageError):
        Rates.of([("EUR", date(2026, 8, 22), rate)])


def test_the_callers_rate_wins_and_usd_is_usd() -> None:
    day = date(2026, 8, 20)
    rates = bundled_rates().with_rates([("eur", day, 2.0)])
    assert rates.usd_for_one("EUR", day) == (2.0, timedelta())
    assert rates.usd_for_one("USD", day) == (1.0, timedelta())
    assert rates.usd_for_one("XXX", day) is None


def test_an_offer_comes_back_from_its_row_and_as_plain_data() -> None:
    row = tuple(one().values())
    offer = Offer.from_row(row)
    plain_data = offer.to_dict()
    assert list(plain_data) == NAMES
    assert plain_data["snapshot_at"] == AT.isoformat()
    assert (offer.kind, offer.vram_total_gib, plain_data["observed_at"]) == ("on_demand", 48, None)
