"""Vultr: plans of cloud GPUs and of bare metal.

A cloud GPU plan states the memory of all its GPUs together, and sells slices of one. Bare metal plans
name no GPU at all: `vbm-64c-2048gb-8-l40-gpu` is eight L40S, whatever its name says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import urlencode

from rackrate.catalog.aliases import match_gpu, nominal_vram_gib
from rackrate.market.collect.base import Answer, Asking, Collector, Place, Request, Rows, each, money, need
from rackrate.market.normalise import Unreadable, number
from rackrate.market.offer import RawOffer

# Source: the plans' pages at vultr.com, as collected by gpuhunt 0.1.34 (2026-08): GPUs, name, GiB of one.
_METAL = {
    "vbm-48c-1024gb-4-a100-gpu": (4, "A100 SXM", 80),
    "vbm-112c-2048gb-8-h100-gpu": (8, "H100 SXM", 80),
    "vbm-112c-2048gb-8-a100-gpu": (8, "A100 SXM", 80),
    "vbm-64c-2048gb-8-l40-gpu": (8, "L40S", 48),
    "vbm-72c-480gb-gh200-gpu": (1, "GH200", 96),
    "vbm-256c-2048gb-8-mi300x-gpu": (8, "MI300X", 192),
    "vbm-256c-3072gb-8-mi325x-gpu": (8, "MI325X", 256),
    "vbm-256c-3072gb-8-b200-gpu": (8, "B200", 192),
    "vbm-256c-3072gb-8-mi355x-gpu": (8, "MI355X", 288),
}
_NOMINAL_GIB = {"A100": 80}  # Vultr has no A100 of 40 GB
_MOST_PAGES = 20


class Vultr(Collector):
    """GPU plans, one offer a location."""

    name = "vultr"
    title = "Vultr plans"
    hosts = ("https://api.vultr.com",)
    page = "https://www.vultr.com/pricing/"
    units = (
        "hourly_cost: USD of the whole plan; gpu_vram_gb of all GPUs together; ram: MiB; disk: GB; "
        "bandwidth: GB sent a month"
    )
    pagination = "500 an answer, then meta.links.next as cursor"
    parser_version = 2

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for cloud plans, then for bare metal."""
        del keys
        for kind, path, extra in (("plans", "plans", {"type": "all"}), ("plans_metal", "plans-metal", {})):
            cursor = ""
            for page in range(1, _MOST_PAGES):
                query = urlencode({**extra, "per_page": "500", **({"cursor": cursor} if cursor else {})})
                answer = yield Request(f"{kind}-{page}", f"https://api.vultr.com/v2/{path}?{query}")
                links = ((answer.json() if answer else {}).get("meta") or {}).get("links") or {}
                if not links.get("next") or links["next"] == cursor:
                    break
                cursor = links["next"]

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield the offers of GPU plans."""
        for answer in answers:
            kind = answer.name.rpartition("-")[0]
            for line, record in enumerate(answer.items(kind), 1):
                yield from each(partial(self._read, answer, line, at, record), answer, line, record)

    def _read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterator[RawOffer]:
        gpus = _gpus(record)
        if gpus is None or record.get("deploy_ondemand") is False:
            return
        count, name, vram_gib = gpus
        ram_mib, places = number(record.get("ram"), "ram"), need(record, "locations")
        for region in dict.fromkeys(place for place in places if place):  # "" stands among them
            yield self.offer(
                answer,
                line,
                at,
                price=money(record.get("hourly_cost")),
                place=Place(region),
                tier="bare_metal" if str(record["id"]).startswith("vbm") else "",
                sku=record["id"],
                gpu_raw=name,
                gpu_count=count,
                vram_gib=vram_gib,
                vcpu=record.get("vcpu_count") or record.get("cpu_threads"),
                ram_gib=ram_mib / 1024 if ram_mib else None,
                disk_gib=record.get("disk"),
                included_egress_gb=record.get("bandwidth"),
            )


def _gpus(record: Any) -> tuple[float, str, float | None] | None:
    """Return GPUs, name and GiB of one; None for a plan without GPU."""
    plan = str(need(record, "id"))
    if plan.startswith("vbm"):
        if "gpu" in plan and plan not in _METAL:
            raise Unreadable("gpu_count", f"{plan} is not in our table of plans: its GPUs are unknown")
        return _METAL.get(plan)
    if record.get("type") not in ("vcg", "vdm") or not record.get("gpu_type"):
        return None
    name = str(record["gpu_type"]).partition("_")[2].replace("_", " ") or str(record["gpu_type"])
    total = number(record.get("gpu_vram_gb"), "gpu_vram_gb")
    slug = match_gpu(name).slug
    nominal = _NOMINAL_GIB.get(name) or (nominal_vram_gib(slug) if slug else None)
    if not nominal or not total:
        return 1, name, total
    count = total / nominal
    return (round(count) if count >= 1 else count), name, nominal


COLLECTOR = Vultr()
