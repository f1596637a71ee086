"""Novita: GPU instance products; prices count in hundred-thousandths of a dollar."""

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

_KEY = "NOVITA_API_KEY"
_UNITS_OF_ONE = 100_000


class Novita(SimpleCollector):
    """One offer a product, kind and region."""

    name = "novita"
    title = "Novita GPU products"
    hosts = ("https://api.novita.ai",)
    page = "https://novita.ai/gpus"
    auth = (_KEY,)
    price_per = "gpu"
    units = "price, spotPrice: 1e-5 USD of one GPU an hour; cpuPerGpu, memoryPerGpu (GB) of its share"
    keys_to_items = ("data",)

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for all products."""
        url = "https://api.novita.ai/gpu-instance/openapi/v1/products"
        yield Request("products", url, secrets=bearer(keys[_KEY]))

    def read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterator[RawOffer]:
        """Return the offers of a product that can be had."""
        if record.get("availableDeploy") is False:
            return
        prices = {Kind.ON_DEMAND: record.get("price"), Kind.SPOT: record.get("spotPrice")}
        for region in record.get("regions") or [""]:
            said = partial(
                self.offer,
                answer,
                line,
                at,
                place=Place(str(region)),
                sku=need(record, "id"),
                gpu_raw=need(record, "name"),
                vcpu=record.get("cpuPerGpu"),
                ram_gib=record.get("memoryPerGpu"),
                disk_gib=record.get("diskPerGpu"),
            )
            for kind, price in prices.items():
                if price not in (None, "", "0", 0) or kind is Kind.ON_DEMAND:
                    yield said(price=money(price) / _UNITS_OF_ONE, kind=kind)


COLLECTOR = Novita()
