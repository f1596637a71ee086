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
from rackrate.fit.formats import FORMATS
from rackrate.fit.parallel import Layout
from rackrate.fit.precision import LINEAR, Precision
from rackrate.fit.term import GIB, Term, larger
from rackrate.fit.training import LOSSES, Training
from rackrate.fit.weights import largest_matrix_bytes

LATENT_TOKENS_A_PIXEL = 1 / 256  # diffusion: the VAE shrinks 8 times and patches are 2 x 2
PROMPT_TOKENS = 512  # of FLUX's text encoder

DROPOUT_BYTES = 2.2  # LoRA keeps a dropped copy of each adapted input and a mask (Llama 8B, H100)


def saved_bytes_per_token(stack: Stack, training: Training) -> float:
    """Return what one layer keeps of one token for the way back, bytes.

    With a gate 2 x (11.5 hidden + 2 (q + kv) + 4 ffn), and 3 (q + kv) more where heads are normalised.

    Source: copies measured by the ml-engineering book: Llama-3.1-8B 28 and 28.0, Mistral 7B 28 and 28.0,
    SmolLM2 24.8 and 24.0, Qwen3-8B 29.8 and 29.8, Qwen3-4B 36.7 and 38, Gemma-1.1-2B 45.8 and 48.
    BERT on an H100: 44 B x hidden in autocast, 67 B in 32 bit.
    """
    heads = 2 * stack.q_size if stack.n_kv_heads == 0 else stack.q_size + stack.kv_size
    if not stack.is_gated:
        narrow = 10 * stack.hidden_size + 2 * heads + 2 * stack.ffn_size
        wide = 4.75 * stack.hidden_size + 2 * heads + 2 * stack.ffn_size
        return 4.0 * wide if training.is_fp32 else 2.0 * narrow
    normed = 3 * heads if stack.has_head_norms else 0
    gathered = 3 * stack.n_experts_per_token * stack.hidden_size
    kept = 11.5 * stack.hidden_size + 2 * heads + normed + 4 * stack.ffn_size + gathered
    return (4.0 if training.is_fp32 else 2.0) * kept + _adapted_bytes(stack, training)


def _adapted_bytes(stack: Stack, training: Training) -> float:
    """Return what frozen matrices save and adapters cost: a frozen matrix need not keep its input.

    bitsandbytes keeps it all the same (0.41, measured with litgpt).
    """
    if training.method == "full":
        return 0.0
    inputs = {
        "attn_q": stack.hidden_size, "attn_output": stack.q_size, "ffn_up": stack.hidden_size,
        "ffn_down": stack.ffn_size,
    }  # fmt: skip
    names = set(training.targets or (*inputs, "attn_k", "attn_v", "ffn_gate"))
    if not training.has_dropout and training.method == "qlora":
        return 0.0
    if not training.has_dropout:
        shared = {"attn_q": {"attn_k", "attn_v"}, "ffn_up": {"ffn_gate"}}
        return -2.0 * sum(
            size for name, size in inputs.items() if not names & ({name} | shared.get(name, set()))
        )
    widths = inputs | {
        "attn_k": stack.hidden_size,
        "attn_v": stack.hidden_size,
        "ffn_gate": stack.hidden_size,
    }
    dropped = DROPOUT_BYTES * sum(size for name, size in widths.items() if name in names)
    return dropped - 2.0 * sum(inputs.values())


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
        layer = tokens * saved_bytes_per_token(stack, training) / layout.tensor
        if training.attention == "eager":
            layer = layer + 6.0 * stack.n_heads * length**2 * sequences / layout.tensor
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


def loss_bytes(arch: Architecture, training: Training, length: Any, sequences: Any) -> Any:
    """Return what the loss takes at the start of the way back: logits in several copies, bytes."""
    if training.label_count:
        return LOSSES[training.loss] * training.label_count * sequences
    return LOSSES[training.loss] * arch.vocab_size * length * sequences


def _moving(name: str, gib: Any, how: str) -> Term:
    return Term(name, gib, 0.08 * gib + 0.03, how, "copies that are kept, measured on an H100")


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
