"""Turn a price in any currency into USD at the rate of its day.

Rates are USD for one unit of the currency, dated, from `data/fx.toml` or the caller. The rate in
force on a day is the newest one that is not later, unless that is old and the next one nearer; how
far off it lies is told, because beyond `FAR` a conversion is a guess (quality rule 14).
"""

from __future__ import annotations

import math
import tomllib
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from importlib.resources import files

from rackrate.errors import UsageError

FAR = timedelta(days=60)  # EUR/USD moved by 2.3 % within 33 days of the bundled rates


@dataclass(frozen=True)
class Rates:
    """Dated exchange rates.

    Attributes:
        series: per ISO 4217 code the days, ascending, and the USD for one unit on each.
    """

    series: Mapping[str, tuple[tuple[date, ...], tuple[float, ...]]]

    @classmethod
    def of(cls, rows: Iterable[tuple[str, date, float]]) -> Rates:
        """Build from rows of (currency, day, USD for one unit).

        Raises:
            UsageError: a rate that is not above zero.
        """
        by_code: dict[str, dict[date, float]] = {}
        for code, day, rate in rows:
            if not 0 < rate < math.inf:
                raise UsageError(f"exchange rate of {code} on {day} is {rate}, not above 0")
            by_code.setdefault(code.upper(), {})[day] = rate
        ordered = {code: sorted(days.items()) for code, days in by_code.items()}
        return cls(
            {
                code: (tuple(day for day, _ in days), tuple(rate for _, rate in days))
                for code, days in ordered.items()
            }
        )

    def usd_for_one(self, currency: str, day: date) -> tuple[float, timedelta] | None:
        """Return USD for one unit of `currency` on `day`, and how far off that rate lies.

        None when there is no rate of that currency at all.
        """
        if currency == "USD":
            return 1.0, timedelta()
        days, rates = self.series.get(currency, ((), ()))
        if not days:
            return None
        after = bisect_right(days, day)
        at = max(after - 1, 0)
        if abs(day - days[at]) > FAR and after < len(days) and days[after] - day < abs(day - days[at]):
            at = after
        return rates[at], abs(day - days[at])

    def with_rates(self, rows: Iterable[tuple[str, date, float]]) -> Rates:
        """Return these rates with `rows` added; the caller's rate wins on the same day."""
        mine = (
            (code, day, rate)
            for code, (days, rates) in self.series.items()
            for day, rate in zip(days, rates, strict=True)
        )
        return Rates.of([*mine, *rows])


@cache
def bundled_rates() -> Rates:
    """Return the dated rates that ship with the package (sources in `data/fx.toml`)."""
    text = (files("rackrate.market") / "data" / "fx.toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)["rate"]
    return Rates.of((code, day, rate) for table in tables for code, day, rate in table["usd_for_one"])
