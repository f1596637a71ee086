"""Akamai, formerly Linode: types with GPUs; the name of the GPU stands in the id of the type."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from rackrate.market.collect.base import Answer, Asking, Place, Request, SimpleCollector, money, need
from rackrate.market.normalise import Unreadable, number
from rackrate.market.offer import RawOffer

# What stands in an id, to the GPU. Source: Akamai's documents of GPU plans (recalled 2026-11).
_GPUS = {
    "rtxpro6000": ("RTX PRO 6000 Blackwell Server Edition", 96),
    "rtx6000": ("Quadro RTX 6000", 24),
    "rtx4000a": ("RTX 4000 Ada", 20),
}
_MOST_PAGES = 20


class Linode(SimpleCollector):
    """GPU types at the price of every region, and at those of the regions that differ."""

    name = "linode"
    title = "Akamai (Linode) types"
    hosts = ("https://api.linode.com",)
    page = "https://www.linode.com/pricing/"
    units = "price.hourly: USD of the whole instance; memory and disk: MiB; transfer: GB sent a month"
    pagination = "page and pages"
    parser_version = 2
    keys_to_items = ("data",)

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for all types."""
        del keys
        pages = 1
        for page in range(1, _MOST_PAGES):
            params = {"page": str(page), "page_size": "500"}
            answer = yield Request(f"page-{page}", "https://api.linode.com/v4/linode/types", params=params)
            pages = int((answer.json() if answer else {}).get("pages") or 1)
            if page >= pages:
                return

    def read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterator[RawOffer]:
        """Return the offers of a type that has GPUs."""
        count = number(record.get("gpus"), "gpus")
        if not count:
            return
        sku = str(need(record, "id"))
        names = (found for part, found in _GPUS.items() if part in sku.replace("-", ""))
        gpu, vram_gib = next(names, (str(record.get("label")), None))
        shape = partial(
            self.offer,
            answer,
            line,
            at,
            provider="akamai",
            sku=sku,
            gpu_raw=gpu,
            vram_gib=vram_gib,
            gpu_count=count,
            vcpu=record.get("vcpus"),
            ram_gib=_gib(record, "memory"),
            disk_gib=_gib(record, "disk"),
            included_egress_gb=record.get("transfer"),
        )
        prices = {"": (record.get("price") or {}).get("hourly")}
        prices |= {place["id"]: place.get("hourly") for place in record.get("region_prices") or []}
        stated = {place: price for place, price in prices.items() if price}
        if not stated:
            raise Unreadable("no_price", "the hourly price is 0: the public list withholds it")
        for place, price in stated.items():
            yield shape(price=money(price), place=Place(place))


def _gib(record: Mapping[str, Any], key: str) -> float | None:
    mib = number(record.get(key), key)
    return mib / 1024 if mib else None


COLLECTOR = Linode()
