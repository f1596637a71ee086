"""The answer to "what does it cost": price per hour, day, week and month, spread, history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any

from rackrate.catalog.aliases import families_of
from rackrate.catalog.gpu import load_gpu
from rackrate.catalog.load import slugs
from rackrate.market import stats
from rackrate.market.offer import Kind
from rackrate.market.stats import HistoryDay, Spread
from rackrate.report.block import Block, Column, Plot, Table, Text
from rackrate.report.shown import Shown
from rackrate.units import HOURS_PER_DAY, HOURS_PER_MONTH, HOURS_PER_WEEK

if TYPE_CHECKING:
    from rackrate.market.store import Store


@dataclass(frozen=True)
class Price(Shown):
    """What one GPU costs under one kind.

    Attributes:
        gpu: slug.
        kind: how it is sold; every number below is of this kind alone.
        as_of: instant of the newest listing used.
        version: of the data.
        spread: across providers on that day; None where nobody offers it.
        history: day by day, oldest first.
        by_provider: provider to day to price, for the days of the history.
        other_kinds: the spread of the other kinds, each on its own.
        loose: offers that name only the family (`h100`), left out because it may be another product.
        hours_per_month: used for USD a month.
    """

    gpu: str
    kind: Kind
    as_of: datetime | None
    version: str
    spread: Spread | None
    history: tuple[HistoryDay, ...]
    by_provider: Mapping[str, Mapping[date, float]]
    other_kinds: Mapping[Kind, Spread]
    loose: Mapping[str, int]
    hours_per_month: float = HOURS_PER_MONTH

    def rents(self, usd_per_hour: float) -> dict[str, float]:
        """Return USD for one GPU per hour, day (24 h), week (168 h) and month."""
        return {
            "hour": usd_per_hour,
            "day": usd_per_hour * HOURS_PER_DAY,
            "week": usd_per_hour * HOURS_PER_WEEK,
            "month": usd_per_hour * self.hours_per_month,
        }

    def plot(self) -> Any:
        """Return the history as an Altair chart.

        Raises:
            NoAnswer: fewer than two days of history.
            UsageError: the chart packages are not installed.
        """
        from rackrate import chart  # noqa: PLC0415 - a heavy extra

        return chart.history(self)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain data."""
        return {
            "gpu": self.gpu,
            "kind": self.kind.value,
            "spread": self._spread_dict(self.spread),
            "other_kinds": {kind.value: self._spread_dict(found) for kind, found in self.other_kinds.items()},
            "history": [
                {
                    "day": day.day.isoformat(),
                    "median_usd_per_gpu_hour": day.median_usd_per_gpu_hour,
                    "low_usd_per_gpu_hour": day.low_usd_per_gpu_hour,
                    "high_usd_per_gpu_hour": day.high_usd_per_gpu_hour,
                    "n": day.n,
                    "index": day.index,
                    "n_matched": day.n_matched,
                    "entered": list(day.entered),
                    "left": list(day.left),
                }
                for day in self.history
            ],
            "meta": {
                "as_of": self.as_of.isoformat() if self.as_of else None,
                "dataset": self.version,
                "hours_per_month": self.hours_per_month,
                "family_only": dict(self.loose),
            },
        }

    def _spread_dict(self, found: Spread | None) -> dict[str, Any] | None:
        if found is None:
            return None
        provider, cheapest = found.cheapest
        dear_provider, dearest = found.dearest
        return {
            "day": found.day.isoformat(),
            "n": found.n,
            "cheapest": {"provider": provider, "usd_per_gpu_hour": cheapest},
            "median_usd_per_gpu_hour": found.median_usd_per_gpu_hour,
            "dearest": {"provider": dear_provider, "usd_per_gpu_hour": dearest},
            "cheaper_frac": found.cheaper_frac,
            "by_provider_usd_per_gpu_hour": dict(found.by_provider),
            "median_usd": self.rents(found.median_usd_per_gpu_hour),
            "cheapest_usd": self.rents(cheapest),
        }

    def blocks(self) -> list[Block]:
        """Return rents, spread and, where asked for, history."""
        blocks: list[Block] = [self.rent_table(), self.spread_table()]
        if self.spread is None:
            blocks = [
                Text(f"{self.gpu}: no counted {self.kind} offer", ("nobody lists it so with a recent date",))
            ]
            blocks += [self.rent_table()] * bool(self.other_kinds)
        if self.history:
            blocks += [self.line(), self.history_table()]
            if self.by_provider:
                blocks.append(self.provider_table())
        return blocks

    def rent_table(self) -> Table:
        """Return USD per hour, day, week and month at the median and at the ends, kind by kind."""
        columns = (
            Column("kind", "kind"),
            Column("price", "price"),
            Column("provider", "provider"),
            Column("usd_per_hour", "USD/h", 3),
            Column("usd_per_day", "USD/day", 2),
            Column("usd_per_week", "USD/week", 2),
            Column("usd_per_month", "USD/month", 0),
        )
        rows = []
        for found in filter(None, (self.spread, *self.other_kinds.values())):
            ends = (
                ("cheapest", *found.cheapest),
                ("median", f"of {found.n} provider" + "s" * (found.n > 1), found.median_usd_per_gpu_hour),
                ("dearest", *found.dearest),
            )
            rows += [(found.kind.value, what, who, *self.rents(usd).values()) for what, who, usd in ends]
        return Table(
            f"{self.gpu}: one GPU, {self._day()}",
            columns,
            rows,
            (
                "kinds are never mixed in one statistic",
                f"a day is 24 h, a week 168 h, a month {self.hours_per_month:g} h",
            ),
        )

    def spread_table(self) -> Table:
        """Return every provider's price, cheapest first, with its distance from the median."""
        found = self.spread
        if found is None:
            return Table(f"{self.gpu}: no {self.kind} offers", (), ())
        middle = found.median_usd_per_gpu_hour
        columns = (
            Column("provider", "provider"),
            Column("usd_per_gpu_hour", "USD/GPU-h", 3),
            Column("of_median", "of the median", 2),
            Column("bar", ""),
        )
        reach = found.dearest[1]
        rows = [
            (provider, usd, usd / middle, "█" * max(1, round(24 * usd / reach)))
            for provider, usd in found.by_provider.items()
        ]
        notes = [
            (
                f"n = {found.n} providers, the cheapest counted offer of each; "
                f"{found.cheapest[0]} asks {found.cheaper_frac:.0%} less than {found.dearest[0]}"
            )
        ]
        notes += [f"{n} offers say only `{name}` and are left out" for name, n in self.loose.items()]
        return Table(f"{self.gpu}: {self.kind} spread across providers", columns, rows, tuple(notes))

    def line(self) -> Plot:
        """Return the daily median as a line."""
        first, last = self.history[0], self.history[-1]
        change = last.index / first.index - 1
        plain = last.median_usd_per_gpu_hour / first.median_usd_per_gpu_hour - 1
        kind = self.kind.replace("_", " ")
        name = load_gpu(self.gpu).name if self.gpu in slugs("gpus") else self.gpu
        return Plot(
            f"{name}: {kind} daily median {plain:+.1%} in {(last.day - first.day).days} days, "
            f"like-for-like index {change:+.1%}",
            tuple(day.day for day in self.history),
            tuple(day.median_usd_per_gpu_hour for day in self.history),
            "USD/GPU-h",
        )

    def history_words(self) -> Iterator[str]:
        """Yield how median and index moved, and the days on which the set of providers changed."""
        days = self.history
        first, last = days[0], days[-1]
        yield (
            f"{len(days)} days, {first.day} to {last.day}: median {first.median_usd_per_gpu_hour:.3f} -> "
            f"{last.median_usd_per_gpu_hour:.3f} USD/GPU-h ({first.n} -> {last.n} providers), "
            f"like-for-like index 100 -> {last.index:.1f}"
        )
        for day in days:
            if day.entered or day.left:
                entered = f"entered: {', '.join(day.entered)}" if day.entered else ""
                left = f"left: {', '.join(day.left)}" if day.left else ""
                yield f"{day.day}  {'; '.join(filter(None, (entered, left)))}"

    def history_table(self) -> Table:
        """Return the history day by day."""
        columns = (
            Column("day", "day"),
            Column("median_usd_per_gpu_hour", "median", 3),
            Column("index", "index", 2),
            Column("low_usd_per_gpu_hour", "low", 3),
            Column("high_usd_per_gpu_hour", "high", 3),
            Column("n", "n", 0),
            Column("n_matched", "matched", 0),
            Column("entered", "entered"),
            Column("left", "left"),
        )
        rows = [tuple(getattr(day, column.key) for column in columns) for day in self.history]
        return Table(
            f"{self.gpu}: {self.kind} history, USD/GPU-h",
            columns,
            rows,
            ("index: 100 on the first day; only offers present on both days move it",),
            is_asked_for=True,
        )

    def provider_table(self) -> Table:
        """Return each provider's first, last, lowest and highest price in the time asked for."""
        columns = (
            Column("provider", "provider"),
            Column("days", "days", 0),
            Column("first_usd_per_gpu_hour", "first", 3),
            Column("last_usd_per_gpu_hour", "last", 3),
            Column("low_usd_per_gpu_hour", "low", 3),
            Column("high_usd_per_gpu_hour", "high", 3),
        )
        rows = []
        for provider, days in sorted(self.by_provider.items()):
            values = [days[day] for day in sorted(days)]
            rows.append((provider, len(values), values[0], values[-1], min(values), max(values)))
        return Table(f"{self.gpu}: {self.kind} by provider, USD/GPU-h", columns, rows)

    def _day(self) -> str:
        return f"prices of {self.as_of:%Y-%m-%d}" if self.as_of else "no date"

    def __repr__(self) -> str:
        """Say the median in one line."""
        if self.spread is None:
            return f"<Price: {self.gpu} {self.kind}, no offers>"
        return (
            f"<Price: {self.gpu} {self.kind}, median {self.spread.median_usd_per_gpu_hour:.3f} USD/GPU-h "
            f"of {self.spread.n} providers, {self._day()}>"
        )


def price_of(
    store: Store,
    tally: Sequence[tuple[Any, ...]],
    gpu: str,
    kind: Kind,
    *,
    as_of: datetime | None = None,
    history: timedelta | None = None,
    by_provider: bool = False,
    hours_per_month: float = HOURS_PER_MONTH,
) -> Price:
    """Return what one GPU costs, from a store.

    Args:
        store: the market.
        tally: its `Store.tally` of that instant.
        gpu: slug of a product or of a family.
        kind: how it is sold.
        as_of: look at the market of that instant; None for the newest.
        history: how far to look back; None for no history.
        by_provider: whether to keep each provider's days.
        hours_per_month: for USD a month.
    """
    now = as_of or store.newest
    spreads = dict(spreads_of(tally, gpu, now))
    families = families_of(gpu)
    providers: dict[str, dict[date, float]] = {}
    found: list[HistoryDay] = []
    if history and now:
        rows = store.prices_by_day(gpu, kind, (now - history).date(), now.date())
        days = stats.by_day(kind, rows)
        found = stats.history(_noted(days, providers) if by_provider else days)
    loose: dict[str, int] = {}
    for name, of, _, _, n in tally:
        if name in families and of == kind:
            loose[name] = loose.get(name, 0) + n
    return Price(
        gpu=gpu,
        kind=kind,
        as_of=now,
        version=store.version,
        spread=spreads.pop(kind, None),
        history=tuple(found),
        by_provider=providers,
        other_kinds=spreads,
        loose=loose,
        hours_per_month=hours_per_month,
    )


def _noted(
    days: Iterable[stats.DayPrices], providers: dict[str, dict[date, float]]
) -> Iterator[stats.DayPrices]:
    """Hand days on, and note what each provider asks."""
    for day in days:
        for provider, usd in day.by_provider.items():
            providers.setdefault(provider, {})[day.day] = usd
        yield day


def spreads_of(
    tally: Sequence[tuple[Any, ...]], gpu: str, now: datetime | None
) -> Iterator[tuple[Kind, Spread]]:
    """Yield each kind under which a GPU is offered, in their order, with its spread."""
    if now is None:
        return
    of_gpu = [row for row in tally if row[0] == gpu]
    for kind in Kind:
        offers = {provider: {provider: usd} for _, of, provider, usd, _ in of_gpu if of == kind}
        if offers:
            found = stats.spread(stats.DayPrices(kind, now.date(), offers))
            if found:
                yield kind, found
