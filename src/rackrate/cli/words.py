"""What commands share in reading their words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from rackrate import config
from rackrate.market.stats import SHOWN
from rackrate.units import format_age

if TYPE_CHECKING:
    from rackrate.market.store import Store


def market_for(data: str | None) -> Store:
    """Open the market that an option names, and say when it is a mirror that may be behind."""
    from rackrate import api  # noqa: PLC0415 - start-up

    store = api.open_market(data)
    if store.behind:
        click.echo(f"note: {store.behind}", err=True)
    return store


def store_for(data: str | None, max_data_age: str | None) -> Store:
    """Open the market that the options name, and refuse one that is too old."""
    from rackrate import api, clock  # noqa: PLC0415 - start-up

    store, now = market_for(data), clock.now()
    if max_data_age:
        api.not_older(store, max_data_age, now)
    if store.newest and now - store.newest > SHOWN:
        what = "the bundled sample" if store.is_sample else "the newest list"
        age = format_age(now - store.newest)
        click.echo(f"note: prices are {age} old ({what}, {store.newest:%Y-%m-%d})", err=True)
    return store


def month(text: str | None) -> float | None:
    """Read --hours-per-month."""
    return None if text is None else config.month_hours(text)
