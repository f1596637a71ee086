"""What an offer is: one price for one shape at one place under one kind, seen once.

The dataclass is the schema: its fields, in order, are the columns of every Parquet file of the
store, of the Arrow stream and of the CSV. Nothing that a source said is overwritten: what we make of
it (slug, USD) stands beside what it wrote (`gpu_raw`, `price`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from enum import StrEnum
from html import escape
from typing import Any


class Kind(StrEnum):
    """How a price is sold. Statistics never mix kinds."""

    ON_DEMAND = "on_demand"
    SPOT = "spot"
    RESERVED = "reserved"
    SERVERLESS = "serverless"


def _column(sql: str, says: str, since: int = 1) -> Any:
    return field(metadata={"sql": sql, "says": says, "since": since})


@dataclass(frozen=True, slots=True)
class Offer:
    """One observation of one offer. Absent means the source does not say; it is never 0."""

    source: str = _column("VARCHAR", "id of the list it was read from")
    source_url: str | None = _column("VARCHAR", "page or endpoint that the source names")
    origin: str = _column("VARCHAR", "file of the import it came in")
    line: int = _column("INTEGER", "record within that file, from 1")
    snapshot_at: datetime = _column("TIMESTAMP", "UTC; the listing that the row is part of")
    observed_at: datetime | None = _column("TIMESTAMP", "UTC; when the price was seen to be true")
    provider: str = _column("VARCHAR", "who runs the machine (slug)")
    provider_raw: str = _column("VARCHAR", "who, as the source writes it")
    seller: str | None = _column("VARCHAR", "who sells it, where that is someone else (slug)")
    tier: str | None = _column("VARCHAR", "hyperscaler, gpu_cloud, marketplace_secure, ...")
    sku: str | None = _column("VARCHAR", "the provider's own name of the shape")
    gpu_raw: str = _column("VARCHAR", "the GPU as the source writes it")
    gpu: str | None = _column("VARCHAR", "slug of the product, or of its family if no more is known")
    gpu_count: float = _column("DOUBLE", "GPUs in the offer; a fraction for a slice")
    vram_gib: float | None = _column("DOUBLE", "memory of one GPU, GiB, nominal")
    vram_raw_gib: float | None = _column("DOUBLE", "memory of one GPU as stated, GiB")
    interconnect: str | None = _column("VARCHAR", "PCIe, SXM, NVLink, ... as stated")
    vcpu: float | None = _column("DOUBLE", "virtual CPUs of the whole offer")
    ram_gib: float | None = _column("DOUBLE", "main memory of the whole offer, GiB")
    disk_gib: float | None = _column("DOUBLE", "local disk of the whole offer, GiB")
    country: str | None = _column("VARCHAR", "ISO 3166-1 alpha-2")
    region: str | None = _column("VARCHAR", "as the source writes it")
    kind: Kind = _column("VARCHAR", "on_demand, spot, reserved or serverless")
    term_months: float | None = _column("DOUBLE", "length of a reservation")
    price: float = _column("DOUBLE", "as the source gives it, in `currency` per `price_per`")
    currency: str = _column("VARCHAR", "ISO 4217")
    price_per: str = _column("VARCHAR", "gpu or instance, per hour")
    usd_per_unit: float = _column("DOUBLE", "USD for one unit of `currency` on the day")
    usd_per_hour: float = _column("DOUBLE", "USD an hour for the whole offer")
    usd_per_gpu_hour: float = _column("DOUBLE", "USD an hour for one GPU of it")
    available: int | None = _column("INTEGER", "GPUs to be had, where the source says")
    series: str = _column("VARCHAR", "what stays the same when the price changes")
    flags: tuple[str, ...] = _column("VARCHAR[]", "quality rules that it met")
    is_counted: bool = _column("BOOLEAN", "whether statistics may use it")
    is_last: bool = _column("BOOLEAN", "whether it is the last of its series in the listing")
    storage_usd_per_gb_month: float | None = _column("DOUBLE", "USD a month for a GB of disk", 2)
    included_disk_gb: float | None = _column("DOUBLE", "GB of disk that the price pays for", 2)
    egress_usd_per_gb: float | None = _column("DOUBLE", "USD for a GB sent to the internet", 2)
    included_egress_gb_per_month: float | None = _column("DOUBLE", "GB sent that the price pays for", 2)
    ingress_usd_per_gb: float | None = _column("DOUBLE", "USD for a GB received", 2)
    min_rental_s: float | None = _column("DOUBLE", "seconds that are billed in any case", 2)

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Offer:
        """Build an offer from a row whose values stand in the order of the columns."""
        values = dict(zip(COLUMNS, row, strict=True))
        for name in ("snapshot_at", "observed_at"):
            if values[name] is not None:
                values[name] = values[name].replace(tzinfo=UTC)
        values["kind"] = Kind(values["kind"])
        values["flags"] = tuple(values["flags"])
        return cls(**values)

    @property
    def vram_total_gib(self) -> float | None:
        """Memory of all its GPUs, GiB."""
        return None if self.vram_gib is None else self.vram_gib * self.gpu_count

    def _repr_html_(self) -> str:
        return facts_html(f"{self.gpu or self.gpu_raw} at {self.provider}", self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for `--json`: instants as ISO 8601, flags as a list."""
        out = {name: getattr(self, name) for name in COLUMNS}
        for name in ("snapshot_at", "observed_at"):
            out[name] = out[name].isoformat() if out[name] else None
        out["kind"] = self.kind.value
        out["flags"] = list(self.flags)
        return out


COLUMNS: dict[str, str] = {f.name: f.metadata["sql"] for f in fields(Offer)}
"""Column name to SQL type, in the order of the files."""

SINCE: dict[str, int] = {f.name: f.metadata["since"] for f in fields(Offer)}
"""Column name to the schema of the store that first had it; in older files it is absent, so unknown."""

MEANINGS: dict[str, str] = {f.name: f.metadata["says"] for f in fields(Offer)}
"""Column name to what it means, with its unit."""


@dataclass(slots=True, eq=False)
class RawShape:
    """What a source says of an offer beside price, time and place: what one row says, many say.

    Before anything is believed: numbers may still be text. An importer fills in what its source has
    and declares its units by the fields it chooses. It may hand out one object for many rows, which
    is then read once; a shape is the same as another only if it is the same object.

    Attributes:
        provider: who runs the machine, as written.
        vram_gib: memory of one GPU as stated, GiB.
        price_per: `gpu` or `instance`.
        price_hours: hours that the price pays for: 1 an hour, 730 a month, 1/3600 a second.
        currency: ISO 4217; empty when the source does not say, which is read as USD.
        notes: free text of the source that rules may read (marks of made-up data).
        storage_per_gb_month: price of disk beyond what is included, in `currency`.
        included_disk_gb: disk that the price pays for.
        egress_per_gb: price of traffic to the internet beyond what is included, in `currency`.
        included_egress_gb: such traffic a month that the price pays for.
        ingress_per_gb: price of traffic from the internet, in `currency`.
        min_rental_s: seconds that are billed in any case.
    """

    provider: str
    seller: str = ""
    gpu_raw: str = ""
    gpu_count: Any = 1
    vram_gib: Any = None
    interconnect: str = ""
    sku: str = ""
    vcpu: Any = None
    ram_gib: Any = None
    disk_gib: Any = None
    kind: str = Kind.ON_DEMAND
    tier: str = ""
    term_months: Any = None
    price_per: str = "gpu"
    price_hours: float = 1.0
    currency: str = "USD"
    source_url: str = ""
    notes: str = ""
    storage_per_gb_month: Any = None
    included_disk_gb: Any = None
    egress_per_gb: Any = None
    included_egress_gb: Any = None
    ingress_per_gb: Any = None
    min_rental_s: Any = None


@dataclass(slots=True)
class RawOffer:
    """One price of a shape, as a source says it; the same step normalises all (`market.normalise`).

    Attributes:
        shape: what is offered.
        origin: file name within the import.
        line: record within that file, from 1.
        snapshot_at: UTC instant of the listing.
        price: in the shape's currency, for what its `price_per` says.
    """

    shape: RawShape
    origin: str
    line: int
    snapshot_at: datetime
    price: Any
    observed_at: datetime | None = None
    country: str = ""
    region: str = ""
    available: Any = None


def facts_html(title: str, facts: Mapping[str, Any]) -> str:
    """Write what is known of one thing as HTML in the page's own colours; what is absent is left out."""
    rows = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
        for name, value in facts.items()
        if value not in (None, [])
    )
    return f"<div><h4>{escape(title)}</h4><table><tbody>{rows}</tbody></table></div>"
