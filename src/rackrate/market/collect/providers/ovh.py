"""OVHcloud: the public order catalogue; prices are whole numbers of 1e-8 of a currency unit, untaxed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from rackrate.market.collect.base import (
    Answer,
    Asking,
    Collector,
    LayoutChanged,
    Place,
    Request,
    Rows,
    each,
    money,
    need,
)
from rackrate.market.normalise import Unreadable, number
from rackrate.market.offer import RawOffer

_UNITS_OF_ONE = 10**8


class Ovh(Collector):
    """Instances by the hour; monthly plans, Windows and what has no GPU are left out."""

    name = "ovh"
    title = "OVHcloud public cloud catalogue"
    hosts = ("https://eu.api.ovh.com",)
    page = "https://www.ovhcloud.com/en/public-cloud/prices/"
    currency = ""
    units = "pricings.price: 1e-8 of locale.currencyCode, without tax, an hour of the whole instance; GB"
    terms = "public API for the order catalogue"

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for the French catalogue, which is in euros."""
        del keys
        url = "https://eu.api.ovh.com/1.0/order/catalog/public/cloud"
        yield Request("catalogue", url, params={"ovhSubsidiary": "FR"})

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield the hourly instances with a GPU."""
        for answer in answers:
            locale = answer.json().get("locale") or {}
            if not locale.get("currencyCode"):
                raise LayoutChanged(f"{answer.name} has no locale.currencyCode")
            for line, record in enumerate(answer.items("addons"), 1):
                make = partial(self._read, answer, line, at, record, locale["currencyCode"])
                yield from each(make, answer, line, record)

    def _read(
        self, answer: Answer, line: int, at: datetime, record: Any, currency: str
    ) -> Iterator[RawOffer]:
        plan = str(need(record, "planCode"))
        said = ((record.get("blobs") or {}).get("technical")) or {}
        gpu = said.get("gpu") or {}
        flavour, _, place = plan.partition(".consumption")
        is_hourly = ".consumption" in plan
        is_windows = plan.startswith("win-") or (said.get("os") or {}).get("family") == "windows"
        if not gpu.get("number") or not is_hourly or is_windows:
            return
        prices = [p for p in need(record, "pricings") if "consumption" in (p.get("capacities") or [])]
        if len(prices) != 1:
            raise Unreadable("malformed", f"{len(prices)} hourly prices where one is expected")
        units = number(prices[0].get("price"), "price")
        if units is not None and units != int(units):
            raise Unreadable("price", f"price {units!r} is no whole number of 1e-8")
        yield self.offer(
            answer,
            line,
            at,
            price=money(units) / _UNITS_OF_ONE,
            place=Place(place.strip(".")),
            currency=currency,
            sku=said.get("name") or flavour,
            gpu_raw=need(gpu, "model"),
            gpu_count=gpu["number"],
            vram_gib=(gpu.get("memory") or {}).get("size"),
            vcpu=(said.get("cpu") or {}).get("cores"),
            ram_gib=(said.get("memory") or {}).get("size"),
            disk_gib=_disk_gib(said),
        )


def _disk_gib(said: Mapping[str, Any]) -> float | None:
    disks = (said.get("storage") or {}).get("disks") or []
    sizes = [(disk.get("number") or 1) * disk["capacity"] for disk in disks if disk.get("capacity")]
    return float(sum(sizes)) or None


COLLECTOR = Ovh()
