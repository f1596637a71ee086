"""tsaol/aws-gpu: EC2 GPU instance types with on-demand and one-year reserved prices by region.

Amounts of memory are text ("768 GB" where AWS means GiB); the GPU memory is sometimes of one GPU
and sometimes of all. The file gives no date: the caller does, or the rows are undated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rackrate.errors import ImportRejected
from rackrate.market.importers.files import Listing, When, input_files, offers_of, read_json
from rackrate.market.normalise import Reject
from rackrate.market.offer import Kind, RawOffer, RawShape

_AMOUNT = re.compile(r"(\d[\d,]*(?:\.\d+)?)\s*(GB|TB|TiB|GiB)")
_KINDS = {"onDemand": (Kind.ON_DEMAND, None), "reserved": (Kind.RESERVED, 12)}

# AWS's regions and the countries that they stand in, as AWS lists them.
_COUNTRY = {
    "us-east-1": "US", "us-east-2": "US", "us-west-1": "US", "us-west-2": "US",
    "us-gov-east-1": "US", "us-gov-west-1": "US", "ca-central-1": "CA", "ca-west-1": "CA",
    "mx-central-1": "MX", "sa-east-1": "BR", "eu-central-1": "DE", "eu-central-2": "CH",
    "eu-north-1": "SE", "eu-south-1": "IT", "eu-south-2": "ES", "eu-west-1": "IE",
    "eu-west-2": "GB", "eu-west-3": "FR", "ap-east-1": "HK", "ap-east-2": "TW",
    "ap-northeast-1": "JP", "ap-northeast-2": "KR", "ap-northeast-3": "JP",
    "ap-south-1": "IN", "ap-south-2": "IN", "ap-southeast-1": "SG", "ap-southeast-2": "AU",
    "ap-southeast-3": "ID", "ap-southeast-4": "AU", "ap-southeast-5": "MY",
    "ap-southeast-7": "TH", "me-central-1": "AE", "me-south-1": "BH", "il-central-1": "IL",
    "af-south-1": "ZA",
}  # fmt: skip


def read(path: Path, when: When) -> Iterator[Listing]:
    """Yield the one listing."""
    yield Listing(
        source="aws-gpu",
        rows=_rows(input_files(path, ".json")[0], when),
        title="EC2 GPU instances by tsaol/aws-gpu",
        url="https://github.com/tsaol/aws-gpu",
        licence="MIT",
        credit="tsaol/aws-gpu",
    )


def _rows(file: Path, when: When) -> Iterator[RawOffer | Reject]:
    document = read_json(file)
    if not isinstance(document, list):
        raise ImportRejected(f"{file} is not a list of instance types")
    for line, record in enumerate(document, 1):
        yield from offers_of(partial(_offers, record, file.name, line, when), file.name, line, record)


def _offers(record: Any, origin: str, line: int, when: When) -> Iterator[RawOffer]:
    for region, prices in record["pricing"].items():
        for name, (kind, months) in _KINDS.items():
            if name in prices:
                yield _offer(record, origin, line, region, (kind, prices[name], months), when)


def _offer(
    record: dict[str, Any],
    origin: str,
    line: int,
    region: str,
    priced: tuple[Kind, Any, int | None],
    when: When,
) -> RawOffer:
    kind, price, months = priced
    return RawOffer(
        shape=RawShape(
            provider="aws",
            sku=record.get("name", ""),
            gpu_raw=record.get("gpu", ""),
            gpu_count=record.get("gpuCount"),
            vram_gib=_gib(record.get("gpuMemory")),
            vcpu=record.get("vcpu"),
            ram_gib=_gib(record.get("memory")),
            disk_gib=_gib(record.get("storage")),
            kind=kind,
            term_months=months,
            price_per="instance",
            source_url="https://instances.vantage.sh",
        ),
        origin=origin,
        line=line,
        snapshot_at=when.snapshot_at,
        observed_at=when.stated_at,
        price=price,
        region=region,
        country=_COUNTRY.get(region, ""),
    )


def _gib(text: Any) -> float | None:
    """Read the first amount of "1900 GB (4 x 475 GB SSD)"; AWS writes GB for GiB."""
    found = _AMOUNT.search(str(text))
    if not found:
        return None
    return float(found[1].replace(",", "")) * (1024 if found[2].startswith("T") else 1)
