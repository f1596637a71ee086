"""What is made ready: for each state of the data once, never in a reader's way, with the same answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from rackrate.market.filter import OfferFilter, order_by
from rackrate.market.offer import Kind
from rackrate.market.store import Store
from rackrate.upkeep import import_prices
from rackrate.web import shared
from rackrate.web.artist import ARTIST
from rackrate.web.prepare import Preparation, rented
from rackrate.web.site import Site

from .conftest import make_market

OFFERS = [
    {
        "provider": who,
        "gpu": gpu,
        "count": 1,
        "kind": "on_demand",
        "at": f"2026-08-2{day}",
        "usd": 1 + day / 10,
    }
    for who, gpu in (("acme", "L40S"), ("runpod", "L40S"), ("acme", "A10"))
    for day in range(3)
]


def until(fact: Callable[[], bool], longest_s: float = 60.0) -> None:
    """Wait for a fact."""
    late = time.monotonic() + longest_s
    while not fact():
        assert time.monotonic() < late, "it did not come true"
        threading.Event().wait(0.02)


def is_ready(store: Store, gpu: str) -> bool:
    """Tell whether all that the page of a GPU rests on is kept, its picture too."""
    kept = {key[:2] for key in shared._KEPT.get(store, {}) if isinstance(key, tuple)}
    return {(what, gpu) for what in ("dossier", "price", "models", "history")} <= kept


@pytest.fixture
def market(tmp_path: Path) -> Path:
    """Return a small market of its own."""
    return make_market(tmp_path, OFFERS)


def test_each_state_of_the_data_is_made_ready(market: Path, tmp_path: Path) -> None:
    site = Site(str(market))
    with Preparation(site):
        first = site.market()
        assert rented(first) == ["l40s", "a10"], "those that most have first"
        until(lambda: is_ready(first, "l40s") and is_ready(first, "a10"))
        newer = tmp_path / "newer"
        make_market(newer, [{**offer, "at": "2026-08-23"} for offer in OFFERS[:4]])
        import_prices(newer / "list.csv", mapping=newer / "mapping.toml", data=market)
        assert site.market() is not first
        until(lambda: is_ready(site.market(), "l40s"))
    ARTIST.close()
    assert "preparation" not in [thread.name for thread in threading.enumerate()]


def test_a_site_without_prices_waits_for_them(tmp_path: Path) -> None:
    site = Site(str(tmp_path / "none"))
    with Preparation(site) as preparation:
        until(lambda: ARTIST.pid is not None)
        assert preparation._thread.is_alive()
    ARTIST.close()


def test_offers_in_memory_answer_as_the_files_do() -> None:
    files, memory = Store.sample(), Store.sample()
    memory.prepare()
    order = order_by("usd")
    for wanted in (OfferFilter(), OfferFilter(slugs=("l40s",), kinds=(Kind.ON_DEMAND,))):
        for as_of in (None, datetime(2026, 8, 1, tzinfo=UTC)):
            here, there = (one.find(wanted, order, as_of=as_of) for one in (memory, files))
            assert here == there
            assert (here.n_matching, here.hidden) == (there.n_matching, there.hidden)
            assert here.n_matching > 50
            assert memory.removing(wanted, as_of) == files.removing(wanted, as_of)
    assert memory.tally() == files.tally()
    assert memory.columns(["gpu", "usd_per_gpu_hour"]) == files.columns(["gpu", "usd_per_gpu_hour"])


@pytest.mark.parametrize("kind", ["on_demand", "spot", "reserved", "serverless"])
def test_days_in_memory_answer_as_the_files_do(kind: str) -> None:
    files, memory = Store.sample(), Store.sample()
    memory.prepare()
    memory.prepare()
    whole, part = (date.min, date.max), (date(2026, 7, 20), date(2026, 8, 3))
    for since, until_ in (whole, part):
        assert list(memory.market_by_day(kind, since, until_)) == list(
            files.market_by_day(kind, since, until_)
        )
        for gpu in ("l40s", "a10", "h100-sxm", "no-such"):
            found = list(memory.prices_by_day(gpu, kind, since, until_))
            assert found == list(files.prices_by_day(gpu, kind, since, until_))
    assert len(list(memory.prices_by_day("l40s", "on_demand", *whole))) > 100
