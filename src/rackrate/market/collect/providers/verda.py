"""Verda, called DataCrunch until 2025: prices are text, memory is that of all GPUs together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from rackrate.market.collect.base import Answer, Asking, Request, SimpleCollector, bearer, money, need
from rackrate.market.normalise import Unreadable, number
from rackrate.market.offer import Kind, RawOffer

_ID, _SECRET = "VERDA_CLIENT_ID", "VERDA_CLIENT_SECRET"


class Verda(SimpleCollector):
    """Instance types, on demand and spot; which location has stock is another question, not asked."""

    name = "verda"
    title = "Verda instance types"
    hosts = ("https://api.datacrunch.io", "https://api.verda.com")
    page = "https://verda.com/products"
    may_use = (_ID, _SECRET)
    currency = ""
    units = "price_per_hour, spot_price: text, of the whole instance; gpu_memory of all GPUs together, GB"

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask the address that needs no key, or with a key the one that does."""
        if _ID not in keys or _SECRET not in keys:
            yield Request("types", "https://api.datacrunch.io/v1/instance-types")
            return
        form = {
            "grant_type": "client_credentials",
            "client_id": keys[_ID],
            "client_secret": keys[_SECRET],
        }
        url = "https://api.verda.com/v1/oauth2/token"
        token = yield Request("token", url, "POST", body=form, is_secret=True)
        key = token.json()["access_token"] if token else ""
        yield Request("types", "https://api.verda.com/v1/instance-types", secrets=bearer(key))

    def read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterator[RawOffer]:
        """Return on-demand and spot offer of a type; a price that is missing means not to be had."""
        gpu = record.get("gpu") or {}
        count = number(gpu.get("number_of_gpus"), "number_of_gpus")
        if not count:
            return
        memory = number((record.get("gpu_memory") or {}).get("size_in_gigabytes"), "size_in_gigabytes")
        shape = partial(
            self.offer,
            answer,
            line,
            at,
            currency=str(record.get("currency") or "USD").upper(),
            sku=need(record, "instance_type"),
            gpu_raw=str(need(gpu, "description")).partition("x ")[2] or gpu["description"],
            gpu_count=count,
            vram_gib=memory / count if memory else None,
            vcpu=(record.get("cpu") or {}).get("number_of_cores"),
            ram_gib=(record.get("memory") or {}).get("size_in_gigabytes"),
        )
        spot = record.get("spot_price") or record.get("spot_price_per_hour")
        stated = {Kind.ON_DEMAND: record.get("price_per_hour"), Kind.SPOT: spot}
        stated = {kind: price for kind, price in stated.items() if price not in (None, "")}
        if not stated:
            raise Unreadable("no_price", "neither price_per_hour nor spot_price is given")
        for kind, price in stated.items():
            yield shape(price=money(price), kind=kind)


COLLECTOR = Verda()
