"""The answer to "what is for rent": a list of offers that knows what it left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, overload

from rackrate.market.offer import COLUMNS, Offer
from rackrate.market.stats import FRESH
from rackrate.report.block import Block, Column, Table, to_html
from rackrate.units import HOURS_PER_MONTH, format_age

if TYPE_CHECKING:
    from rackrate.market.store.found import Found

_SHOWN = (
    Column("provider", "provider"),
    Column("usd_per_gpu_hour", "USD/GPU-h", 3),
    Column("gpu", "GPU", absent="unknown"),
    Column("gpu_count", "n", 0),
    Column("usd_per_hour", "USD/h", 3),
    Column("usd_per_month", "USD/month", 0),
    Column("kind", "kind"),
    Column("vram_gib", "GiB each", 0),
    Column("vcpu", "vCPU", 0),
    Column("ram_gib", "RAM GiB", 0),
    Column("disk_gib", "disk GiB", 0),
    Column("country", "country"),
    Column("region", "region"),
    Column("sku", "instance"),
    Column("observed_at", "seen", absent="date not stated"),
    Column("source", "source"),
)
_BESIDE = (
    Column("storage_usd_per_gb_month", "disk USD/GB-month", 3),
    Column("included_disk_gb", "disk GB included", 0),
    Column("egress_usd_per_gb", "sent USD/GB", 3),
    Column("included_egress_gb_per_month", "GB sent included", 0),
    Column("ingress_usd_per_gb", "received USD/GB", 3),
    Column("min_rental_s", "least s", 0),
)
"""What comes beside the hour: few lists say it, so that a column is shown where some row of it is known."""


@dataclass(frozen=True)
class Offers(Sequence[Offer]):
    """Offers in the order asked for.

    Speaks Arrow (`polars.from_arrow(offers)`, `duckdb.sql("FROM offers")`, `pandas`, `pyarrow`), shows
    itself as a table in notebooks, and is a sequence of `Offer`.

    Attributes:
        found: the rows in the columns of an offer, and what counts those that were left out.
        as_of: what "now" means for the ages.
        version: of the data.
        hours_per_month: used for USD a month.
    """

    found: Found
    as_of: datetime | None
    version: str
    hours_per_month: float = HOURS_PER_MONTH

    @property
    def rows(self) -> tuple[tuple[Any, ...], ...]:
        """Return the offers as values in the columns of an offer."""
        return self.found.rows

    @property
    def n_matching(self) -> int:
        """Return how many match before the limit."""
        return self.found.n_matching

    @property
    def hidden(self) -> Mapping[str, int]:
        """Return reason to the number of offers left out by a default."""
        return self.found.hidden

    @overload
    def __getitem__(self, index: int) -> Offer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Offer]: ...
    def __getitem__(self, index: int | slice) -> Offer | Sequence[Offer]:
        """Return one offer, or several."""
        return self._offers[index]

    def __len__(self) -> int:
        """Return the number of offers in the list."""
        return len(self.rows)

    def __iter__(self) -> Iterator[Offer]:
        """Iterate over the offers."""
        return iter(self._offers)

    @cached_property
    def _offers(self) -> tuple[Offer, ...]:
        return tuple(Offer.from_row(row) for row in self.rows)

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        """Return the rows as an Arrow stream (PyCapsule interface)."""
        del requested_schema  # a consumer may ask for a cast; offering our own schema is allowed
        from rackrate.market.store.arrow import stream  # noqa: PLC0415 - start-up: loads the database

        return stream(self.rows)

    def to_parquet(self) -> bytes:
        """Return the rows as a Parquet file."""
        from rackrate.market.store.arrow import parquet  # noqa: PLC0415 - start-up: loads the database

        return parquet(self.rows)

    def to_dict(self) -> dict[str, Any]:
        """Return the offers with what one must know to use them."""
        return {
            "data": [
                {**offer.to_dict(), "usd_per_month": offer.usd_per_hour * self.hours_per_month}
                for offer in self
            ],
            "meta": {
                "as_of": self.as_of.isoformat() if self.as_of else None,
                "dataset": self.version,
                "n_matching": self.n_matching,
                "n_shown": len(self),
                "hidden": dict(self.hidden),
                "hours_per_month": self.hours_per_month,
            },
        }

    def blocks(self) -> list[Block]:
        """Return one table with what was left out below it."""
        rows = []
        at = {name: index for index, name in enumerate(COLUMNS)}
        said = (column for column in _BESIDE if any(row[at[column.key]] is not None for row in self.rows))
        shown = (*_SHOWN, *said)
        for row in self.rows:
            month = row[at["usd_per_hour"]] * self.hours_per_month
            rows.append(
                tuple(month if column.key == "usd_per_month" else row[at[column.key]] for column in shown)
            )
        return [Table(self._title(), shown, rows, tuple(self._notes()))]

    def _title(self) -> str:
        day = f" on {self.as_of:%Y-%m-%d}" if self.as_of else ""
        return f"{len(self)} of {self.n_matching} offers{day}"

    def _notes(self) -> Iterator[str]:
        if self.hidden:
            parts = ", ".join(f"{n} {reason}" for reason, n in sorted(self.hidden.items()))
            yield f"left out by default: {parts} (--kind any, --max-age any show them)"
        if self.n_matching > len(self):
            yield f"{self.n_matching - len(self)} more match (--limit 0 shows all)"
        yield f"a month is {self.hours_per_month:g} hours"

    def _repr_html_(self) -> str:
        return to_html(self.blocks())

    def __repr__(self) -> str:
        """Say what it holds, in one line."""
        low = min((offer.usd_per_gpu_hour for offer in self), default=None)
        from_ = f", from {low:.3f} USD/GPU-h" if low is not None else ""
        return f"<Offers: {self._title()}{from_}>"


def is_fresh(offer: Offer, now: datetime | None) -> bool:
    """Tell whether an offer counts in statistics of today."""
    return bool(offer.is_counted and offer.observed_at and now and now - offer.observed_at <= FRESH)


def age_of(offer: Offer, as_of: datetime | None) -> str:
    """Return how long ago an offer was seen, in words."""
    if offer.observed_at is None or as_of is None:
        return "date not stated"
    return format_age(as_of - offer.observed_at)
