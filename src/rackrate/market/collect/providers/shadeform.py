"""Shadeform: what some fifteen clouds sell through it, in whole cents of the instance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rackrate.market.collect.base import Answer, Asking, Place, Request, SimpleCollector, money, need
from rackrate.market.offer import RawOffer

_KEY = "SHADEFORM_API_KEY"


class Shadeform(SimpleCollector):
    """One offer a type and region where it is available."""

    name = "shadeform"
    title = "Shadeform instance types"
    hosts = ("https://api.shadeform.ai",)
    page = "https://www.shadeform.ai/instances"
    auth = (_KEY,)
    units = "hourly_price: cents of the whole instance; vram_per_gpu_in_gb of one GPU, 0 where not said; GB"
    keys_to_items = ("instance_types",)

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for what is available."""
        url = "https://api.shadeform.ai/v1/instances/types"
        yield Request("types", url, params={"available": "true"}, secrets={"X-API-KEY": keys[_KEY]})

    def read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterator[RawOffer]:
        """Return the offers of a type."""
        said = need(record, "configuration")
        if not said.get("num_gpus"):
            return
        for place in need(record, "availability"):
            if not place.get("available"):
                continue
            yield self.offer(
                answer,
                line,
                at,
                provider=need(record, "cloud"),
                seller="shadeform",
                price=money(record.get("hourly_price"), "hourly_price") / 100,
                place=Place(str(place.get("region") or "")),
                sku=record.get("cloud_instance_type") or need(record, "shade_instance_type"),
                gpu_raw=need(said, "gpu_type"),
                gpu_count=said["num_gpus"],
                vram_gib=said.get("vram_per_gpu_in_gb") or None,
                interconnect=said.get("interconnect") or "",
                vcpu=said.get("vcpus"),
                ram_gib=said.get("memory_in_gb"),
                disk_gib=said.get("storage_in_gb"),
            )


COLLECTOR = Shadeform()
