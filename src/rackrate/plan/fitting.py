"""On which cards does a model fit, in which way, and with room for how many requests?

Every way (engine, precision, layout) is estimated once for the cards that an engine treats alike, and the
cards are an array; 85 GPUs cost as much as one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rackrate.catalog.architecture import Architecture
from rackrate.catalog.workload import capabilities_missing, find_workload
from rackrate.fit.precision import Precision
from rackrate.fit.setup import Load, Setup
from rackrate.plan.cards import Cards
from rackrate.plan.question import Question
from rackrate.plan.room import Held, held
from rackrate.plan.ways import SEQUENCES, Way, engines, is_sensible, is_tried, layouts, precisions, takes


@dataclass
class LeftOut:
    """Cards that are no answer.

    Attributes:
        rules: rule to the slugs that it left out.
        nearest: where nothing fits, what lacks least, in words.
    """

    rules: dict[str, list[str]] = field(default_factory=dict)
    nearest: str = ""

    def note(self, rule: str, slug: str) -> None:
        """Leave a card out by a rule."""
        self.rules.setdefault(rule, []).append(slug)


@dataclass(frozen=True, eq=False)
class Fitting:
    """Copies that fit, sorted by card; arrays have one element a copy.

    Attributes:
        ways: how a copy may be run.
        held: what the fullest GPU then holds, for each of `ways`.
        card: of each copy, its place in `Cards`.
        way: of each copy, its place in `ways`.
        room: requests at once.
    """

    ways: tuple[Way, ...]
    held: tuple[Held, ...]
    card: Any
    way: Any
    room: Any


@dataclass(frozen=True, slots=True)
class Miss:
    """What came nearest to fitting.

    Attributes:
        card: place in `Cards`.
        way: how it would be run.
        lacks_gib: on each GPU.
    """

    card: int
    way: Way
    lacks_gib: float


def able_cards(question: Question, cards: Cards, sold: Mapping[int, int], left_out: LeftOut) -> list[int]:
    """Return the cards that a workload runs on at all; the others are left out by name."""
    workload = find_workload(question.workload)
    whys = {need.capability: need.why for need in workload.needs}
    able = []
    for at in sorted(sold):
        gpu = cards.gpus[at]
        lacks = capabilities_missing(workload, gpu)
        if lacks:
            left_out.note(f"no {lacks[0].replace('_', ' ')}: {whys[lacks[0]]}", gpu.slug)
        elif question.allowed.has_graphics and not gpu.has_graphics:
            left_out.note("it cannot draw", gpu.slug)
        elif cards.chips[at] is None:
            left_out.note("no speed of it is known", gpu.slug)
        else:
            able.append(at)
    return able


def fitting(
    question: Question,
    arch: Architecture,
    published: Precision,
    cards: Cards,
    sold: Mapping[int, int],
    left_out: LeftOut,
) -> Fitting:
    """Return every copy that fits.

    Args:
        question: what is asked.
        arch: the model.
        published: precision of its files.
        cards: every GPU.
        sold: card to the most GPUs of it in a machine.
        left_out: is told which cards are no answer.
    """
    able = able_cards(question, cards, sold, left_out)
    parts: list[tuple[Way, Held, Any, Any]] = []
    runs_on: set[int] = set()
    for way, rows in _tried(question, arch, published, cards, {at: sold[at] for at in able}):
        runs_on.update(rows.tolist())
        parts += _fit(question, arch, cards, way, rows)
    fits_on = {at for *_, rows, _ in parts for at in rows.tolist()}
    for at in able:
        if at not in runs_on:
            names = " or ".join(engine.name for engine in engines(question.engine, question.precision))
            left_out.note(f"no kernels for it in {names}", cards.gpus[at].slug)
        elif at not in fits_on:
            left_out.note("the model does not fit", cards.gpus[at].slug)
    return _joined(parts)


def _tried(
    question: Question, arch: Architecture, published: Precision, cards: Cards, sold: Mapping[int, int]
) -> Iterator[tuple[Way, Any]]:
    """Yield every way with the cards that it runs on."""
    most = max(sold.values(), default=0)
    for engine in engines(question.engine, question.precision):
        sizes = layouts(arch, engine, most)
        able = [at for at in sold if question.engine or is_tried(engine, cards.chip(at))]
        for precision in precisions(published, engine, question.precision):
            packing = Way(engine, precision).packing
            taking = [at for at in able if takes(cards.gpus[at], cards.chip(at), engine, packing)]
            for tensor, pipeline in sizes:
                way = Way(engine, precision, tensor, pipeline)
                rows = [
                    at for at in taking if way.n_gpus <= sold[at] and is_sensible(way, cards.chip(at), sizes)
                ]
                if rows:
                    yield way, np.array(rows)


def setup_of(question: Question, way: Way) -> Setup:
    """Return the set-up of a way, as the memory model has it."""
    return Setup(
        engine=way.engine,
        precision=way.precision,
        kv=question.kv,
        layout=way.layout,
        memory_fraction=way.engine.memory_fraction,
        max_num_seqs=way.max_num_seqs,
    )


def _fit(
    question: Question, arch: Architecture, cards: Cards, way: Way, rows: Any
) -> Iterator[tuple[Way, Held, Any, Any]]:
    """Yield way, what it holds, cards and their room: with the default of sequences, else with few."""
    for is_big in (False, True):
        left = rows[cards.is_big[rows] == is_big]
        for sequences in SEQUENCES:
            if len(left):
                tried = replace(way, max_num_seqs=sequences)
                one, room = rooms(question, arch, cards, tried, left)
                fits = room >= 1
                yield tried, one, left[fits], room[fits]
                left = left[~fits]


def rooms(question: Question, arch: Architecture, cards: Cards, way: Way, rows: Any) -> tuple[Held, Any]:
    """Return what a way holds on cards that an engine treats alike, and their room for requests."""
    setup, card = setup_of(question, way), cards.memory[rows[0]]
    one = held(arch, card, setup, Load(question.context, 1))
    fraction = setup.memory_fraction
    room = one.requests(fraction * cards.gib[rows], fraction * cards.sigma_gib[rows])
    return one, np.minimum(room, setup.seats(card, question.context) or np.inf)


def _joined(parts: Sequence[tuple[Way, Held, Any, Any]]) -> Fitting:
    kept = [part for part in parts if len(part[2])]
    empty = np.zeros(0, np.int64)
    card = np.concatenate([rows for *_, rows, _ in kept] or [empty])
    way = np.repeat(np.arange(len(kept)), [len(rows) for *_, rows, _ in kept])
    room = np.concatenate([rooms for *_, rooms in kept] or [empty])
    order = np.argsort(card, kind="stable")
    return Fitting(
        tuple(way for way, *_ in kept),
        tuple(one for _, one, *_ in kept),
        card[order],
        way[order],
        room[order],
    )


def nearest_miss(
    question: Question, arch: Architecture, published: Precision, cards: Cards, sold: Mapping[int, int]
) -> Miss | None:
    """Return what lacks the fewest GiB for one request; None where no way runs on any card."""
    able = able_cards(question, cards, sold, LeftOut())
    misses = []
    for way, rows in _tried(question, arch, published, cards, {at: sold[at] for at in able}):
        lean = replace(way, max_num_seqs=SEQUENCES[-1])
        for at in rows.tolist():
            one, _ = rooms(question, arch, cards, lean, np.array([at]))
            fraction = way.engine.memory_fraction
            most = float(one.most(fraction * cards.gib[at], fraction * cards.sigma_gib[at]))
            need = one.fixed_gib + one.kv_gib - fraction * cards.gib[at]
            misses.append(Miss(at, lean, max(need, one.kv_gib - max(most, 0.0))))
    return min(misses, key=lambda miss: (miss.lacks_gib, miss.way.n_gpus, miss.card), default=None)
