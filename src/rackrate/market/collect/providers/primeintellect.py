"""Prime Intellect: what many clouds sell through it. The label may be wrong: `g3-l40s-large` as an L40."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from rackrate.market.collect.base import (
    Answer,
    Asking,
    Collector,
    LayoutChanged,
    Place,
    Request,
    Rows,
    bearer,
    each,
    money,
    need,
)
from rackrate.market.normalise import Unreadable, number
from rackrate.market.offer import Kind, RawOffer
from rackrate.units import HOURS_PER_MONTH

_KEY = "PRIME_API_KEY"
_PAGE = 100
_MOST_PAGES = 50


class PrimeIntellect(Collector):
    """One offer an item of the availability list; what must be paid ahead is left out."""

    name = "primeintellect"
    title = "Prime Intellect availability"
    hosts = ("https://api.primeintellect.ai",)
    page = "https://app.primeintellect.ai"
    auth = (_KEY,)
    currency = ""
    units = (
        "prices.onDemand: of the whole instance in prices.currency; gpuMemory: GB, often of all GPUs; "
        "disk.pricePerUnit: a GB and hour"
    )
    pagination = "page and page_size, up to totalCount"
    parser_version = 2

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for single nodes with GPUs, page by page."""
        url = "https://api.primeintellect.ai/api/v1/availability/gpus"
        n = 0
        for page in range(1, _MOST_PAGES):
            params = {"page": str(page), "page_size": str(_PAGE)}
            answer = yield Request(f"page-{page}", url, params=params, secrets=bearer(keys[_KEY]))
            items = _items(answer) if answer else []
            n += len(items)
            if not items or n >= _total(answer):
                return

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield the offers of all pages."""
        for answer in answers:
            for line, record in enumerate(_items(answer), 1):
                yield from each(partial(self._read, answer, line, at, record), answer, line, record)

    def _read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterator[RawOffer]:
        prices = need(record, "prices")
        if record.get("prepaidTime"):
            return
        paid = {"secure": prices.get("onDemand"), "community": prices.get("communityPrice")}
        stated = {tier: price for tier, price in paid.items() if price is not None}
        if not stated:
            raise Unreadable("no_price", "neither onDemand nor communityPrice is given")
        place = Place(
            str(record.get("dataCenter") or record.get("region") or ""), record.get("country") or ""
        )
        for tier, price in stated.items():
            yield self.offer(
                answer,
                line,
                at,
                provider=need(record, "provider"),
                seller="primeintellect",
                tier=tier if len(stated) > 1 else "",
                price=money(price),
                currency=str(prices.get("currency") or ""),
                place=place,
                sku=need(record, "cloudId"),
                gpu_raw=str(need(record, "gpuType")).replace("_", " "),
                gpu_count=need(record, "gpuCount"),
                vram_gib=record.get("gpuMemory"),
                interconnect=record.get("socket") or "",
                vcpu=_default(record, "vcpu"),
                ram_gib=_default(record, "memory"),
                disk_gib=_default(record, "disk"),
                **_disk(record),
                kind=Kind.SPOT if record.get("isSpot") else Kind.ON_DEMAND,
            )


def _items(answer: Answer) -> list[Any]:
    """Return the records: a list of items, or lists by GPU, as an older answer has them."""
    said = answer.json()
    if isinstance(said, dict) and isinstance(said.get("items"), list):
        return list(said["items"])
    if isinstance(said, dict) and said and all(isinstance(found, list) for found in said.values()):
        return [record for found in said.values() for record in found]
    raise LayoutChanged(f"{answer.name} has neither items nor lists by GPU")


def _total(answer: Answer | None) -> int:
    said = answer.json() if answer else {}
    return int(said.get("totalCount") or 0) if isinstance(said.get("totalCount"), int) else 0


def _disk(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what more disk costs, and how much of it the price pays for, where that is said."""
    said = record.get("disk") or {}
    per_hour, is_in = number(said.get("pricePerUnit"), "pricePerUnit"), said.get("defaultIncludedInPrice")
    return {
        "storage_per_gb_month": None if per_hour is None else per_hour * HOURS_PER_MONTH,
        "included_disk_gb": None if is_in is None else said.get("defaultCount") if is_in else 0,
    }


def _default(record: Mapping[str, Any], part: str) -> Any:
    return (record.get(part) or {}).get("defaultCount")


COLLECTOR = PrimeIntellect()
