"""What prices say, defined once: provider's price, spread, daily median, matched-panel index.

All of it speaks of one GPU and one kind. A `DayPrices` belongs to a kind by its type, and the functions that
take several refuse to mix them; there is no way to put a spot price beside an on-demand one.
docs/concepts/prices.md has the definitions with examples.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby
from operator import itemgetter
from statistics import median, quantiles

from rackrate.errors import UsageError
from rackrate.market.offer import Kind

FRESH = timedelta(hours=72)
"""How old an observation may be and still count: lists are read daily, and one may fail twice."""

SHOWN = timedelta(days=7)
"""How old an offer of a list that renews itself may be and still be shown (quality rule 11)."""

_LEAST_OF_QUARTILES = 4

SeriesPrices = Mapping[str, float]
"""Series (one shape at one place) to USD per GPU-hour."""


@dataclass(frozen=True, slots=True)
class DayPrices:
    """What each provider asked on one day for one GPU under one kind.

    Attributes:
        kind: how it is sold.
        day: UTC.
        offers: provider to its series and their prices, USD per GPU-hour; none is empty.
        rates: series to USD for one unit of the currency that it is priced in, where not USD.
    """

    kind: Kind
    day: date
    offers: Mapping[str, SeriesPrices]
    rates: Mapping[str, float] = field(default_factory=dict)

    @property
    def by_provider(self) -> dict[str, float]:
        """Return each provider's price: the cheapest of its offers, USD per GPU-hour."""
        return {provider: min(series.values()) for provider, series in self.offers.items()}


@dataclass(frozen=True, slots=True)
class Spread:
    """How far providers lie apart, like with like.

    Attributes:
        kind: how all of them are sold.
        day: UTC.
        by_provider: provider to its price, USD per GPU-hour, cheapest first.
        median_usd_per_gpu_hour: median of those prices.
        cheaper_frac: how much less the cheapest asks than the dearest, 0 to 1.
    """

    kind: Kind
    day: date
    by_provider: Mapping[str, float]
    median_usd_per_gpu_hour: float
    cheaper_frac: float

    @property
    def n(self) -> int:
        """Return how many providers are compared."""
        return len(self.by_provider)

    @property
    def cheapest(self) -> tuple[str, float]:
        """Return the cheapest provider and its price, USD per GPU-hour."""
        return next(iter(self.by_provider.items()))

    @property
    def dearest(self) -> tuple[str, float]:
        """Return the dearest provider and its price, USD per GPU-hour."""
        return list(self.by_provider.items())[-1]

    @property
    def quartiles(self) -> tuple[float, float] | None:
        """Return between what prices the middle half of the providers lies; None of fewer than 4."""
        if self.n < _LEAST_OF_QUARTILES:
            return None
        first, _, third = quantiles(self.by_provider.values(), n=4, method="inclusive")
        return first, third


@dataclass(frozen=True, slots=True)
class HistoryDay:
    """One day of the price history of one GPU under one kind.

    Attributes:
        day: UTC.
        median_usd_per_gpu_hour: plain median across the providers of the day.
        low_usd_per_gpu_hour: cheapest of them.
        high_usd_per_gpu_hour: dearest of them.
        n: providers.
        index: matched-panel index, 100 on the first day; moves only with prices, in the currency
            that they are set in, of offers that were there on the day before too.
        n_matched: providers that the step of the index rests on; 0 on the first day.
        entered: providers that were not there on the day before.
        left: providers that were there on the day before and are not now.
    """

    day: date
    median_usd_per_gpu_hour: float
    low_usd_per_gpu_hour: float
    high_usd_per_gpu_hour: float
    n: int
    index: float
    n_matched: int
    entered: tuple[str, ...]
    left: tuple[str, ...]


def group_days(
    kind: Kind, rows: Iterable[tuple[date, str, str, float, *tuple[float, ...]]]
) -> list[DayPrices]:
    """Group rows by day, oldest first.

    Args:
        kind: how all of them are sold.
        rows: day, provider, series, USD per GPU-hour and, where the price is not in USD, the USD for
            one unit of its currency.
    """
    days: dict[date, dict[str, dict[str, float]]] = {}
    rates: dict[date, dict[str, float]] = {}
    names: dict[str, str] = {}  # a series stands in hundreds of days: one text for all of them
    for day, provider, name, usd, *rate in rows:
        series = names.setdefault(name, name)
        days.setdefault(day, {}).setdefault(provider, {})[series] = usd
        if rate and rate[0] != 1:  # most prices are in USD, and a year has many
            rates.setdefault(day, {})[series] = rate[0]
    return [DayPrices(kind, day, offers, rates.get(day, {})) for day, offers in sorted(days.items())]


def by_day(
    kind: Kind, rows: Iterable[tuple[date, str, str, float, *tuple[float, ...]]]
) -> Iterator[DayPrices]:
    """Yield the days of rows that are sorted by day: of a year never more than one is in memory.

    Args:
        kind: how all of them are sold.
        rows: as `group_days` takes them.
    """
    for _, of_day in groupby(rows, key=itemgetter(0)):
        yield from group_days(kind, of_day)


def spread(prices: DayPrices) -> Spread | None:
    """Return how far the providers of a day lie apart; None when there is none."""
    ranked = dict(sorted(prices.by_provider.items(), key=lambda item: (item[1], item[0])))
    if not ranked:
        return None
    values = list(ranked.values())
    cheaper = 1 - values[0] / values[-1] if values[-1] > 0 else 0.0
    return Spread(prices.kind, prices.day, ranked, median(values), cheaper)


def step(before: DayPrices, after: DayPrices) -> tuple[float, int]:
    """Return the index's step between two days and the number of providers that it rests on.

    Only offers present on both days take part: each provider's price is the cheapest of those, and
    the step is the ratio of the two medians. A provider that enters or leaves, or adds a smaller and
    cheaper shape, therefore moves nothing; nor does a rate of exchange, because the earlier price of a
    series in another currency is taken at the later day's rate. Without a common offer the step is 1
    and rests on 0.

    Raises:
        UsageError: the days are of two kinds.
    """
    if before.kind is not after.kind:
        raise UsageError(f"cannot compare {before.kind} with {after.kind} prices")
    pairs = []
    for provider, now in after.offers.items():
        then = before.offers.get(provider, {})
        common = now.keys() & then.keys()
        if common:
            old = min(then[s] * _rate_moved(before, after, s) for s in common)
            pairs.append((old, min(now[s] for s in common)))
    if not pairs:
        return 1.0, 0
    return median(new for _, new in pairs) / median(old for old, _ in pairs), len(pairs)


def _rate_moved(before: DayPrices, after: DayPrices, series: str) -> float:
    then, now = before.rates.get(series, 1.0), after.rates.get(series, 1.0)
    return now / then if now and then else 1.0


def history(days: Iterable[DayPrices]) -> list[HistoryDay]:
    """Return the plain daily median and the matched-panel index, day by day.

    Raises:
        UsageError: the days are of several kinds.
    """
    found: list[HistoryDay] = []
    index, before = 100.0, None
    for today in days:
        prices = today.by_provider
        n_matched = 0
        if before is not None:
            ratio, n_matched = step(before, today)
            index *= ratio
        known = before.offers.keys() if before else today.offers.keys()
        values = list(prices.values())
        found.append(
            HistoryDay(
                day=today.day,
                median_usd_per_gpu_hour=median(values),
                low_usd_per_gpu_hour=min(values),
                high_usd_per_gpu_hour=max(values),
                n=len(values),
                index=index,
                n_matched=n_matched,
                entered=tuple(sorted(today.offers.keys() - known)),
                left=tuple(sorted(known - today.offers.keys())),
            )
        )
        before = today
    return found
