"""Make one market of any size, and write it as Rackrate and as gpuhunt read it.

The shapes (provider, instance type, GPU, vCPU, memory) are those of the bundled sample; each is offered
in many places, on demand and now and then as spot, at its own price times a jitter. Seeded: the same
size gives the same rows, and a smaller market is the beginning of a larger one.
"""

from __future__ import annotations

import csv
import random
import zipfile
from collections.abc import Iterable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import NamedTuple

from gpuhunt import AcceleratorVendor, CatalogItem
from gpuhunt._internal import storage
from gpuhunt._internal.catalog import OFFLINE_PROVIDERS

from rackrate.market.filter import OfferFilter, order_by
from rackrate.market.offer import Kind, Offer
from rackrate.market.store import Store

SEED = 20261102
AT = "2026-11-02T06:00:00+00:00"
SPOT_SHARE = 0.3  # of the places also sell the shape as spot
SPOT_DISCOUNT = (0.4, 0.8)
JITTER = (0.85, 1.05)
COLUMNS = (
    "provider", "gpu", "gpus", "vram_gib", "interconnect", "sku", "vcpu", "ram_gib", "disk_gib",
    "region", "kind", "usd_per_hour", "at", "url",
)  # fmt: skip
MAPPING = """\
source = "bench"
title = "synthetic market"
[columns]
provider = "provider"
gpu = "gpu"
gpu_count = "gpus"
vram = { from = "vram_gib", unit = "GiB" }
interconnect = "interconnect"
sku = "sku"
vcpu = "vcpu"
ram = { from = "ram_gib", unit = "GiB" }
disk = { from = "disk_gib", unit = "GiB" }
region = "region"
kind = "kind"
at = "at"
url = "url"
[[price]]
from = "usd_per_hour"
per = "instance"
"""


class Row(NamedTuple):
    """One offer of the synthetic market.

    Attributes:
        shape: the real offer that it was made of.
        region: where it stands.
        kind: on_demand or spot.
        usd_per_hour: price of the whole offer.
    """

    shape: Offer
    region: str
    kind: Kind
    usd_per_hour: float


def shapes() -> list[Offer]:
    """Return one offer of every shape in the bundled sample that names a known GPU and its count."""
    found = Store.sample().find(OfferFilter(kinds=(Kind.ON_DEMAND,)), order_by("usd"))
    seen: dict[tuple[object, ...], Offer] = {}
    for offer in sorted(map(Offer.from_row, found.rows), key=lambda offer: (offer.series, offer.line)):
        if offer.gpu and offer.gpu_count.is_integer() and not offer.seller:
            seen.setdefault((offer.provider, offer.sku, offer.gpu_raw, offer.gpu_count), offer)
    return list(seen.values())


def rows(n: int) -> list[Row]:
    """Return the first `n` offers of the synthetic market."""
    return list(islice(_endless(), n))


def _endless() -> Iterator[Row]:
    rng = random.Random(SEED)  # noqa: S311 - repeatable on purpose
    offered = shapes()
    regions = sorted({offer.region for offer in offered if offer.region})
    for place in count():
        region = regions[place % len(regions)] + f"-z{place // len(regions)}"
        for shape in offered:
            usd = round(shape.usd_per_hour * rng.uniform(*JITTER), 4)
            yield Row(shape, region, Kind.ON_DEMAND, usd)
            if rng.random() < SPOT_SHARE:
                yield Row(shape, region, Kind.SPOT, round(usd * rng.uniform(*SPOT_DISCOUNT), 4))


def write_price_list(folder: Path, market: Iterable[Row]) -> tuple[Path, Path]:
    """Write a market as CSV with its mapping file, for `rackrate market import --mapping`."""
    path, mapping = folder / "prices.csv", folder / "mapping.toml"
    mapping.write_text(MAPPING, encoding="utf-8")
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(COLUMNS)
        writer.writerows(_fields(row) for row in market)
    return path, mapping


def _fields(row: Row) -> tuple[object, ...]:
    shape = row.shape
    return (
        shape.provider_raw,
        shape.gpu_raw,
        f"{shape.gpu_count:g}",
        shape.vram_raw_gib,
        shape.interconnect,
        shape.sku,
        shape.vcpu,
        shape.ram_gib,
        shape.disk_gib,
        row.region,
        row.kind,
        row.usd_per_hour,
        AT,
        shape.source_url,
    )


def write_gpuhunt(folder: Path, market: Iterable[Row]) -> tuple[Path, Path]:
    """Write a market as gpuhunt reads it: a folder of CSV files, and a folder laid out as its site is.

    gpuhunt knows nine published providers by name, so each of ours goes to one of those. Every file is
    sorted by price: gpuhunt merges the files and leaves their order alone.

    Returns:
        What `GPUHUNT_CATALOG_DIR` and, as a file URL, `GPUHUNT_CATALOG_URL` are to name.
    """
    files: dict[str, list[CatalogItem]] = {name: [] for name in OFFLINE_PROVIDERS}
    homes: dict[str, str] = {}
    for row in market:
        home = homes.setdefault(row.shape.provider, OFFLINE_PROVIDERS[len(homes) % len(OFFLINE_PROVIDERS)])
        files[home].append(_item(home, row))
    for home, items in files.items():
        _publish(folder, home, sorted(items, key=lambda item: item.price))
    return folder / "csv", folder / "site"


def _item(provider: str, row: Row) -> CatalogItem:
    shape = row.shape
    return CatalogItem(
        provider=provider,
        instance_name=shape.sku or "-",
        location=row.region,
        price=row.usd_per_hour,
        cpu=int(shape.vcpu or 0),
        memory=shape.ram_gib or 0.0,
        gpu_count=int(shape.gpu_count),
        gpu_name=str(shape.gpu).upper(),
        gpu_memory=shape.vram_gib,
        spot=row.kind is Kind.SPOT,
        disk_size=shape.disk_gib,
        gpu_vendor=AcceleratorVendor.NVIDIA,
    )


def _publish(folder: Path, provider: str, items: list[CatalogItem]) -> None:
    table = folder / "csv" / f"{provider}.csv"
    site = folder / "site" / provider
    (site / "1").mkdir(parents=True)
    table.parent.mkdir(exist_ok=True)
    storage.dump(items, str(table))
    (site / "version").write_text("1", encoding="utf-8")
    with zipfile.ZipFile(site / "1" / "catalog.zip", "w", zipfile.ZIP_DEFLATED) as out:
        out.write(table, table.name)
