"""A server: the laws of queues, by hand on a simple machine, and what must hold for any load."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.perf.serving import (
    Habits,
    Request,
    Target,
    at_rate,
    capacity,
    decode,
    prefill_s,
    prefill_step,
    serve,
    static_tokens_per_s,
    unloaded_ttft_s,
)
from rackrate.perf.step import Rates
from rackrate.perf.work import Work

WORK = Work(
    linear_params=7e9, linear_bytes=14e9, head_params=5e8, head_bytes=1e9, expert_params=0.0,
    expert_bytes=0.0, n_experts=1.0, n_chosen=1.0, pair_flop=5e5, window_pair_flop=0.0, token_bytes=131072.0,
    window_token_bytes=0.0, window=1.0, unpack_bytes=0.0, state_bytes=0.0, n_layers=32.0, n_expert_layers=0.0,
    hidden_size=4096.0,
)  # fmt: skip
RATES = Rates(
    flops=2.5e14, attention_flops=1.2e14, bandwidth=8e11, kv_bandwidth=6e11, link_bandwidth=2e10, link_s=1e-5,
    step_s=2e-4, layer_s=4e-5, expert_layer_s=0.0, sequence_s=3e-6, tensor=1.0, sharpness=2.0,
)  # fmt: skip
HABITS = Habits(chunk_tokens=2048, ramp_tokens=24.0, request_s=0.009, wait=0.5, burst=0.1)
ASKED = Request(1000.0, 300.0)
ROOM = 165.0


def served(concurrency: float, room: float = ROOM, request: Request = ASKED, habits: Habits = HABITS) -> Any:
    return serve(WORK, RATES, habits, request, concurrency, room)


def test_a_lone_request_takes_its_prompt_and_its_steps() -> None:
    found = served(1.0)
    step_s = decode(WORK, RATES, HABITS, 1.0, 1150.0).total
    assert found.tpot_s == pytest.approx(step_s)
    assert found.ttft_s == pytest.approx(0.009 + prefill_s(WORK, RATES, HABITS, 1000.0))
    assert (found.waiting_s, found.is_full) == (0, False)


def test_a_prompt_of_several_chunks_takes_as_many_steps() -> None:
    one, n = prefill_step(WORK, RATES, HABITS, 6000.0)
    assert n == math.ceil(6000 / 2048)
    assert prefill_s(WORK, RATES, HABITS, 6000.0) == pytest.approx(n * one.total)
    assert unloaded_ttft_s(WORK, RATES, HABITS, 6000.0) == pytest.approx(0.009 + n * one.total)


def test_chunks_follow_each_other_through_a_pipeline() -> None:
    """Three chunks through two stages take four turns of half the work, not six."""
    whole = replace(HABITS, stages=2, stage_gain=1.0)
    one, n = prefill_step(WORK, RATES, whole, 6000.0)
    assert prefill_s(WORK, RATES, whole, 6000.0) == pytest.approx(n * one.total * 4 / 6)
    none = replace(whole, stage_gain=0.0)
    assert prefill_s(WORK, RATES, none, 6000.0) == pytest.approx(n * one.total)


@pytest.mark.parametrize("concurrency", [2.0, 16.0, 100.0, 165.0])
def test_littles_law_holds(concurrency: float) -> None:
    """Requests in the server = requests a second x seconds that each is there, within the model's means."""
    found = served(concurrency)
    rate = found.output_tokens_per_s / ASKED.output_tokens
    there_s = found.ttft_s + (ASKED.output_tokens - 1) * found.tpot_s
    assert rate * there_s == pytest.approx(concurrency, rel=0.05)


def test_beyond_the_room_requests_wait_for_a_place() -> None:
    full, over = served(ROOM), served(2 * ROOM)
    assert over.output_tokens_per_s == pytest.approx(full.output_tokens_per_s)
    assert over.is_full
    assert not full.is_full
    cycle_s = ROOM * ASKED.output_tokens / full.output_tokens_per_s - HABITS.request_s
    assert over.ttft_s - full.ttft_s == pytest.approx(cycle_s)


def test_a_cached_prompt_begins_sooner_and_steps_yield_more_by_speculation() -> None:
    cached, fast = replace(ASKED, cached_frac=0.9), replace(ASKED, tokens_a_step=2.0)
    assert served(1.0, request=cached).ttft_s < served(1.0).ttft_s
    assert served(1.0, request=fast).tpot_s == pytest.approx(served(1.0).tpot_s / 2)


def test_static_batching_by_hand() -> None:
    """A batch reads 4 x 500 tokens in one chunk, then makes 100 steps."""
    asked = Request(500.0, 100.0)
    habits = replace(HABITS, ramp_tokens=0.0)
    prompt_s = prefill_step(WORK, RATES, replace(habits, chunk_tokens=4096), 2000.0)[0]
    step_s = decode(WORK, RATES, habits, 4.0, 550.0).total
    found = static_tokens_per_s(WORK, RATES, habits, asked, 4.0)
    assert found == pytest.approx(400 / (prompt_s.total + 100 * step_s), rel=0.02)  # attention sees less


loads = st.integers(1, 400)
lengths = st.tuples(st.integers(1, 30_000), st.integers(1, 4000)).map(
    lambda n: Request(float(n[0]), float(n[1]))
)
few = settings(max_examples=60)


@few
@given(lengths, loads, st.integers(1, 400))
def test_more_requests_never_raise_the_tokens_that_each_gets(request_: Request, n: int, more: int) -> None:
    one, other = served(float(n), 1e6, request_), served(float(n + more), 1e6, request_)
    each = one.output_tokens_per_s / n, other.output_tokens_per_s / (n + more)
    assert each[1] <= each[0] * (1 + 1e-6)


@few
@given(lengths, loads)
def test_no_further_token_comes_sooner_than_a_step(request_: Request, n: int) -> None:
    found = served(float(n), 1e6, request_)
    assert found.tpot_s >= found.step.total * (1 - 1e-9)


@few
@given(lengths, loads, st.floats(1, 500), st.floats(0, 500))
def test_throughput_never_falls_when_room_grows(request_: Request, n: int, room: float, more: float) -> None:
    small, large = (served(float(n), r, request_).output_tokens_per_s for r in (room, room + more))
    assert large >= small * (1 - 1e-6)


@few
@given(st.integers(1, 60_000), st.integers(1, 60_000))
def test_a_longer_prompt_never_begins_sooner(a: int, b: int) -> None:
    short, long = sorted((a, b))
    first, then = (unloaded_ttft_s(WORK, RATES, HABITS, float(n)) for n in (short, long))
    assert first <= then * (1 + 0.02)  # of two prompts about as long the one with fewer chunks may be first


@few
@given(lengths, loads, st.floats(1, 8))
def test_a_faster_memory_never_slows_a_server(request_: Request, n: int, gain: float) -> None:
    better = replace(RATES, bandwidth=RATES.bandwidth * gain, kv_bandwidth=RATES.kv_bandwidth * gain)
    slow, fast = (serve(WORK, r, HABITS, request_, float(n), ROOM) for r in (RATES, better))
    assert fast.output_tokens_per_s >= slow.output_tokens_per_s * (1 - 1e-9)
    assert fast.tpot_s <= slow.tpot_s * (1 + 1e-9)


@few
@given(
    lengths, st.floats(0.02, 10), st.floats(0.005, 0.3), st.sampled_from([0.5, 0.9, 0.99]), st.floats(1, 300)
)
def test_capacity_meets_its_target_and_a_little_more_does_not(
    request_: Request, ttft_s: float, tpot_s: float, share: float, room: float
) -> None:
    target = Target(ttft_s, tpot_s, share)
    found, is_kept = capacity(WORK, RATES, HABITS, request_, target, room)
    assert bool(target.is_met(found)) == bool(is_kept)
    if not is_kept:
        assert not target.is_met(served(1.0, room, request_))
    elif found.batch < room * 0.99:
        assert not target.is_met(served(float(found.batch) * 1.02 + 1, room, request_))


@few
@given(lengths, st.floats(0.001, 20))
def test_a_rate_is_served_by_the_fewest_requests_that_give_it(request_: Request, rate: float) -> None:
    found = at_rate(WORK, RATES, HABITS, request_, rate, ROOM)
    reached = found.output_tokens_per_s / request_.output_tokens
    most = serve(WORK, RATES, HABITS, request_, ROOM, ROOM)
    if reached < rate * (1 - 1e-6):
        assert found.output_tokens_per_s >= most.output_tokens_per_s * (1 - 1e-2)
    elif found.batch > 1.01:
        fewer = serve(WORK, RATES, HABITS, request_, float(found.batch) * 0.99, ROOM)
        assert fewer.output_tokens_per_s / request_.output_tokens < rate


@few
@given(st.lists(st.tuples(lengths, loads), min_size=1, max_size=6))
def test_arrays_equal_one_by_one(asked: list[tuple[Request, int]]) -> None:
    columns = {
        f.name: np.array([getattr(request_, f.name) for request_, _ in asked], float) for f in fields(Request)
    }
    together = serve(WORK, RATES, HABITS, Request(**columns), np.array([float(n) for _, n in asked]), ROOM)
    for i, (request_, n) in enumerate(asked):
        alone = served(float(n), ROOM, request_)
        for name in ("batch", "output_tokens_per_s", "ttft_s", "waiting_s", "tpot_s", "prompt_frac"):
            assert getattr(together, name)[i] == pytest.approx(float(getattr(alone, name)), rel=1e-12), name


def test_capacity_finds_each_of_an_array() -> None:
    rates = replace(RATES, bandwidth=np.array([4e11, 8e11, 3e12]))
    target = Target(ttft_s=1.0, tpot_s=0.04)
    together, kept = capacity(WORK, rates, HABITS, ASKED, target, ROOM)
    for i, bandwidth in enumerate(rates.bandwidth):
        one = replace(RATES, bandwidth=float(bandwidth))
        alone, is_kept = capacity(WORK, one, HABITS, ASKED, target, ROOM)
        assert bool(kept[i]) == bool(is_kept)
        assert together.batch[i] == pytest.approx(float(alone.batch), rel=1e-6)


def test_without_room_nothing_is_kept() -> None:
    _, is_kept = capacity(WORK, RATES, HABITS, ASKED, Target(), 0.5)
    assert not is_kept


@pytest.mark.parametrize("share", [1.0, 0.5, 1e-4])
@pytest.mark.parametrize("request_", [ASKED, Request(3232.0, 16.0), Request(1.0, 2000.0)])
def test_a_promise_that_one_request_keeps_is_kept_at_the_rate_that_it_gives(
    request_: Request, share: float
) -> None:
    """Two requests that are hardly two would break it: they wait for each other's prompts."""
    alone = served(1.0, request=request_)
    target = Target(ttft_s=float(alone.ttft_s), tpot_s=float(alone.tpot_s), percentile=0.99)
    found, is_met = capacity(WORK, RATES, HABITS, request_, target, ROOM)
    assert is_met
    rate = share * found.output_tokens_per_s / request_.output_tokens
    again = at_rate(WORK, RATES, HABITS, request_, rate, ROOM)
    assert again.tpot_s <= target.tpot_s * (1 + 1e-9)
    assert again.ttft_s <= target.ttft_s * (1 + 1e-9)
