"""Which cards train a model, and how many tokens, or variants, a second?

A run on several GPUs of a machine shares the batch out (DDP) where a whole copy fits each of them, and the
weights too (FSDP) where it does not. The variants of a sweep take one GPU each.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from rackrate.catalog.architecture import Architecture
from rackrate.fit.parallel import Layout
from rackrate.fit.setup import Load, Setup
from rackrate.fit.training import Training
from rackrate.perf.estimate import Estimate
from rackrate.perf.training import Run, tokens_per_s
from rackrate.plan.cards import Cards
from rackrate.plan.fitting import LeftOut, able_cards
from rackrate.plan.options import Option, Options, memory_words, room_on, weights_gib
from rackrate.plan.question import Question
from rackrate.plan.room import held

COUNTS = (1, 2, 4, 8)
SHARED = 3  # ZeRO stage: weights, gradients and states


def learning(
    question: Question,
    arch: Architecture,
    setup: Setup,
    cards: Cards,
    sold: Mapping[int, tuple[int, ...]],
    left_out: LeftOut,
) -> Options:
    """Return every card and number of GPUs that trains the model.

    Args:
        question: what is asked.
        arch: a language model or encoder.
        setup: how it is trained, on one GPU.
        cards: every GPU.
        sold: card to the numbers of it in a machine.
        left_out: is told which cards are no answer.
    """
    found = []
    able = able_cards(question, cards, {at: max(counts) for at, counts in sold.items()}, left_out)
    for at in able:
        counts = (1,) if question.is_in_parts else sold[at]
        options = [option for n in counts for option in _on_gpus(question, arch, setup, cards, at, n)]
        if not options:
            left_out.note("the run does not fit", cards.gpus[at].slug)
        found += options
    if able and not found:
        most = {at: 1 if question.is_in_parts else max(sold[at]) for at in able}
        left_out.nearest = _nearest(question, arch, setup, cards, most)
    return Options(tuple(found))


def _nearest(
    question: Question, arch: Architecture, setup: Setup, cards: Cards, most: Mapping[int, int]
) -> str:
    """Return which machine lacks the least memory, and by how much, in words."""
    load = Load(context=question.sequence, concurrency=question.batch)
    lacks = {}
    for at, n in most.items():
        layout = Layout(data=n, shard=SHARED if n > 1 else 0)
        one = held(arch, cards.memory[at], replace(setup, layout=layout), load)
        lacks[at] = one.fixed_gib + one.kv_gib - setup.memory_fraction * float(cards.gib[at])
    at = min(lacks, key=lacks.__getitem__)
    machine = f"{most[at]} x {cards.gpus[at].slug}"
    if lacks[at] <= 0:
        return f"the nearest: {machine} holds it barely, which is not sure enough"
    return f"the nearest: {machine} lacks {lacks[at]:.1f} GiB on each GPU"


def _on_gpus(
    question: Question, arch: Architecture, setup: Setup, cards: Cards, at: int, n: int
) -> Iterator[Option]:
    load = Load(context=question.sequence, concurrency=question.batch)
    for shard in (0, SHARED) if n > 1 else (0,):
        layout = Layout(data=n, shard=shard)
        how = replace(setup, layout=layout)
        if (room := room_on(arch, cards, at, how, load)) is None:
            continue
        one, headroom = room
        speed = tokens_per_s(arch, cards.chip(at), run_of(question, setup, n, is_sharded=shard > 0))
        speed = replace(speed, assumptions=(*speed.assumptions, _kept(setup)))
        result = _scaled(speed, 1 / question.variant_tokens) if question.is_in_parts else speed
        yield Option(
            at, n, how.named(), setup.precision.name, setup.precision.bits, str(layout), result,
            question.sequence * question.batch * n / speed.value,
            weights_gib(arch, setup.precision), headroom, memory_words(one, cards.gib[at]),
        )  # fmt: skip
        return


def run_of(question: Question, setup: Setup, n_gpus: int, *, is_sharded: bool) -> Run:
    """Return the run as the speed model has it, with the choices of the memory model."""
    how = setup.training
    is_wide = setup.precision.name == "fp32" and not (how and how.is_mixed)
    return Run(
        method=how.method if how else "full",
        tokens=question.sequence,
        batch=question.batch,
        number="tf32" if is_wide else "fp16",
        has_checkpointing=bool(how and how.has_checkpointing),
        is_sharded=is_sharded,
        n_gpus=n_gpus,
    )


def _scaled(speed: Estimate, by: float) -> Estimate:
    return replace(speed, value=speed.value * by, low=speed.low * by, high=speed.high * by, unit="variants/s")


def _kept(setup: Setup) -> str:
    """Say in which numbers the memory was counted: people's recipes differ by a factor of four."""
    how = setup.training or Training()
    if how.method != "full":
        return f"frozen weights in {setup.precision.name}, {how.optimiser} over the adapters alone"
    number = "32 bit, the work in 16" if how.is_mixed else setup.precision.name
    return f"weights, gradients and states of {how.optimiser} in {number}"
