"""How much travels between machines and the rest of the world, in GB (1e9 bytes)?

    a stream   results an hour x bytes of one                                   an hour
    a run      weights, received by each machine; sent once where all of them were trained

Left out: container images (registries beside the machines serve them), what trained data and genomes are
fetched, adapters, logs, and the pictures of a game: nobody says how much that is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

from rackrate.plan import estimate
from rackrate.plan.question import HOUR_S, IMAGES, SERVING, SPEECH, TRAINING, Question

BYTES_PER_GB = 1e9
_NARROW = ("finetune-lora", "finetune-qlora")
"""Runs whose result is an adapter: a hundredth of the weights, and less."""


known = partial(estimate.known, "traffic")


@dataclass(frozen=True, slots=True)
class Traffic:
    """What all machines together send and receive: an hour of a stream, or all of a run.

    Attributes:
        sent_gb: to the internet.
        received_gb: from it.
    """

    sent_gb: Any
    received_gb: Any


def traffic(question: Question, weights_gb: Any, machines: Any) -> Traffic:
    """Return what travels.

    Args:
        question: what is asked.
        weights_gb: of a copy of the model; a number or an array.
        machines: that work at once; likewise.
    """
    if question.is_run:
        is_all_trained = question.family == TRAINING and question.workload not in _NARROW
        return Traffic(weights_gb * is_all_trained, weights_gb * machines)
    sent, received = _bytes_of_one(question)
    per_hour = question.rate_per_s * HOUR_S / BYTES_PER_GB
    return Traffic(weights_gb * 0 + sent * per_hour, weights_gb * 0 + received * per_hour)


def _bytes_of_one(question: Question) -> tuple[float, float]:
    """Return the bytes sent and received for one result of a stream."""
    if question.family == SERVING:
        is_streamed = question.promise.tpot_s < math.inf
        sent = known("streamed_bytes_per_token" if is_streamed else "text_bytes_per_token").value
        return sent * question.output_tokens, known("text_bytes_per_token").value * question.input_tokens
    if question.family == IMAGES:
        return known("sent_bytes_per_pixel").value * question.pixels, 0.0
    if question.family == SPEECH:
        return 0.0, known("received_bytes_per_audio_s").value
    return 0.0, 0.0
