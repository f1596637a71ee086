"""RunPod: prices of a GPU in its secure and in its community cloud. Off: its terms are said to forbid it.

One question for all GPUs; who has how many where would take some hundreds and is not asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from functools import partial
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
from rackrate.market.offer import Kind, RawOffer

_KEY = "RUNPOD_API_KEY"
_QUERY = """query {
  gpuTypes {
    id displayName manufacturer memoryInGb secureCloud communityCloud
    securePrice communityPrice secureSpotPrice communitySpotPrice
    lowestPrice(input: {gpuCount: 1}) {
      minimumBidPrice uninterruptablePrice minVcpu minMemory stockStatus
    }
  }
}"""


class RunPod(SimpleCollector):
    """One offer a GPU, cloud and kind; 0 of them available where no stock is stated."""

    name = "runpod"
    title = "RunPod GPU types"
    hosts = ("https://api.runpod.io",)
    page = "https://www.runpod.io/pricing"
    may_use = (_KEY,)
    price_per = "gpu"
    units = "prices: USD of one GPU an hour; memoryInGb of one GPU; minVcpu, minMemory (GB) of the smallest"
    terms = "said to prohibit automated access (one careful collector's reading, 2026-07)"
    off = "its terms are said to prohibit automated access: you decide"
    keys_to_items = ("data", "gpuTypes")

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for all GPU types, with the user's key where there is one."""
        secrets = bearer(keys[_KEY]) if _KEY in keys else {}
        url = "https://api.runpod.io/graphql"
        yield Request("types", url, "POST", body={"query": _QUERY}, secrets=secrets)

    def read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterator[RawOffer]:
        """Return the offers of a GPU type."""
        lowest = record.get("lowestPrice") or {}
        said = partial(
            self.offer,
            answer,
            line,
            at,
            place=Place(available=None if lowest.get("stockStatus") else 0),
            sku=need(record, "id"),
            gpu_raw=need(record, "displayName"),
            vram_gib=record.get("memoryInGb"),
            vcpu=lowest.get("minVcpu"),
            ram_gib=lowest.get("minMemory"),
        )
        for cloud in ("secure", "community"):
            prices = {Kind.ON_DEMAND: f"{cloud}Price", Kind.SPOT: f"{cloud}SpotPrice"}
            for kind, key in prices.items():
                if record.get(f"{cloud}Cloud") and record.get(key):
                    yield said(price=money(record[key], key), kind=kind, tier=cloud)


COLLECTOR = RunPod()
