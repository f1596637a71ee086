"""CloudRift: prices in cents, sizes in bytes, variants of an instance type by data centre."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rackrate.market.collect.base import GIB, Answer, Asking, Place, Request, SimpleCollector, money, need
from rackrate.market.normalise import number
from rackrate.market.offer import RawOffer


class CloudRift(SimpleCollector):
    """One offer a variant and data centre that has nodes."""

    name = "cloudrift"
    title = "CloudRift instance types"
    hosts = ("https://api.cloudrift.ai",)
    page = "https://www.cloudrift.ai/pricing"
    units = "cost_per_hour: cents of a dollar, whole instance; dram, disk, vram: bytes"
    keys_to_items = ("data", "instance_types")

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for virtual machines."""
        del keys
        selector = {"ByServiceAndLocation": {"services": ["vm"]}}
        body = {"version": "2025-03-21", "data": {"selector": selector}}
        yield Request("types", "https://api.cloudrift.ai/api/v1/instance-types/list", "POST", body=body)

    def read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterator[RawOffer]:
        """Return the offers of all variants of a type."""
        name = record.get("brand_short") or need(record, "name")
        for variant in need(record, "variants"):
            count = number(variant.get("gpu_count"), "gpu_count")
            if not count:
                continue
            for place, nodes in (variant.get("nodes_per_dc") or {}).items():
                yield self.offer(
                    answer,
                    line,
                    at,
                    price=money(variant.get("cost_per_hour"), "cost_per_hour") / 100,
                    place=Place(place, available=(number(nodes, "nodes") or 0) * count),
                    sku=need(variant, "name"),
                    gpu_raw=name,
                    gpu_count=count,
                    vram_gib=_gib(variant, "vram"),
                    vcpu=variant.get("cpu_count"),
                    ram_gib=_gib(variant, "dram"),
                    disk_gib=_gib(variant, "disk"),
                )


def _gib(variant: Mapping[str, Any], key: str) -> float | None:
    n_bytes = number(variant.get(key), key)
    return n_bytes / GIB if n_bytes else None


COLLECTOR = CloudRift()
