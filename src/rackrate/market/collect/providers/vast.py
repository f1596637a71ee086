"""Vast.ai: a marketplace of hosts; one row an offer of a machine or a part of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from rackrate.market.collect.base import Answer, Asking, Collector, Place, Request, Rows, each, money, need
from rackrate.market.normalise import number
from rackrate.market.offer import Kind, RawOffer

_LIMIT = 3000  # without one the API answers with some dozens
_MOST_PAGES = 10
_DEFAULT_DISK_GB = 8  # that dph_total pays for where nobody asks for another size


class Vast(Collector):
    """Bundles that are free to rent, cheapest first; a full page is followed by what costs more."""

    name = "vast"
    title = "Vast.ai, free offers"
    hosts = ("https://console.vast.ai",)
    page = "https://vast.ai"
    units = (
        "dph_total: USD an hour of the whole offer with 8 GB of disk; min_bid: USD an hour of the whole "
        "offer, interruptible; gpu_ram: MiB of one GPU; cpu_ram: MiB of the host, of which an offer gets "
        "its share of cores; disk_space: GB; storage_cost: USD a GB and month; inet_up_cost, inet_down_cost: "
        "USD a GB that an instance sends and receives"
    )
    pagination = "3,000 an answer by price; a full one is followed by the offers from its last price on"
    terms = "API documented for the public; its page shows a key, which this question does not need"
    parser_version = 2

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for offers that can be rented, up to ten pages."""
        del keys
        least = 0.0
        seen = set[Any]()
        for page in range(1, _MOST_PAGES + 1):
            body: dict[str, Any] = {
                "type": "on-demand",
                "rentable": {"eq": True},
                "rented": {"eq": False},
                "order": [["dph_total", "asc"]],
                "limit": _LIMIT,
            }
            if page > 1:
                body["dph_total"] = {"gte": least}
            url = "https://console.vast.ai/api/v0/bundles/"
            answer = yield Request(f"page-{page}", url, "POST", body=body)
            offers = answer.items("offers") if answer else []
            ids = {offer.get("id") for offer in offers if isinstance(offer, dict)}
            if len(offers) < _LIMIT or ids <= seen:
                return
            seen |= ids
            least = max(float(offer.get("dph_total") or 0) for offer in offers)

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield each offer once, on demand and as a bid."""
        seen = set[Any]()
        for answer in answers:
            for line, record in enumerate(answer.items("offers"), 1):
                key = record.get("id") if isinstance(record, dict) else None
                if key is None or key not in seen:
                    yield from each(partial(self._read, answer, line, at, record), answer, line, record)
                seen.add(key)

    def _read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterator[RawOffer]:
        if record.get("rentable") is False or record.get("rented") is True or not need(record, "num_gpus"):
            return
        count = record["num_gpus"]
        gpu_ram = number(record.get("gpu_ram"), "gpu_ram")
        shape = {
            "tier": "secure" if record.get("hosting_type") == 1 or record.get("datacenter") else "community",
            "sku": str(need(record, "id")),
            "gpu_raw": need(record, "gpu_name"),
            "gpu_count": count,
            "vram_gib": gpu_ram / 1024 if gpu_ram else None,
            "vcpu": record.get("cpu_cores_effective"),
            "ram_gib": _share(record),
            "disk_gib": record.get("disk_space"),
            "storage_per_gb_month": record.get("storage_cost"),
            "egress_per_gb": record.get("inet_up_cost"),
            "ingress_per_gb": record.get("inet_down_cost"),
        }
        where = str(record.get("geolocation") or "")
        place = Place(where, where.rpartition(",")[2].strip(), count)
        said = partial(self.offer, answer, line, at, place=place, **shape)
        total = record.get("dph_total")
        price = money(record.get("dph_base") if total is None else total)
        disk_gb = 0 if total is None else _DEFAULT_DISK_GB
        if record.get("is_bid"):
            yield said(price=price, kind=Kind.SPOT, included_disk_gb=disk_gb)
            return
        yield said(price=price, included_disk_gb=disk_gb)
        if record.get("min_bid") is not None:
            yield said(price=money(record["min_bid"], "min_bid"), kind=Kind.SPOT, included_disk_gb=0)


def _share(record: Mapping[str, Any]) -> float | None:
    """Return the memory that comes with the offer, GiB; None where the host's cores are not said."""
    cores = number(record.get("cpu_cores"), "cpu_cores")
    effective = number(record.get("cpu_cores_effective"), "cpu_cores_effective")
    ram = number(record.get("cpu_ram"), "cpu_ram")
    return ram * effective / cores / 1024 if cores and effective and ram else None


COLLECTOR = Vast()
