"""Answers about live prices: what a collection brought, how each source stands, what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from rackrate.report.block import Block, Column, Table
from rackrate.report.shown import Shown
from rackrate.units import format_age

if TYPE_CHECKING:
    from rackrate.market.collect.run import Outcome
    from rackrate.market.store.compare import Change
    from rackrate.report.state import MarketStats

FRESH_H, SHOWN_H, COUNTED_H, KEPT_H = 2, 24, 72, 7 * 24
_SKEW = timedelta(minutes=5)  # two clocks that are set by the network differ by less
_TIERS = ((FRESH_H, "fresh"), (SHOWN_H, "today"), (COUNTED_H, "ageing"), (KEPT_H, "not counted"))


def tier(age_h: float) -> str:
    """Name the age of a listing: fresh, today, ageing; then it is in no statistic; after a week hidden."""
    return next((name for limit, name in _TIERS if age_h <= limit), "hidden")


@dataclass(frozen=True)
class Collected(Shown):
    """What a collection, or a replay, brought.

    Attributes:
        outcomes: one a source (of a replay, one a run).
        folder: the store.
        was_empty: whether the store had no data before.
        title: what was done.
        unshared: why the shared market does not have it yet; empty when it has, or there is none.
    """

    outcomes: tuple[Outcome, ...]
    folder: str
    was_empty: bool = False
    title: str = "Collected"
    unshared: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the outcomes as plain data."""
        meta = {"store": self.folder} | ({"unshared": self.unshared} if self.unshared else {})
        return {"data": [asdict(done) for done in self.outcomes], "meta": meta}

    def blocks(self) -> list[Block]:
        """Return one table."""
        columns = (
            Column("source", "source"),
            Column("outcome", "outcome"),
            Column("rows", "offers", 0),
            Column("rejected", "rejected", 0),
            Column("seconds", "s", 1),
            Column("says", "says"),
        )
        rows = [
            (o.source, o.outcome, o.rows, sum(o.rejects.values()), o.seconds, _why(o.code, o.says))
            for o in self.outcomes
        ]
        notes = []
        if any(done.rejects for done in self.outcomes):
            notes.append("rejected records are in quarantine with their reasons: rackrate market check")
        if self.was_empty and any(done.rows for done in self.outcomes):
            notes.append("this store now answers instead of the bundled sample")
        if not rows:
            notes.append("nothing to do")
        if self.unshared:
            notes.append(self.unshared)
        return [Table(f"{self.title}: {self.folder}", columns, rows, tuple(notes))]


@dataclass(frozen=True)
class SourceStatus:
    """How a source stands.

    Attributes:
        source: its name.
        state: `ok`, `failed`, `off`, `skipped`, or `never` asked.
        says: why, where it is not ok.
        good_at: instant of its newest whole listing.
        age_h: of that listing.
        rows: offers in it.
        l40s_rows: of these, of an L40S.
        rejects: quality rule to records that it rejected, at the last attempt.
        compared_with: instant of the listing that the newest one is compared with.
        changed: `new`, `gone` and `moved` to their number.
    """

    source: str
    state: str
    says: str
    good_at: datetime | None
    age_h: float | None
    rows: int
    l40s_rows: int
    rejects: Mapping[str, int]
    compared_with: str
    changed: Mapping[str, int]

    @property
    def tier(self) -> str:
        """Return the name of its age."""
        return "" if self.age_h is None else tier(self.age_h)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        out = asdict(self) | {"tier": self.tier}
        out["good_at"] = self.good_at.isoformat() if self.good_at else None
        return out


@dataclass(frozen=True)
class Standings(Shown):
    """How the sources stand, and what changed in those asked for by name.

    Attributes:
        sources: one each.
        changes: of the sources asked for by name: source, then what changed.
        folder: the store.
        behind: why a shared market may have more by now; empty when it does not.
    """

    sources: tuple[SourceStatus, ...]
    changes: tuple[tuple[str, Change], ...]
    folder: str
    behind: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return states and changes as plain data."""
        return {
            "data": [source.to_dict() for source in self.sources],
            "changes": [{"source": source, **asdict(change)} for source, change in self.changes],
            "meta": {"store": self.folder},
        }

    def blocks(self) -> list[Block]:
        """Return the table of sources, then that of changes where sources were named."""
        blocks: list[Block] = [self._sources()]
        if any(source.compared_with for source in self.sources) and self.changes:
            blocks.append(_changes(self.changes))
        return blocks

    def _sources(self) -> Table:
        columns = (
            Column("source", "source"),
            Column("state", "state"),
            Column("age", "last good"),
            Column("tier", "age tier"),
            Column("rows", "offers", 0),
            Column("l40s_rows", "L40S", 0),
            Column("rejects", "rejects by rule"),
            Column("changed", "since a day before"),
            Column("says", "why"),
        )
        rows = [
            (
                s.source,
                s.state,
                "" if s.age_h is None else _age(s.age_h),
                s.tier,
                s.rows,
                s.l40s_rows,
                ", ".join(f"{rule} {n}" for rule, n in s.rejects.items()),
                _changed(s),
                s.says,
            )
            for s in self.sources
        ]
        notes = (self.behind,) if self.behind else ()
        return Table(f"Sources of {self.folder}" if self.folder else "Live sources", columns, rows, notes)


@dataclass(frozen=True)
class Freshness:
    """What is in a store, and how the sources stand from which it is collected.

    Attributes:
        stats: of the store.
        standings: of the sources; None of a store into which nobody collects.
    """

    stats: MarketStats
    standings: Standings | None

    def to_dict(self) -> dict[str, Any]:
        """Return the tables as plain data."""
        live = [source.to_dict() for source in self.standings.sources] if self.standings else []
        return self.stats.to_dict() | {"live": live}

    def blocks(self) -> list[Block]:
        """Return the table of live sources, where there are any, then those of the store."""
        return [*(self.standings.blocks() if self.standings else []), *self.stats.blocks()]


def _age(age_h: float) -> str:
    age = timedelta(hours=age_h)
    return format_age(age) if age >= -_SKEW else f"{format_age(-age)} ahead"


def _changed(source: SourceStatus) -> str:
    if not source.compared_with:
        return ""
    told = [f"{n} {what}" for what, n in source.changed.items() if n]
    return ", ".join(told) or "unchanged"


def _changes(changes: Sequence[tuple[str, Change]]) -> Table:
    columns = (
        Column("source", "source"),
        Column("what", "what"),
        Column("provider", "provider"),
        Column("gpu", "gpu"),
        Column("n", "n", 0),
        Column("kind", "kind"),
        Column("sku", "shape"),
        Column("region", "region"),
        Column("before", "before", 4),
        Column("after", "after", 4),
        Column("currency", "currency"),
    )
    rows = [
        (
            source,
            c.what,
            c.provider,
            c.gpu,
            c.gpu_count,
            c.kind,
            c.sku,
            c.region,
            c.before,
            c.after,
            c.currency,
        )
        for source, c in changes
    ]
    return Table("What changed since a day before; prices as the source gives them", columns, rows, ())


def _why(code: str, says: str) -> str:
    return f"{code}: {says}" if code else says
