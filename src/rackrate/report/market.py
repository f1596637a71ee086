"""The answer to "what is the market like": every GPU for rent, its prices and their week."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from rackrate.catalog.gpu import Gpu
from rackrate.market.offer import Kind
from rackrate.market.stats import HistoryDay, Spread
from rackrate.report.block import Block, Cell, Column, Table
from rackrate.report.shown import Shown

WEEK_DAYS = 7

COLUMNS = (
    Column("gpu", "GPU"),
    Column("median_usd_per_gpu_hour", "median USD/h", 3, "nobody offers it"),
    Column("low_usd_per_gpu_hour", "low", 3, "nobody offers it"),
    Column("high_usd_per_gpu_hour", "high", 3, "nobody offers it"),
    Column("n_providers", "providers", 0),
    Column("week_frac", "7 days", None, "no week of history"),
    Column("memory_gib", "GiB", 0, "not known"),
    Column("fp16_dense_tflops", "FP16 TFLOPS", 0, "none"),
    Column("segment", "segment"),
    Column("name", "name"),
)


@dataclass(frozen=True)
class GpuMarket:
    """One GPU in the market of a day.

    Attributes:
        gpu: its facts.
        spread: of one kind across providers; None where nobody offers it so.
        history: of that kind, day by day.
    """

    gpu: Gpu
    spread: Spread | None
    history: Sequence[HistoryDay]

    @property
    def week_frac(self) -> float | None:
        """How far the like-for-like index moved in seven days, as a share; None without such a day."""
        if not self.history:
            return None
        last = self.history[-1]
        before = [day for day in self.history if (last.day - day.day).days >= WEEK_DAYS]
        return round(last.index / before[-1].index - 1, 9) if before else None

    def row(self) -> tuple[Any, ...]:
        """Return the values of `COLUMNS`."""
        found, week = self.spread, self.week_frac
        return (
            self.gpu.slug,
            found and found.median_usd_per_gpu_hour,
            found and found.cheapest[1],
            found and found.dearest[1],
            found.n if found else 0,
            None if week is None else Cell(week, f"{week:+.1%}" if abs(week) >= _SEEN else "0.0%"),
            self.gpu.memory_gib.value,
            self.gpu.dense_tflops("fp16").value,
            self.gpu.segment,
            self.gpu.name,
        )


@dataclass(frozen=True)
class Market(Shown):
    """Every GPU of the catalog in the market of a day, under one kind.

    Attributes:
        gpus: those for rent first, by how many providers have them.
        kind: how all of them are sold.
        as_of: instant of the newest listing used.
        version: of the data.
        others: GPUs for rent without a data sheet in the catalog, with their providers.
        n_counted: counted offers.
    """

    gpus: tuple[GpuMarket, ...]
    kind: Kind
    as_of: datetime | None
    version: str
    others: Mapping[str, int]
    n_counted: int

    def to_dict(self) -> dict[str, Any]:
        """Return one object a GPU."""
        keys = [column.key for column in COLUMNS]
        return {
            "data": [
                {
                    key: value.value if isinstance(value, Cell) else value
                    for key, value in zip(keys, each.row(), strict=True)
                }
                for each in self.gpus
            ],
            "meta": {
                "as_of": self.as_of.isoformat() if self.as_of else None,
                "dataset": self.version,
                "kind": self.kind.value,
                "n": len(self.gpus),
                "n_counted_offers": self.n_counted,
                "others": dict(self.others),
            },
        }

    def blocks(self) -> list[Block]:
        """Return the one table."""
        day = f", {self.as_of:%Y-%m-%d}" if self.as_of else ""
        notes = [
            f"prices: {self.kind}, the cheapest counted offer of each provider; kinds are never mixed",
            "USD for one GPU and hour; dense TFLOPS; 7 days: like for like, only offers there on both days",
        ]
        if self.others:
            listed = ", ".join(f"{name} ({n})" for name, n in self.others.items())
            notes.append(f"for rent too, without a data sheet here, with their providers: {listed}")
        return [Table(f"The market{day}", COLUMNS, [each.row() for each in self.gpus], tuple(notes))]

    def moved(self) -> tuple[GpuMarket, ...]:
        """Return the GPUs whose like-for-like price moved in seven days, the furthest first."""
        found = [each for each in self.gpus if each.week_frac and abs(each.week_frac) >= _SEEN]
        return tuple(sorted(found, key=lambda each: -abs(each.week_frac or 0.0)))

    def panel(self, since: date) -> tuple[tuple[date, str, str, str], ...]:
        """Return day, GPU, provider and `entered` or `left` since a day, the newest first."""
        found = [
            (day.day, each.gpu.slug, who, what)
            for each in self.gpus
            for day in each.history
            if day.day >= since
            for what, names in (("entered", day.entered), ("left", day.left))
            for who in names
        ]
        return tuple(sorted(found, key=lambda row: (-row[0].toordinal(), *row[1:])))


_SEEN = 0.0005
"""A move that rounds to 0.1 %."""


@dataclass(frozen=True)
class Changes(Shown):
    """What moved in the last days.

    Attributes:
        market: what it is read from.
        since: first day looked at.
    """

    market: Market
    since: date

    def to_dict(self) -> dict[str, Any]:
        """Return moves and changes of the set of providers."""
        return {
            "moved": [{"gpu": each.gpu.slug, "week_frac": each.week_frac} for each in self.market.moved()],
            "providers": [
                {"day": day.isoformat(), "gpu": gpu, "provider": who, "what": what}
                for day, gpu, who, what in self.market.panel(self.since)
            ],
            "meta": {"since": self.since.isoformat(), **self.market.to_dict()["meta"]},
        }

    def blocks(self) -> list[Block]:
        """Return both tables."""
        keys = ("gpu", "week_frac", "median_usd_per_gpu_hour", "n_providers", "name")
        columns = tuple(column for key in keys for column in COLUMNS if column.key == key)
        rows = []
        for each in self.market.moved():
            row = dict(zip((column.key for column in COLUMNS), each.row(), strict=True))
            rows.append(tuple(row[column.key] for column in columns))
        note = "like for like: only offers that were there on both days move it"
        panel = (Column("day", "day"), COLUMNS[0], Column("provider", "provider"), Column("what", "what"))
        who = "providers that entered or left a GPU's market: that moves a median without any price moving"
        return [
            Table(
                f"Prices that moved in {WEEK_DAYS} days, {self.market.kind.value.replace('_', ' ')}",
                columns,
                rows,
                (note,),
            ),
            Table(f"Entered and left since {self.since}", panel, self.market.panel(self.since), (who,)),
        ]
