"""Scaleway: server types by zone, in euros; the GPU stands in the name of the type."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from rackrate.market.collect.base import (
    GIB,
    Answer,
    Asking,
    Collector,
    LayoutChanged,
    Place,
    Request,
    Rows,
    each,
    money,
)
from rackrate.market.normalise import number
from rackrate.market.offer import RawOffer

_ZONES = ("fr-par-1", "fr-par-2", "fr-par-3", "nl-ams-1", "nl-ams-2", "nl-ams-3", "pl-waw-1", "pl-waw-2",
          "pl-waw-3", "it-mil-1")  # fmt: skip
_PAGE = 100
_MOST_PAGES = 10
_NAME = re.compile(r"(?P<gpu>[A-Z0-9]+(?:-SXM)?)-(?P<count>\d+)-(?P<gib>\d+)G")
_OLD_NAMES = {"RENDER-S": ("Tesla P100", 16), "GPU-3070-S": ("GeForce RTX 3070", 8)}


class Scaleway(Collector):
    """GPU types of every zone."""

    name = "scaleway"
    title = "Scaleway server types"
    hosts = ("https://api.scaleway.com",)
    page = "https://www.scaleway.com/en/pricing/gpu/"
    currency = "EUR"
    units = "hourly_price: EUR without tax, whole server; ram: bytes; the name ends in GB of one GPU"
    pagination = "100 a page, zone by zone"
    requests_per_s = 2.0

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask zone by zone; a zone that is no more is left out."""
        del keys
        for zone in _ZONES:
            for page in range(1, _MOST_PAGES):
                url = f"https://api.scaleway.com/instance/v1/zones/{zone}/products/servers"
                params = {"per_page": str(_PAGE), "page": str(page)}
                answer = yield Request(f"{zone}-{page}", url, params=params, may_lack=True)
                if answer is None or len(_servers(answer)) < _PAGE:
                    break

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield the GPU types that can still be ordered."""
        for answer in answers:
            for line, (name, record) in enumerate(_servers(answer).items(), 1):
                yield from each(partial(self._read, answer, line, at, name, record), answer, line, record)

    def _read(self, answer: Answer, line: int, at: datetime, name: str, record: Any) -> Iterator[RawOffer]:
        count = number(record.get("gpu"), "gpu")
        if not count or record.get("end_of_service"):
            return
        zone = answer.name.rpartition("-")[0]
        found = _NAME.fullmatch(name)
        gpu, vram_gib = (found["gpu"], float(found["gib"])) if found else _OLD_NAMES.get(name, (name, None))
        ram = number(record.get("ram"), "ram")
        yield self.offer(
            answer,
            line,
            at,
            price=money(record.get("hourly_price"), "hourly_price"),
            place=Place(zone, zone[:2].upper()),
            sku=name,
            gpu_raw=gpu,
            gpu_count=count,
            vram_gib=vram_gib,
            vcpu=record.get("ncpus"),
            ram_gib=ram / GIB if ram else None,
        )


def _servers(answer: Answer) -> dict[str, Any]:
    document = answer.json()
    found = document.get("servers") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        raise LayoutChanged(f"{answer.name} has no object of servers")
    return found


COLLECTOR = Scaleway()
