"""What a language model asks of a GPU, step by step: FLOP to compute and bytes to read.

A step takes `p` prompt tokens and one token of each of `B` running sequences through the model.

    FLOP   2 x parameters met x tokens, 2 x output matrix x tokens that are sampled,
           4 x heads x head dim x tokens x tokens looked at, in every layer
    bytes  all weights once, of routed experts those that any token chose, the KV cache of all sequences

Source: each multiply and add of a matrix is 2 FLOP, scores and values of attention make 4; notes on speed,
section 4. The embedding table is looked up, not multiplied, and a row of it is next to nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rackrate.catalog.architecture import Architecture, Tensor
from rackrate.fit.kv import memory_of
from rackrate.fit.precision import Precision

_ALWAYS = frozenset({"attention", "mlp", "router", "recurrent", "conv", "norm"})
_UNPACKED = 4.0  # bitsandbytes writes 16-bit weights out and reads them back: 80 ms a step of 70B on an H200


@dataclass(frozen=True, slots=True)
class Work:
    """A model at one precision, all GPUs together. Fields may be arrays, one element a model.

    Attributes:
        linear_params: parameters that every token meets, without the output matrix and routed experts.
        linear_bytes: of them, as stored.
        head_params: of the output matrix.
        head_bytes: of it, as stored.
        expert_params: of the routed experts that one token meets, all layers.
        expert_bytes: of all routed experts, as stored.
        n_experts: routed experts a layer; 1 where there are none.
        n_chosen: experts that a token meets; 1 where there are none.
        pair_flop: FLOP for one token to look at one token, layers that see everything.
        window_pair_flop: the same in layers with a window.
        token_bytes: of KV cache for a token of context, layers that see everything.
        window_token_bytes: the same in layers with a window.
        window: tokens that these look back; 1 where there are none.
        unpack_bytes: written and read to widen weights that no kernel multiplies as they are, in steps of
            more than one token.
        state_bytes: read with every step whatever the context: recurrent states, cross attention.
        n_layers: of the main stack.
        n_expert_layers: those with routed experts.
        hidden_size: width of the residual stream.
    """

    linear_params: Any
    linear_bytes: Any
    head_params: Any
    head_bytes: Any
    expert_params: Any
    expert_bytes: Any
    n_experts: Any
    n_chosen: Any
    pair_flop: Any
    window_pair_flop: Any
    token_bytes: Any
    window_token_bytes: Any
    window: Any
    unpack_bytes: Any
    state_bytes: Any
    n_layers: Any
    n_expert_layers: Any
    hidden_size: Any

    def experts_read(self, tokens: Any) -> Any:
        """Return the share of routed experts that `tokens` together choose, 0 to 1.

        1 - (1 - k/E)^tokens for tokens that choose k of E evenly (notes on speed, 4.1).
        """
        return 1 - (1 - self.n_chosen / self.n_experts) ** tokens


@lru_cache(maxsize=4096)
def work_of(arch: Architecture, precision: Precision, kv: str = "fp16") -> Work:
    """Return what a step of a model asks for.

    Args:
        arch: the model.
        precision: of its weights.
        kv: type of the KV cache.
    """
    every = [t for t in arch.tensors if not t.is_extra and t.part == "language"]
    always = [t for t in every if t.role in _ALWAYS]
    experts = [t for t in every if t.role == "experts"]
    head = [t for t in every if t.role == "head"] or [
        t for t in every if t.role == "embedding" and t.name == "token_embd"
    ]
    n_experts, n_chosen = max(arch.main.n_experts, 1), max(arch.main.n_experts_per_token, 1)
    pairs, window_pairs = _pair_flop(arch)
    memory = memory_of(arch, kv)
    window_bytes = sum(size for _, size in memory.windows)
    window = sum(w * size for w, size in memory.windows) / window_bytes if window_bytes else 1.0
    return Work(
        linear_params=_params(always),
        linear_bytes=_bytes(always, precision, arch),
        head_params=_params(head),
        head_bytes=_bytes(head, precision, arch),
        expert_params=_params(experts) * n_chosen / n_experts,
        expert_bytes=_bytes(experts, precision, arch),
        n_experts=float(n_experts),
        n_chosen=float(min(n_chosen, n_experts)),
        pair_flop=pairs,
        window_pair_flop=window_pairs,
        token_bytes=memory.token_bytes,
        window_token_bytes=window_bytes,
        window=window,
        unpack_bytes=_UNPACKED * _params(always) if precision.matrix.startswith("nf4") else 0.0,
        state_bytes=memory.fixed_bytes,
        n_layers=float(arch.main.n_layers),
        n_expert_layers=float(max((t.count // n_experts for t in experts), default=0)),
        hidden_size=float(arch.main.hidden_size),
    )


def _params(tensors: list[Tensor]) -> float:
    return float(sum(t.n_params for t in tensors))


def _bytes(tensors: list[Tensor], precision: Precision, arch: Architecture) -> float:
    return sum(precision.bytes_of(t, arch) for t in tensors)


def _pair_flop(arch: Architecture) -> tuple[float, float]:
    """Return the FLOP of one token looking at one other, in layers that see all and in those that do not."""
    full = window = 0.0
    for cache in arch.caches:
        n_heads = arch.main.n_heads
        if cache.kind == "latent":  # a prompt's keys and values are written out head by head
            full += 4 * n_heads * cache.n_layers * arch.main.head_dim
        elif cache.kind == "full":
            full += 2 * n_heads * cache.n_layers * (cache.k_dim + (cache.v_dim or cache.k_dim))
        elif cache.kind == "sliding":
            window += 2 * n_heads * cache.n_layers * (cache.k_dim + (cache.v_dim or cache.k_dim))
    return full, window
