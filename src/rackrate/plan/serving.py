"""How many requests a second does each copy of a language model serve, and how fast is it at a load?

What fits (`fitting`) goes through the speed model in one call on arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rackrate.catalog.architecture import Architecture
from rackrate.fit.overhead import Card
from rackrate.fit.precision import Precision
from rackrate.fit.term import GIB
from rackrate.fit.weights import weight_bytes
from rackrate.perf.arrays import stacked, taken
from rackrate.perf.serving import Habits, Request, Served, Target, at_rate, capacity
from rackrate.perf.step import Rates, limit_of
from rackrate.perf.work import Work, work_of
from rackrate.plan.cards import Cards
from rackrate.plan.copies import Copies
from rackrate.plan.fitting import Fitting, LeftOut, fitting, setup_of
from rackrate.plan.question import Question
from rackrate.plan.room import KV, Held
from rackrate.plan.ways import Way

FULL = 0.999  # of the room, from which it is what limits: the batch is found by halving


@dataclass(frozen=True, eq=False)
class Serving:
    """Copies that serve a language model.

    Attributes:
        question: what is asked.
        arch: the model.
        fits: every copy that fits.
        copies: those of them that keep the promise.
        kept: their places in `fits`.
        work: of the model, by way.
        rates: of each copy that keeps the promise.
        habits: likewise.
        cards: every GPU.
        limits: what keeps each copy from serving more, one of `rackrate.perf.estimate.LIMITS`.
    """

    question: Question
    arch: Architecture
    fits: Fitting
    copies: Copies
    kept: Any
    work: Work
    rates: Rates
    habits: Habits
    cards: Cards
    limits: Any

    def at(self, copies: Any, rate_per_s: Any) -> Mapping[str, Any]:
        """Return TTFT, TPOT and a whole request, seconds, at so many requests a second for each copy."""
        served = self.served(copies, rate_per_s)
        return {
            "seconds": served.ttft_s + self.question.output_tokens * served.tpot_s,
            "ttft_s": served.ttft_s,
            "tpot_s": served.tpot_s,
            "batch": served.batch,
        }

    def served(self, copies: Any, rate_per_s: Any) -> Served:
        """Return what copies do at so many requests a second each."""
        way = self.fits.way[self.kept[copies]]
        return at_rate(
            taken(self.work, way),
            taken(self.rates, copies),
            taken(self.habits, copies),
            request_of(self.question),
            rate_per_s,
            self.fits.room[self.kept[copies]],
        )

    def precision(self, copy: int) -> str:
        """Return the name of a copy's precision."""
        return self._way(copy).precision.name

    def engine(self, copy: int) -> str:
        """Return the engine that runs a copy, in words."""
        return setup_of(self.question, self._way(copy)).named()

    def choice(self, copy: int, batch: float) -> Mapping[str, Any]:
        """Return how a copy is run: the fields of `answer.Row` from `engine` to `weights_gib`, `limit`."""
        way, card, one = self._way(copy), self._card(copy), self._held(copy)
        setup = setup_of(self.question, way)
        context = self.question.context
        used_gib = one.fixed_gib + math.ceil(batch) * one.kv_gib
        return {
            "engine": self.engine(copy),
            "precision": way.precision.name,
            "layout": str(way.layout),
            "tensor": way.tensor,
            "pipeline": way.pipeline,
            "max_num_seqs": setup.seats(card, context) or 0,
            "max_num_batched_tokens": setup.chunk_tokens(card, context),
            "memory_fraction": setup.memory_fraction,
            "headroom_gib": setup.memory_fraction * card.gib - used_gib,
            "weights_gib": float(self.copies.weights_gib[copy]),
            "limit": str(self.limits[copy]),
        }

    def _way(self, copy: int) -> Way:
        return self.fits.ways[int(self.fits.way[self.kept[copy]])]

    def _held(self, copy: int) -> Held:
        return self.fits.held[int(self.fits.way[self.kept[copy]])]

    def _card(self, copy: int) -> Card:
        return self.cards.memory[int(self.copies.card[copy])]

    def assumptions(self, copy: int) -> Iterator[str]:
        """Yield what the numbers of a copy rest on."""
        yield "room is counted at the full length of every request, though few are that long at once"
        yield "requests come one by one (Poisson); machines share them evenly"
        yield f"factors of the speed model of {self.cards.factors_date}; ranges hold in 4 cases of 5"
        yield from self.arch.assumptions
        if not self._way(copy).precision.is_wide:
            name = self.precision(copy)
            yield f"{name} weights answer somewhat worse than 16-bit ones; by how much is not modelled"

    def explained(self, copy: int, rate_per_s: float) -> Iterator[str]:
        """Yield how memory and speed of a copy were reckoned, with the numbers in."""
        yield from self._memory_words(copy)
        served = self.served(np.array([copy]), np.array([rate_per_s]))
        step, sharpness = served.step, float(self.rates.sharpness[copy])
        compute, memory, link, engine, total = (
            float(part[0]) * 1e3 for part in (step.compute, step.memory, step.link, step.engine, step.total)
        )
        yield (
            f"decode step of {float(served.batch[0]):.1f} requests = (compute {compute:.2f}^s + memory "
            f"{memory:.2f}^s)^(1/s) + link {link:.2f} + engine {engine:.2f} = {total:.2f} ms, s = "
            f"{sharpness:.2g}"
        )
        ttft, waiting, tpot = (
            float(part[0]) * 1e3 for part in (served.ttft_s, served.waiting_s, served.tpot_s)
        )
        yield (
            f"at {rate_per_s:.4g} requests/s a copy: TTFT {ttft:.0f} ms, {waiting:.0f} ms of it waiting; "
            f"TPOT {tpot:.1f} ms"
        )
        promise = self.question.promise
        limits = [
            words
            for words, seconds in (
                (f"TTFT <= {promise.ttft_s:g} s for {promise.percentile:.0%}", promise.ttft_s),
                (f"TPOT <= {promise.tpot_s:g} s", promise.tpot_s),
            )
            if seconds < math.inf
        ]
        kept = f" with {' and '.join(limits)}" if limits else " in its room"
        yield f"capacity of a copy = most requests/s{kept} = {self.copies.capacity[copy]:.4g}"

    def _memory_words(self, copy: int) -> Iterator[str]:
        way, one, card = self._way(copy), self._held(copy), self._card(copy)
        terms = " + ".join(f"{term.name} {float(term.gib):.2f}" for term in one.terms if term.name != KV)
        fraction = way.engine.memory_fraction
        yield f"a GPU holds {terms} = {one.fixed_gib:.2f} GiB, and {one.kv_gib:.3f} GiB for each request"
        room = float(self.fits.room[self.kept[copy]])
        limit = fraction * card.gib
        yield (
            f"limit = {fraction:g} x {card.gib:.2f} = {limit:.2f} GiB; room = ({limit:.2f} - "
            f"{one.fixed_gib:.2f} - margin for 95 %) / {one.kv_gib:.3f}, at most what the engine runs = "
            f"{room:.0f} requests"
        )


def request_of(question: Question) -> Request:
    """Return a request as the speed model has it."""
    return Request(
        question.input_tokens, question.output_tokens, question.cached_frac, question.tokens_a_step
    )


def serving(
    question: Question,
    arch: Architecture,
    published: Precision,
    cards: Cards,
    sold: Mapping[int, int],
    left_out: LeftOut,
) -> Serving:
    """Return every copy that fits and keeps the promise; see `fitting` for the arguments."""
    fits = fitting(question, arch, published, cards, sold, left_out)
    work = stacked([work_of(arch, way.precision, question.kv) for way in fits.ways], Work)
    rates, habits = speeds_of(cards, fits)
    promise = question.promise
    target = Target(promise.ttft_s, promise.tpot_s, promise.percentile)
    served, is_met = capacity(taken(work, fits.way), rates, habits, request_of(question), target, fits.room)
    kept = np.flatnonzero(is_met)
    for at in sorted(set(fits.card.tolist()) - set(fits.card[kept].tolist())):
        left_out.note("it fits, and is too slow for the promise", cards.gpus[at].slug)
    per_s = served.output_tokens_per_s[kept] / question.output_tokens
    return Serving(
        question,
        arch,
        fits,
        _copies(arch, cards, fits, kept, per_s),
        kept,
        work,
        taken(rates, kept),
        taken(habits, kept),
        cards,
        limit_of(served.step, is_full=served.batch >= FULL * fits.room)[kept],
    )


def speeds_of(cards: Cards, fits: Fitting) -> tuple[Rates, Habits]:
    """Return rates and habits of every copy that fits."""
    shapes = [(way.engine.name, way.packing, way.tensor, way.pipeline) for way in fits.ways]
    pairs = [
        cards.speed(at, shapes[way]) for at, way in zip(fits.card.tolist(), fits.way.tolist(), strict=True)
    ]
    return stacked([rates for rates, _ in pairs], Rates), stacked([habits for _, habits in pairs], Habits)


def _copies(arch: Architecture, cards: Cards, fits: Fitting, kept: Any, capacity_per_s: Any) -> Copies:
    widths = cards.widths("throughput")[fits.card[kept]]
    way = fits.way[kept]
    n_gpus = np.array([way.n_gpus for way in fits.ways], dtype=np.int64)
    bits = np.array([way.precision.bits for way in fits.ways])
    weights_gib = np.array([weight_bytes(arch, way.precision) / GIB for way in fits.ways])
    return Copies(
        fits.card[kept],
        n_gpus[way],
        capacity_per_s,
        capacity_per_s / widths,
        capacity_per_s * widths,
        bits[way],
        weights_gib[way],
    )
