"""What training keeps of every token for the way back: activations and the loss.

    activations  what each layer keeps of each token; with checkpointing its input alone
    loss         logits in several copies, or one layer that is computed again, whichever is larger

With 128,000 words the loss is more than all checkpointed layers. The peak of a step is the larger of
two moments: the start of the way back, when activations and loss are whole and gradients are not there
yet, and the optimiser's step, when all gradients are.
"""

from __future__ import annotations

from typing import Any

from rackrate.catalog.architecture import Architecture, Stack
from rackrate.fit.activation import NO_FUSED
from rackrate.fit.formats import FORMATS
from rackrate.fit.parallel import Layout
from rackrate.fit.precision import LINEAR, Precision
from rackrate.fit.term import GIB, Term, larger
from rackrate.fit.training import LOSSES, NEW_COPIES, Training, merged_bytes
from rackrate.fit.weights import largest_matrix_bytes

LATENT_TOKENS_A_PIXEL = 1 / 256  # diffusion: the VAE shrinks 8 times and patches are 2 x 2
PROMPT_TOKENS = 512  # of FLUX's text encoder

LOGIT_COPIES = {"gemma2": 2.0}
"""Bytes a logit more where a model bends its logits (soft capping)."""

NORM_COPIES = 5.0
"""Hidden vectors of 16 bit that each norm beyond two keeps: Gemma 2 and 3 have four a layer."""

CLASSES = 2  # of an encoder, where nobody says
WORKSPACE_GIB = 0.063  # cuBLAS, forward and back (H100)
MERGED_BACK = 1.5  # of a layer's experts with adapters, when it is computed again (Qwen3 30B, H100)
FUSED_FFN = 6.0  # bytes of each inner number that fused gates keep (Liger, Unsloth); plain ones keep 8

SCORE_BYTES = {"bf16": 6.5, "fp32": 9.0, "split": 4.0}
"""What attention keeps of each score where it is not fused: 6 (Llama) and 7 (BERT, autocast) in 16 bit, 9 in
32; 4 of grouped heads in 32 bit, which nothing fuses."""

_ADAPTED = {"autocast": 2.0, "fp32": 4.0, "bf16": 2.0}
"""Bytes that an adapter keeps of each number of its input; dropout keeps a mask of one byte besides."""


def saved_bytes_per_token(stack: Stack, training: Training) -> float:
    """Return what one layer keeps of one token for the way back, bytes.

    With a gate, in 16 bit: 16 hidden + 4 (q + kv) + 8 ffn + 4 heads, and 6 (q + kv) + 4 heads more where
    heads are normalised; in 32 bit 24 hidden + 8 (q + kv) + 16 ffn. Without: 28 hidden + 4 ffn under
    autocast, 36 hidden + 8 ffn in 32 bit.

    Source: measured on an H100 with one width changed at a time, transformers 5.17; Llama, Qwen2 and Qwen3
    within 0.1 %, BERT within 3 %. With 23 for 16 the copies of the ml-engineering book (transformers
    4.4x): Llama-3.1-8B 28 and 28.0, SmolLM2 24.8 and 24.0, Qwen3-8B 29.8 and 29.8.
    """
    hidden, ffn, heads = stack.hidden_size, stack.ffn_size, stack.q_size + stack.kv_size
    sums = 4 * stack.n_heads  # the logarithm of each row's sum, in 32 bit
    if not stack.is_gated:
        return (36 * hidden + 8 * ffn if training.is_fp32 else 28 * hidden + 4 * ffn) + sums
    if training.is_fp32:
        return 24 * hidden + 8 * heads + 16 * ffn + sums
    normed = 6 * heads + sums if stack.has_head_norms else 0
    gathered = 6 * stack.n_experts_per_token * hidden
    inner = (FUSED_FFN if training.loss == "fused" else 8.0) * ffn
    kept = 2 * training.hidden_copies * hidden + 4 * heads + inner + sums + normed + gathered
    kept += 10 * hidden if training.is_mixed else 0  # norms and residuals in 32 bit
    return kept + _adapted_bytes(stack, training)


def _adapted_bytes(stack: Stack, training: Training) -> float:
    """Return what frozen matrices and norms save, and what adapters keep of their inputs.

    Adapters of 16 bit share an input as it is, others keep a copy each: Llama 3.1 8B takes 29.5 GiB with
    the former and 36.5 with the latter (2,048 tokens, H100).
    """
    if training.method == "full":
        return 0.0
    hidden, ffn = stack.hidden_size, stack.ffn_size
    groups = {
        ("attn_q", "attn_k", "attn_v"): hidden,
        ("attn_output",): stack.q_size,
        ("ffn_gate", "ffn_up"): hidden,
        ("ffn_down",): ffn,
    }
    norms = 8 if training.hidden_copies == NEW_COPIES else 4
    frozen = 0.0 if training.keeps_frozen_inputs else norms * hidden + 2.0 * ffn
    shares = training.adapters == "bf16" and not training.has_dropout
    kept = 0.0
    for names, width in groups.items():
        n_adapted = len([name for name in names if not training.targets or name in training.targets])
        if not shares:
            kept += (_ADAPTED[training.adapters] + training.has_dropout) * width * n_adapted
        elif n_adapted and not training.keeps_frozen_inputs and names != ("attn_output",):
            kept += _ADAPTED["bf16"] * width  # attention keeps its output by itself
    return kept - frozen


def kept_terms(
    arch: Architecture, training: Training, length: Any, sequences: Any, layout: Layout
) -> tuple[Term, Term, Any]:
    """Return the activations that wait for the way back, and the loss or the layer computed again.

    With fused or chunked losses and long sequences the layer is the larger.

    Args:
        arch: the model.
        training: how it is trained.
        length: tokens of a sequence.
        sequences: how many a GPU works on at once.
        layout: how the GPUs share the layers.

    Returns:
        both terms, and the GiB of the layer that is computed again (0 without checkpointing).
    """
    tokens = length * sequences
    kept, one_layer = 0.0, 0.0
    for stack in _trained(arch):
        norms = NORM_COPIES * 2.0 * _extra_norms(arch, stack) * stack.hidden_size
        layer = tokens * (saved_bytes_per_token(stack, training) + norms) / layout.tensor
        layer = layer + _score_bytes(arch, stack, training) * length**2 * sequences / layout.tensor
        if not training.has_checkpointing:
            kept = kept + stack.n_layers * layer
            continue
        one_layer = larger(one_layer, layer)
        if not training.offloads_checkpoints:
            width = 4.0 if training.is_mixed or training.is_fp32 else 2.0
            kept = kept + stack.n_layers * tokens * stack.hidden_size * width
    merged = merged_bytes(arch, training, layout)
    if training.has_checkpointing:
        one_layer = one_layer + MERGED_BACK * merged
    else:
        kept = kept + sum(stack.n_layers for stack in _trained(arch) if stack.n_experts_per_token) * merged
    loss = loss_bytes(arch, training, length, sequences)
    how = "a checkpoint a layer" if training.has_checkpointing else "all that each layer keeps"
    first = _moving("activations", kept / GIB + WORKSPACE_GIB, f"{how}, {arch.main.n_layers} layers")
    text = "logits in several copies, or one layer computed again"
    return first, _moving("loss", larger(loss, one_layer) / GIB, text), one_layer / GIB


def _extra_norms(arch: Architecture, stack: Stack) -> float:
    """Return the norms of the residual stream that a layer has beyond the usual two."""
    wide = (t.count for t in arch.tensors if t.name.endswith("norm") and t.cols == stack.hidden_size)
    if arch.task not in ("text", "vision-language") or not stack.is_gated:
        return 0.0
    return max(sum(count for count in wide if count == stack.n_layers) / stack.n_layers - 2, 0.0)


def _score_bytes(arch: Architecture, stack: Stack, training: Training) -> float:
    """Return what the attention scores of a layer keep, bytes for each pair of tokens; 0 when fused."""
    is_split = training.is_fp32 and stack.n_kv_heads < stack.n_heads
    if training.attention == "flash" and arch.model_type not in NO_FUSED and not is_split:
        return 0.0
    times = 1 + (stack.n_cross_layers > 0)
    kind = "fp32" if training.is_fp32 else "bf16"
    is_asked = training.attention == "eager" or arch.model_type == "t5"  # Falcon goes the split way
    return times * stack.n_heads * SCORE_BYTES[kind if is_asked else "split"]


def loss_bytes(arch: Architecture, training: Training, length: Any, sequences: Any) -> Any:
    """Return what the loss takes at the start of the way back: logits in several copies, bytes."""
    if arch.task == "image":
        return 0.0  # a mean of squares over latents
    labels = training.label_count or (CLASSES if arch.task == "encoder" else 0)
    if labels and labels != arch.vocab_size:
        return LOSSES[training.loss] * labels * sequences
    size = LOSSES[training.loss]
    if training.loss == "full":
        size += LOGIT_COPIES.get(arch.model_type, 0.0)
        size += 7.0 if training.has_wide_ends else 0.0  # logits are made in 32 bit
    return size * arch.vocab_size * length * sequences


def _moving(name: str, gib: Any, how: str) -> Term:
    return Term(name, gib, 0.1 * gib + 0.05, how, "copies that are kept, measured on an H100")


def _trained(arch: Architecture) -> tuple[Stack, ...]:
    """Return the stacks that learn: of a pipeline the denoiser, of a model with eyes the language."""
    if arch.task == "image":
        return arch.stacks[:1]
    return tuple(stack for stack in arch.stacks if stack.name not in ("vision", "audio"))


def dequantised_term(arch: Architecture, precision: Precision, layout: Layout) -> Term | None:
    """Return the buffers in which a 4-bit model's matrices are widened to be used, if it has any."""
    if FORMATS[precision.matrix].bits >= 16:  # noqa: PLR2004 - bits
        return None
    gib = largest_matrix_bytes(arch, layout) / GIB
    how = "the largest matrix in 16 bit"
    return Term("dequantised layer", gib, 0.5 * gib, how, "QLoRA widens each matrix where it is used")


def gathered_term(arch: Architecture, precision: Precision, layout: Layout) -> Term | None:
    """Return the whole layers that ZeRO-3 and FSDP gather while they are used, if sharded."""
    if layout.shard < 3 or layout.data == 1:  # noqa: PLR2004 - a ZeRO stage
        return None
    language = sum(t.n_params for t in arch.tensors if t.role in LINEAR and not t.is_extra)
    outer = sum(t.n_params for t in arch.tensors if t.role in ("embedding", "head"))
    narrow = min(precision.bits, 16.0) / 8
    gib = (2 * language * narrow / max(arch.main.n_layers, 1) + outer) / GIB
    how = "two layers and one of the vocabulary's matrices, gathered"
    return Term("gathered layers", gib, 0.4 * gib, how, "FSDP prefetches one layer ahead")
