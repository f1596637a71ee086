"""Hyperstack: flavours, priced by the price book of their GPU; vCPU, memory and disk are in it."""

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
from rackrate.market.normalise import Unreadable
from rackrate.market.offer import Kind, RawOffer

_KEY = "HYPERSTACK_API_KEY"
_SPOT = "-spot"


class Hyperstack(Collector):
    """One offer a flavour; a GPU named `-spot` in the book is the spot price of the same flavour."""

    name = "hyperstack"
    title = "Hyperstack flavours"
    hosts = ("https://infrahub-api.nexgencloud.com",)
    page = "https://www.hyperstack.cloud/gpu-pricing"
    auth = (_KEY,)
    price_per = "gpu"
    units = "value: USD of one GPU an hour, text; ram and disk: GB"

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for price book and flavours."""
        root = "https://infrahub-api.nexgencloud.com/v1"
        for name, path in (("pricebook", "pricebook"), ("flavors", "core/flavors")):
            yield Request(name, f"{root}/{path}", secrets={"api_key": keys[_KEY]})

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield the flavours with GPUs at the price of their GPU."""
        by_name = {answer.name: answer for answer in answers}
        if set(by_name) != {"pricebook", "flavors"}:
            raise LayoutChanged("price book and flavours are both needed")
        book = {str(need(entry, "name")): entry for entry in by_name["pricebook"].items()}
        answer = by_name["flavors"]
        groups = answer.items("data")
        flavours = [flavour for group in groups for flavour in group.get("flavors") or []]
        for line, record in enumerate(flavours, 1):
            yield from each(partial(self._read, answer, line, at, record, book), answer, line, record)

    def _read(
        self, answer: Answer, line: int, at: datetime, record: Any, book: Mapping[str, Any]
    ) -> Iterator[RawOffer]:
        gpu, count = str(record.get("gpu") or ""), record.get("gpu_count")
        if not gpu or not count:
            return
        if gpu not in book:
            raise Unreadable("no_price", f"{gpu} is not in the price book")
        yield self.offer(
            answer,
            line,
            at,
            price=money(book[gpu].get("value"), "value"),
            place=Place(str(record.get("region_name") or "")),
            sku=need(record, "name"),
            gpu_raw=gpu.removesuffix(_SPOT),
            gpu_count=count,
            vcpu=record.get("cpu"),
            ram_gib=record.get("ram"),
            disk_gib=(record.get("disk") or 0) + (record.get("ephemeral") or 0) or None,
            kind=Kind.SPOT if gpu.endswith(_SPOT) else Kind.ON_DEMAND,
        )


COLLECTOR = Hyperstack()
