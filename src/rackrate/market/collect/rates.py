"""A source of exchange rates instead of offers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import date, datetime

from rackrate.market.collect.base import Answer, Collector, Rows


class RateCollector(Collector):
    """Reads exchange rates; prices in other currencies are converted with them."""

    @abstractmethod
    def rates(self, answers: Sequence[Answer]) -> list[tuple[str, date, float]]:
        """Return currency, day and the USD for one unit of it. Pure."""

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield nothing: rates are no offers."""
        del answers, at
        yield from ()
