"""What a running model remembers: the KV cache and recurrent states, per sequence and in all.

    full, sliding   2 x kv heads x head dim x bytes, for every token, or those in the window
    latent (MLA)    (kv_lora_rank + rope dim) x bytes a token, on every tensor-parallel GPU whole
    cross           keys and values of the encoder's output, once a sequence
    state           a fixed matrix a head (gated delta net, Mamba) and the convolution's tail, 32 bit

Source: notes on the engines' own logs; 149.62 MiB a sequence for Qwen3.6-27B in llama.cpp's log is
149.63 by this formula; 234 MiB of cross attention a window for Whisper large is the measured step.
Error: none in the formula. vLLM pads the pages of hybrid models (`PAGE_PADDING`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rackrate.catalog.architecture import Architecture, Cache
from rackrate.errors import UnknownName, nearest
from rackrate.fit.parallel import ONE_GPU, Layout, kv_heads_on_gpu, layers_on_gpu
from rackrate.fit.term import rounded_up, smaller

KV_BYTES: Mapping[str, float] = {
    "fp32": 4.0,
    "fp16": 2.0,
    "bf16": 2.0,
    "fp8": 1.0,
    "int8": 1.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
}
"""Bytes of one number of a key or value; ggml's types carry a 16-bit scale for 32 numbers."""

STATE_BYTES = 4  # engines keep recurrent states in 32 bit: rounding errors would add up over a sequence
PAGE_PADDING = 1.10  # vLLM makes the pages of attention and state layers equal; range seen 1.02-1.15


def kv_bytes(name: str) -> float:
    """Return the bytes of one number of the cache.

    Raises:
        UnknownName: no such type of cache, with the nearest.
    """
    if name.lower() in KV_BYTES:
        return KV_BYTES[name.lower()]
    raise UnknownName("KV cache type", name, nearest(name.lower(), KV_BYTES) or list(KV_BYTES))


@dataclass(frozen=True, slots=True)
class Memory:
    """What a sequence costs on one GPU, in a form that answers fast.

    Attributes:
        token_bytes: for every token of the context.
        windows: (window in tokens, bytes for every token inside it).
        fixed_bytes: whatever the length: recurrent states, cross attention.
        block: tokens that are handed out together (16 in vLLM, 1 where memory grows by the token).
    """

    token_bytes: float
    windows: tuple[tuple[int, float], ...]
    fixed_bytes: float
    block: int = 1

    def sequence_bytes(self, tokens: Any) -> Any:
        """Return the bytes of a sequence of `tokens` (a number or an array)."""
        held = rounded_up(tokens, self.block) if self.block > 1 else tokens
        total = self.fixed_bytes + held * self.token_bytes
        for window, size in self.windows:
            total = total + smaller(held, window) * size
        return total

    def longest(self, room_bytes: float, limit: int) -> int:
        """Return the most tokens of one sequence that `room_bytes` hold, at most `limit`."""
        if self.sequence_bytes(self.block) > room_bytes:
            return 0
        kinks = sorted({limit, *(window for window, _ in self.windows if window < limit)})
        start = 0
        for end in kinks:  # between two windows' ends the size grows evenly
            if self.sequence_bytes(end) <= room_bytes:
                start = end
                continue
            slope = self.token_bytes + sum(size for window, size in self.windows if window >= end)
            start += int((room_bytes - self.sequence_bytes(start)) / slope) if slope else 0
            break
        whole = start // self.block * self.block
        while whole > 0 and self.sequence_bytes(whole) > room_bytes:
            whole -= self.block
        return min(whole, limit)


@lru_cache(maxsize=4096)
def memory_of(
    arch: Architecture,
    kv: str = "fp16",
    layout: Layout = ONE_GPU,
    *,
    block: int = 1,
    is_window_full: bool = False,
    padding: float = 1.0,
) -> Memory:
    """Return what a sequence costs one GPU.

    Args:
        arch: the model.
        kv: type of the cache (`KV_BYTES`).
        layout: how the GPUs share it.
        block: tokens that are handed out together.
        is_window_full: whether the engine keeps all tokens of sliding layers too.
        padding: factor on everything (`PAGE_PADDING`).
    """
    size = kv_bytes(kv) * padding
    token, windows, fixed = 0.0, dict[int, float](), 0.0
    for cache in arch.caches:
        layers = layers_on_gpu(cache.n_layers, layout)
        numbers = layers * kv_heads_on_gpu(cache, layout) * (cache.k_dim + cache.v_dim)
        if cache.kind == "state":
            state = (cache.state_numbers + cache.conv_numbers) / layout.tensor
            fixed += layers * state * STATE_BYTES * padding
        elif cache.kind == "cross":
            fixed += numbers * size * cache.window
        elif cache.kind == "sliding" and not is_window_full:
            windows[cache.window] = windows.get(cache.window, 0.0) + numbers * size
        else:
            token += numbers * size
    return Memory(token, tuple(windows.items()), fixed, block)


def is_hybrid(caches: Iterable[Cache]) -> bool:
    """Tell whether layers of several kinds share one model."""
    kinds = {cache.kind for cache in caches}
    return "state" in kinds or {"full", "sliding"} <= kinds
