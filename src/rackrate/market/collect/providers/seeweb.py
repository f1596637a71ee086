"""Seeweb: plans in euros, though the answer names no currency: the company bills in them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rackrate.market.collect.base import Answer, Asking, Place, Request, SimpleCollector, money, need
from rackrate.market.normalise import number
from rackrate.market.offer import RawOffer

_KEY = "SEEWEB_API_TOKEN"


class Seeweb(SimpleCollector):
    """One offer a plan and region."""

    name = "seeweb"
    title = "Seeweb plans"
    hosts = ("https://api.seeweb.it",)
    page = "https://www.seeweb.it/en/products/cloud-server-gpu"
    auth = (_KEY,)
    currency = "EUR"
    units = "hourly_price: EUR of the whole plan, text or number; ram: MiB; disk: GB; GPU memory in the label"
    keys_to_items = ("plans",)

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for all plans."""
        yield Request("plans", "https://api.seeweb.it/ecs/v2/plans", secrets={"X-APITOKEN": keys[_KEY]})

    def read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterator[RawOffer]:
        """Return the offers of a plan that has GPUs."""
        count = number(record.get("gpu"), "gpu")
        if not count or record.get("available") is False:
            return
        ram = number(record.get("ram"), "ram")
        regions = [region.get("location") for region in need(record, "available_regions")]
        for region in dict.fromkeys(filter(None, regions)):
            yield self.offer(
                answer,
                line,
                at,
                price=money(record.get("hourly_price"), "hourly_price"),
                place=Place(region, region[:2]),
                sku=need(record, "name"),
                gpu_raw=need(record, "gpu_label"),
                gpu_count=count,
                vcpu=record.get("cpu"),
                ram_gib=ram / 1024 if ram else None,
                disk_gib=record.get("disk"),
            )


COLLECTOR = Seeweb()
