"""What came nearest, where nothing does the work; and is the question one that any machine could answer?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from rackrate.catalog.architecture import Architecture
from rackrate.errors import BadQuantity, NothingFits
from rackrate.fit.precision import Precision
from rackrate.perf.arrays import stacked, taken
from rackrate.perf.serving import decode, unloaded_ttft_s
from rackrate.perf.work import Work, work_of
from rackrate.plan.cards import Cards
from rackrate.plan.fitting import Fitting, LeftOut, fitting, nearest_miss
from rackrate.plan.question import Question
from rackrate.plan.serving import request_of, speeds_of
from rackrate.plan.words import time_words

EIGHT = 8  # GPUs: what the largest machines hold that people rent


def lone_request(question: Question, arch: Architecture, cards: Cards, fits: Fitting) -> tuple[Any, Any]:
    """Return TTFT and TPOT of a request that has a copy to itself, seconds, for each copy."""
    work = taken(stacked([work_of(arch, way.precision, question.kv) for way in fits.ways], Work), fits.way)
    rates, habits = speeds_of(cards, fits)
    new = max(request_of(question).fresh_tokens, 1.0)
    step = decode(work, rates, habits, 1.0, question.input_tokens + question.output_tokens / 2)
    return unloaded_ttft_s(work, rates, habits, new), step.total / question.tokens_a_step


def check_promise(question: Question, arch: Architecture, published: Precision, cards: Cards) -> None:
    """Check that some card could keep the promise for a lone request, whatever is for rent.

    Raises:
        BadQuantity: none could, in machines of up to eight; the hint names the shortest time.
    """
    sold = {at: EIGHT for at, chip in enumerate(cards.chips) if chip is not None}
    fits = fitting(question, arch, published, cards, sold, LeftOut())
    if not len(fits.card):
        return
    first, each = lone_request(question, arch, cards, fits)
    promise = question.promise
    for name, seconds, asked in (("TTFT", first, promise.ttft_s), ("TPOT", each, promise.tpot_s)):
        best = int(np.argmin(seconds))
        floor = float(seconds[best])
        if asked < floor:
            what = f"{name} of {time_words(asked)} is below what any GPU can do for this model"
            on = f"{fits.ways[fits.way[best]].n_gpus} x {cards.gpus[fits.card[best]].slug}"
            nearest = time_words(math.ceil(floor * 1e3) / 1e3)
            raise BadQuantity(what, hint=f"the shortest is {nearest}, a lone request on {on}")


def miss(
    question: Question,
    arch: Architecture,
    published: Precision,
    cards: Cards,
    sold: Mapping[int, int],
    fits: Fitting,
) -> NothingFits:
    """Return the error that names what came nearest: too slow, or too small and by how much."""
    if len(fits.card):
        return _too_slow(question, arch, cards, fits)
    nearest = nearest_miss(question, arch, published, cards, sold)
    what = f"{arch.name} fits no machine that is for rent under these conditions"
    if nearest is None:
        return NothingFits(what, hint="no GPU among them runs it at all: loosen --gpu or --engine")
    return NothingFits(
        what,
        hint=f"the nearest: {nearest.way.n_gpus} x {cards.gpus[nearest.card].slug} in "
        f"{nearest.way.precision.name} lacks {nearest.lacks_gib:.1f} GiB on each GPU",
    )


def _too_slow(question: Question, arch: Architecture, cards: Cards, fits: Fitting) -> NothingFits:
    first, each = lone_request(question, arch, cards, fits)
    promise = question.promise
    behind = np.maximum(first / promise.ttft_s, each / promise.tpot_s)
    best = int(np.argmin(behind))
    way = fits.ways[fits.way[best]]
    return NothingFits(
        "what is for rent under these conditions is too slow for the promise",
        hint=f"the nearest: {way.n_gpus} x {cards.gpus[fits.card[best]].slug} in {way.precision.name}; "
        f"a lone request waits {time_words(float(first[best]))}, then {time_words(each[best])} a token",
    )
