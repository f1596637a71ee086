"""Two listings of one source side by side: what is new, gone, dearer or cheaper."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import duckdb

from rackrate.errors import StoreBroken
from rackrate.market.store import manifest
from rackrate.market.store.read import Store
from rackrate.market.store.write import quoted


@dataclass(frozen=True, slots=True)
class Change:
    """One series that two listings tell differently.

    Attributes:
        what: `new`, `gone` or `moved`.
        provider: slug.
        gpu: slug, or the raw name where none is known.
        gpu_count: GPUs in the offer.
        kind: on_demand, spot, ...
        sku: the provider's name of the shape.
        region: as the source writes it.
        before: price before, in `currency`; None for a new one.
        after: price now; None for one that is gone.
        currency: ISO 4217.
    """

    what: str
    provider: str
    gpu: str
    gpu_count: float
    kind: str
    sku: str
    region: str
    before: float | None
    after: float | None
    currency: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The newest whole listing of a source.

    Attributes:
        at: its instant.
        rows: offers in it.
        l40s_rows: of them, of an L40S.
    """

    at: datetime
    rows: int
    l40s_rows: int


_SERIES = (
    "series, any_value(provider) AS provider, any_value(coalesce(gpu, gpu_raw)) AS gpu, "
    "any_value(gpu_count) AS n, any_value(kind) AS kind, coalesce(any_value(sku), '') AS sku, "
    "coalesce(any_value(region), '') AS region, min(price) AS price, any_value(currency) AS currency"
)


def standing(store: Store, source: str) -> Standing | None:
    """Return the newest whole listing of a source; None when there is none."""
    listings = _listings(store, source)
    if not listings:
        return None
    at, name, rows = listings[-1]
    l40s = _rows(
        store,
        f"SELECT count(*) FROM {_table(store, name, at)} WHERE gpu = 'l40s'",  # noqa: S608 - our own text
    )
    return Standing(datetime.fromisoformat(at).replace(tzinfo=UTC), rows, int(l40s[0][0]))


def changes(store: Store, source: str, over: timedelta = timedelta(hours=24)) -> tuple[str, list[Change]]:
    """Compare the newest listing of a source with the one of a day before.

    Args:
        store: to ask.
        source: id of the list.
        over: how far back; a listing up to a sixth of it younger will do, since collections do not keep
            the minute. Without one so old, the oldest there is.

    Returns:
        The instant compared with, ISO 8601, empty when there is nothing to compare with; what changed.
    """
    listings = _listings(store, source)
    if len(listings) < 2:  # noqa: PLR2004
        return "", []
    newest = listings[-1]
    edge = manifest.stamp(datetime.fromisoformat(newest[0]) - over * 5 / 6)
    before = next((listing for listing in reversed(listings[:-1]) if listing[0] <= edge), listings[0])
    old, new = (_table(store, name, at) for at, name, _ in (before, newest))
    found = _rows(
        store,
        f"""SELECT CASE WHEN b.series IS NULL THEN 'new' WHEN a.series IS NULL THEN 'gone' ELSE 'moved' END,
        coalesce(a.provider, b.provider), coalesce(a.gpu, b.gpu), coalesce(a.n, b.n),
        coalesce(a.kind, b.kind), coalesce(a.sku, b.sku), coalesce(a.region, b.region),
        b.price, a.price, coalesce(a.currency, b.currency)
        FROM (SELECT {_SERIES} FROM {new} GROUP BY series) a
        FULL JOIN (SELECT {_SERIES} FROM {old} GROUP BY series) b USING (series)
        WHERE a.series IS NULL OR b.series IS NULL OR a.price <> b.price OR a.currency <> b.currency
        ORDER BY ALL""",  # noqa: S608 - our own text and names of our own files
    )
    return before[0] + "+00:00", [Change(*row) for row in found]


def _listings(store: Store, source: str) -> list[tuple[str, str, int]]:
    """Return instant, file and rows of the whole listings of a source, oldest first."""
    return sorted(
        (at, file.name, snapshot.rows)
        for (name, at), (file, snapshot) in store.live().items()
        if name == source and snapshot.is_whole
    )


def _table(store: Store, name: str, at: str) -> str:
    path = quoted(store.folder / name)
    return f"(SELECT * FROM read_parquet({path}) WHERE snapshot_at = TIMESTAMP '{at}')"  # noqa: S608


def _rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    try:
        with duckdb.connect(config={"autoinstall_known_extensions": False}) as con:
            return con.execute(sql).fetchall()
    except duckdb.Error as error:
        raise StoreBroken(f"cannot read {store.folder}: {str(error).splitlines()[0]}") from error


def tally(found: Iterable[Change]) -> dict[str, int]:
    """Count what changed."""
    counts = dict.fromkeys(("new", "gone", "moved"), 0)
    for change in found:
        counts[change.what] += 1
    return counts
