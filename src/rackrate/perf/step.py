"""How long a step of a language model takes on a group of GPUs.

    T = (compute^s + memory^s)^(1/s) + link + engine

    compute  FLOP of the matrices / (GPUs x peak x efficiency) + FLOP of attention / (the same in 16 bit)
    memory   bytes of weights and KV cache / (GPUs x bandwidth x efficiency)
    link     two all-reduces a layer: latency + 2 (n - 1) / n x message / (link x efficiency)
    engine   a time a step, a layer, a sequence and a token: scheduler, kernel launches, sampling

Compute and memory overlap, but not wholly: the longer of the two counts nearly alone (s about 3), and both
count where they are equal. Source: notes on speed, section 4.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rackrate.fit.term import larger, smaller
from rackrate.perf.work import Work

_PARTS = np.array(["compute", "memory", "link", "host"])
ACTIVATION_BYTES = 2  # what GPUs exchange is 16 bit, whatever the weights


@dataclass(frozen=True, slots=True)
class Rates:
    """How fast one GPU of a group and its engine are in practice. Fields may be arrays.

    Attributes:
        flops: of the linear layers, FLOP/s.
        attention_flops: of attention scores and values, FLOP/s.
        bandwidth: of reading weights, bytes/s.
        kv_bandwidth: of reading the KV cache, bytes/s.
        link_bandwidth: of an all-reduce's message (algorithm bandwidth), bytes/s.
        link_s: latency of an all-reduce, s.
        step_s: the engine's time a step, s.
        layer_s: a layer, s.
        expert_layer_s: more for a layer with routed experts, s.
        sequence_s: a running sequence, s.
        tensor: GPUs that share every layer.
        sharpness: `s` above.
    """

    flops: Any
    attention_flops: Any
    bandwidth: Any
    kv_bandwidth: Any
    link_bandwidth: Any
    link_s: Any
    step_s: Any
    layer_s: Any
    expert_layer_s: Any
    sequence_s: Any
    tensor: Any
    sharpness: Any = 3.0


@dataclass(frozen=True, slots=True)
class Step:
    """The parts of a step, s.

    Attributes:
        compute: of the matrices and attention.
        memory: of weights and KV cache.
        joined: of both together.
        link: between GPUs.
        engine: of the software.
    """

    compute: Any
    memory: Any
    joined: Any
    link: Any
    engine: Any

    @property
    def total(self) -> Any:
        """The whole step, s."""
        return self.joined + self.link + self.engine


def step(work: Work, rates: Rates, prompt: Any, seen: Any, batch: Any, context: Any) -> Step:
    """Return the time of one step.

    Args:
        work: of the model.
        rates: of GPU and engine.
        prompt: tokens of prompts in the step.
        seen: tokens that a prompt's token looks at on average (half the prompt, more in later chunks).
        batch: sequences that get one token each.
        context: tokens that each of these looks at.
    """
    tokens = prompt + batch
    sampled = batch + (prompt > 0)
    linear = 2 * (work.linear_params + work.expert_params) * tokens + 2 * work.head_params * sampled
    window = work.window
    pairs = work.pair_flop * (prompt * seen + batch * context) + work.window_pair_flop * (
        prompt * smaller(seen, window) + batch * smaller(context, window)
    )
    compute = (linear / rates.flops + pairs / rates.attention_flops) / rates.tensor
    weights = work.linear_bytes + work.head_bytes + work.expert_bytes * work.experts_read(tokens)
    weights = weights + work.unpack_bytes * (tokens > 1)
    cache = batch * (
        work.token_bytes * context + work.window_token_bytes * smaller(context, window) + work.state_bytes
    )
    memory = (weights / rates.bandwidth + cache / rates.kv_bandwidth) / rates.tensor
    s = rates.sharpness
    top = larger(compute, memory)  # factored out: a high power of a small time would be 0
    joined = top * ((compute / top) ** s + (memory / top) ** s) ** (1 / s)
    message = tokens * work.hidden_size * ACTIVATION_BYTES
    link = 2 * work.n_layers * (rates.link_s + message / rates.link_bandwidth) * (rates.tensor > 1)
    engine = (
        rates.step_s
        + work.n_layers * rates.layer_s
        + work.n_expert_layers * rates.expert_layer_s
        + batch * rates.sequence_s
    )
    return Step(compute, memory, joined, link, engine)


def limit_of(step: Step, *, is_full: Any) -> Any:
    """Return what holds a step up most, one of `rackrate.perf.estimate.LIMITS`.

    Args:
        step: its parts; arrays give an array.
        is_full: whether requests wait for room.
    """
    each = step.compute, step.memory, step.link, step.engine
    if not any(map(np.ndim, (*each, is_full))):  # a lone number takes a fiftieth of the time
        return "KV room" if is_full else str(_PARTS[each.index(max(each))])
    parts = np.array(np.broadcast_arrays(*each))
    return np.where(is_full, "KV room", _PARTS[parts.argmax(axis=0)])
