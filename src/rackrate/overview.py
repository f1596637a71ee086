"""Questions about many offers at once, as functions: the market, its changes, the machines with a GPU."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate import api
from rackrate.catalog.gpu import all_gpus, find_gpu
from rackrate.errors import NoAnswer, UsageError
from rackrate.market import filter as ask
from rackrate.market import stats
from rackrate.market.offer import Kind
from rackrate.report.instances import Instances, shapes_of
from rackrate.report.market import WEEK_DAYS, Changes, GpuMarket, Market
from rackrate.report.price import spreads_of

if TYPE_CHECKING:
    from rackrate.market.stats import HistoryDay
    from rackrate.market.store import Store

LOOK_BACK = timedelta(days=90)
"""Of the lines in an overview."""


def market(
    *, kind: str = Kind.ON_DEMAND, as_of: api.Instant = None, data: Path | str | Store | None = None
) -> Market:
    """Return every GPU of the catalog with low, median, high and the last days under one kind.

    Args:
        kind: `on_demand`, `spot`, `reserved` or `serverless`.
        as_of: look at the market of that day or instant; None for the newest.
        data: the market; None for the default.

    Raises:
        UnknownName: no such kind.
        UsageError: all kinds at once.

    Example:
        >>> market().gpus[0].spread.n > 10
        True
    """
    kinds = ask.kinds_of(kind)
    if len(kinds) != 1:
        raise UsageError("an overview is of one kind", hint="kinds are never mixed in one statistic")
    store, at = api.open_market(data), api.to_instant(as_of)
    tally, days = store.tally(at), _days(store, kinds[0], at)
    now = at or store.newest
    found = [
        GpuMarket(gpu, dict(spreads_of(tally, gpu.slug, now)).get(kinds[0]), days.get(gpu.slug, ()))
        for gpu in all_gpus()
    ]
    found.sort(key=lambda each: (-(each.spread.n if each.spread else 0), each.gpu.slug))
    known = {each.gpu.slug for each in found}
    others: dict[str, int] = {}
    for name, of, *_ in tally:
        if of == kinds[0] and name not in known:
            others[name] = others.get(name, 0) + 1
    return Market(tuple(found), kinds[0], now, store.version, others, sum(row[4] for row in tally))


def changes(*, as_of: api.Instant = None, data: Path | str | Store | None = None) -> Changes:
    """Return which on-demand prices moved in a week, and who entered or left.

    Raises:
        NoAnswer: the data have no date.
    """
    found = market(as_of=as_of, data=data)
    if found.as_of is None:
        raise NoAnswer("the prices give no date: nothing can have changed")
    return Changes(found, found.as_of.date() - timedelta(days=WEEK_DAYS))


def instances(
    gpu: str,
    *,
    kind: str = Kind.ON_DEMAND,
    as_of: api.Instant = None,
    data: Path | str | Store | None = None,
) -> Instances:
    """Return the machines in which a GPU is rented: the cheapest offer of each provider and shape.

    Args:
        gpu: any usual name of it.
        kind: `on_demand`, ..., or `any`.
        as_of: look at the market of that day or instant; None for the newest.
        data: the market; None for the default.

    Raises:
        UnknownName: no such GPU or kind.
        NoAnswer: nobody offers it so.

    Example:
        >>> instances("l40s").by_count()[0][0]
        1.0
    """
    found = find_gpu(gpu)
    return shapes_of(
        found.slug,
        kind.strip().lower().replace("-", "_"),
        api.offers(found.slug, kind=kind, as_of=as_of, data=data),
    )


def _days(store: Store, kind: Kind, as_of: datetime | None) -> dict[str, tuple[HistoryDay, ...]]:
    """Return the history of every GPU, from one look at the store."""
    now = as_of or store.newest
    if now is None:
        return {}
    rows = store.market_by_day(kind, (now - LOOK_BACK).date(), now.date())
    return {
        gpu: tuple(stats.history(stats.by_day(kind, (row[1:] for row in of))))
        for gpu, of in groupby(rows, key=itemgetter(0))
    }
