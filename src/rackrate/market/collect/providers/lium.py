"""Lium: a public feed of nodes whose GPUs are rented in any number from the smallest order on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rackrate.market.collect.base import Answer, Asking, Place, Request, SimpleCollector, money, need
from rackrate.market.normalise import number
from rackrate.market.offer import Kind, RawOffer

_ORDERS = (1, 2, 4, 8, 16)


class Lium(SimpleCollector):
    """One offer a node and usual number of GPUs, with its share of the node."""

    name = "lium"
    title = "Lium, free nodes"
    hosts = ("https://lium.io",)
    page = "https://lium.io"
    price_per = "gpu"
    units = "price_per_gpu_hour: USD; gpu_memory_gb of one GPU; cpu_count, ram_gb, disk_free_gb of the node"
    terms = "documented public feed that promises to change by additions only"
    keys_to_items = ("nodes",)

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for the feed."""
        del keys
        yield Request("nodes", "https://lium.io/api/public/v1/nodes")

    def read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterator[RawOffer]:
        """Return what can be rented of a node."""
        total, free = int(need(record, "gpu_count")), int(need(record, "available_gpu_count"))
        least = max(1, int(record.get("min_rentable_gpu_count") or total))
        country = str(record.get("country_code") or "")
        region = "-".join(filter(None, (country, str(record.get("region") or ""))))
        free = min(free, total)
        for count in sorted({n for n in (*_ORDERS, least, free) if least <= n <= free}):
            yield self.offer(
                answer,
                line,
                at,
                price=money(record.get("price_per_gpu_hour")),
                place=Place(region, country, free),
                sku=str(need(record, "id")),
                gpu_raw=need(record, "gpu_model"),
                gpu_count=count,
                vram_gib=record.get("gpu_memory_gb"),
                vcpu=_share(record, "cpu_count", count / total),
                ram_gib=_share(record, "ram_gb", count / total),
                disk_gib=_share(record, "disk_free_gb", count / total),
                kind=Kind.SPOT if record.get("tier") == "spot" else Kind.ON_DEMAND,
            )


def _share(record: Mapping[str, Any], key: str, frac: float) -> float | None:
    found = number(record.get(key), key)
    return found * frac if found else None


COLLECTOR = Lium()
