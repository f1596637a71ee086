"""Which exchange rates does a market convert with? Those that ship with us, and those collected into it.

Imports and collections ask here and nowhere else. A rate that was collected wins over a bundled one of the
same day; a mapping file's own `[fx]` wins over both (`ingest`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from pathlib import Path

from rackrate.errors import DataError, StoreBroken, UsageError
from rackrate.market.currency import Rates, bundled_rates
from rackrate.market.store import manifest


def known_rates(folder: Path) -> Rates:
    """Return the bundled exchange rates with those that were collected into this store.

    Raises:
        StoreBroken: the store's own cannot be read.
    """
    rows = manifest.load(folder).rates
    try:
        return bundled_rates().with_rates((code, date.fromisoformat(day), rate) for code, day, rate in rows)
    except (ValueError, UsageError) as error:
        raise StoreBroken(f"the exchange rates of {folder} are damaged: {error}") from error


def keep_rates(folder: Path, found: Iterable[tuple[str, date, float]]) -> None:
    """Add rates to those of a store; a later one of the same day takes the place of the earlier.

    Raises:
        Refused: the folder cannot be written.
        DataError: the disk is full or fails; the store is as it was.
    """
    with manifest.writing(folder) as current:
        new = merged(current.rates, [(code, day.isoformat(), rate) for code, day, rate in found])
        if new == current.rates:
            return
        try:
            manifest.save(folder, replace(current, rates=new))
        except OSError as error:
            raise DataError(f"cannot write to {folder}: {error.strerror}", code="disk") from error


def merged(older: Iterable[manifest.Rate], newer: Iterable[manifest.Rate]) -> tuple[manifest.Rate, ...]:
    """Return the rates of both, ascending; of a currency and day that both have, the newer one."""
    by_day = {(code, day): rate for rates in (older, newer) for code, day, rate in rates}
    return tuple((code, day, rate) for (code, day), rate in sorted(by_day.items()))
