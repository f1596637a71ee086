"""Akash: what providers of the network bid for a GPU; bids of the last weeks, not offers of machines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rackrate.market.collect.base import Answer, Asking, Place, Request, SimpleCollector, money, need
from rackrate.market.normalise import Unreadable
from rackrate.market.offer import RawOffer

_GIB = re.compile(r"(\d+(?:\.\d+)?)\s*Gi")


class Akash(SimpleCollector):
    """The lowest bid for each model; a model that nobody bids for has no price and no offer."""

    name = "akash"
    title = "Akash Network, lowest bids"
    hosts = ("https://console-api.akash.network",)
    page = "https://akash.network/pricing/gpus/"
    currency = ""
    price_per = "gpu"
    units = "price.min: of one GPU, an hour, in price.currency; ram: text such as 80Gi, of one GPU"
    keys_to_items = ("models",)

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for the price table."""
        del keys
        yield Request("prices", "https://console-api.akash.network/v1/gpu-prices")

    def read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterator[RawOffer]:
        """Return the lowest bid for a model."""
        price = record.get("price")
        if price is None:
            return
        currency = str(price.get("currency") or "USD").upper()
        if currency not in ("USD", "EUR"):
            raise Unreadable("malformed", f"a price in {currency!r}, which is a token or unknown")
        ram = _GIB.fullmatch(str(record.get("ram") or ""))
        yield self.offer(
            answer,
            line,
            at,
            price=money(price.get("min"), "price.min"),
            place=Place(available=(record.get("availability") or {}).get("available")),
            currency=currency,
            gpu_raw=need(record, "model"),
            vram_gib=float(ram[1]) if ram else None,
            interconnect=record.get("interface") or "",
            notes="lowest bid",
        )


COLLECTOR = Akash()
