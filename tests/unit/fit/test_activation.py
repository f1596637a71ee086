"""Activation peaks against vLLM's own profiles and measured prefills."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.catalog.architecture import Architecture
from rackrate.fit.activation import (
    block_bytes_per_token,
    eager_attention_bytes,
    expert_bytes_per_token,
    forward_activation,
    llama_cpp_buffer,
    vllm_activation,
)
from rackrate.fit.engine import VllmLimits
from rackrate.fit.parallel import ONE_GPU, Layout
from rackrate.fit.precision import find_precision
from rackrate.fit.term import GIB
from rackrate.sizing import find_weights

BF16 = find_precision("bf16")


def model(slug: str) -> Architecture:
    return find_weights(slug).arch


@pytest.mark.parametrize(
    ("slug", "seqs", "tokens", "tensor", "gib"),
    [
        ("gpt-oss-120b", 1024, 8192, 1, 7.38),  # fit-103, llm-d-planner, H100
        ("qwen3-32b", 1024, 8192, 1, 5.64),  # fit-119
        ("qwen3-32b", 1024, 8192, 2, 5.64),  # fit-123: the sampler is on every GPU whole
        ("llama-3.1-8b", 256, 2048, 1, 1.19),  # fit-146, A100
        ("deepseek-r1-0528-qwen3-8b", 256, 8192, 4, 1.45),  # fit-154
        ("qwen2.5-1.5b", 256, 32768, 1, 2.02),  # fit-141, T4: a step of 32,768 tokens
    ],
)
def test_the_peak_that_vllm_found_in_its_profile(
    slug: str, seqs: int, tokens: int, tensor: int, gib: float
) -> None:
    term = vllm_activation(model(slug), VllmLimits(seqs, tokens, counts_graphs=False), Layout(tensor=tensor))
    assert term.gib == pytest.approx(gib, rel=0.035)
    assert term.low_gib <= gib <= term.high_gib


def test_the_samplers_share_by_hand() -> None:
    """38.4 B x 1,024 sequences x 201,088 words = 7.36 GiB, and 8,192 hidden vectors of 2,880."""
    by_hand = (38.4 * 1024 * 201_088 + 8192 * 2880 * 2) / GIB
    limits = VllmLimits(1024, 8192, counts_graphs=False)
    assert vllm_activation(model("gpt-oss-120b"), limits, ONE_GPU).gib == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize(
    ("slug", "tensor", "gib"),
    [
        ("llama-3.1-8b", 1, 1.89), ("llama-3.1-8b", 4, 1.89), ("qwen2.5-72b", 2, 2.29), ("phi-4", 1, 1.52),
        ("gemma-2-27b", 1, 3.66), ("gemma-7b", 1, 3.63), ("gemma-3-27b", 1, 3.99),
        ("code-llama-7b", 1, 0.77), ("granite-3.3-8b", 1, 0.85),  # a prefill step is larger
        ("qwen1.5-moe-a2.7b", 1, 2.47), ("mixtral-8x7b", 2, 1.21), ("deepseek-v2-lite", 1, 1.93),
        ("qwen3-30b-a3b", 1, 2.68), ("llama-4-scout", 4, 3.19),
    ],
)  # fmt: skip
def test_the_peak_where_a_kernel_samples(slug: str, tensor: int, gib: float) -> None:
    """Profiles of vLLM 0.19 on an H100, llm-d-planner's accuracy report: 1,024 sequences, 8,192 tokens."""
    limits = VllmLimits(1024, 8192, counts_graphs=False, sampler="kernel")
    term = vllm_activation(model(slug), limits, Layout(tensor=tensor))
    assert term.gib == pytest.approx(gib, rel=0.065)
    assert term.low_gib <= gib <= term.high_gib


def test_the_experts_workspace_by_hand() -> None:
    """Qwen1.5-MoE: 4 experts of 1,408, hidden 2,048: (2 x 1,408 + 1,408) numbers each; on 2 GPUs
    the hidden size is the wider: 2,048 + 704."""
    arch = model("qwen1.5-moe-a2.7b")
    assert expert_bytes_per_token(arch) == 2 * 4 * (2 * 1408 + 1408)
    assert expert_bytes_per_token(arch, Layout(tensor=2)) == 2 * 4 * (2048 + 704)
    assert expert_bytes_per_token(model("llama-3.1-8b")) == 0


def test_each_of_v0s_sequences_has_an_image() -> None:
    """Qwen2-VL 7B in 8,192 tokens of context: room for one, so 1.16 GiB and not the sampler of 256."""
    limits = VllmLimits(256, 8192, counts_graphs=False, is_v0=True)
    assert vllm_activation(model("qwen2-vl-7b"), limits, ONE_GPU).gib == pytest.approx(1.16, abs=0.1)


@given(
    st.sampled_from(["llama-3.1-8b", "qwen3-30b-a3b", "gemma-3-27b", "bert-base-uncased"]),
    st.sampled_from(["sort", "kernel", "none"]),
    st.integers(1, 1024),
    st.integers(1, 16384),
)
def test_more_sequences_or_tokens_never_take_less(slug: str, sampler: str, seqs: int, tokens: int) -> None:
    def peak(n_seqs: int, n_tokens: int) -> float:
        limits = VllmLimits(n_seqs, n_tokens, counts_graphs=False, sampler=sampler)
        return float(vllm_activation(model(slug), limits, ONE_GPU).gib)

    assert 0 < peak(seqs, tokens) <= min(peak(2 * seqs, tokens), peak(seqs, 2 * tokens))


def test_a_prefill_block_by_hand() -> None:
    """Notes on our H100: tokens x 2 B x (3 x intermediate + 4 x hidden), within 1 % for Llama."""
    assert block_bytes_per_token(model("llama-3.1-8b").main) == 2 * (3 * 14336 + 4 * 4096)
    halved = block_bytes_per_token(model("llama-3.1-8b").main, Layout(tensor=2))
    assert halved == 2 * (3 * 7168 + 4 * 4096)


def test_an_encoder_has_no_sampler() -> None:
    limits = VllmLimits(1024, 2048, counts_graphs=False)
    small = vllm_activation(model("bert-base-uncased"), limits, ONE_GPU)
    assert small.gib < 0.1


def test_eager_attention_grows_with_heads_sequences_and_the_square_of_the_length() -> None:
    stack = model("bert-large-uncased").main
    one = eager_attention_bytes(stack, 512, 4)
    assert one / (16 * 512 * 512 * 4) == pytest.approx(9, abs=3)  # scores in 32 bit, softmax in 16 and more
    assert eager_attention_bytes(stack, 1024, 4) == 4 * one
    assert eager_attention_bytes(stack, 512, 8) == 2 * one


def test_eager_attention_decides_at_long_prompts() -> None:
    arch = model("llama-3.1-8b")
    flash = forward_activation(arch, BF16, 16384, 1, ONE_GPU).gib
    eager = forward_activation(arch, BF16, 16384, 1, ONE_GPU, has_flash_attention=False).gib
    scores = eager_attention_bytes(arch.main, 16384, 1) / GIB
    assert eager > flash
    assert scores <= eager <= 1.1 * scores


def test_a_4_bit_model_is_widened_matrix_by_matrix() -> None:
    arch = model("llama-3.1-70b")
    wide, narrow = (forward_activation(arch, find_precision(p), 512, 1, ONE_GPU).gib for p in ("bf16", "nf4"))
    assert narrow - wide == pytest.approx(28672 * 8192 * 2 / GIB)


@pytest.mark.parametrize(
    ("slug", "context", "flash", "mib"),
    [
        ("llama-3.1-70b", 8192, False, 1104.0),  # fit-185: scores of 64 heads x 512 x 8,192
        ("qwen2.5-32b", 32768, True, 391.0),  # its log: 391 MiB on the GPU
    ],
)
def test_llama_cpps_compute_buffer(slug: str, context: int, flash: bool, mib: float) -> None:  # noqa: FBT001
    term = llama_cpp_buffer(model(slug), context, 512, has_flash_attention=flash)
    assert term.gib * 1024 == pytest.approx(mib, rel=0.1)
    assert term.low_gib * 1024 <= mib <= term.high_gib * 1024


def test_arrays_give_the_numbers_of_single_loads() -> None:
    arch = model("qwen3-8b")
    prompts = np.array([1, 512, 8192, 65536])
    for flash in (True, False):
        many = forward_activation(arch, BF16, prompts, 4, ONE_GPU, has_flash_attention=flash).gib
        one = [
            forward_activation(arch, BF16, int(n), 4, ONE_GPU, has_flash_attention=flash).gib for n in prompts
        ]
        assert np.allclose(many, one)
        buffers = llama_cpp_buffer(arch, prompts, 512, has_flash_attention=flash).gib
        singles = [llama_cpp_buffer(arch, int(n), 512, has_flash_attention=flash).gib for n in prompts]
        assert np.allclose(buffers, singles)
