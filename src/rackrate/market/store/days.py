"""The counted prices of all days in memory, for a server: sorted arrays, 14 bytes a price.

A database would keep for good what it once took to sort a year of prices. Here a question is a slice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

Row = tuple[str, str, date, str, str, float, float]
"""Kind, GPU, day, provider, series, USD per GPU-hour, USD for one unit of the currency."""

_NO_DAY = date(1970, 1, 1)
_PART = 8192
"""Rows made at a time, where they are many."""


@dataclass(frozen=True, slots=True)
class Days:
    """Prices sorted by kind, GPU, day, provider and series.

    Attributes:
        at: first and last row, by kind and GPU, in their order.
        day: days since 1970.
        provider: which of `names`.
        series: which of `names`.
        usd: per GPU-hour.
        rate: which of `rates`.
        names: of providers and series.
        rates: of exchange, of which there are few.
    """

    at: dict[tuple[str, str], tuple[int, int]]
    day: npt.NDArray[np.uint16]
    provider: npt.NDArray[np.unsignedinteger[Any]]
    series: npt.NDArray[np.unsignedinteger[Any]]
    usd: npt.NDArray[np.float64]
    rate: npt.NDArray[np.uint16]
    names: tuple[str, ...]
    rates: tuple[float, ...]

    def of_gpu(
        self, gpu: str, kind: str, since: date, until: date
    ) -> Iterator[tuple[date, str, str, float, float]]:
        """Yield day, provider, series, USD and rate of a GPU, in their order."""
        first, last = self.at.get((kind, gpu), (0, 0))
        since_at, until_at = np.searchsorted(self.day[first:last], [_number(since), _number(until) + 1])
        for start in range(first + int(since_at), first + int(until_at), _PART):
            part = slice(start, min(start + _PART, first + int(until_at)))
            yield from zip(
                map(_day, self.day[part].tolist()),
                map(self.names.__getitem__, self.provider[part].tolist()),
                map(self.names.__getitem__, self.series[part].tolist()),
                self.usd[part].tolist(),
                map(self.rates.__getitem__, self.rate[part].tolist()),
                strict=True,
            )

    def of_kind(
        self, kind: str, since: date, until: date
    ) -> Iterator[tuple[str, date, str, str, float, float]]:
        """Yield the same of every GPU, which stands first."""
        for of, gpu in self.at:
            if of == kind:
                for row in self.of_gpu(gpu, kind, since, until):
                    yield gpu, *row


def sorted_days(parts: Iterable[Iterable[Row]]) -> Days:
    """Return prices sorted, of which no two are of the same kind, GPU, day, provider and series.

    Args:
        parts: rows, part by part, so that never all of them are there as objects.
    """
    ids: dict[str, int] = {}
    rates: dict[float, int] = {}
    found = [_coded(rows, ids, rates) for part in parts if (rows := list(part))]
    kind, gpu, day, provider, series, usd, rate = (
        np.concatenate(columns) if found else np.empty(0, of)
        for columns, of in zip(
            zip(*found, strict=True) if found else ((),) * len(_TYPES), _TYPES, strict=True
        )
    )
    names = sorted(ids)
    rank = np.empty(len(names), np.min_scalar_type(len(names)))
    rank[[ids[name] for name in names]] = np.arange(len(names))
    kind, gpu, provider, series = (rank[column] for column in (kind, gpu, provider, series))
    order = np.lexsort((series, provider, day, gpu, kind))
    pairs = np.stack([kind[order], gpu[order]], axis=1)
    starts = [0, *(np.flatnonzero((pairs[1:] != pairs[:-1]).any(axis=1)) + 1).tolist(), len(order)]
    at = {
        (names[pairs[first][0]], names[pairs[first][1]]): (first, last)
        for first, last in pairwise(starts)
        if first < last
    }
    return Days(
        at, day[order], provider[order], series[order], usd[order], rate[order], tuple(names), tuple(rates)
    )


_TYPES: tuple[Any, ...] = (np.uint32, np.uint32, np.uint16, np.uint32, np.uint32, np.float64, np.uint16)


def _coded(rows: list[Row], ids: dict[str, int], rates: dict[float, int]) -> list[npt.NDArray[Any]]:
    """Return the columns of some rows as numbers: of a name and of a rate how many were met before it."""
    kind, gpu, day, provider, series, usd, rate = zip(*rows, strict=True)
    names = ([ids.setdefault(name, len(ids)) for name in column] for column in (kind, gpu, provider, series))
    kinds, gpus, providers, all_series = names
    columns = (
        kinds, gpus, list(map(_number, day)), providers, all_series, usd,
        [rates.setdefault(each, len(rates)) for each in rate],
    )  # fmt: skip
    return [np.array(column, of) for column, of in zip(columns, _TYPES, strict=True)]


def _number(day: date) -> int:
    """Return a day as a number; days that no price can be of as the first or last that can."""
    return min(max((day - _NO_DAY).days, 0), np.iinfo(np.uint16).max - 1)


def _day(number: int) -> date:
    return _NO_DAY + timedelta(number)
