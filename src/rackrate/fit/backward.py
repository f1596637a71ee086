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
from rackrate.fit.training import LOSSES, Training
from rackrate.fit.weights import largest_matrix_bytes

LATENT_TOKENS_A_PIXEL = 1 / 256  # diffusion: the VAE shrinks 8 times and patches are 2 x 2
PROMPT_TOKENS = 512  # of FLUX's text encoder

LOGIT_COPIES = {"gemma2": 2.0}
"""Bytes a logit more where a model bends its logits (soft capping)."""

NORM_COPIES = 6.5
"""Hidden vectors of 16 bit that each norm beyond two keeps (Gemma 2 and 3 have four a layer; H100)."""

FUSED_FFN_COPIES = 3.0  # inner vectors that fused gates keep (Liger, Unsloth), where plain ones keep 4

SCORE_BYTES = {"bf16": 6.5, "fp32": 9.0, "split": 4.0}
"""What attention keeps of each score where it is not fused: 6.1 (Llama) and 7.1 (BERT, autocast) in 16 bit,
8.9 in 32; 3.95 of grouped heads in 32 bit, which nothing fuses (Llama 3.2 1B)."""

_ADAPTED = {"autocast": 2.4, "fp32": 4.0, "bf16": 2.0}
"""Bytes that an adapter keeps of each number of its input; dropout keeps a mask of one byte besides."""


def saved_bytes_per_token(stack: Stack, training: Training) -> float:
    """Return what one layer keeps of one token for the way back, bytes.

    With a gate 2 x (8.25 hidden + 2 (q + kv) + 4 ffn), and 3 (q + kv) more where heads are normalised.

    Source: measured on an H100 with one width changed at a time (Llama 3.2 1B: 109.5 kB a token and layer;
    each term within 1 %). With 11.5 for 8.25 the copies of the ml-engineering book: Llama-3.1-8B 28 and
    28.0, SmolLM2 24.8 and 24.0, Qwen3-8B 29.8 and 29.8, Qwen3-4B 36.7 and 38. BERT: 44 B x hidden in
    autocast, 67 B in 32 bit.
    """
    heads = stack.q_size + stack.kv_size
    if not stack.is_gated:
        narrow = 10 * stack.hidden_size + 2 * heads + 2 * stack.ffn_size
        wide = 4.75 * stack.hidden_size + 2 * heads + 2 * stack.ffn_size
        return 4.0 * wide if training.is_fp32 else 2.0 * narrow
    normed = 3 * heads if stack.has_head_norms else 0
    gathered = 3 * stack.n_experts_per_token * stack.hidden_size
    inner = (FUSED_FFN_COPIES if training.loss == "fused" else 4) * stack.ffn_size
    kept = training.hidden_copies * stack.hidden_size + 2 * heads + normed + inner + gathered
    return (4.0 if training.is_fp32 else 2.0) * kept + _adapted_bytes(stack, training)


def _adapted_bytes(stack: Stack, training: Training) -> float:
    """Return what frozen matrices and norms save, and what adapters keep of their inputs.

    Llama 3.2 1B on an H100, kB a token and layer: 101 and 103 (16-bit adapters), 154 and 162 (32), 122 and
    122 (autocast), 142 and 142 (with dropout); query and value alone 81 and 80.
    """
    if training.method == "full":
        return 0.0
    hidden, q_size, ffn = stack.hidden_size, stack.q_size, stack.ffn_size
    groups = {
        ("attn_q", "attn_k", "attn_v"): hidden,
        ("attn_output",): q_size,
        ("ffn_gate", "ffn_up"): hidden,
        ("ffn_down",): ffn,
    }
    frozen = 0.0 if training.keeps_frozen_inputs else 2.0 * sum(groups.values()) + 4.0 * hidden
    size = _ADAPTED[training.adapters]
    kept = 0.0
    for names, width in groups.items():
        n_adapted = len([name for name in names if not training.targets or name in training.targets])
        if training.adapters == "bf16" and not training.has_dropout:  # they share the input as it is
            kept += 0.0 if training.keeps_frozen_inputs else size * width * min(n_adapted, 1)
        else:
            kept += (size + (1.0 if training.has_dropout else 0.0)) * width * n_adapted
    return kept - frozen


def kept_terms(
    arch: Architecture, training: Training, length: Any, sequences: Any, layout: Layout
) -> tuple[Term, Term]:
    """Return the activations that wait for the way back, and the loss or the layer computed again.

    Args:
        arch: the model.
        training: how it is trained.
        length: tokens of a sequence.
        sequences: how many a GPU works on at once.
        layout: how the GPUs share the layers.
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
    loss = loss_bytes(arch, training, length, sequences)
    how = "a checkpoint a layer" if training.has_checkpointing else "all that each layer keeps"
    first = _moving("activations", kept / GIB, f"{how}, {arch.main.n_layers} layers")
    text = "logits in several copies, or one layer computed again"
    return first, _moving("loss", larger(loss, one_layer) / GIB, text)


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
    is_asked = training.attention == "eager" or arch.model_type in NO_FUSED
    return times * stack.n_heads * SCORE_BYTES[kind if is_asked else "split"]


def loss_bytes(arch: Architecture, training: Training, length: Any, sequences: Any) -> Any:
    """Return what the loss takes at the start of the way back: logits in several copies, bytes."""
    if training.label_count:
        return LOSSES[training.loss] * training.label_count * sequences
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
