"""From a question, the copies that can do the work and what is for rent, to a plan.

The steps: offers that are allowed; shapes that they sell; copies that fit and keep the promise; as many
machines as the load needs; each offer with the best way on its shape; a ranking whose ties are broken by
provider, region and instance, so that the same market always gives the same plan.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rackrate.errors import NoAnswer, NothingFits
from rackrate.plan.answer import Excluded, Plan
from rackrate.plan.cards import Cards
from rackrate.plan.copies import Found
from rackrate.plan.fitting import LeftOut
from rackrate.plan.frontier import Shapes, machines_for, shapes_of
from rackrate.plan.joining import Joined
from rackrate.plan.question import Question
from rackrate.plan.stock import Stock, choose, nearest_to
from rackrate.plan.words import bill_words, reasons, remarks_on, time_words

SHOWN = 20
_EXAMPLES = 8


@dataclass(frozen=True)
class Goods:
    """What is for rent under the conditions of a question.

    Attributes:
        stock: the offers that are allowed.
        shapes: machines that they sell.
        left_out: rule to the number of offers that it removed.
        n_all: offers before.
    """

    stock: Stock
    shapes: Shapes
    left_out: dict[str, int]
    n_all: int


@dataclass(frozen=True, slots=True)
class Market:
    """Where the offers come from.

    Attributes:
        as_of: instant of the newest price list, ISO 8601; empty where none gives a date.
        dataset: version of the data.
        remarks: what is to be said of them: their date, their age.
    """

    as_of: str = ""
    dataset: str = ""
    remarks: tuple[str, ...] = ()


def goods_for(question: Question, stock: Stock, cards: Cards) -> Goods:
    """Return what is for rent for a question.

    Raises:
        NoAnswer: nothing; the message says which condition stands in the way.
    """
    chosen, left_out = choose(stock, question.allowed)
    whole = chosen.with_own(question.allowed.own)
    is_known = shapes_of(whole, cards).of_offer >= 0
    if n := int(np.count_nonzero(~is_known)):
        left_out["the catalog has no facts of the GPU"] = n
        whole = whole[is_known]
    if not len(whole):
        hint = _stands_in_the_way(question, stock, left_out)
        raise NoAnswer("no offer is allowed by the question", hint=hint, code="no-offers")
    return Goods(whole, shapes_of(whole, cards), left_out, len(stock) + len(question.allowed.own))


def _stands_in_the_way(question: Question, stock: Stock, left_out: Mapping[str, int]) -> str:
    """Return which rule left out the last offers, and what comes nearest to it where that is a number."""
    if not left_out:
        return "the market is empty"
    last, n = list(left_out.items())[-1]
    what = f"the last {n:,} of {len(stock):,} are left out: {last}"
    return what + nearest_to(stock, question.allowed)


def make_plan(
    question: Question,
    cards: Cards,
    goods: Goods,
    found: Found,
    left_out: LeftOut,
    market: Market,
    limit: int = SHOWN,
) -> Plan:
    """Return the plan.

    Args:
        question: what is asked.
        cards: every GPU.
        goods: what is for rent.
        found: copies that do the work; at least one.
        left_out: cards that do not.
        market: where the offers come from.
        limit: rows at most.

    Raises:
        NothingFits: no machine does the work within the budget, or in the time.
    """
    machines = machines_for(question, found, goods.shapes, len(cards.gpus))
    joined = Joined(question, cards, goods.stock, goods.shapes, found, machines)
    if not len(joined.ranked):
        raise _out_of_reach(joined)
    rows = tuple(joined.row(int(joined.way[offer]), offer) for offer in joined.shown(limit))
    frontier, precisions = tuple(joined.frontier()), tuple(joined.precisions())
    engines = tuple(joined.engines())
    copy = int(machines.copy[joined.way[joined.ranked[0]]])
    best = rows[0]
    rate_per_s = question.rate_per_s / (best.machines * best.copies)
    return Plan(
        question=question.to_dict(),
        asked=question.asked,
        rows=rows,
        frontier=frontier,
        precisions=precisions,
        engines=engines,
        instead=tuple(joined.instead_of(question.instead_of)) if question.instead_of else (),
        reasons=tuple(reasons(question, rows, frontier, precisions, engines)),
        excluded=tuple(_excluded(joined, goods, left_out)),
        explained=(*found.explained(copy, rate_per_s), *bill_words(question, best)),
        assumptions=tuple(found.assumptions(copy)),
        remarks=(*market.remarks, *remarks_on(question, rows)),
        as_of=market.as_of,
        dataset=market.dataset,
        n_offers=goods.n_all,
        n_ways=len(machines.copy),
    )


def _excluded(joined: Joined, goods: Goods, left_out: LeftOut) -> Iterator[Excluded]:
    """Yield what is no answer: offers by condition, GPUs by rule, and offers of what is left."""
    for rule, n in goods.left_out.items():
        yield Excluded(rule, "offers", n)
    for rule, slugs in left_out.rules.items():
        yield Excluded(rule, "GPUs", len(slugs), tuple(_examples(slugs)))
    is_able = joined.way >= 0
    if n := int(np.count_nonzero(~is_able)):
        yield Excluded("of these GPUs, or of too few of the others", "offers", n)
    if n := int(np.count_nonzero(is_able & ~joined.is_good)):
        yield Excluded("all machines together are above the budget, or too slow", "offers", n)


def _examples(slugs: Sequence[str]) -> Iterable[str]:
    """Return some slugs, one of each line of products first."""
    lines = list({slug.split("-")[0]: slug for slug in reversed(slugs)}.values())[::-1]
    return [*lines, *(slug for slug in slugs if slug not in lines)][:_EXAMPLES]


def _out_of_reach(joined: Joined) -> NothingFits:
    """Say what would do the work if it might cost more, or take longer."""
    question, machines = joined.question, joined.machines
    if not (joined.way >= 0).any():
        most = max(joined.shapes.count.tolist())
        hint = f"a copy needs more GPUs than any machine has: {most} at most"
        return NothingFits("no machine that is sold holds a copy", hint=hint)
    offer = int(np.argmin(joined.cost))
    row = joined.row(int(joined.way[offer]), offer)
    usd = f"{row.usd_per_hour.value:,.2f} USD/h"
    if row.usd_per_hour.value > question.allowed.max_usd_per_hour:
        what = f"nothing does it for {question.allowed.max_usd_per_hour:g} USD/h"
        return NothingFits(what, hint=f"the nearest: {row.what} at {row.where}, {usd}")
    offer = int(np.argmin(np.where(joined.way >= 0, machines.seconds[joined.way], np.inf)))
    row = joined.row(int(joined.way[offer]), offer)
    hours = row.speed["hours"].value
    return NothingFits(
        f"nothing does it within {time_words(question.within_s)}",
        hint=f"the fastest at the least cost, {row.what} at {row.where}, takes {hours:,.3g} h with its start",
    )
