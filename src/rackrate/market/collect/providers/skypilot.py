"""SkyPilot's catalogue: what its maintainers last fetched from clouds that mostly want a key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from rackrate.market.collect.base import Answer, Asking, Collector, Request, Rows
from rackrate.market.collect.lists import listed
from rackrate.market.importers.skypilot import read
from rackrate.market.normalise import Reject

_CLOUDS = ("hyperstack", "nebius", "primeintellect", "seeweb", "shadeform", "vast", "verda")
# RunPod's file is a product of GPUs and hand-written zones, without stock; Lambda's lists every region.


class SkyPilot(Collector):
    """One CSV a cloud. Undated unless the server says when it changed; then no statistic uses it."""

    name = "skypilot"
    title = "SkyPilot catalogue"
    hosts = ("https://raw.githubusercontent.com",)
    page = "https://github.com/skypilot-org/skypilot-catalog"
    currency = ""
    units = "Price, SpotPrice: USD of the whole instance an hour; MemoryGiB; GPU memory as text"
    pagination = "one CSV a cloud"
    terms = "open data set"
    licence = "Apache-2.0"
    credit = "SkyPilot catalogue, (c) SkyPilot authors"
    cadence = "once"

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for each cloud's file; one that is no more is left out."""
        del keys
        root = "https://raw.githubusercontent.com/skypilot-org/skypilot-catalog/HEAD/catalogs/v8"
        for cloud in _CLOUDS:
            yield Request(f"{cloud}.csv", f"{root}/{cloud}/vms.csv", may_lack=True)

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield all rows as one listing."""
        for row in listed(read, answers, at):
            yield row if isinstance(row, Reject) else replace(row, snapshot_at=at)


COLLECTOR = SkyPilot()
