"""What is for rent, as columns, and which of it is allowed: ten thousand offers in a few array operations."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from rackrate.market.filter import wanted_of
from rackrate.plan.question import Allowed, Owned
from rackrate.plan.terms import Terms

OWN = "own"
"""Provider and kind of machines of one's own."""

ANY_AGE, UNDATED = "any", "undated"
"""The age that lets prices in which give no date, and the doubt that these have."""


@dataclass(frozen=True, eq=False)
class Words:
    """A column of names: each name once, and which one stands in each row.

    Attributes:
        names: sorted; the empty name stands for one that nobody said.
        codes: of the rows, into `names`.
    """

    names: tuple[str, ...]
    codes: Any

    @classmethod
    def of(cls, values: Iterable[str | None]) -> Words:
        """Return the column of `values`."""
        texts = [value or "" for value in values]
        names = sorted(set(texts))
        at = {name: code for code, name in enumerate(names)}
        return cls(tuple(names), np.array([at[text] for text in texts], dtype=np.int64))

    def __getitem__(self, rows: Any) -> Words:
        """Return some of the rows."""
        return Words(self.names, self.codes[rows])

    def at(self, row: int) -> str:
        """Return the name in a row."""
        return self.names[int(self.codes[row])]

    def are(self, names: Iterable[str]) -> Any:
        """Tell for each row whether its name is one of `names`."""
        chosen = set(names)
        return np.array([name in chosen for name in self.names], dtype=bool)[self.codes]

    def hold(self, text: str) -> Any:
        """Tell for each row whether its name holds `text`, in any case."""
        return np.array([text.lower() in name.lower() for name in self.names], dtype=bool)[self.codes]


@dataclass(frozen=True, eq=False)
class Stock:
    """Offers, one a row.

    Attributes:
        gpu: slug of the product or family; empty where the name is not known.
        count: GPUs of a machine; a fraction for a slice.
        usd_per_hour: of a machine.
        provider: who runs it.
        seller: who sells it, where that is someone else.
        country: ISO code.
        region: as the source writes it.
        kind: how it is sold.
        sku: the provider's own name of the shape.
        seen: day on which the price was true, ISO 8601.
        source: id of the price list.
        doubt: why the price should not be counted on; empty where nothing is wrong.
        terms: what it costs beside the hour.
    """

    gpu: Words
    count: Any
    usd_per_hour: Any
    provider: Words
    seller: Words
    country: Words
    region: Words
    kind: Words
    sku: Words
    seen: Words
    source: Words
    doubt: Words
    terms: Terms

    @classmethod
    def of(cls, columns: Mapping[str, Iterable[Any]], terms: Terms | None = None) -> Stock:
        """Return the stock that columns by the names of the fields hold.

        Args:
            columns: of numbers and names.
            terms: what each offer costs beside the hour; None where nothing is known of it.
        """
        read: dict[str, Any] = {name: np.asarray(columns[name], float) for name in _NUMBERS}
        read |= {name: Words.of(columns[name]) for name in _names()}
        return cls(**read, terms=terms or Terms.all(len(read["count"]), np.nan))

    def __len__(self) -> int:
        """Return the number of offers."""
        return len(self.count)

    def __getitem__(self, rows: Any) -> Stock:
        """Return some of the offers."""
        return Stock(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def with_own(self, machines: Iterable[Owned]) -> Stock:
        """Return the stock and machines of one's own beside it."""
        listed = list(machines)
        if not listed:
            return self
        words: dict[str, list[str]] = {name: [""] * len(listed) for name in _names()}
        words |= {
            "gpu": [m.gpu for m in listed],
            "provider": [OWN] * len(listed),
            "kind": [OWN] * len(listed),
        }
        numbers = {"count": [m.count for m in listed], "usd_per_hour": [m.usd_per_hour for m in listed]}
        joined: dict[str, Any] = {
            name: np.concatenate([getattr(self, name), np.array(more, float)])
            for name, more in numbers.items()
        }
        joined |= {name: self._joined(name, words[name]) for name in _names()}
        return Stock(**joined, terms=self.terms.plus(Terms.all(len(listed), 0.0)))

    def _joined(self, name: str, more: list[str]) -> Words:
        column: Words = getattr(self, name)
        return Words.of([*(column.names[code] for code in column.codes), *more])

    @cached_property
    def counts(self) -> dict[str, tuple[int, ...]]:
        """GPU to the numbers of them in which it is sold, whole ones."""
        pairs = {
            (code, int(count))
            for code, count in zip(self.gpu.codes.tolist(), self.count.tolist(), strict=True)
            if count >= 1 and count == int(count)
        }
        found: dict[str, list[int]] = {}
        for code, count in sorted(pairs):
            found.setdefault(self.gpu.names[code], []).append(count)
        return {name: tuple(counts) for name, counts in found.items()}


_NUMBERS = ("count", "usd_per_hour")


def _names() -> list[str]:
    """Return the fields of a stock that are columns of names."""
    return [f.name for f in fields(Stock) if f.name not in (*_NUMBERS, "terms")]


def choose(stock: Stock, allowed: Allowed) -> tuple[Stock, dict[str, int]]:
    """Return the offers that are allowed, and how many are not, each under the first rule that meets it."""
    left_out: dict[str, int] = {}
    is_in = np.ones(len(stock), dtype=bool)
    for rule, is_good in _rules(stock, allowed):
        n = int(np.count_nonzero(is_in & ~is_good))
        if n:
            left_out[rule] = n
        is_in &= is_good
    return stock[is_in], left_out


def nearest_to(stock: Stock, allowed: Allowed) -> str:
    """Return the lowest budget, or the counts of the GPUs asked for, with which an offer would be allowed.

    Each of the two is loosened alone; empty where that is not enough.
    """
    unpaid, _ = choose(stock, replace(allowed, max_usd_per_hour=math.inf))
    if len(unpaid):
        return f"; the cheapest that is allowed otherwise costs {unpaid.usd_per_hour.min():g} USD/h"
    slugs = {slug for name in allowed.gpus for slug in wanted_of(name).slugs}
    others, _ = choose(stock, replace(allowed, gpus=()))
    counts = sorted({n for slug, sold in others.counts.items() if slug in slugs for n in sold})
    return f"; these are sold by {', '.join(map(str, counts))}" if counts else ""


def _rules(stock: Stock, allowed: Allowed) -> Iterator[tuple[str, Any]]:
    trusted = ["", UNDATED] if allowed.max_age == ANY_AGE else [""]
    for doubt in sorted(set(stock.doubt.names) - set(trusted)):
        hint = f" (--max-age {ANY_AGE} lets it in)" if doubt == UNDATED else ""
        yield f"the price is {doubt}{hint}", ~stock.doubt.are([doubt])
    yield "the GPU is not known by name", ~stock.gpu.are([""])
    yield "a slice of a GPU", (stock.count >= 1) & (stock.count == np.floor(stock.count))
    if allowed.kinds:
        yield f"not sold as {' or '.join(allowed.kinds)}", stock.kind.are(allowed.kinds)
    if allowed.gpus:
        yield f"not {' or '.join(allowed.gpus)}", _is_wanted(stock, allowed.gpus)
    if allowed.providers:
        by_any = stock.provider.are(allowed.providers) | stock.seller.are(allowed.providers)
        yield f"not from {' or '.join(allowed.providers)}", by_any
    if allowed.countries:
        yield "not in the countries asked for, or not said where", stock.country.are(allowed.countries)
    if allowed.region:
        yield f"region without {allowed.region!r}", stock.region.hold(allowed.region)
    yield "one machine is above the budget", stock.usd_per_hour <= allowed.max_usd_per_hour


def _is_wanted(stock: Stock, names: Iterable[str]) -> Any:
    found = np.zeros(len(stock), dtype=bool)
    for wanted in map(wanted_of, names):
        counts = (stock.count >= wanted.counts.low) & (stock.count <= wanted.counts.high)
        found |= stock.gpu.are(wanted.slugs) & counts
    return found
