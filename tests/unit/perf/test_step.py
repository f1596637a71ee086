"""A step: sums by hand on a small model, limits at both ends, and what must hold for any."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.perf.step import Rates, Step, step
from rackrate.perf.work import Work

WORK = Work(
    linear_params=1e9, linear_bytes=2e9, head_params=1e8, head_bytes=2e8, expert_params=0.0, expert_bytes=0.0,
    n_experts=1.0, n_chosen=1.0, pair_flop=1e5, window_pair_flop=0.0, token_bytes=1e5, window_token_bytes=0.0,
    window=1.0, unpack_bytes=0.0, state_bytes=0.0, n_layers=20.0, n_expert_layers=0.0, hidden_size=2048.0,
)  # fmt: skip
RATES = Rates(
    flops=1e14, attention_flops=5e13, bandwidth=1e12, kv_bandwidth=8e11, link_bandwidth=2e10, link_s=1e-5,
    step_s=1e-3, layer_s=5e-5, expert_layer_s=1e-4, sequence_s=1e-5, tensor=1.0, sharpness=3.0,
)  # fmt: skip


def test_a_decode_step_by_hand() -> None:
    found = step(WORK, RATES, 0.0, 0.0, 8.0, 1000.0)
    compute = (2 * 1e9 * 8 + 2 * 1e8 * 8) / 1e14 + 1e5 * 8 * 1000 / 5e13
    memory = 2.2e9 / 1e12 + 8 * 1000 * 1e5 / 8e11
    assert found.compute == pytest.approx(compute)
    assert found.memory == pytest.approx(memory)
    assert found.joined == pytest.approx((compute**3 + memory**3) ** (1 / 3))
    assert found.engine == pytest.approx(1e-3 + 20 * 5e-5 + 8e-5)
    assert found.link == 0
    assert found.total == pytest.approx(found.joined + found.engine)


def test_a_prompt_samples_one_token_and_looks_at_half_of_itself() -> None:
    found = step(WORK, RATES, 1000.0, 500.0, 0.0, 0.0)
    assert found.compute == pytest.approx((2 * 1e9 * 1000 + 2 * 1e8) / 1e14 + 1e5 * 1000 * 500 / 5e13)
    assert found.memory == pytest.approx(2.2e-3)


def test_two_gpus_halve_the_work_and_pay_two_all_reduces_a_layer() -> None:
    one, two = (step(WORK, replace(RATES, tensor=n), 0.0, 0.0, 8.0, 1000.0) for n in (1.0, 2.0))
    assert two.compute == pytest.approx(one.compute / 2)
    assert two.memory == pytest.approx(one.memory / 2)
    assert two.link == pytest.approx(2 * 20 * (1e-5 + 8 * 2048 * 2 / 2e10))
    assert two.engine == one.engine


def test_experts_are_read_as_far_as_they_are_chosen() -> None:
    moe = replace(
        WORK, expert_params=4e8, expert_bytes=3.2e9, n_experts=8.0, n_chosen=2.0, n_expert_layers=20.0
    )
    one = step(moe, RATES, 0.0, 0.0, 1.0, 0.0)
    assert one.memory == pytest.approx((2.2e9 + 3.2e9 / 4) / 1e12)
    assert one.engine == pytest.approx(1e-3 + 20 * 5e-5 + 20 * 1e-4 + 1e-5)


def test_widening_costs_a_lone_token_nothing() -> None:
    packed = replace(WORK, unpack_bytes=4e9)
    assert step(packed, RATES, 0.0, 0.0, 1.0, 0.0).memory == step(WORK, RATES, 0.0, 0.0, 1.0, 0.0).memory
    assert step(packed, RATES, 0.0, 0.0, 2.0, 0.0).memory == pytest.approx(
        step(WORK, RATES, 0.0, 0.0, 2.0, 0.0).memory + 4e-3
    )


def test_a_window_caps_cache_and_attention() -> None:
    windowed = replace(WORK, window_token_bytes=5e5, window_pair_flop=5e5, window=1024.0)
    inside, at, beyond = (step(windowed, RATES, 0.0, 0.0, 4.0, c) for c in (512.0, 1024.0, 8192.0))
    assert at.memory - inside.memory == pytest.approx(4 * 512 * 6e5 / 8e11)
    assert beyond.memory - at.memory == pytest.approx(4 * 7168 * 1e5 / 8e11)


few = settings(max_examples=60)
tokens, batches, contexts = st.integers(0, 8192), st.integers(1, 512), st.integers(0, 100_000)
faster = st.sampled_from(["flops", "attention_flops", "bandwidth", "kv_bandwidth", "link_bandwidth"])


@few
@given(tokens, batches, contexts, faster, st.floats(1, 10), st.sampled_from([1.0, 2.0, 8.0]))
def test_faster_hardware_is_never_slower(
    prompt: int, batch: int, context: int, what: str, gain: float, n: float
) -> None:
    rates = replace(RATES, tensor=n)
    better = replace(rates, **{what: getattr(rates, what) * gain})
    asked = (float(prompt), prompt / 2, float(batch), float(context))
    assert step(WORK, better, *asked).total <= step(WORK, rates, *asked).total * (1 + 1e-12)


@few
@given(tokens, batches, contexts)
def test_compute_and_memory_overlap_in_part(prompt: int, batch: int, context: int) -> None:
    found = step(WORK, RATES, float(prompt), prompt / 2, float(batch), float(context))
    longer, both = max(found.compute, found.memory), found.compute + found.memory
    assert longer * (1 - 1e-9) <= found.joined <= both


@few
@given(st.lists(st.tuples(tokens, batches, contexts), min_size=1, max_size=6))
def test_arrays_equal_one_by_one(asked: list[tuple[int, int, int]]) -> None:
    prompt, batch, context = (np.array(column, float) for column in zip(*asked, strict=True))
    together = step(WORK, RATES, prompt, prompt / 2, batch, context)
    for i, (p, b, c) in enumerate(asked):
        alone = step(WORK, RATES, float(p), p / 2, float(b), float(c))
        for each in fields(Step):
            value = np.broadcast_to(getattr(together, each.name), prompt.shape)[i]
            assert value == pytest.approx(getattr(alone, each.name), rel=1e-12)
