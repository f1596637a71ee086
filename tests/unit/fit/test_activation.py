"""Activation peaks against vLLM's own profiles and measured prefills."""

from __future__ import annotations

import numpy as np
import pytest

from rackrate.catalog.architecture import Architecture
from rackrate.fit.activation import (
    block_bytes_per_token,
    eager_attention_bytes,
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


def test_a_prefill_block_by_hand() -> None:
    """Notes on our H100: tokens x 2 B x (3 x intermediate + 4 x hidden), within 1 % for Llama."""
    assert block_bytes_per_token(model("llama-3.1-8b").main) == 2 * (3 * 14336 + 4 * 4096)
    halved = block_bytes_per_token(model("llama-3.1-8b").main, Layout(tensor=2))
    assert halved == 2 * (3 * 7168 + 4 * 4096)


def test_an_encoder_has_no_sampler() -> None:
    limits = VllmLimits(1024, 2048, counts_graphs=False)
    small = vllm_activation(model("bert-base-uncased"), limits, ONE_GPU)
    assert small.gib < 0.1


def test_eager_attention_by_hand() -> None:
    """A layer of 16 heads on 4 sequences of 512: scores in 32 bit and their softmax in 16."""
    assert eager_attention_bytes(model("bert-large-uncased").main, 512, 4) == 4 * 16 * 512 * 512 * (4 + 2)


def test_eager_attention_decides_at_long_prompts() -> None:
    arch = model("llama-3.1-8b")
    flash = forward_activation(arch, BF16, 16384, 1, ONE_GPU).gib
    eager = forward_activation(arch, BF16, 16384, 1, ONE_GPU, has_flash_attention=False).gib
    assert eager > flash
    assert eager == pytest.approx(32 * 16384**2 * 6 / GIB, rel=0.01)


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
