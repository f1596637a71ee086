"""Which offer with which way: what every offer would cost, and the rows that people see.

USD/h   machines x (price of one + disk) x (1 + time lost to reclaims) + traffic an hour    of a stream
USD     USD/h x hours that are billed, start included, + traffic of all of it               of a run
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np

from rackrate.catalog.aliases import family_members
from rackrate.fit.precision import PRECISIONS
from rackrate.plan.answer import Beside, Row
from rackrate.plan.cards import Cards
from rackrate.plan.coldstart import HOUR_S, Start, known, reclaims, start, way_to_users_s
from rackrate.plan.copies import Found
from rackrate.plan.doubt import Ranged
from rackrate.plan.frontier import Machines, Shapes, best_of_each, enough, frontier, order
from rackrate.plan.prices import scaled, unit_prices
from rackrate.plan.question import Question
from rackrate.plan.stock import Stock
from rackrate.plan.terms import counted, disk_gb
from rackrate.plan.traffic import Traffic, traffic
from rackrate.units import GB_PER_GIB

SPOT = "spot"
_KINDS = {"ttft_s": "loaded_ttft", "tpot_s": "tpot"}
"""Times of a server to the kinds of forecast that they are."""


@dataclass(frozen=True)
class Joined:
    """Machines and offers together.

    Attributes:
        question: what is asked.
        cards: every GPU.
        stock: the offers.
        shapes: what they sell.
        found: copies that do the work.
        machines: these on the shapes.
    """

    question: Question
    cards: Cards
    stock: Stock
    shapes: Shapes
    found: Found
    machines: Machines

    @cached_property
    def way(self) -> Any:
        """Of each offer the best row of `machines`; -1 where none does the work."""
        best = best_of_each(self.machines, self.found.copies, self.question)
        of_shape = np.full(len(self.shapes.name), -1)
        of_shape[self.machines.shape[best]] = best
        return of_shape[self.shapes.of_offer]

    @cached_property
    def cost(self) -> Any:
        """Of each offer, USD an hour of a stream or USD of a run; infinite where it does not do the work."""
        return np.where(self.way >= 0, self.cost_of(self.way, np.arange(len(self.stock))), np.inf)

    def cost_of(self, way: Any, offer: Any) -> Any:
        """Return what rows of `machines` cost at offers."""
        usd_per_hour = self.machines.n[way] * self._machine_usd(offer)
        hours = self.hours_of(way, offer) if self.question.is_run else 1.0
        traffic_usd = self._traffic_usd(way, offer, hours)
        if not self.question.is_run:
            return usd_per_hour * (1 + self._lost(way, offer)) + traffic_usd
        egress_usd = self._of_places(way, offer, lambda *pair: self._start(*pair).egress_usd)
        billed = self.stock.terms[offer].billed_hours(hours)
        return usd_per_hour * billed + egress_usd * self.machines.n[way] + traffic_usd

    @cached_property
    def disk_gb(self) -> float:
        """Disk that a machine needs, for any way: narrow weights may be made of the widest."""
        return float(disk_gb(self.found.copies.weights_gib.max()))

    def _machine_usd(self, offer: Any) -> Any:
        """Return USD an hour of one machine with its disk."""
        return self.stock.usd_per_hour[offer] + counted(self._disk_usd(offer))

    def _disk_usd(self, offer: Any) -> Any:
        """Return USD an hour for the disk of one machine; NaN where nobody says what it costs."""
        return self.stock.terms[offer].disk_usd_per_hour(self.disk_gb)

    def _traffic(self, way: Any) -> Traffic:
        """Return what all machines send and receive: an hour of a stream, or all of a run."""
        weights_gb = self.found.copies.weights_gib[self.machines.copy[way]] * GB_PER_GIB
        return traffic(self.question, weights_gb, self.machines.n[way])

    def _traffic_usd(self, way: Any, offer: Any, hours: Any) -> Any:
        """Return USD for it, as far as somebody says what it costs."""
        flow, terms = self._traffic(way), self.stock.terms[offer]
        sent_usd = terms.egress_usd(flow.sent_gb, self.machines.n[way] * hours)
        return counted(sent_usd) + terms.ingress_usd(flow.received_gb)

    def hours_of(self, way: Any, offer: Any) -> Any:
        """Return the hours of a run, start included, of rows of `machines` at offers."""
        start_s = self._of_places(way, offer, lambda *pair: self._start(*pair).total_s)
        return (self.machines.seconds[way] * (1 + self._lost(way, offer)) + start_s) / HOUR_S

    def _of_places(self, way: Any, offer: Any, read: Callable[[int, int], float]) -> Any:
        """Return a figure that depends on way, provider, country and kind alone, asked for once for each."""
        stock = self.stock
        keys = np.stack([way, *(words.codes[offer] for words in (stock.provider, stock.country, stock.kind))])
        _, first, back = np.unique(keys, axis=1, return_index=True, return_inverse=True)
        found = [read(int(way[place]), int(offer[place])) for place in first.tolist()]
        return np.array(found, float)[back.reshape(-1)]

    def _start(self, way: int, offer: int) -> Start:
        copy = int(self.machines.copy[way])
        chip = self.cards.chips[int(self.found.copies.card[copy])]
        pcie = chip.pcie_bandwidth if chip else math.inf
        place = self.stock.provider.at(offer), self.stock.country.at(offer)
        return start(*place, float(self.found.copies.weights_gib[copy]), pcie, self.question.store)

    def _lost(self, way: Any, offer: Any) -> Any:
        """Return the share of time that spot machines lose; 0 for others."""
        lost = np.zeros(len(offer))
        spot = np.flatnonzero(self.stock.kind.are([SPOT])[offer] & (way >= 0))
        if len(spot):
            lost[spot] = self._of_places(way[spot], offer[spot], self.lost_frac)
        return lost

    def lost_frac(self, way: int, offer: int) -> float:
        """Return the share of time that a machine loses to reclaims at an offer."""
        if self.stock.kind.at(offer) != SPOT:
            return 0.0
        weights_gb = float(self.found.copies.weights_gib[self.machines.copy[way]]) * GB_PER_GIB
        checkpoint_s = weights_gb / known("disk_gb_per_s").value if self.question.is_run else 0.0
        return reclaims(self._start(way, offer).total_s, checkpoint_s).lost_frac

    @cached_property
    def is_good(self) -> Any:
        """Whether all machines of an offer together stay in the budget, and a run in its time."""
        return (self.way >= 0) & self._is_good(self.way, np.arange(len(self.stock)))

    def _is_good(self, way: Any, offer: Any) -> Any:
        question = self.question
        usd_per_hour = self.machines.n[way] * self._machine_usd(offer)
        is_paid = usd_per_hour <= question.allowed.max_usd_per_hour
        if question.within_s < np.inf:
            is_paid &= self.hours_of(way, offer) <= question.within_s / HOUR_S
        return is_paid

    @cached_property
    def ranked(self) -> Any:
        """Offers that do the work, the best first; ties go by provider, region and instance."""
        seconds = np.where(self.way >= 0, self.machines.seconds[self.way], np.inf)
        first = {
            "cost": self.cost,
            "latency": seconds,
            "balance": self.cost * seconds,
        }[self.question.objective]
        stock = self.stock
        names = (stock.provider.codes, stock.region.codes, stock.sku.codes, stock.source.codes)
        wide = -self.found.copies.bits[self.machines.copy[self.way]]
        sorting = order(first, self.cost, wide, seconds, *names, np.arange(len(stock)))
        return sorting[self.is_good[sorting]]

    def shown(self, limit: int) -> list[int]:
        """Return the best offer of each shape, provider and kind, the best first."""
        seen: set[tuple[int, int, int]] = set()
        found: list[int] = []
        for offer in self.ranked.tolist():
            key = (
                int(self.shapes.of_offer[offer]),
                int(self.stock.provider.codes[offer]),
                int(self.stock.kind.codes[offer]),
            )
            if key not in seen:
                seen.add(key)
                found.append(offer)
            if len(found) == limit:
                break
        return found

    @cached_property
    def _cheapest(self) -> Any:
        """Of each shape the cheapest offer; -1 where none is sold."""
        stock = self.stock
        sorting = order(self.cost, stock.usd_per_hour, stock.provider.codes, stock.region.codes)
        found = np.full(len(self.shapes.name), -1)
        found[self.shapes.of_offer[sorting[::-1]]] = sorting[::-1]
        return found

    @cached_property
    def _ways(self) -> tuple[Any, Any, Any]:
        """Rows of `machines` within budget and time, their cheapest offer, and what they cost there."""
        everything = np.arange(len(self.machines.copy))
        offer = self._cheapest[self.machines.shape]
        ways = np.flatnonzero(self._is_good(everything, offer))
        return ways, offer[ways], self.cost_of(ways, offer[ways])

    def frontier(self) -> Iterator[Row]:
        """Yield the ways that nothing beats in both cost and time, the cheapest first."""
        ways, offers, cost = self._ways
        for place in frontier(cost, self.machines.seconds[ways]):
            yield self.row(int(ways[place]), int(offers[place]))

    def precisions(self) -> list[Row]:
        """Return the cheapest way in each precision, the widest first."""
        found = list(self._cheapest_by(self.found.precision))
        return sorted(found, key=lambda row: (-_bits(row), row.precision))

    def engines(self) -> list[Row]:
        """Return the cheapest way with each engine, the cheapest first."""
        return sorted(self._cheapest_by(self.found.engine), key=lambda row: row.usd_per_hour.value)

    def _cheapest_by(self, name_of: Callable[[int], str]) -> Iterator[Row]:
        """Yield of the copies that bear each name the cheapest way; of those that cost alike the fastest."""
        ways, offers, cost = self._ways
        sorting = order(cost, self.machines.seconds[ways])
        names = np.array([name_of(copy) for copy in range(len(self.found.copies))])
        _, first = np.unique(names[self.machines.copy[ways[sorting]]], return_index=True)
        for place in sorting[first].tolist():
            yield self.row(int(ways[place]), int(offers[place]))

    def instead_of(self, slug: str) -> Iterator[Row]:
        """Yield the cheapest way on a GPU, then on each other one that costs no more and is faster."""
        ways, offers, cost = self._ways
        seconds, shapes = self.machines.seconds[ways], self.machines.shape[ways]
        names = np.array(self.shapes.name)[shapes] if len(ways) else np.zeros(0, str)
        mine = np.flatnonzero(np.isin(names, family_members(slug)))
        if not len(mine):
            return
        base = mine[order(cost[mine], seconds[mine])[0]]
        yield self.row(int(ways[base]), int(offers[base]))
        better = np.flatnonzero((cost <= cost[base]) & (seconds < seconds[base]) & (names != names[base]))
        seen: set[str] = set()
        for place in better[order(cost[better], seconds[better])].tolist():
            if names[place] not in seen:
                seen.add(names[place])
                yield self.row(int(ways[place]), int(offers[place]))

    def row(self, way: int, offer: int) -> Row:
        """Return a way at an offer as people see it."""
        machines, stock, question = self.machines, self.stock, self.question
        copy, n = int(machines.copy[way]), int(machines.n[way])
        shape = int(machines.shape[way])
        starting = self._start(way, offer)
        lost = self.lost_frac(way, offer)
        capacity = self._capacity(way)
        beside = self._beside(way, offer)
        usd_per_hour, hours = self._bill(way, offer, lost, starting.total_s, capacity)
        billed = hours and self._billed(offer, hours)
        once_usd = starting.egress_usd * n + beside.traffic_usd if question.is_run else 0.0
        shown = {name: float(values[way]) for name, values in machines.shown.items()}
        done = capacity.value if question.is_run else question.rate_per_s
        return Row(
            gpu=self.shapes.name[shape],
            taken_as=self.cards.gpus[int(self.shapes.card[shape])].slug,
            count=int(self.shapes.count[shape]),
            machines=n,
            copies=int(machines.copies[way]),
            **self.found.choice(copy, shown.get("batch", 1.0)),
            provider=stock.provider.at(offer),
            seller=stock.seller.at(offer),
            country=stock.country.at(offer),
            region=stock.region.at(offer),
            kind=stock.kind.at(offer),
            instance=stock.sku.at(offer),
            seen=stock.seen.at(offer),
            source=stock.source.at(offer),
            usd_per_machine_hour=float(stock.usd_per_hour[offer]),
            usd_per_hour=usd_per_hour,
            capacity_per_s=capacity,
            utilisation_frac=done / capacity.value,
            speed=self._speed(way, shown) | ({"hours": hours} if hours else {}),
            price=unit_prices(question, usd_per_hour, billed, once_usd),
            start_s=starting.total_s,
            start={
                "boot_s": starting.boot_s,
                "image_s": starting.image_s,
                "load_s": starting.load_s,
                "slowest": starting.slowest,
                "egress_usd": starting.egress_usd * n,
            },
            users_s=way_to_users_s(stock.country.at(offer), question.users),
            lost_frac=lost,
            beside=beside,
        )

    def _beside(self, way: int, offer: int) -> Beside:
        """Return what a way costs at an offer beside its hours."""
        ways, offers = np.array([way]), np.array([offer])
        hours = self.hours_of(ways, offers) if self.question.is_run else 1.0
        flow, terms = self._traffic(ways), self.stock.terms[offers]
        said = {f.name: told(getattr(terms, f.name)) for f in fields(terms)}
        return Beside(
            disk_gb=self.disk_gb,
            disk_usd_per_hour=told(self._disk_usd(offers)),
            sent_gb=float(flow.sent_gb[0]),
            received_gb=float(flow.received_gb[0]),
            egress_usd=told(terms.egress_usd(flow.sent_gb, self.machines.n[ways] * hours)),
            ingress_usd=float(terms.ingress_usd(flow.received_gb)[0]),
            billed_hours=told(terms.billed_hours(hours)) if self.question.is_run else None,
            **said,
        )

    def _billed(self, offer: int, hours: Ranged) -> Ranged:
        """Return the hours that are billed of those that a run takes."""
        terms = self.stock.terms[offer]
        return Ranged(*(float(terms.billed_hours(each)) for each in (hours.low, hours.value, hours.high)))

    def _capacity(self, way: int) -> Ranged:
        copies, copy = self.found.copies, self.machines.copy[way]
        n = float(self.machines.n[way] * self.machines.copies[way])
        return Ranged(*(n * float(ends[copy]) for ends in (copies.low, copies.capacity, copies.high)))

    def _bill(
        self, way: int, offer: int, lost: float, start_s: float, capacity: Ranged
    ) -> tuple[Ranged, Ranged | None]:
        """Return USD an hour, and of a run the hours that it takes."""
        n, usd = float(self.machines.n[way]), float(self._machine_usd(offer))
        if self.question.is_run:
            seconds = float(self.machines.seconds[way]) * (1 + lost)
            ends = (capacity.value / end for end in (capacity.high, capacity.value, capacity.low))
            return scaled(Ranged(n, n, n), usd), Ranged(*((seconds * x + start_s) / HOUR_S for x in ends))
        one = capacity.value / n
        ends = (one * end / capacity.value for end in (capacity.high, capacity.value, capacity.low))
        needed = (float(enough(self.question.rate_per_s, end)) for end in ends)
        traffic_usd = float(self._traffic_usd(way, offer, 1.0))
        paid = (machines * usd * (1 + lost) + traffic_usd for machines in needed)
        return Ranged(*paid), None

    def _speed(self, way: int, shown: dict[str, float]) -> dict[str, Ranged]:
        """Return the times of a result at the load; all of it is as uncertain as the capacity."""
        copies, copy = self.found.copies, int(self.machines.copy[way])
        seconds, capacity = float(self.machines.seconds[way]), float(copies.capacity[copy])
        slow, fast = capacity / float(copies.low[copy]), capacity / float(copies.high[copy])
        found = {"seconds": Ranged(seconds * fast, seconds, seconds * slow)}
        for name, kind in _KINDS.items():
            if name in shown:
                width = float(self.cards.widths(kind)[int(copies.card[copy])])
                found[name] = Ranged(shown[name] / width, shown[name], shown[name] * width)
        return found


def told(value: Any) -> float | None:
    """Return the one number of an array as a plain one; None for what is not known."""
    found = float(value[0])
    return None if math.isnan(found) else found


def _bits(row: Row) -> float:
    return PRECISIONS[row.precision].bits if row.precision else 0.0
