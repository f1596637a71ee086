"""What does a unit of the result cost: a million tokens, an image, an hour of audio, a run?

A stream's price is what is paid an hour over what is done an hour, so that machines that wait cost too.
"""

from __future__ import annotations

from collections.abc import Mapping

from rackrate.plan.doubt import Ranged
from rackrate.plan.question import HOUR_S, IMAGES, SERVING, SPEECH, SWEEP, Question

MILLION = 1e6

TITLES: Mapping[str, str] = {
    "usd_per_mtok": "USD/Mtok",
    "usd_per_output_mtok": "USD/Mtok out",
    "usd_per_1000_images": "USD/1000 images",
    "usd_per_audio_hour": "USD/audio h",
    "usd_per_run": "USD/run",
    "usd_per_variant": "USD/variant",
    "usd_per_alignment": "USD/alignment",
    "usd_per_hour_of_one": "USD/h for one L40S's work",
}
"""Names of the units, for people."""


def units_an_hour(question: Question) -> dict[str, float]:
    """Return what a stream does in an hour at its load, by the name of the price of a unit."""
    per_hour = question.rate_per_s * HOUR_S
    if question.family == SERVING:
        both = question.input_tokens + question.output_tokens
        return {
            "usd_per_mtok": per_hour * both / MILLION,
            "usd_per_output_mtok": per_hour * question.output_tokens / MILLION,
        }
    if question.family == IMAGES:
        return {"usd_per_1000_images": per_hour / 1000}
    if question.family == SPEECH:
        return {"usd_per_audio_hour": per_hour / HOUR_S}
    return {"usd_per_hour_of_one": question.rate_per_s}


def unit_prices(
    question: Question, usd_per_hour: Ranged, hours: Ranged | None = None, egress_usd: float = 0.0
) -> dict[str, Ranged]:
    """Return the price of each unit.

    Args:
        question: what is asked.
        usd_per_hour: of all machines.
        hours: that a run takes, start included; None for a stream.
        egress_usd: traffic for the start of a run.
    """
    if hours is not None:
        ends = (hours.low, hours.value, hours.high)
        run = Ranged(*(usd_per_hour.value * each + egress_usd for each in ends))
        if question.is_in_parts:
            each = "usd_per_variant" if question.family == SWEEP else "usd_per_alignment"
            return {"usd_per_run": run, each: scaled(run, 1 / question.amount)}
        return {"usd_per_run": run}
    return {name: scaled(usd_per_hour, 1 / n) for name, n in units_an_hour(question).items()}


def scaled(ranged: Ranged, factor: float) -> Ranged:
    """Return a range multiplied."""
    return Ranged(ranged.low * factor, ranged.value * factor, ranged.high * factor)
