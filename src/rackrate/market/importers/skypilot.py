"""SkyPilot's catalogue: one CSV a cloud; `Price` and `SpotPrice` are of the instance per hour.

Two of the clouds are resellers whose instance names begin with the cloud that runs the machine. A
price that is missing means "not to be had" there, so it makes no offer. The store gives no date:
without one from the caller the rows are undated, and no statistic uses them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rackrate.market.importers.files import Listing, When, check_columns, input_files, read_csv
from rackrate.market.normalise import Reject
from rackrate.market.offer import Kind, RawOffer, RawShape

_RESELLERS = {"primeintellect": "__", "shadeform": "_"}
_COLUMNS = ("InstanceType", "AcceleratorName", "AcceleratorCount", "vCPUs", "MemoryGiB", "Price", "Region")
_SIZE_MIB = re.compile(r"""['"]SizeInMiB['"]:\s*(\d+(?:\.\d+)?)""")

# What stands in a region's name, to a country. Clouds that are not listed give none away.
_COUNTRY_WORDS = {
    "usa": "US", "canada": "CA", "france": "FR", "poland": "PL", "india": "IN", "japan": "JP",
    "norway": "NO", "us": "US", "fin": "FI",
}  # fmt: skip
_NEBIUS = {"eu-north1": "FI", "eu-west1": "FR", "us-central1": "US"}


def read(path: Path, when: When) -> Iterator[Listing]:
    """Yield one listing a cloud."""
    for file in input_files(path, ".csv"):
        cloud = file.stem
        yield Listing(
            source=f"skypilot-{cloud}",
            rows=_rows(file, cloud, when),
            title=f"SkyPilot catalogue, {cloud}",
            url="https://github.com/skypilot-org/skypilot-catalog",
            licence="Apache-2.0",
            credit="SkyPilot catalogue, (c) SkyPilot authors",
        )


def _rows(file: Path, cloud: str, when: When) -> Iterator[RawOffer | Reject]:
    for line, record in read_csv(file):
        if isinstance(record, Reject):
            yield record
            continue
        check_columns(file, record, _COLUMNS)
        short = f"{record.get('InstanceType')} in {record.get('Region')}"
        if not record.get("AcceleratorName"):
            yield Reject(file.name, line, "no_gpu", "the shape has no GPU", short)
            continue
        prices = {Kind.ON_DEMAND: record.get("Price"), Kind.SPOT: record.get("SpotPrice")}
        stated = {kind: price for kind, price in prices.items() if price}
        if not stated:
            yield Reject(file.name, line, "no_price", "neither Price nor SpotPrice is given", short)
        for kind, price in stated.items():
            yield _offer(record, file.name, line, cloud, (kind, price), when)


def _offer(
    record: dict[str, Any],
    origin: str,
    line: int,
    cloud: str,
    priced: tuple[Kind, str],
    when: When,
) -> RawOffer:
    instance = record["InstanceType"]
    provider, seller = cloud, ""
    if cloud in _RESELLERS:
        provider, seller = instance.split(_RESELLERS[cloud])[0], cloud
    size = _SIZE_MIB.search(record.get("GpuInfo") or "")
    return RawOffer(
        shape=RawShape(
            provider=provider,
            seller=seller,
            sku=" ".join(filter(None, (instance, record.get("UpstreamCloudId")))),
            gpu_raw=record["AcceleratorName"],
            gpu_count=record["AcceleratorCount"],
            vram_gib=float(size[1]) / 1024 if size else None,
            vcpu=record["vCPUs"],
            ram_gib=record["MemoryGiB"],
            kind=priced[0],
            price_per="instance",
            currency="",  # the catalogue means USD, but its Seeweb prices look like the euro list
            interconnect=_interconnect(instance),
            source_url="https://github.com/skypilot-org/skypilot-catalog",
        ),
        origin=origin,
        line=line,
        snapshot_at=when.snapshot_at,
        observed_at=when.stated_at,
        price=priced[1],
        region=record["Region"],
        country=_country(cloud, record["Region"]),
    )


def _country(cloud: str, region: str) -> str:
    parts = [part.strip() for part in region.split(",")]
    if cloud == "vast":  # "Michigan, US, NA"
        return parts[1] if len(parts) > 1 else ""
    if cloud == "primeintellect":
        return region
    if cloud == "nebius":
        return _NEBIUS.get(region, "")
    if cloud == "seeweb":  # it-fr2: a town after the country
        return region[:2]
    words = re.split(r"[-\s]", region.lower())
    return next((_COUNTRY_WORDS[word] for word in words if word in _COUNTRY_WORDS), "")


def _interconnect(instance: str) -> str:
    found = re.search(r"NVLINK|SXM\d?|PCIe|NVL", instance, re.IGNORECASE)
    return found[0] if found else ""
