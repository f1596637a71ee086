"""gpurentalprices.com: an open daily list of 34 providers, from its public mirror."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from rackrate.market.collect.base import Answer, Asking, Collector, Request, Rows
from rackrate.market.collect.lists import listed
from rackrate.market.importers.gpurentalprices import read


class GpuRentalPrices(Collector):
    """The newest snapshot; read by the importer of such snapshots, into the same list."""

    name = "gpurentalprices"
    title = "gpurentalprices.com daily snapshots"
    hosts = ("https://raw.githubusercontent.com",)
    page = "https://gpurentalprices.com"
    price_per = "gpu"
    units = "usd_hr: USD of one GPU an hour; min_gpus where only bundles are sold"
    terms = "open data set"
    licence = "CC BY 4.0"
    credit = "GPU rental price data by gpurentalprices.com"
    cadence = "daily"

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for the newest snapshot."""
        del keys
        root = "https://raw.githubusercontent.com/adriannutiu/gpu-rental-prices/HEAD/data"
        yield Request("latest.json", f"{root}/latest.json")

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield its offers, at the instant that it states."""
        yield from listed(read, answers, at)


COLLECTOR = GpuRentalPrices()
