"""Answers about the market data themselves: imports, checks, what is in the store, what changed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rackrate.catalog.problem import Problem
from rackrate.catalog.provider import billing_currency
from rackrate.market.offer import COLUMNS
from rackrate.market.quality import BY_CODE
from rackrate.report.block import Block, Column, Table, Text
from rackrate.report.shown import Shown
from rackrate.units import format_age

if TYPE_CHECKING:
    from rackrate.market.store import Store
    from rackrate.market.store.manifest import Manifest
    from rackrate.market.store.write import Receipt

FX_STEP_FRAC = 0.03
"""Euro against dollar moved at most 1 % in a day of our rates; a provider's list that moves as one by
less than this, and that is kept in another currency, moved with the exchange rate alone."""


@dataclass(frozen=True)
class Imported(Shown):
    """What became of an import.

    Attributes:
        receipts: one a source.
        is_dry_run: whether nothing was written.
        folder: the store.
        was_empty: whether the store had no data before, so that the bundled sample answered.
        unshared: why the shared market does not have it yet; empty when it has, or there is none.
    """

    receipts: tuple[Receipt, ...]
    is_dry_run: bool
    folder: str
    was_empty: bool
    unshared: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the receipts as plain data."""
        return {
            "data": [
                {**asdict(r), "first": [_plain(dict(zip(COLUMNS, row, strict=True))) for row in r.first]}
                for r in self.receipts
            ],
            "meta": {"dry_run": self.is_dry_run, "store": self.folder}
            | ({"unshared": self.unshared} if self.unshared else {}),
        }

    def blocks(self) -> list[Block]:
        """Return the counts, the rules that rows met, first rows and first rejects."""
        columns = (
            Column("source", "source"),
            Column("n_read", "read", 0),
            Column("n_published", "published", 0),
            Column("n_held", "of these held", 0),
            Column("n_rejected", "rejected", 0),
            Column("n_known", "known already", 0),
            Column("n_snapshots", "new listings", 0),
        )
        rows = [
            (r.source, r.n_read, r.n_published, r.n_held, r.n_rejected, r.n_known, len(r.snapshots))
            for r in self.receipts
        ]
        title = f"Dry run: nothing was written to {self.folder}" if self.is_dry_run else f"Into {self.folder}"
        blocks: list[Block] = [Table(title, columns, rows, tuple(self._notes()))]
        rules = [(r.source, code, n) for r in self.receipts for code, n in r.rules.items()]
        if rules:
            blocks.append(rule_table("Quality rules met", rules))
        unknown = [
            f"{r.source}: {name!r} ({n} rows)" for r in self.receipts for name, n in r.unknown_gpus.items()
        ]
        if unknown:
            blocks.append(Text("GPU names that nothing answers to (rows are kept)", tuple(unknown)))
        if self.is_dry_run:
            blocks += self._previews()
        return blocks

    def _notes(self) -> Iterator[str]:
        if any(r.n_rejected for r in self.receipts) and not self.is_dry_run:
            yield "rejected records are in quarantine with their reasons: rackrate market check"
        if self.was_empty and not self.is_dry_run:
            yield "this store now answers instead of the bundled sample"
        if self.unshared:
            yield self.unshared

    def _previews(self) -> Iterator[Block]:
        names = (
            "provider",
            "gpu_raw",
            "gpu",
            "gpu_count",
            "kind",
            "price",
            "currency",
            "usd_per_gpu_hour",
            "flags",
        )
        columns = tuple(Column(name, name, None if name != "usd_per_gpu_hour" else 4, "-") for name in names)
        for receipt in self.receipts:
            picked = [
                tuple(dict(zip(COLUMNS, row, strict=True))[name] for name in names) for row in receipt.first
            ]
            yield Table(f"{receipt.source}: first rows", columns, picked)
            if receipt.rejects:
                rejects = (Column("rule", "rule"), Column("reason", "reason"), Column("record", "record"))
                yield Table(f"{receipt.source}: first rejects", rejects, receipt.rejects)


@dataclass(frozen=True)
class Shared(Shown):
    """What was put into a shared market.

    Attributes:
        address: of it.
        n_new: files that it did not have.
        now: what it has now.
    """

    address: str
    n_new: int
    now: Manifest

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        return {
            "data": {"new": self.n_new, "files": len(self.now.files), "dataset": self.now.version},
            "meta": {"store": self.address},
        }

    def blocks(self) -> list[Block]:
        """Return one table."""
        columns = (Column("new", "new files", 0), Column("files", "files", 0), Column("dataset", "dataset"))
        row = (self.n_new, len(self.now.files), self.now.version)
        return [Table(f"Shared: {self.address}", columns, [row], ())]


@dataclass(frozen=True)
class Checked(Shown):
    """What is wrong with the data, and what the gate found in them.

    Attributes:
        problems: contradictions in the catalog.
        damaged: files of the store that are not what was written.
        rules: source, rule and rows that met it, published and quarantined.
        unknown_gpus: source, raw name and rows.
        quarantine: source, file, record, rule, reason, record: the first rows not published.
        n_rows: rows published.
        n_rejected: rows in quarantine.
    """

    problems: tuple[Problem, ...]
    damaged: tuple[str, ...]
    rules: tuple[tuple[str, str, int], ...]
    unknown_gpus: tuple[tuple[str, str, int], ...]
    quarantine: tuple[tuple[Any, ...], ...]
    n_rows: int
    n_rejected: int

    @property
    def is_sound(self) -> bool:
        """Tell whether catalog and files are without fault."""
        return not self.problems and not self.damaged

    def to_dict(self) -> dict[str, Any]:
        """Return all findings as plain data."""
        names = ("source", "origin", "line", "rule", "reason", "record")
        return {
            "sound": self.is_sound,
            "problems": [asdict(problem) for problem in self.problems],
            "damaged": list(self.damaged),
            "rules": [{"source": s, "rule": rule, "rows": n} for s, rule, n in self.rules],
            "unknown_gpus": [{"source": s, "gpu_raw": name, "rows": n} for s, name, n in self.unknown_gpus],
            "quarantine": [dict(zip(names, row, strict=True)) for row in self.quarantine],
            "meta": {"n_rows": self.n_rows, "n_rejected": self.n_rejected},
        }

    def blocks(self) -> list[Block]:
        """Return faults first, then rules, unknown names and the quarantine."""
        verdict = "sound" if self.is_sound else "FAULTY"
        faults = [f"{p.where}: {p.says} ({p.rule})" for p in self.problems] + list(self.damaged)
        blocks: list[Block] = [
            rule_table(
                f"{self.n_rows} rows published, {self.n_rejected} in quarantine; {verdict}", self.rules
            )
        ]
        if faults:
            blocks.insert(0, Text("Faults", tuple(faults)))
        if self.unknown_gpus:
            lines = tuple(f"{source}: {name!r} ({n} rows)" for source, name, n in self.unknown_gpus)
            blocks.append(Text("GPU names that nothing answers to (rows are kept)", lines))
        if self.quarantine:
            names = ("source", "file", "record", "rule", "reason", "what it said")
            columns = tuple(Column(name, name) for name in names)
            blocks.append(Table("Quarantine", columns, self.quarantine))
        return blocks


@dataclass(frozen=True)
class MarketStats(Shown):
    """What is in a store, and what its prices did.

    Attributes:
        sources: by list: rows, listings, first and last instant, age, licence, credit.
        kinds: by GPU: providers counted now, by kind.
        changes: by source: day-to-day comparisons, those that changed, and of these those that moved
            with the exchange rate alone or belong to marketplaces.
        as_of: ISO 8601.
        version: of the data.
    """

    sources: tuple[tuple[Any, ...], ...]
    kinds: tuple[tuple[Any, ...], ...]
    changes: tuple[tuple[Any, ...], ...]
    as_of: str | None
    version: str

    def to_dict(self) -> dict[str, Any]:
        """Return the tables as plain data."""
        return {
            "sources": _dicts(_SOURCES, self.sources),
            "gpus": _dicts(_KINDS, self.kinds),
            "changes": _dicts(_CHANGES, self.changes),
            "meta": {"as_of": self.as_of, "dataset": self.version},
        }

    def blocks(self) -> list[Block]:
        """Return the three tables."""
        return [
            Table(f"Market data {self.version}", _SOURCES, self.sources),
            Table("Providers counted now, by GPU and kind", _KINDS, self.kinds),
            Table(
                "Day-to-day price changes",
                _CHANGES,
                self.changes,
                ("a price that moved with the exchange rate alone counts as unchanged",),
            ),
        ]


_SOURCES = (
    Column("source", "source"),
    Column("n_rows", "rows", 0),
    Column("n_snapshots", "listings", 0),
    Column("first_at", "first", absent="undated"),
    Column("last_at", "last", absent="undated"),
    Column("age", "age"),
    Column("licence", "licence"),
    Column("credit", "credit"),
)
_KINDS = (
    Column("gpu", "GPU"),
    Column("on_demand", "on_demand", 0),
    Column("spot", "spot", 0),
    Column("reserved", "reserved", 0),
    Column("serverless", "serverless", 0),
)
_CHANGES = (
    Column("source", "source"),
    Column("n_compared", "compared", 0),
    Column("n_changed", "changed", 0),
    Column("n_fx_only", "exchange rate only", 0),
    Column("n_marketplace", "of changed: marketplaces", 0),
)


def market_stats(store: Store) -> MarketStats:
    """Return what is in a store and what its prices did."""
    now = store.newest
    sources = []
    for name in sorted({f.source for f in store.files if f.table == "offers"}):
        files = [f for f in store.files if f.source == name and f.table == "offers"]
        ats = sorted(s.at for f in files for s in f.snapshots if s.is_dated)
        about = files[-1].about
        age = (
            format_age(now.replace(tzinfo=None) - datetime.fromisoformat(ats[-1]))
            if ats and now
            else "date not stated"
        )
        sources.append(
            (
                name,
                sum(f.rows for f in files),
                sum(len(f.snapshots) for f in files),
                ats[0][:16] if ats else None,
                ats[-1][:16] if ats else None,
                age,
                about.get("licence") or None,
                about.get("credit") or None,
            )
        )
    return MarketStats(
        sources=tuple(sources),
        kinds=tuple(_kinds(store.tally())),
        changes=tuple(_changes(store)),
        as_of=now.isoformat() if now else None,
        version=store.version,
    )


def rule_table(title: str, rules: Sequence[tuple[str, str, int]]) -> Table:
    """Return rules with what they mean and what they do."""
    columns = (
        Column("source", "source"),
        Column("rule", "rule"),
        Column("number", "no.", 0),
        Column("action", "action"),
        Column("rows", "rows", 0),
        Column("says", "meaning"),
    )
    rows = [
        (source, code, BY_CODE[code].number, BY_CODE[code].action.value, n, BY_CODE[code].says)
        for source, code, n in rules
    ]
    return Table(title, columns, rows)


def _kinds(tally: Sequence[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    counts: dict[str, dict[str, int]] = {}
    for gpu, kind, _, _, _ in tally:
        of = counts.setdefault(gpu, {})
        of[kind] = of.get(kind, 0) + 1
    for gpu, of in sorted(counts.items()):
        yield (gpu, *(of.get(column.key, 0) for column in _KINDS[1:]))


def _changes(store: Store) -> Iterator[tuple[Any, ...]]:
    """Count steps by source; a step is `fx only` when the provider's whole list moves as one by little."""
    if store.newest is None:
        return
    steps = store.changes(store.newest.date() - timedelta(days=3650), store.newest.date())
    moved: dict[tuple[str, str, date], list[float]] = {}
    for source, provider, _, day, _, before, after in steps:
        moved.setdefault((source, provider, day), []).append(after / before)
    with_fx = {key for key, ratios in moved.items() if _is_fx_step(key[1], ratios)}
    counts: dict[str, list[int]] = {}
    for source, provider, tier, day, _, before, after in steps:
        of = counts.setdefault(source, [0, 0, 0, 0])
        of[0] += 1
        if after == before:
            continue
        if (source, provider, day) in with_fx:
            of[2] += 1
            continue
        of[1] += 1
        of[3] += bool(tier and tier.startswith("marketplace"))
    for source, of in sorted(counts.items()):
        yield (source, *of)


def _is_fx_step(provider: str, ratios: Sequence[float]) -> bool:
    """Tell whether a list kept in another currency than USD moved as one, by no more than rates do."""
    if min(ratios) <= 0 or billing_currency(provider) in ("USD", ""):
        return False
    middle = sorted(ratios)[len(ratios) // 2]
    as_one = all(abs(ratio / middle - 1) < 0.001 for ratio in ratios)  # noqa: PLR2004 - rounding to cents
    return as_one and 0 < abs(middle - 1) < FX_STEP_FRAC


def _dicts(columns: Sequence[Column], rows: Sequence[tuple[Any, ...]]) -> list[dict[str, Any]]:
    return [{c.key: value for c, value in zip(columns, row, strict=True)} for row in rows]


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value.isoformat() if hasattr(value, "isoformat") else value for key, value in row.items()}
