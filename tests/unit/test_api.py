"""The questions as functions: what they take, and what they do with what is off."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

import rackrate
from rackrate import api
from rackrate.errors import BadQuantity, DataError, NoAnswer, StaleData, UnknownName, UsageError
from rackrate.market.offer import Kind
from rackrate.units import Range


def test_a_number_a_text_and_a_range_ask_the_same() -> None:
    texts = rackrate.offers(count="2", vram_gib="48", max_usd_per_gpu_hour="1.5")
    numbers = rackrate.offers(count=2, vram_gib=48.0, max_usd_per_gpu_hour=1.5)
    ranges = rackrate.offers(count=Range(2, 2), vram_gib=Range(48, 48), max_usd_per_gpu_hour=1.5)
    assert texts.rows == numbers.rows == ranges.rows
    assert len(texts) > 3


def test_one_name_and_a_list_of_one_ask_the_same() -> None:
    one = rackrate.offers("l40s", provider="massedcompute", country="US", kind=Kind.ON_DEMAND, max_age="any")
    several = rackrate.offers(["l40s"], provider=["Massed Compute"], country=("us",), max_age=timedelta.max)
    assert one.rows == several.rows


@pytest.mark.parametrize(
    "as_of",
    [
        date(2026, 8, 1),
        "2026-08-01",
        datetime(2026, 8, 1, 23, 59, 59, 999999),  # noqa: DTZ001 - a time without a zone is UTC
        datetime(2026, 8, 1, 23, 59, 59, 999999, UTC),
    ],
)
def test_a_day_and_an_instant_ask_the_same(as_of: date | str) -> None:
    found = rackrate.price("l40s", as_of=as_of)
    assert found.as_of == datetime(2026, 8, 1, 23, 59, 59, 999999, UTC)
    assert found.spread == rackrate.price("l40s", as_of="2026-08-01").spread
    assert rackrate.gpu("l40s", as_of=as_of)._repr_html_()
    assert rackrate.offers("l40s", as_of=as_of).as_of == found.as_of


@pytest.mark.parametrize("as_of", ["1969-12-31", "3000-01-01", datetime(1, 1, 2, tzinfo=UTC), "20261301"])
def test_an_instant_without_prices_is_refused(as_of: str | datetime) -> None:
    with pytest.raises(BadQuantity):
        rackrate.gpu("l40s", as_of=as_of)


def test_the_end_of_a_day_is_meant_however_the_day_is_written() -> None:
    assert api.to_instant("20260822") == api.to_instant("2026-08-22") == api.to_instant(date(2026, 8, 22))
    assert api.to_instant(None) is None


@pytest.mark.parametrize("hours", [0, -1, 745, float("inf")])
def test_hours_that_are_no_month_are_refused(hours: float) -> None:
    for ask in (rackrate.price, rackrate.gpu, rackrate.offers):
        with pytest.raises(UsageError):
            ask("l40s", hours_per_month=hours)  # type: ignore[operator]


def test_hours_of_a_month_reach_every_answer() -> None:
    whole = rackrate.gpu("l40s", hours_per_month=720)
    assert whole.price.hours_per_month == whole.offers.hours_per_month == 720
    assert whole.price == rackrate.price("l40s", history="3650d", hours_per_month=720)


def test_a_limit_of_nothing_is_no_question() -> None:
    for limit in (0, -3):
        with pytest.raises(UsageError):
            rackrate.offers(limit=limit)


def test_a_name_that_fits_a_family_is_a_price_of_the_family_and_no_gpu() -> None:
    found = rackrate.price("h100")
    assert (found.gpu, found.spread is not None) == ("h100", True)
    with pytest.raises(UnknownName) as caught:
        rackrate.gpu("h100")
    assert {"h100-sxm", "h100-pcie"} <= set(caught.value.nearest)


def test_offers_that_say_only_the_family_are_counted_apart() -> None:
    found = rackrate.price("h100-sxm")
    families = rackrate.offers("h100", kind="any", max_age="any")
    assert found.loose.keys() == {"h100"}
    assert found.loose["h100"] <= sum(offer.gpu == "h100" for offer in families)


def test_no_price_says_how_else_it_is_sold() -> None:
    with pytest.raises(NoAnswer) as caught:
        rackrate.price("mi355x")
    assert caught.value.code == "no-offers"
    kind = caught.value.hint.rpartition("--kind ")[2]
    assert rackrate.price("mi355x", kind=kind).spread is not None


def test_a_dossier_is_there_for_a_gpu_that_nobody_rents() -> None:
    found = rackrate.gpu("p4")
    assert found.price.spread is None
    assert (len(found.offers), len(found.bundles)) == (0, 0)
    assert "no counted on_demand offer" in found._repr_html_()
    assert repr(found) == "<Dossier: NVIDIA Tesla P4, <Price: p4 on_demand, no offers>>"


def test_where_only_another_kind_is_sold_the_answer_shows_it() -> None:
    found = rackrate.gpu("mi355x").price
    assert found.spread is None
    assert found.other_kinds
    rows = next(block.rows for block in found.blocks() if hasattr(block, "rows"))
    assert {row[0] for row in rows} == {kind.value for kind in found.other_kinds}


def test_a_store_is_opened_once_for_each_state_of_its_files() -> None:
    assert rackrate.open_market() is rackrate.open_market()
    store = rackrate.open_market()
    assert rackrate.open_market(store) is store
    assert store.is_sample


def test_a_folder_without_a_market_is_a_data_error(tmp_path: Path) -> None:
    for ask in (rackrate.gpus, rackrate.providers, rackrate.offers):
        with pytest.raises(DataError):
            ask(data=tmp_path)  # type: ignore[operator]


def test_stale_data_say_how_old_they_are() -> None:
    store = rackrate.open_market()
    assert store.newest is not None
    api.not_older(store, "1d", store.newest + timedelta(hours=24))
    with pytest.raises(StaleData, match="2 days"):
        api.not_older(store, "1d", store.newest + timedelta(hours=48))


@pytest.mark.parametrize("names", [(), ("l40s",), ("l40s", "NVIDIA L40S")])
def test_a_comparison_needs_two(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        rackrate.compare(*names)


def test_a_comparison_keeps_the_order_and_says_each_once() -> None:
    found = rackrate.compare("a10", "l40s", "A10", "l4")
    assert [gpu.slug for gpu in found.gpus] == ["a10", "l40s", "l4"]
    assert len(found.sentences()) == 2


def test_segments_are_checked_and_kept() -> None:
    rows = rackrate.gpus(segment="workstation").to_dict()["data"]
    assert {row["segment"] for row in rows} == {"workstation"}
    with pytest.raises(UnknownName):
        rackrate.gpus(segment="toaster")


def test_every_provider_that_offers_is_listed_with_what_it_offers() -> None:
    counts = {row["provider"]: row["n_offers"] for row in rackrate.providers().to_dict()["data"]}
    tallied: dict[str, int] = {}
    for _, _, provider, _, n in rackrate.open_market().tally():
        tallied[provider] = tallied.get(provider, 0) + n
    assert {provider: n for provider, n in counts.items() if n} == {
        p: tallied[p] for p in tallied if p in counts
    }
