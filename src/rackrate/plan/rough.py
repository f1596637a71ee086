"""Which cards align genomes, render, stream games or transcode? Roughly: by scalings, with wide ranges.

Alignment is a run, of which a published time is scaled; the others are as fast as so many L40S, because no
source gives a figure of its own for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rackrate.catalog.gpu import Gpu
from rackrate.errors import NoAnswer
from rackrate.perf.estimate import Estimate
from rackrate.perf.rough import alignment_hours, rendering_speed, streaming_speed, transcoding_speed
from rackrate.plan.cards import Cards
from rackrate.plan.fitting import LeftOut, able_cards
from rackrate.plan.options import Option, Options
from rackrate.plan.question import ALIGNMENT, HOUR_S, Question

_ENGINES = {
    "genome-alignment": "SegAlign",
    "game-streaming": "game and NVENC",
    "rendering": "ray tracer",
    "video-transcode": "NVENC",
}
_SPEEDS = {
    "game-streaming": streaming_speed,
    "rendering": rendering_speed,
    "video-transcode": transcoding_speed,
}


def rough(
    question: Question, cards: Cards, sold: Mapping[int, tuple[int, ...]], left_out: LeftOut
) -> Options:
    """Return every card that does the work, see `learning` for the arguments."""
    found = []
    for at in able_cards(question, cards, {at: max(counts) for at, counts in sold.items()}, left_out):
        gpu = cards.gpus[at]
        try:
            for n in sold[at] if question.family == ALIGNMENT else (1,):
                speed, seconds = _speed(question, gpu, n)
                layout = "1 GPU" if n == 1 else f"{n} GPUs"
                found.append(Option(at, n, _ENGINES[question.workload], "", 0.0, layout, speed, seconds))
        except NoAnswer as error:
            left_out.note(error.message.replace(f"{gpu.slug} ", ""), gpu.slug)
    return Options(tuple(found))


def _speed(question: Question, gpu: Gpu, n_gpus: int) -> tuple[Estimate, float]:
    if question.family != ALIGNMENT:
        found = _SPEEDS[question.workload](gpu)
        return found, 1 / found.value
    hours = alignment_hours(gpu, n_gpus)
    value, low, high = (1 / (end * HOUR_S) for end in (hours.value, hours.high, hours.low))
    speed = replace(hours, value=value, low=low, high=high, unit="alignments/s")
    return speed, hours.value * HOUR_S
