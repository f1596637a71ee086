"""What a forward pass holds for a moment: the activation peak of serving, by engine.

    vllm          the larger of the sampler's buffers, a prefill step and an image, plus the hidden
                  states that wait beside them
    transformers  the widest block of the prefill of all prompts at once
    llama.cpp     its compute buffer for a micro-batch

Sources: differences between measured cases; each constant says which. Numbers are for 16-bit
activations; sizes in bytes until they become terms.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from rackrate.catalog.architecture import Architecture, Stack
from rackrate.fit.engine import VllmLimits
from rackrate.fit.parallel import ONE_GPU, Layout
from rackrate.fit.precision import Precision
from rackrate.fit.term import GIB, Term, larger
from rackrate.fit.weights import largest_matrix_bytes

SAMPLER_BYTES = {"sort": 38.4, "kernel": 14.8, "none": 0.0}
"""Bytes for each sequence and word of the vocabulary while vLLM samples. Sorting: fitted on profiles of
five models (256 to 1,024 sequences, 128K to 201K words), all within 0.6 %; the kernel that came with 0.17:
twelve profiles of 0.19 (32K to 262K words) within 0.05 GiB."""

WORKSPACE_GIB = 0.031  # cuBLAS takes 32 MiB on first use (measured, H100)
SCORE_BYTES = 10.4  # eager attention of one layer: 10.2 to 11.4 a score (Llama, Phi-3, Gemma 2; H100)
PATCHES_A_TOKEN = 4  # vision towers merge 2 x 2 patches
IMAGE_COPIES = 2  # of an image's embeddings that wait: 0.10 to 0.29 GiB beside the sampler (vLLM 0.19)

LLAMA_HIDDEN = 6.0  # hidden vectors of 32 bit a token in llama.cpp's buffer; 5 to 9 in start-up logs


NO_FUSED: Mapping[str, float] = {"t5": SCORE_BYTES, "falcon": 9.2}
"""Model types whose attention writes its scores out whatever is asked for (transformers 5.17), with the bytes
of a score: Falcon's own code keeps one copy less (9.19 at 8,960 and 9,472 tokens on an H100)."""


def block_bytes_per_token(stack: Stack, layout: Layout = ONE_GPU) -> float:
    """Return what one token holds inside the widest block of a forward pass, bytes.

    2 x (4 x hidden + 3 x ffn) with a gate, where gate, up and their product live at once; 2 x ffn
    without; with experts each chosen one adds its gathered input and weighted outputs.

    Source: measured prefill peaks of Llama, Mistral and Qwen2.5 within 1 % at 8k tokens (H100),
    Qwen3-30B-A3B within 2 %.
    """
    inner = (3 if stack.is_gated else 2) * stack.ffn_size / layout.tensor
    gathered = 3 * stack.n_experts_per_token * stack.hidden_size
    return 2.0 * (4 * stack.hidden_size + inner + gathered)


def eager_attention_bytes(stack: Stack, length: Any, sequences: Any, score_bytes: float = SCORE_BYTES) -> Any:
    """Return what a layer of unfused attention holds: scores in 32 bit and their softmax in 16.

    Args:
        stack: the layers.
        length: tokens of a sequence.
        sequences: how many at once.
        score_bytes: of one score, all its copies.
    """
    return score_bytes * stack.n_heads * length**2 * sequences


def expert_bytes_per_token(arch: Architecture, layout: Layout = ONE_GPU) -> float:
    """Return the workspace that one token takes in vLLM's fused experts, bytes; 0 without experts.

    For each chosen expert the wider of its two inputs' products and its output, in one buffer, and the
    activated product in another.

    Source: profiles of vLLM 0.19 on an H100: 0.47 GiB of Qwen3-30B-A3B's 2.68, 0.26 of Qwen1.5-MoE's 2.47.
    """
    rows = next((t.rows for t in arch.tensors if t.role == "experts" and "up" in t.name), 0)
    inner = rows / layout.tensor
    wider = max(2 * inner, arch.main.hidden_size)
    return 2.0 * arch.main.n_experts_per_token * (wider + inner)


def vllm_step_bytes_per_token(arch: Architecture, layout: Layout = ONE_GPU) -> float:
    """Return what one token holds inside the widest block of vLLM's forward pass, bytes."""
    if not arch.main.n_experts:
        return block_bytes_per_token(arch.main, layout)
    return 2.0 * 4 * arch.main.hidden_size + expert_bytes_per_token(arch, layout)


@lru_cache(maxsize=4096)
def vllm_activation(arch: Architecture, limits: VllmLimits, layout: Layout) -> Term:
    """Return the activation peak that vLLM finds when it profiles itself at start-up.

    The sampler or a prefill step, whichever is larger. Beside the sampler wait the hidden states, the
    embeddings of the largest image and, since the kernel samples, the experts' workspace, which stays.
    """
    tokens, hidden = limits.max_num_batched_tokens, arch.main.hidden_size
    image_tokens = arch.vision_tokens // PATCHES_A_TOKEN
    seqs = limits.max_num_seqs
    if limits.is_v0 and image_tokens:  # each of V0's sequences has an image
        seqs = max(min(seqs, tokens // image_tokens), 1)
    sampler = SAMPLER_BYTES[limits.sampler] * seqs * arch.vocab_size if arch.task != "encoder" else 0.0
    waiting = 2.0 * tokens * hidden
    if image_tokens and not limits.is_v0:
        waiting += 2.0 * IMAGE_COPIES * max(tokens, image_tokens) * hidden
    if limits.sampler == "kernel":
        waiting += tokens * expert_bytes_per_token(arch, layout)
    prefill = tokens * vllm_step_bytes_per_token(arch, layout)
    if sampler and sampler + waiting > prefill:
        peak = sampler + waiting
        reason = (
            f"sampler: {SAMPLER_BYTES[limits.sampler]} B x {seqs} sequences x vocabulary {arch.vocab_size:,}"
            f" + what {tokens:,} tokens leave waiting"
        )
    else:
        peak, reason = prefill, f"prefill of {tokens:,} tokens"
    gib = peak / GIB
    sigma = gib * (0.1 if arch.vision_tokens else 0.03) + 0.03
    return Term("activation peak", gib, sigma, reason, "vLLM's memory profiles")


def forward_activation(
    arch: Architecture,
    precision: Precision,
    prompt: Any,
    sequences: Any,
    layout: Layout,
    *,
    has_flash_attention: bool = True,
) -> Term:
    """Return the peak of a plain forward pass over all prompts at once (transformers, torch).

    Args:
        arch: the model.
        precision: of the weights; a 4-bit one is widened matrix by matrix.
        prompt: tokens of each prompt.
        sequences: prompts at once.
        layout: how the GPUs share the work.
        has_flash_attention: whether scores are never written out (SDPA, flash attention).
    """
    stack = arch.main
    tokens = prompt * sequences
    peak = tokens * block_bytes_per_token(stack, layout) * (2 if precision.rest == "fp32" else 1)
    if not has_flash_attention or arch.model_type in NO_FUSED:
        a_score = NO_FUSED.get(arch.model_type, SCORE_BYTES)
        peak = larger(peak, eager_attention_bytes(stack, prompt, sequences, a_score) / layout.tensor)
    elif any(cache.kind == "sliding" for cache in arch.caches):
        peak = peak + prompt**2 * sequences  # the mask of the window, one byte a pair of tokens
    peak = peak + 6.0 * sequences * arch.vocab_size
    if precision.matrix.startswith(("nf4", "int8", "int4", "mxfp4")):
        peak = peak + largest_matrix_bytes(arch, layout)
    gib = peak / GIB + WORKSPACE_GIB
    how = "the prompts' tokens x 2 B x (4 x hidden + 3 x ffn), logits of the last token"
    return Term("activation peak", gib, 0.04 * gib + 0.05, how, "measured prefill peaks, H100")


def llama_cpp_buffer(
    arch: Architecture, context: Any, ubatch: int, *, has_flash_attention: bool = True
) -> Term:
    """Return llama.cpp's compute buffer on one GPU.

    A micro-batch of 32-bit logits, or of attention scores where there is no flash attention, and some
    hidden vectors: 1,024 of 1,104 MiB (Llama 70B, 8K, no flash attention), 297 of 391 MiB (Qwen2.5 32B).
    """
    widest: Any = 0 if arch.task == "encoder" else arch.vocab_size
    if not has_flash_attention:
        widest = larger(widest, arch.main.n_heads * context)
    gib = ubatch * 4.0 * (widest + LLAMA_HIDDEN * arch.main.hidden_size) / GIB
    how = f"{ubatch} tokens x 4 B x (the wider of logits and scores + {LLAMA_HIDDEN:g} x hidden)"
    return Term("compute buffer", gib, 0.12 * gib + 0.02, how, "llama.cpp's start-up logs")
