"""Which cards make images or write down speech, and how many a second?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rackrate.catalog.architecture import Architecture
from rackrate.errors import UnknownName
from rackrate.fit.engine import ENGINES
from rackrate.fit.precision import PRECISIONS
from rackrate.fit.setup import Load, Setup
from rackrate.perf.chip import Chip
from rackrate.perf.diffusion import Drawing, images_per_s, usual
from rackrate.perf.estimate import Estimate
from rackrate.perf.speech import WINDOW_S, Listening, audio_s_per_s
from rackrate.plan.cards import Cards
from rackrate.plan.fitting import LeftOut, able_cards
from rackrate.plan.options import Option, Options, memory_words, room_on, weights_gib
from rackrate.plan.question import IMAGES, Question

_IMAGE_NUMBERS: Mapping[str, str] = {"bf16": "fp16", "fp8": "fp8", "int8": "int8wo"}
_SPEECH_NUMBERS: Mapping[str, str] = {"fp16": "fp16", "int8": "int8"}
"""Precisions that are tried, and in which type of number they compute."""

WINDOWS, BEAMS = 8, 5
"""Of speech: windows at once, and hypotheses of each: faster-whisper's own number of beams."""


def media(
    question: Question, arch: Architecture, cards: Cards, sold: Mapping[int, int], left_out: LeftOut
) -> Options:
    """Return every card and precision that does it, one GPU a copy.

    Args:
        question: what is asked.
        arch: the model: a diffusion pipeline or a Whisper.
        cards: every GPU.
        sold: card to the most GPUs of it in a machine.
        left_out: is told which cards are no answer.

    Raises:
        UnknownName: a precision in which no engine runs it.
    """
    known = _IMAGE_NUMBERS if question.family == IMAGES else _SPEECH_NUMBERS
    if question.precision not in ("", *known):
        why = f"{arch.name} is not planned in it"
        raise UnknownName("precision", question.precision, tuple(known), why=why)
    found = []
    for at in able_cards(question, cards, sold, left_out):
        numbers = _numbers(question, known, cards.chip(at))
        options = list(_on_card(question, arch, cards, at, numbers))
        if not options:
            why = "the model does not fit" if numbers else f"it does not compute in {question.precision}"
            left_out.note(why, cards.gpus[at].slug)
        found += options
    return Options(tuple(found))


def _numbers(question: Question, known: Mapping[str, str], chip: Chip) -> Mapping[str, str]:
    """Return the precisions to try on a card, and in which type of number they compute."""
    return {
        name: number
        for name, number in known.items()
        if question.precision in ("", name) and (number != "fp8" or number in chip.flops)
    }


def _on_card(
    question: Question, arch: Architecture, cards: Cards, at: int, numbers: Mapping[str, str]
) -> Iterator[Option]:
    is_image = question.family == IMAGES
    engine = ENGINES["diffusers" if is_image else "faster-whisper"]
    load = Load(concurrency=1, pixels=question.pixels) if is_image else Load(concurrency=WINDOWS, beams=BEAMS)
    for name, number in numbers.items():
        precision = PRECISIONS[name]
        setup = Setup(engine=engine, precision=precision, memory_fraction=engine.memory_fraction)
        if (room := room_on(arch, cards, at, setup, load)) is None:
            continue
        one, headroom = room
        speed, seconds = _speed(question, arch, cards.chip(at), number)
        yield Option(
            at, 1, setup.named(), name, precision.bits, "1 GPU", speed, seconds,
            weights_gib(arch, precision), headroom, memory_words(one, setup.memory_fraction * cards.gib[at]),
        )  # fmt: skip


def _speed(question: Question, arch: Architecture, chip: Chip, number: str) -> tuple[Estimate, float]:
    """Return images, or seconds of speech, a second, and how long one image or a batch of speech takes."""
    if question.family == IMAGES:
        found = images_per_s(arch, chip, drawing_of(question, arch, number), is_server=True)
        return found, 1 / found.value
    found = audio_s_per_s(arch, chip, Listening(WINDOWS, BEAMS, "faster-whisper", number))
    return found, WINDOWS * WINDOW_S / found.value


def drawing_of(question: Question, arch: Architecture, number: str) -> Drawing:
    """Return what is drawn: the steps of the question, else those of the model's card."""
    said = {"steps": question.steps} if question.steps else {}
    return usual(arch.name, pixels=question.pixels, number=number, **said)
