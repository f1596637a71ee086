"""Lambda: instance types with prices in cents, and the regions that have some left."""

from __future__ import annotations

import re
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
    bearer,
    each,
    money,
    need,
)
from rackrate.market.offer import RawOffer

_KEY = "LAMBDA_API_KEY"
_DESCRIPTION = re.compile(r"(?:\d+x )?(?P<gpu>.+?) \((?P<gib>\d+) GB(?: (?P<form>[^)]+))?\)")


class Lambda(Collector):
    """One offer an instance type and region with capacity; one without a region where there is none."""

    name = "lambda"
    title = "Lambda instance types"
    hosts = ("https://cloud.lambdalabs.com",)
    page = "https://lambda.ai/service/gpu-cloud"
    auth = (_KEY,)
    units = "price_cents_per_hour: cents of the whole instance; memory_gib, storage_gib: GiB"

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for all types."""
        url = "https://cloud.lambdalabs.com/api/v1/instance-types"
        yield Request("types", url, secrets=bearer(keys[_KEY]))

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield the types with GPUs."""
        for answer in answers:
            types = answer.json().get("data")
            if not isinstance(types, dict):
                raise LayoutChanged("types has no object of data")
            for line, record in enumerate(types.values(), 1):
                yield from each(partial(self._read, answer, line, at, record), answer, line, record)

    def _read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterator[RawOffer]:
        kind = need(record, "instance_type")
        specs = need(kind, "specs")
        count = need(specs, "gpus")
        if not count:
            return
        text = str(kind.get("gpu_description") or kind.get("description") or "")
        found = _DESCRIPTION.fullmatch(text) or _DESCRIPTION.fullmatch(str(kind.get("description")))
        for region in record.get("regions_with_capacity_available") or [{}]:
            yield self.offer(
                answer,
                line,
                at,
                price=money(kind.get("price_cents_per_hour"), "price_cents_per_hour") / 100,
                place=Place(region.get("name", ""), available=None if region else 0),
                sku=need(kind, "name"),
                gpu_raw=found["gpu"] if found else text,
                gpu_count=count,
                vram_gib=float(found["gib"]) if found else None,
                interconnect=(found["form"] if found else "") or "",
                vcpu=specs.get("vcpus"),
                ram_gib=specs.get("memory_gib"),
                disk_gib=specs.get("storage_gib"),
            )


COLLECTOR = Lambda()
