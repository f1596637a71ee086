"""Work: FLOP and bytes by hand from the configs of models, and what quantisation changes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.fit.precision import find_precision
from rackrate.perf.work import Work, work_of
from rackrate.sizing import find_weights

LLAMA_8B_LAYER = 4096 * 4096 * 2 + 4096 * 1024 * 2 + 3 * 4096 * 14336  # q and o, k and v, three of the MLP
LLAMA_8B_HEAD = 128_256 * 4096


def work(slug: str, precision: str = "bf16", kv: str = "fp16") -> Work:
    return work_of(find_weights(slug).arch, find_precision(precision), kv)


def test_llama_8b_asks_for_two_flop_a_parameter_without_the_embedding() -> None:
    """8.03e9 parameters, of which the embedding table is looked up: 2 x 7.50e9 FLOP a token."""
    found = work("llama-3.1-8b")
    met = found.linear_params + found.head_params
    assert met == pytest.approx(32 * LLAMA_8B_LAYER + LLAMA_8B_HEAD, rel=1e-4)  # norms make the rest
    assert 2 * met == pytest.approx(2 * 7.50e9, rel=0.002)


def test_llama_8b_reads_15_gb_a_step_and_keeps_128_kib_a_token() -> None:
    found = work("llama-3.1-8b")
    assert found.linear_bytes + found.head_bytes == pytest.approx(15.0e9, rel=0.002)
    assert found.token_bytes == 131_072
    assert found.pair_flop == 4 * 32 * 128 * 32  # heads x head dim, in each of 32 layers
    assert (found.n_experts, found.expert_params, found.unpack_bytes, found.state_bytes) == (1, 0, 0, 0)


def test_an_8_bit_cache_is_half() -> None:
    assert work("llama-3.1-8b", kv="fp8").token_bytes == 65_536


@pytest.mark.parametrize(("precision", "bytes_each"), [("fp8", 1.0), ("int4", 4.16 / 8), ("bf16", 2.0)])
def test_weights_are_read_as_they_are_stored(precision: str, bytes_each: float) -> None:
    found = work("llama-3.1-70b", precision)
    assert found.linear_bytes / found.linear_params == pytest.approx(bytes_each, rel=0.01)
    assert found.head_bytes == pytest.approx(2 * 128_256 * 8192, rel=1e-6)  # engines leave it wide


def test_a_tied_model_reads_its_embedding_as_output_matrix() -> None:
    """Llama 3.2 1B has one matrix of 128,256 x 2,048 for both."""
    assert work("llama-3.2-1b").head_params == 128_256 * 2048


def test_mixtral_meets_two_of_eight_experts() -> None:
    """46.7e9 parameters, 12.9e9 active: an expert has 3 x 4,096 x 14,336 in each of 32 layers."""
    found = work("mixtral-8x7b")
    expert = 3 * 4096 * 14336 * 32
    assert (found.n_experts, found.n_chosen, found.n_expert_layers) == (8, 2, 32)
    assert found.expert_params == pytest.approx(2 * expert)
    assert found.expert_bytes == pytest.approx(2 * 8 * expert)
    active = found.linear_params + found.head_params + found.expert_params + 32_000 * 4096
    assert active == pytest.approx(12.88e9, rel=0.002)


def test_experts_read_by_hand() -> None:
    found = work("mixtral-8x7b")
    assert found.experts_read(1) == pytest.approx(2 / 8)
    assert found.experts_read(2) == pytest.approx(1 - 0.75**2)
    assert found.experts_read(64) > 0.999


def test_a_window_bounds_what_most_layers_of_gemma_look_at() -> None:
    """52 layers of 62 look back 1,024 tokens, with 32 heads of 128."""
    found = work("gemma-3-27b")
    assert found.window == 1024
    assert found.window_pair_flop == 4 * 32 * 128 * 52
    assert found.pair_flop == 4 * 32 * 128 * 10
    assert found.window_token_bytes / found.token_bytes == pytest.approx(5.2)


def test_nf4_writes_wide_weights_out_for_more_than_one_token() -> None:
    found = work("llama-3.1-8b", "nf4")
    assert found.unpack_bytes == pytest.approx(4 * found.linear_params)


@given(st.sampled_from(["mixtral-8x7b", "qwen3-30b-a3b", "llama-3.1-8b"]), st.integers(1, 4000))
def test_more_tokens_choose_more_experts_and_never_more_than_all(slug: str, tokens: int) -> None:
    found = work(slug)
    assert found.n_chosen / found.n_experts <= found.experts_read(tokens) + 1e-12
    assert found.experts_read(tokens) <= found.experts_read(tokens + 1) <= 1
