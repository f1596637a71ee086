"""DigitalOcean: droplet sizes with GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rackrate.market.collect.base import (
    Answer,
    Asking,
    Place,
    Request,
    SimpleCollector,
    bearer,
    money,
    need,
)
from rackrate.market.normalise import number
from rackrate.market.offer import RawOffer

_KEY = "DIGITALOCEAN_TOKEN"
_MOST_PAGES = 20


class DigitalOcean(SimpleCollector):
    """One offer a size and region; a size without regions is not to be had."""

    name = "digitalocean"
    title = "DigitalOcean sizes"
    hosts = ("https://api.digitalocean.com",)
    page = "https://www.digitalocean.com/pricing/gpu-droplets"
    auth = (_KEY,)
    units = (
        "price_hourly: USD of the whole droplet; memory: MiB; gpu_info.vram: GiB; disks: GiB; transfer: TB "
        "sent a month"
    )
    pagination = "links.pages.next, 200 a page"
    keys_to_items = ("sizes",)
    parser_version = 2

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for all sizes."""
        url = "https://api.digitalocean.com/v2/sizes"
        for page in range(1, _MOST_PAGES):
            params = {"per_page": "200", "page": str(page)}
            answer = yield Request(f"page-{page}", url, params=params, secrets=bearer(keys[_KEY]))
            links = (answer.json() if answer else {}).get("links") or {}
            if not (links.get("pages") or {}).get("next"):
                return

    def read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterator[RawOffer]:
        """Return the offers of a size that has GPUs."""
        gpu = record.get("gpu_info")
        if not gpu or record.get("available") is False:
            return
        ram = number(record.get("memory"), "memory")
        transfer_tb = number(record.get("transfer"), "transfer")
        for region in need(record, "regions"):
            yield self.offer(
                answer,
                line,
                at,
                price=money(record.get("price_hourly"), "price_hourly"),
                place=Place(region),
                sku=need(record, "slug"),
                gpu_raw=str(need(gpu, "model")).partition("_")[2].replace("_", " ") or gpu["model"],
                gpu_count=need(gpu, "count"),
                vram_gib=(gpu.get("vram") or {}).get("amount"),
                vcpu=record.get("vcpus"),
                ram_gib=ram / 1024 if ram else None,
                disk_gib=_disk_gib(record),
                included_egress_gb=None if transfer_tb is None else transfer_tb * 1000,
            )


def _disk_gib(record: Mapping[str, Any]) -> float | None:
    """Return the disks that come with the droplet and stay: not the scratch disk."""
    disks = [disk for disk in record.get("disk_info") or [] if disk.get("type") in ("local", "boot")]
    sizes = [number((disk.get("size") or {}).get("amount"), "disk") or 0 for disk in disks]
    return sum(sizes) or number(record.get("disk"), "disk")


COLLECTOR = DigitalOcean()
