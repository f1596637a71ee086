"""Which machines, how many, at which offer: every copy that does the work meets every offer.

    machines   ceil(load / (copies on a machine x capacity of a copy))          of a stream
    USD/h      machines x price of one
    hours      work / (machines x copies x speed) + start                       of a run
    USD        machines x price of one x hours x (1 + what spot loses)

Machines of one GPU and count differ in their offers by price and place alone, so that the copies are weighed
once a shape, and each offer then takes what is best on its shape. One way is better than another if it costs
less; of those that cost alike, the wider precision; of these, the faster one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rackrate.plan.cards import Cards
from rackrate.plan.coldstart import usual_start_s
from rackrate.plan.copies import Copies, Found
from rackrate.plan.question import Question
from rackrate.plan.stock import Stock


@dataclass(frozen=True, eq=False)
class Shapes:
    """Machines that are sold: a GPU and a number of them.

    Attributes:
        name: of the GPU as sold, a product or a family.
        card: its place in `Cards`; of a family that of its slowest member.
        count: GPUs.
        of_offer: place in these lists of each offer; -1 where the GPU is not in the catalog.
    """

    name: tuple[str, ...]
    card: Any
    count: Any
    of_offer: Any

    def counts(self) -> dict[int, tuple[int, ...]]:
        """Return card to the numbers of it in a machine."""
        found: dict[int, set[int]] = {}
        for card, count in zip(self.card.tolist(), self.count.tolist(), strict=True):
            found.setdefault(card, set()).add(count)
        return {card: tuple(sorted(counts)) for card, counts in found.items()}

    def sold(self) -> dict[int, int]:
        """Return card to the most GPUs of it in a machine."""
        return {card: counts[-1] for card, counts in self.counts().items()}


def shapes_of(stock: Stock, cards: Cards) -> Shapes:
    """Return the shapes that are sold, and which one each offer is."""
    at = np.array([-1 if (at := cards.at(name)) is None else at for name in stock.gpu.names], dtype=np.int64)
    key = stock.gpu.codes * _KEY + stock.count.astype(np.int64)
    keys, of_offer = np.unique(key, return_inverse=True)
    codes = keys // _KEY
    known = at[codes] >= 0 if len(at) else np.zeros(0, bool)
    place = np.where(known, np.cumsum(known) - 1, -1)
    return Shapes(
        tuple(stock.gpu.names[code] for code in codes[known].tolist()),
        at[codes[known]] if len(at) else np.zeros(0, np.int64),
        (keys % _KEY)[known],
        place[of_offer.reshape(-1)] if len(keys) else np.zeros(0, np.int64),
    )


_KEY = 1 << 20  # more GPUs than any machine has


@dataclass(frozen=True, eq=False)
class Machines:
    """Copies on shapes, one a row: as many machines of it as the load needs.

    Attributes:
        shape: place in `Shapes`.
        copy: place in the copies.
        copies: on one machine.
        n: machines.
        seconds: of one result at the load; of a run, of all of it without the start.
        shown: what else is known at the load, by name.
    """

    shape: Any
    copy: Any
    copies: Any
    n: Any
    seconds: Any
    shown: dict[str, Any]


def machines_for(question: Question, found: Found, shapes: Shapes, n_cards: int) -> Machines:
    """Return every way to do the work on every shape."""
    copies = found.copies
    begins = np.searchsorted(copies.card, np.arange(n_cards + 1))
    rows = [np.arange(begins[card], begins[card + 1]) for card in shapes.card.tolist()]
    shape = np.repeat(np.arange(len(rows)), [len(of) for of in rows])
    copy = np.concatenate(rows) if rows else np.zeros(0, np.int64)
    fits = copies.n_gpus[copy] <= shapes.count[shape] if len(copy) else np.zeros(0, bool)
    shape, copy = shape[fits], copy[fits]
    a_machine = shapes.count[shape] // copies.n_gpus[copy]
    if question.is_run:
        return _of_run(question, copies, shape, copy, a_machine)
    n = enough(question.rate_per_s, a_machine * copies.capacity[copy])
    shown = dict(found.at(copy, question.rate_per_s / (n * a_machine)))
    seconds = shown.pop("seconds")
    return Machines(shape, copy, a_machine, n, seconds, shown)


def enough(load: float, capacity: Any) -> Any:
    """Return how many machines of a capacity carry a load; a billionth more does not take another."""
    return np.maximum(np.ceil(load / capacity - 1e-9), 1.0)


def _of_run(question: Question, copies: Copies, shape: Any, copy: Any, a_machine: Any) -> Machines:
    """Return the machines of a run: one, or as many as a sweep is to have or needs to be done in time."""
    amount, speed = question.amount, copies.capacity[copy]
    one = np.ceil(amount / a_machine) / speed if question.is_in_parts else amount / speed
    n = np.full(len(copy), float(max(question.nodes, 1)))
    if question.is_in_parts and not question.nodes and question.within_s < np.inf:
        working_s = question.within_s - usual_start_s()
        rounds = np.maximum(np.floor(working_s * speed), 1.0)  # parts that a copy gets done in time
        n = np.ceil(amount / (a_machine * rounds))
    parts = np.ceil(amount / (a_machine * n)) / speed if question.is_in_parts else one
    return Machines(shape, copy, a_machine, n, parts, {})


def order(*keys: Any) -> Any:
    """Return the places that sort by the first key, then by the next, and so on."""
    return np.lexsort(keys[::-1])


def best_of_each(machines: Machines, copies: Copies, question: Question) -> Any:
    """Return the best row of each shape, the shapes in order.

    On one shape machines cost alike, so the fewest are best; that more of them may have more traffic included
    is left out of it.
    """
    cost = machines.n * machines.seconds if question.is_run else machines.n
    first = {"cost": cost, "latency": machines.seconds, "balance": cost * machines.seconds}[
        question.objective
    ]
    wide = -copies.bits[machines.copy]
    sorting = order(machines.shape, first, cost, wide, machines.seconds, machines.copy)
    shape = machines.shape[sorting]
    return sorting[np.flatnonzero(np.diff(shape, prepend=-1))]


def frontier(cost: Sequence[float] | Any, seconds: Sequence[float] | Any) -> list[int]:
    """Return the places that nothing beats in both cost and time, the cheapest first.

    >>> frontier([3.0, 1.0, 2.0, 2.0], [1.0, 5.0, 2.0, 9.0])
    [1, 2, 0]
    """
    kept: list[int] = []
    best = np.inf
    for place in order(np.asarray(cost), np.asarray(seconds)).tolist():
        if seconds[place] < best:
            kept.append(place)
            best = seconds[place]
    return kept
