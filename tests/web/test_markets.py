"""Any small market: no page fails, its forms agree, and what it prints follows from the JSON beside it."""

from __future__ import annotations

import asyncio
import csv
import html
import io
import json
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from rackrate.web.app import create_app
from rackrate.web.artist import ARTIST
from rackrate.web.front import Front
from rackrate.web.site import Site

from .conftest import NOW, make_market

NEWEST = date.fromisoformat(NOW[:10])
NAMES = (
    "runpod", "acme", "<b>Ünïcode & Sons</b>", "=1+cmd|' /C calc'!A0", "--kind spot", 'a,b"c\'d', "..",
    "../etc", "x" * 120, "'; DROP TABLE offers;--", "💥 {{7*7}} ${x}", "rackrate own l40s", "NaN", "0",
)  # fmt: skip
GPUS = {"l40s": "L40S", "a10": "A10", "h100-sxm": "H100 SXM", "rtx-4090": "RTX 4090"}
KINDS = ("on_demand", "spot", "reserved", "serverless")

OFFERS = st.fixed_dictionaries(
    {
        "provider": st.sampled_from(NAMES),
        "gpu": st.sampled_from([*GPUS.values(), "H100", "Warp <9000>"]),
        "count": st.sampled_from([1, 1, 2, 8]),
        "kind": st.sampled_from(["on_demand", *KINDS]),
        "sku": st.sampled_from(["", *NAMES]),
        "at": st.integers(0, 40).map(lambda days: (NEWEST - timedelta(days=days)).isoformat()),
        "usd": st.decimals("0.05", "40", places=3).map(str),
    }
)
MARKETS = st.lists(OFFERS, min_size=1, max_size=25)
TODAY = OFFERS.map(lambda offer: {**offer, "at": NEWEST.isoformat(), "gpu": "L40S", "kind": "on_demand"})
"""Offers that one can compare, beside those that one cannot."""


@dataclass(frozen=True)
class Got:
    """What an address answers."""

    status: int
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    @property
    def rows(self) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.text)))


class Asked:
    """A site over one market, asked without a network."""

    def __init__(self, store: Path) -> None:
        self._front: Front = create_app(Site(str(store), "http://site.example"))

    def get(self, path: str) -> Got:
        place, _, query = path.partition("?")
        sent: list[Mapping[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http", "method": "GET", "path": place, "raw_path": place.encode(),
            "query_string": query.encode(), "headers": [(b"accept", b"text/html")], "root_path": "",
            "scheme": "http", "server": ("site.example", 80), "client": ("127.0.0.1", 1),
            "http_version": "1.1",
        }  # fmt: skip
        asyncio.run(self._front(scope, receive, send))
        return Got(sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]))


@pytest.fixture(autouse=True)
def _day(own_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let it be the day of the newest list, and leave no process that draws."""
    del own_home  # it clears what is set here
    monkeypatch.setenv("RACKRATE_NOW", NOW)
    yield
    ARTIST.close()


@given(rows=MARKETS, today=st.lists(TODAY, max_size=6))
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
def test_no_market_breaks_a_page_and_its_forms_agree(
    rows: list[dict[str, Any]], today: list[dict[str, Any]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asked = Asked(make_market(Path(folder), [*rows, *today]))
        for path in _paths({row["provider"] for row in rows}):
            found = asked.get(path)
            assert found.status < 500, (path, found.text[:300])
            if not re.search(r"\.(json|csv|md|parquet)", path) and not path.startswith("/api/"):
                assert "<b>Ünïcode" not in found.text, "a name is never markup"
        for slug in GPUS:
            _check_gpu(asked, slug)
        _check_offers(asked)
        _check_home(asked)


def _paths(providers: set[str]) -> Iterator[str]:
    for form in ("", ".json", ".md", ".csv", ".parquet"):
        yield f"/index{form}" if form else "/"
        yield from (f"{path}{form}" for path in ("/providers", "/changes", "/status", "/about", "/compare"))
        for kind in KINDS:
            yield f"/gpus/l40s/history{form}?kind={kind}"
            yield f"/gpus/h100-sxm/instances{form}?kind={kind}"
        yield f"/offers{form}?kind=any&max_age=any"
        yield f"/rent-or-own{form}?gpu=a10"
        yield f"/plan{form}?model=llama-3.1-8b&rps=1"
    yield from (f"/providers/{quote(name, safe='')}" for name in sorted(providers))
    yield from (
        "/feeds/market.atom",
        "/feeds/gpus/l40s.atom",
        "/embed/gpus/l40s/history.svg",
        "/faq",
        "/llms.txt",
    )
    yield from ("/api/v1/gpus", "/api/v1/offers?kind=any", "/api/v1/meta", "/gpus/l40s.vl", "/gpus/h100")


def _check_gpu(asked: Asked, slug: str) -> None:
    """The page of a GPU prints what its JSON says, and what follows from that."""
    page, data = html.unescape(asked.get(f"/gpus/{slug}").text), asked.get(f"/gpus/{slug}.json").json
    assert data == asked.get(f"/api/v1/gpus/{slug}").json["data"]
    spread = data["price"]["spread"]
    event(f"{slug}: {'spread of several' if spread and spread['n'] > 1 else 'spread' if spread else 'none'}")
    if spread is None:
        assert "Spread: " not in page
    else:
        prices = spread["by_provider_usd_per_gpu_hour"]
        middle, low, high = median(prices.values()), min(prices.values()), max(prices.values())
        assert spread["median_usd_per_gpu_hour"] == pytest.approx(middle)
        assert prices[spread["cheapest"]["provider"]] == spread["cheapest"]["usd_per_gpu_hour"] == low
        for hours, digits in ((1, 2), (24, 2), (168, 2), (730, 0)):
            lowest = f"<small>median; from ${low * hours:,.{digits}f}" if len(prices) > 1 else "</dd>"
            assert f"<dd>${middle * hours:,.{digits}f}{lowest}" in page
        assert f"Spread: {len(prices)} provider" in page
        if len(prices) > 1:
            assert f"{(1 - low / high) * 100:.0f}% less than" in page
    own = asked.get(f"/api/v1/rent-or-own?gpu={slug}").json
    for against in own.get("data", {}).get("against", ()):
        event(f"{slug}: owning")
        simple = own["data"]["simple"]
        left = against["simple_rent_usd_per_day"] - simple["electricity_usd_per_day"]
        days = f"{simple['price_usd'] / left:,.0f} days" if left > 0 else "<strong>never</strong>"
        assert days in page, (against, simple)
    history = asked.get(f"/gpus/{slug}/history.csv")
    if history.status == 200:
        days_of = asked.get(f"/gpus/{slug}/history.json").json["history"]
        assert [row["day"] for row in history.rows] == [day["day"] for day in days_of]
        for row, day in zip(history.rows, days_of, strict=True):
            for name in ("median_usd_per_gpu_hour", "low_usd_per_gpu_hour", "high_usd_per_gpu_hour", "index"):
                assert float(row[name]) == pytest.approx(day[name], rel=1e-9)
            assert (
                day["low_usd_per_gpu_hour"] <= day["median_usd_per_gpu_hour"] <= day["high_usd_per_gpu_hour"]
            )


def _check_offers(asked: Asked) -> None:
    """The table on screen, the CSV and the JSON of all offers are the same rows."""
    path = "?kind=any&max_age=any"
    page = asked.get(f"/offers{path}")
    event(f"offers: {page.status}")
    if page.status != 200:
        return
    rows, data = asked.get(f"/offers.csv{path}").rows, asked.get(f"/offers.json{path}").json["data"]
    assert len(rows) == len(data) == page.text.count("<tr><td")
    assert [float(row["usd_per_gpu_hour"]) for row in rows] == pytest.approx(
        [offer["usd_per_gpu_hour"] for offer in data]
    )
    assert [row["provider"] for row in rows] == [offer["provider"] for offer in data]
    shown = re.findall(r"<tr><td[^>]*>(.*?)(?:<b class=|<td)", page.text)
    assert [html.unescape(re.sub(r"<[^>]+>", "", cell)) for cell in shown] == [
        row["provider"] for row in rows
    ]


def _check_home(asked: Asked) -> None:
    """The market's page has the medians of the pages of its GPUs."""
    listed = {row["gpu"]: row for row in asked.get("/index.csv?all=1").rows}
    for slug in GPUS:
        spread = asked.get(f"/api/v1/gpus/{slug}/spread").json.get("data", {}).get("spread")
        stated = listed[slug]["median_usd_per_gpu_hour"]
        assert float(stated) == pytest.approx(spread["median_usd_per_gpu_hour"]) if spread else stated == ""
