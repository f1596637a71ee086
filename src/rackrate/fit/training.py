"""How a model is trained, and what that keeps of every parameter: weights, gradients, optimiser.

Bytes a parameter, of all of them in full fine-tuning and of the adapters' in LoRA. What the way back
keeps of every token is in `backward`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rackrate.catalog.architecture import Architecture, Tensor
from rackrate.errors import UnknownName, UsageError, nearest
from rackrate.fit.parallel import Layout, share
from rackrate.fit.precision import LINEAR, Precision
from rackrate.fit.term import GIB, Term
from rackrate.fit.weights import weight_bytes

METHODS = ("full", "lora", "qlora")
MERGE_COPIES = 0.6  # of adapters, beside the weights that they are added to

OPTIMISERS: Mapping[str, tuple[float, float]] = {
    "adamw": (8.0, 0.0),
    "adamw-bf16": (4.0, 0.0),
    "adamw-8bit": (2.03, 0.0),
    "paged-adamw-8bit": (0.0, 2.03),
    "lion": (4.0, 0.0),
    "adafactor": (0.02, 0.0),
    "sgd": (0.0, 0.0),
    "sgd-momentum": (4.0, 0.0),
}
"""Bytes of states for a trained parameter: on the GPU, and on the host where they are paged out. Two
moments of 32 bit (AdamW); 8 bit with a 32-bit scale for 256 (bitsandbytes); rows and columns only
(Adafactor)."""

LOSSES: Mapping[str, float] = {"full": 12.0, "chunked": 2.0, "fused": 0.0}
"""Bytes for each token and word of the vocabulary at the start of the way back: transformers (logits in 16
bit, in 32, log-probabilities or their gradient; 12.0 on an H100 within 0.2 %), in chunks
(16-bit logits alone are whole: torchtune), and fused with the output matrix (Liger, Unsloth)."""

ADAPTERS = ("autocast", "fp32", "bf16")
"""In which type LoRA's matrices work: 32-bit ones under autocast (PEFT in the Trainer), without it, or 16."""

NEW_COPIES, OLD_COPIES = 8.0, 11.5
"""Hidden vectors of 16 bit that a layer's norms and residuals keep of a token: transformers 5 (measured on
an H100), and before it (the ml-engineering book, transformers 4.4x)."""


ATTENTIONS = ("flash", "eager")


@dataclass(frozen=True, slots=True)
class Training:
    """How a model is trained.

    Attributes:
        method: `full`, `lora` or `qlora`.
        optimiser: one of `OPTIMISERS`.
        has_master: a 32-bit master copy beside 16-bit weights, with gradients in 32 bit at the step
            (DeepSpeed, Apex).
        is_mixed: weights, gradients and states in 32 bit and the work in 16 (autocast); else all in the
            dtype of the weights.
        is_fp32: 32 bit throughout.
        has_checkpointing: whether layers are computed again on the way back.
        keeps_gradients: whether gradients outlive the step (gradient accumulation).
        has_step_in_backward: whether each gradient is used up as soon as it is there.
        is_foreach: whether the optimiser's step works on all parameters at once, with a temporary copy.
        loss: one of `LOSSES`.
        attention: `flash` (SDPA and kin) or `eager`.
        has_dropout: whether LoRA drops a part of its inputs.
        adapters: one of `ADAPTERS`.
        has_wide_ends: whether a frozen model's embedding, output matrix and norms are put in 32 bit
            (`prepare_model_for_kbit_training`).
        keeps_frozen_inputs: whether frozen matrices keep their inputs all the same (bitsandbytes 0.41).
        hidden_copies: `NEW_COPIES` or `OLD_COPIES`.
        rank: of LoRA.
        targets: names of the tensors that LoRA adapts; empty for all linear layers.
        has_offload: whether optimiser states live on the host.
        offloads_checkpoints: whether the layers' checkpoints do.
        label_count: classes of a sequence that the loss is over; 0 for the vocabulary of a language model and
            for two classes of an encoder. A masked language model has its vocabulary, for every token.
    """

    method: str = "full"
    optimiser: str = "adamw"
    has_master: bool = False
    is_mixed: bool = False
    is_fp32: bool = False
    has_checkpointing: bool = True
    keeps_gradients: bool = False
    has_step_in_backward: bool = False
    is_foreach: bool = False
    loss: str = "full"
    attention: str = "flash"
    has_dropout: bool = True
    adapters: str = "autocast"
    has_wide_ends: bool = False
    keeps_frozen_inputs: bool = False
    hidden_copies: float = NEW_COPIES
    rank: int = 16
    targets: tuple[str, ...] = ()
    has_offload: bool = False
    offloads_checkpoints: bool = False
    label_count: int = 0

    def __post_init__(self) -> None:
        for what, value, known in (
            ("method", self.method, METHODS),
            ("optimiser", self.optimiser, tuple(OPTIMISERS)),
            ("loss", self.loss, tuple(LOSSES)),
            ("attention", self.attention, ATTENTIONS),
            ("adapters", self.adapters, ADAPTERS),
        ):
            if value not in known:
                raise UnknownName(what, value, nearest(value, known) or known)
        if self.rank < 1:
            raise UsageError(f"LoRA rank {self.rank} is below 1", hint="ranks are usually 8 to 128")

    @property
    def weight_bytes(self) -> float:
        """Bytes of a trained weight."""
        return 4.0 if self.is_mixed or self.is_fp32 else 2.0


_OTHER_NAMES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("qkv", "wqkv", "query_key_value", "c_attn"), ("attn_q", "attn_k", "attn_v")),
    "query": ("attn_q",), "key": ("attn_k",), "value": ("attn_v",),
    **dict.fromkeys(("o", "wo", "out"), ("attn_output",)),
    **dict.fromkeys(("dense", "c_proj"), ("attn_output", "ffn_down")),
    "gate_up": ("ffn_gate", "ffn_up"), "w1": ("ffn_gate",), "w2": ("ffn_down",), "w3": ("ffn_up",),
    **dict.fromkeys(("wi", "fc1", "fc_in", "c_fc", "dense_h_to_4h", "wi_1"), ("ffn_up",)),
    "wi_0": ("ffn_gate",), **dict.fromkeys(("fc2", "fc_out", "dense_4h_to_h"), ("ffn_down",)),
    "q_a": ("attn_q_a",), "q_b": ("attn_q_b",),
    "kv_a_proj_with_mqa": ("attn_kv_a_mqa",), "kv_b": ("attn_kv_b",),
}  # fmt: skip
"""What families call their matrices in Hugging Face modules, without `_proj`; `dense` is two of them."""

_OF_QWEN = {
    "c_attn": ("attn_q", "attn_k", "attn_v"), "c_proj": ("attn_output", "ffn_down"),
    "w1": ("ffn_up",), "w2": ("ffn_gate",),
}  # fmt: skip
"""What Qwen's first models called their matrices; two of them are called c_proj."""


def lora_targets(arch: Architecture, word: str) -> tuple[str, ...]:
    """Return the tensors that LoRA is to adapt: by our name, or by that of a family: `q_proj`, `c_attn`.

    The matrices of a block's experts have its name, too.

    Raises:
        UnknownName: the model has no such matrix.
    """
    names = {tensor.name for tensor in arch.tensors if tensor.is_matrix and not tensor.is_extra}
    plain = word.strip()
    stem = plain.lower().removesuffix("_proj")
    of_family = _OF_QWEN.get(plain, ()) if arch.model_type == "qwen" else ()
    others = _OTHER_NAMES.get(plain.lower(), _OTHER_NAMES.get(stem, ()))
    for wanted in ((plain,), of_family, (f"attn_{stem}",), (f"ffn_{stem}",), others):
        found = [name for base in wanted for name in (base, f"{base}_exps", f"{base}_shexp")]
        if found and any(name in names for name in found):
            return tuple(name for name in found if name in names)
    raise UnknownName("LoRA target", word, nearest(word, names) or sorted(names))


def adapter_params(arch: Architecture, training: Training) -> int:
    """Return the parameters of LoRA's matrices: rank x (in + out) for each adapted matrix.

    Experts that are stored as one array have gate and up in one matrix, which peft gives twice the rank:
    20.76 million parameters a layer of Qwen3 30B at rank 16 (peft 0.21, counted on an H100).
    """
    return sum(_adapter_size(tensor, training) for tensor in arch.tensors if _is_adapted(tensor, training))


def merges_experts(training: Training) -> bool:
    """Tell whether adapters of experts are added to the experts' own weights before they are used.

    transformers 5 holds all experts of a layer in one array, which no adapter can stand beside.
    """
    return training.method != "full" and training.hidden_copies == NEW_COPIES


def merged_bytes(arch: Architecture, training: Training, layout: Layout) -> float:
    """Return what the experts of one layer take with their adapters added, bytes; 0 where none is adapted.

    The weights in 16 bit, and 0.6 of the experts' adapters: 1.26 GB a layer of Qwen3 30B at rank 16
    (peft 0.21, from 4 and 8 layers and two lengths on an H100).
    """
    experts = [
        tensor for tensor in arch.tensors if tensor.role == "experts" and _is_adapted(tensor, training)
    ]
    n_layers = sum(stack.n_layers for stack in arch.stacks if stack.n_experts_per_token)
    if not merges_experts(training) or not experts or not n_layers:
        return 0.0
    weights = sum(2.0 * tensor.n_params * share(tensor, arch, layout) for tensor in experts)
    adapters = sum(_adapter_size(tensor, training) for tensor in experts)
    return (weights + MERGE_COPIES * 4.0 * adapters) / n_layers


def _adapter_size(tensor: Tensor, training: Training) -> int:
    is_joined = merges_experts(training) and tensor.role == "experts" and "down" not in tensor.name
    return training.rank * (tensor.rows * (2 if is_joined else 1) + tensor.cols) * tensor.count


def _is_adapted(tensor: Tensor, training: Training) -> bool:
    if not tensor.is_matrix or tensor.is_extra or tensor.part in ("vision", "audio"):
        return False
    if training.targets:
        return tensor.name in training.targets
    return tensor.role in LINEAR


def state_terms(arch: Architecture, precision: Precision, training: Training, layout: Layout) -> list[Term]:
    """Return weights, gradients and optimiser states of one GPU."""
    if training.method != "full":
        return _adapter_states(arch, precision, training, layout)
    held = _held_params(arch, layout)
    size = training.weight_bytes
    on_gpu, on_host = OPTIMISERS[training.optimiser]
    if training.has_master:
        on_gpu += 4.0
    elif not training.is_mixed and not training.is_fp32 and training.optimiser in ("adamw", "sgd-momentum"):
        on_gpu /= 2  # states take the dtype of the weights
    if training.has_offload:
        on_gpu, on_host = 0.0, on_gpu + on_host
    states = on_gpu / (layout.data if layout.shard >= 1 else 1)
    weights = size / (layout.data if layout.shard >= 3 else 1)  # noqa: PLR2004 - a ZeRO stage
    terms = [_states("weights", held, weights, "32 bit" if size > 2 else "16 bit")]  # noqa: PLR2004
    if states:
        terms.append(_states("optimiser", held, states, training.optimiser))
    return terms


def autocast_gib(arch: Architecture, training: Training, layout: Layout) -> float:
    """Return the 16-bit copies of the weights that autocast keeps until the way back is done, GiB."""
    return 2.0 * _held_params(arch, layout) / GIB if training.is_mixed else 0.0


def tied_gib(arch: Architecture, training: Training) -> float:
    """Return what an embedding that is the output matrix too adds to the gradients, GiB.

    4 B a number on an H100: two copies more in 16 bit, one in 32 (1.0 GiB for Llama 3.2 1B).
    """
    if training.method != "full" or any(t.role == "head" for t in arch.tensors):
        return 0.0
    return 4.0 * sum(t.n_params for t in arch.tensors if t.name == "token_embd") / GIB


def gradient_gib(arch: Architecture, training: Training, layout: Layout) -> float:
    """Return what all gradients take when they are all there, GiB."""
    if training.method != "full":
        shards = layout.data if layout.shard >= 2 else 1  # noqa: PLR2004 - a ZeRO stage
        return 4.0 * adapter_params(arch, training) / shards / GIB
    if training.has_step_in_backward:  # one matrix's at a time
        return max(t.rows * t.cols for t in arch.tensors if t.is_matrix) * training.weight_bytes / GIB
    shards = layout.data if layout.shard >= 2 else 1  # noqa: PLR2004 - a ZeRO stage
    copies = 2 if training.is_foreach else 1  # the root of the second moment, for all at once
    size = training.weight_bytes * copies + (4.0 if training.has_master else 0.0)
    return _held_params(arch, layout) * size / shards / GIB


def _held_params(arch: Architecture, layout: Layout) -> float:
    return sum(t.n_params * share(t, arch, layout) for t in arch.tensors if not t.is_extra)


def _states(name: str, params: float, size: float, how: str) -> Term:
    gib = params * size / GIB
    source = "bytes a parameter; between steps within 0.8 % on an H100"
    return Term(name, gib, 0.015 * gib, f"{params / 1e9:.3g}B parameters x {size:.3g} B ({how})", source)


def _adapter_states(
    arch: Architecture, precision: Precision, training: Training, layout: Layout
) -> list[Term]:
    shards = layout.data if layout.shard >= 3 else 1  # noqa: PLR2004 - a ZeRO stage
    gib = weight_bytes(arch, precision, layout) / shards / GIB
    how = f"frozen, {precision.name}" + (f", a share of {layout.data}" if shards > 1 else "")
    if training.has_wide_ends:
        gib += 2.0 * arch.params_of("embedding", "head", "norm") / shards / GIB
        how += "; embedding, output matrix and norms in 32 bit"
    base = Term("weights", gib, precision.error_frac * gib + 0.02, how, "sum over tensors of elements x bits")
    count = adapter_params(arch, training)
    on_gpu = 4.0 + OPTIMISERS[training.optimiser][0]
    how = f"LoRA rank {training.rank} in 32 bit, with states"
    return [base, _states("adapters", count / shards, on_gpu, how)]
