"""The catalogue that gpuhunt publishes: a bridge to clouds that want an account to tell their prices."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
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
from rackrate.market.normalise import number
from rackrate.market.offer import Kind, RawOffer

_ROOT = "https://dstack-gpu-pricing.s3.eu-west-1.amazonaws.com/v3"
_CLOUDS = ("gcp", "nebius", "lambdalabs", "crusoe")
_COLUMNS = {
    "instance_name",
    "location",
    "price",
    "cpu",
    "memory",
    "gpu_count",
    "gpu_name",
    "gpu_memory",
    "spot",
}
_MOST_UNPACKED = 256 * 2**20


class GpuHunt(Collector):
    """One zipped CSV a cloud; those that we ask ourselves are left out."""

    name = "gpuhunt"
    title = "gpuhunt catalogue"
    hosts = ("https://dstack-gpu-pricing.s3.eu-west-1.amazonaws.com",)
    page = "https://github.com/dstackai/gpuhunt"
    units = "price: USD of the whole instance an hour; memory, gpu_memory: GB, the latter of one GPU"
    pagination = "one zip a cloud"
    terms = "published for the users of gpuhunt and dstack"
    licence = "MPL-2.0 (the collector); prices are facts"
    credit = "gpuhunt catalogue, dstack GmbH"

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for each cloud's newest version, then for that."""
        del keys
        for cloud in _CLOUDS:
            answer = yield Request(f"{cloud}.version", f"{_ROOT}/{cloud}/version", may_lack=True)
            if answer is None:
                continue
            with answer.open() as body:
                version = body.read(100).decode("ascii", "replace").strip()
            if not version.replace("-", "").replace(".", "").isalnum():
                raise LayoutChanged(f"the version of {cloud} is {version!r:.60}")
            yield Request(f"{cloud}.zip", f"{_ROOT}/{cloud}/{version}/catalog.zip", may_lack=True)

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield the GPU rows of all catalogues."""
        for answer in answers:
            if answer.name.endswith(".zip"):
                cloud = answer.name.removesuffix(".zip")
                for line, record in enumerate(_records(answer, cloud), 1):
                    make = partial(self._read, answer, line, at, cloud, record)
                    yield from each(make, answer, line, record)

    def _read(self, answer: Answer, line: int, at: datetime, cloud: str, record: Any) -> Iterator[RawOffer]:
        count = number(record.get("gpu_count"), "gpu_count")
        if not count:
            return
        yield self.offer(
            answer,
            line,
            at,
            provider=cloud,
            price=money(record.get("price")),
            place=Place(record.get("location") or ""),
            sku=need(record, "instance_name"),
            gpu_raw=need(record, "gpu_name"),
            gpu_count=count,
            vram_gib=record.get("gpu_memory") or None,
            vcpu=record.get("cpu"),
            ram_gib=_ram_gib(cloud, record),
            disk_gib=record.get("disk_size") or None,
            kind=Kind.SPOT if str(record.get("spot")).lower() == "true" else Kind.ON_DEMAND,
        )


def _ram_gib(cloud: str, record: Any) -> float | None:
    """Return the memory, GiB: gpuhunt multiplies Lambda's GiB by 1.074, and no other's."""
    stated = number(record.get("memory"), "memory")
    return round(stated / 1.074, 3) if stated and cloud == "lambdalabs" else stated


def _records(answer: Answer, cloud: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of the CSV within the zip."""
    with answer.open() as body:
        packed = io.BytesIO(body.read())
    try:
        with zipfile.ZipFile(packed) as catalogue:
            inner = catalogue.getinfo(f"{cloud}.csv")
            if inner.file_size > _MOST_UNPACKED:
                raise LayoutChanged(f"{answer.name} unpacks to {inner.file_size:,} bytes")
            with catalogue.open(inner) as file:
                rows = csv.DictReader(io.TextIOWrapper(file, "utf-8"))
                missing = sorted(_COLUMNS - set(rows.fieldnames or ()))
                if missing:
                    raise LayoutChanged(f"{answer.name} has no column {missing[0]!r}")
                yield from rows
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, RuntimeError, csv.Error) as error:
        raise LayoutChanged(f"{answer.name} is no catalogue: {error}"[:200]) from None


COLLECTOR = GpuHunt()
