"""What commands share in reading their words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rackrate import config

if TYPE_CHECKING:
    from rackrate.market.store import Store


def store_for(data: str | None, max_data_age: str | None) -> Store:
    """Open the market that the options name, and refuse one that is too old."""
    from rackrate import api, clock  # noqa: PLC0415 - start-up

    store = api.open_market(data)
    if max_data_age:
        api.not_older(store, max_data_age, clock.now())
    return store


def month(text: str | None) -> float | None:
    """Read --hours-per-month."""
    return None if text is None else config.month_hours(text)
