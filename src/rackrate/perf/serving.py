"""How a server does under a load: tokens a second, time to first token, time for each further token.

A request brings `input` prompt tokens and takes `output` steps. With `B` requests running, prompts are worked
off in chunks that ride along with the decode steps of the others (continuous batching):

    chunk      as many prompt tokens as come together: min(limit, max(input, B x input / output))
    cycle      the time in which every running request is answered once:
               decode steps + chunks of prompt, each with all B sequences
    tokens/s   B x output / (cycle + time a request); a pipeline has a batch of its own in each stage
    TPOT       cycle / output, less the own prompt's share
    TTFT       time a request + own chunks + half a step that is under way + waiting for others' prompts
               + waiting for a place where more requests come than have room

All functions take numbers or arrays. Source: notes on speed, 4.2 to 4.4; the waiting times are those of a
queue with one server (Pollaczek-Khinchine), scaled by factors that are fitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from rackrate.perf.step import Rates, Step, step
from rackrate.perf.work import Work

MAX_SEQUENCES = 2048  # no engine's default runs more at once
HOP_S = 1e-4  # handing the activations to the next stage of a pipeline
LANE_GAIN = 0.37  # of a stage that is added, as seen on eight
BUSIEST = 0.97  # share of time in prompts above which a queue's formula says nothing
CHUNK_TOKENS: Mapping[str, int] = {"llama.cpp": 512}
"""Prompt tokens that an engine takes in one step, where it is not `USUAL_CHUNK`."""
USUAL_CHUNK = 8192


@dataclass(frozen=True, slots=True)
class Habits:
    """What an engine does beside its steps. Fields may be arrays.

    Attributes:
        chunk_tokens: prompt tokens in one step at most.
        ramp_tokens: tokens whose time a chunk of prompt takes on top: kernels are slow on short ones.
        request_s: before the first token, whatever the prompt: HTTP, tokeniser, scheduler.
        wait: steps under way that a new request waits for.
        burst: waiting for others' prompts, as a share of what an M/M/1 queue says.
        wave: how far requests come all at once: 0 one by one, 1 all in one moment.
        stages: GPUs (or groups) in a pipeline.
        stage_gain: how much of the gain of a full pipeline is reached, 0 to 1.
    """

    chunk_tokens: Any = USUAL_CHUNK
    ramp_tokens: Any = 0.0
    request_s: Any = 0.0
    wait: Any = 0.5
    burst: Any = 0.5
    wave: Any = 0.0
    stages: Any = 1
    stage_gain: Any = 0.5


@dataclass(frozen=True, slots=True)
class Request:
    """What a request asks for. Fields may be arrays.

    Attributes:
        input_tokens: of its prompt.
        output_tokens: of its answer.
        cached_frac: share of the prompt whose KV cache is there already (prefix caching), 0 to 1.
        tokens_a_step: tokens that a step yields: above 1 with speculative decoding.
    """

    input_tokens: Any
    output_tokens: Any
    cached_frac: Any = 0.0
    tokens_a_step: Any = 1.0

    @property
    def fresh_tokens(self) -> Any:
        """Of the prompt, what has to be read."""
        return self.input_tokens * (1 - self.cached_frac)


@dataclass(frozen=True, slots=True)
class Served:
    """A server under a load. Fields may be arrays.

    Attributes:
        batch: requests that run at once.
        output_tokens_per_s: of all requests together.
        ttft_s: mean time to the first token.
        waiting_s: of that, what is waiting for others and varies from request to request.
        tpot_s: mean time of each further token.
        prompt_frac: share of the time that goes to prompts, 0 to 1.
        step: a decode step at this batch, in its parts.
        is_full: whether requests wait for a place (KV room or the engine's limit).
    """

    batch: Any
    output_tokens_per_s: Any
    ttft_s: Any
    waiting_s: Any
    tpot_s: Any
    prompt_frac: Any
    step: Step
    is_full: Any


def decode(work: Work, rates: Rates, habits: Habits, batch: Any, context: Any) -> Step:
    """Return a step that gives each of `batch` sequences one token after `context` tokens."""
    return _staged(step(work, rates, 0.0, 0.0, batch, context), habits)


def prefill_step(work: Work, rates: Rates, habits: Habits, tokens: Any) -> tuple[Step, Any]:
    """Return a step with a chunk of a lone prompt, and how many of them the prompt takes."""
    tokens = np.maximum(tokens, 1.0)
    chunks = np.ceil(tokens / habits.chunk_tokens)
    part = step(work, rates, tokens / chunks + habits.ramp_tokens, tokens / 2, 0.0, 0.0)
    return _staged(part, habits), chunks


def prefill_s(work: Work, rates: Rates, habits: Habits, tokens: Any) -> Any:
    """Return the time of a prompt that has the machine to itself, s."""
    part, chunks = prefill_step(work, rates, habits, tokens)
    ideal = chunks * habits.stages / (chunks + habits.stages - 1)  # chunks follow each other through stages
    gain = np.where(np.asarray(habits.stages) > 1, 1 + (ideal - 1) * habits.stage_gain, 1.0)
    return part.total * chunks / gain


def unloaded_ttft_s(work: Work, rates: Rates, habits: Habits, tokens: Any) -> Any:
    """Return the time to first token of a lone request, s."""
    return habits.request_s + prefill_s(work, rates, habits, tokens)


def serve(work: Work, rates: Rates, habits: Habits, request: Request, concurrency: Any, room: Any) -> Served:
    """Return what a server does when `concurrency` requests are in it all the time.

    Args:
        work: of the model.
        rates: of GPU and engine.
        habits: of the engine.
        request: what each asks for.
        concurrency: requests that are there, waiting ones counted.
        room: requests whose KV cache fits.
    """
    whole = np.maximum(request.input_tokens, 1.0)
    n_in = np.maximum(request.fresh_tokens, 1.0)
    n_out = np.maximum(request.output_tokens, 1.0)
    n_steps = n_out / request.tokens_a_step
    batch = np.clip(np.minimum(concurrency, room), 1.0, MAX_SEQUENCES)
    context = whole + n_out / 2
    each = batch / lanes(habits, batch)
    plain = decode(work, rates, habits, each, context)
    chunk = np.minimum(habits.chunk_tokens, np.maximum(n_in, each * n_in / n_steps))
    n_chunks = each * n_in / chunk
    answering = each * np.minimum(1.0, n_steps / n_chunks)  # fewer, where there are more chunks than steps
    mixed = step(work, rates, chunk + habits.ramp_tokens, whole - n_in / 2, answering, context)
    chunk_s = _staged(mixed, habits).total
    cycle = np.maximum(n_steps - n_chunks, 0.0) * plain.total + n_chunks * chunk_s
    prompt_frac = np.minimum(n_chunks * chunk_s / cycle, BUSIEST)
    own = np.maximum(n_in / chunk, 1.0) * chunk_s
    queued = habits.burst * prompt_frac / (1 - prompt_frac) * (batch - 1) / batch
    place = np.maximum(concurrency / batch - 1, 0.0) * cycle
    under_way = habits.wait * cycle / np.maximum(n_steps, n_chunks)
    is_alone = np.asarray(batch) <= 1
    waiting = np.where(is_alone, 0.0, own * (queued + habits.wave * (batch - 1)) + under_way) + place
    step_s = plain.total / request.tokens_a_step  # no further token comes sooner, however short the answer
    start = np.where(is_alone, prefill_s(work, rates, habits, n_in), own)
    return Served(
        batch=batch,
        output_tokens_per_s=batch * n_out / (cycle + habits.request_s),
        ttft_s=habits.request_s + start + waiting,
        waiting_s=waiting,
        tpot_s=np.where(is_alone, step_s, np.maximum((cycle - own / 2) / n_out, step_s)),
        prompt_frac=prompt_frac,
        step=plain,
        is_full=np.asarray(concurrency) > batch,
    )


def lanes(habits: Habits, batch: Any) -> Any:
    """Return how many batches a pipeline works on at the same time, each in another stage.

    Source: TensorRT-LLM's figures of eight RTX PRO 6000, whose pipeline serves 3.6 times what one card does
    (Llama 3.3 70B in FP4, 128 tokens in and out), where eight full lanes would serve 8 times.
    """
    return np.minimum(1 + (habits.stages - 1) * LANE_GAIN, batch)


def static_tokens_per_s(work: Work, rates: Rates, habits: Habits, request: Request, batch: Any) -> Any:
    """Return tokens a second of a batch that starts and ends together (static batching)."""
    tokens = batch * np.maximum(request.input_tokens, 1.0)
    chunk = np.minimum(tokens, habits.chunk_tokens)
    part = step(work, rates, chunk + habits.ramp_tokens, request.input_tokens / 2, 0.0, 0.0).total
    context = request.input_tokens + request.output_tokens / 2
    each = decode(work, rates, habits, batch, context).total
    return batch * request.output_tokens / (part * tokens / chunk + request.output_tokens * each)


@dataclass(frozen=True, slots=True)
class Target:
    """What users are promised.

    Attributes:
        ttft_s: time to first token at most.
        tpot_s: time of each further token at most.
        percentile: share of requests whose first token must come in time, 0 to 1; 0.5 is the mean's side.
    """

    ttft_s: float = float("inf")
    tpot_s: float = float("inf")
    percentile: float = 0.5

    def is_met(self, served: Served) -> Any:
        """Tell whether a server keeps the promise. Waiting is taken as exponentially distributed."""
        late = -np.log(1 - self.percentile) * served.waiting_s
        in_time = served.ttft_s - served.waiting_s + late <= self.ttft_s
        return in_time & (served.tpot_s <= self.tpot_s)


_NEARLY = 1e-9  # a rate that was reckoned from what one request gives is given by one
_HALVINGS = 14  # of a range of 1 to 2,048: the batch is found to a thousandth


def capacity(
    work: Work, rates: Rates, habits: Habits, request: Request, target: Target, room: Any
) -> tuple[Served, Any]:
    """Return a server at the most requests with which it keeps its promise, and whether it keeps it at all.

    Where it cannot keep it even for one request, what it does for one is returned. More requests never
    shorten a step or the wait, so halving finds the most; `room` below 1 means that nothing fits.
    """
    most = np.clip(room, 1.0, MAX_SEQUENCES) * np.ones_like(np.asarray(rates.bandwidth, float))
    low, high = np.zeros_like(most), np.log(most)

    def at(exponent: Any) -> Served:
        return serve(work, rates, habits, request, np.exp(exponent), room)

    is_all = target.is_met(at(high))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_met = target.is_met(at(middle))
        low, high = np.where(is_met, middle, low), np.where(is_met, high, middle)
    served = at(np.where(is_all, np.log(most), low))
    return served, target.is_met(served) & (np.asarray(room) >= 1)


def at_rate(
    work: Work, rates: Rates, habits: Habits, request: Request, requests_per_s: Any, room: Any
) -> Served:
    """Return a server to which requests come at a rate that it can serve, one by one.

    The number in it is the least that gives the rate (Little's law), and one where one gives it: a request
    that is alone waits for nobody, which two that are hardly two would. At a rate above what it can serve,
    it is full and requests wait.
    """
    wanted = requests_per_s * np.maximum(request.output_tokens, 1.0)
    most = np.clip(room, 1.0, MAX_SEQUENCES) * np.ones_like(np.asarray(rates.bandwidth, float))
    low, high = np.zeros_like(most), np.log(most)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        is_enough = serve(work, rates, habits, request, np.exp(middle), room).output_tokens_per_s >= wanted
        low, high = np.where(is_enough, low, middle), np.where(is_enough, middle, high)
    alone = serve(work, rates, habits, request, np.ones_like(most), room)
    is_alone = alone.output_tokens_per_s * (1 + _NEARLY) >= wanted
    return serve(work, rates, habits, request, np.where(is_alone, 1.0, np.exp(high)), room)


def _staged(part: Step, habits: Habits) -> Step:
    hops = (habits.stages - 1) * HOP_S
    return Step(part.compute, part.memory, part.joined, part.link, part.engine + hops)
