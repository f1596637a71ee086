"""What can no engine beat? The time that the data sheet's own figures leave for a token or a prompt.

    floor = max(FLOP / peak, bytes / bandwidth), all GPUs of the group at once

Nothing is lost and nothing waits: no launches, no links, perfect overlap. A promise below it is kept by no
software on this card, so it is refused with the floor in the answer.
"""

from __future__ import annotations

from rackrate.perf.machine import Machine, numbers_of
from rackrate.perf.serving import Request
from rackrate.perf.step import Rates, Step, step
from rackrate.perf.work import Work

_INFINITE = 1e30  # bytes a second


def floor_ttft_s(work: Work, machine: Machine, request: Request) -> float:
    """Return the least time in which the machine can read a prompt, s; cached tokens cost nothing."""
    tokens = max(request.fresh_tokens, 1.0)
    seen = request.input_tokens - tokens / 2
    return _longer(step(work, ideal_rates(machine), tokens, seen, 0.0, 0.0)) / machine.pipeline


def floor_tpot_s(work: Work, machine: Machine, request: Request) -> float:
    """Return the least time between two tokens of a lone request, s.

    Stages of a pipeline work one after the other, so that they make no token come sooner.
    """
    context = request.input_tokens + request.output_tokens / 2
    return _longer(step(work, ideal_rates(machine), 0.0, 0.0, 1.0, context)) / float(request.tokens_a_step)


def ideal_rates(machine: Machine) -> Rates:
    """Return the rates of the data sheet, with links and software that take no time."""
    numbers, chip = numbers_of(machine), machine.chip
    return Rates(
        flops=numbers["flops"] / chip.reached_frac,
        attention_flops=numbers["attention_flops"] / chip.reached_frac,
        bandwidth=chip.bandwidth,
        kv_bandwidth=chip.bandwidth,
        link_bandwidth=_INFINITE,
        link_s=0.0,
        step_s=0.0,
        layer_s=0.0,
        expert_layer_s=0.0,
        sequence_s=0.0,
        tensor=machine.tensor,
    )


def _longer(part: Step) -> float:
    return max(float(part.compute), float(part.memory))
