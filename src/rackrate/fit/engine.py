"""The engines: what each takes by default, and what it holds beside the model.

An engine's defaults decide as much as the model: vLLM on a card of 80 GB profiles 1,024 sequences at
once and on one of 48 GB 256, which is 4 GiB of sampler buffers with a large vocabulary. Each constant
is dated by the version it was seen in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from rackrate.errors import UnknownName, nearest


@dataclass(frozen=True, slots=True)
class Engine:
    """What an engine does when nothing is said.

    Attributes:
        name: as the user writes it.
        version: whose defaults these are.
        tasks: what it is for: `text`, `vision-language`, `encoder`, `image`, `asr`, and `training`.
        memory_fraction: of the card's memory that it may use.
        kv_block: tokens of KV cache that it hands out together.
        context_gib: CUDA context, libraries and workspaces outside torch's counters, one GPU.
        context_sigma_gib: one standard deviation of that.
        link_gib: what communication between GPUs adds on each (NCCL buffers and channels).
        slack_frac: what the allocator reserves above what comes and goes at the peak, as a share of it.
        source: where these were read or measured.
    """

    name: str
    version: str
    tasks: frozenset[str]
    memory_fraction: float
    kv_block: int
    context_gib: float
    context_sigma_gib: float
    link_gib: float
    slack_frac: float
    source: str


_TEXT = frozenset({"text", "vision-language"})

_ALL = (
    Engine(
        "vllm", "0.21", _TEXT | {"encoder"}, 0.90, 16, 0.13, 0.05, 0.42, 0.0,
        "vLLM's memory profiles: non-torch 0.12-0.14 GiB on one GPU, 0.54-0.55 on several",
    ),
    Engine(
        "sglang", "0.5", _TEXT | {"encoder"}, 0.88, 1, 0.5, 0.2, 0.6, 0.0,
        "SGLang's start-up logs: mem_fraction_static 0.88 and graphs outside of it",
    ),
    Engine(
        "transformers", "5.17", _TEXT | {"encoder", "asr", "training"}, 1.0, 1, 0.68, 0.1, 0.9, 0.133,
        "measured on an H100: context 0.60 GiB, 0.67 with cuBLAS; reserved over peak 1.00-1.20",
    ),
    Engine(
        "torch", "2.11", _TEXT | {"encoder", "asr", "training"}, 1.0, 1, 0.68, 0.1, 0.9, 0.133,
        "measured on an H100: context 0.60 GiB, 0.67 with cuBLAS",
    ),
    Engine(
        "llama.cpp", "b6000", _TEXT | {"encoder"}, 1.0, 1, 0.45, 0.15, 0.1, 0.0,
        "llama.cpp's memory breakdown: context and scratch beside the buffers that it lists",
    ),
    Engine(
        "litgpt", "0.5", _TEXT | {"training"}, 1.0, 1, 0.68, 0.15, 0.9, 0.17,
        "as torch",
    ),
    Engine(
        "diffusers", "0.35", frozenset({"image", "training"}), 1.0, 1, 0.68, 0.15, 0.9, 0.17,
        "as torch",
    ),
    Engine(
        "faster-whisper", "1.1", frozenset({"asr"}), 1.0, 1, 0.4, 0.15, 0.0, 0.0,
        "CTranslate2 keeps its own pool; context as measured for CUDA without torch",
    ),
    Engine(
        "openai-whisper", "20240930", frozenset({"asr"}), 1.0, 1, 0.6, 0.15, 0.0, 0.0,
        "as torch",
    ),
)  # fmt: skip

ENGINES: Mapping[str, Engine] = {engine.name: engine for engine in _ALL}
"""Every engine by its name."""

CACHE_TYPES: Mapping[str, tuple[str, ...]] = {
    "vllm": ("fp16", "bf16", "fp8"),
    "sglang": ("fp16", "bf16", "fp8"),
    "llama.cpp": ("fp16", "bf16", "fp32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"),
}
"""Types of KV cache that an engine takes, where it does not take those of torch."""

TORCH_CACHE_TYPES = ("fp16", "bf16", "fp32")

DEFAULT_ENGINE: Mapping[str, str] = {
    "text": "vllm",
    "vision-language": "vllm",
    "encoder": "transformers",
    "image": "diffusers",
    "asr": "faster-whisper",
}
"""The engine that serves a kind of model when none is named."""


def find_engine(name: str) -> Engine:
    """Return the engine of that name.

    Raises:
        UnknownName: no such engine, with the nearest.
    """
    key = re.sub(r"[\s_]+", "-", name.strip().lower())
    key = {"hf": "transformers", "llamacpp": "llama.cpp", "ollama": "llama.cpp", "pytorch": "torch"}.get(
        key, key
    )
    if key in ENGINES:
        return ENGINES[key]
    raise UnknownName("engine", name, nearest(key, ENGINES) or list(ENGINES))


@lru_cache(maxsize=256)
def version_of(text: str) -> tuple[int, ...]:
    """Return the first version number in `text` as integers; a year stands for the newest.

    >>> version_of("vLLM V0 0.7.x"), version_of("2026")
    ((0, 7), (9999,))
    """
    found = re.search(r"\d+(?:\.\d+)+", text)
    if found:
        return tuple(int(part) for part in found[0].split("."))
    return (9999,)


_LARGE_GIB = 70
_V1 = (0, 8)
_FEWER_SEATS = (0, 8, 4)  # before it, V1 tries 1,024 sequences on every card (vllm-project/vllm#16158)
_LONGER_CHUNKS = (0, 7)
_KERNEL_SAMPLES = (0, 17)  # 5.64 GiB of Qwen3 14B's profile in 0.16, 2.23 in 0.17
_GRAPHS_IN_BUDGET = (0, 21)
_LARGER_SHARE = (0, 25)
NEWER_LINKS = (0, 18)
"""From which version vLLM holds more outside of torch: 0.25 GiB on one GPU (0.13 in 0.17), 2.1 on several."""


def is_large(card_gib: float, *, is_a100: bool) -> bool:
    """Tell whether V1 of vLLM takes a card for a large one."""
    return card_gib >= _LARGE_GIB and not is_a100


@dataclass(frozen=True, slots=True)
class VllmLimits:
    """How much vLLM tries out when it starts, which sets its activation peak.

    Attributes:
        max_num_seqs: sequences in one step.
        max_num_batched_tokens: tokens in one step.
        counts_graphs: whether CUDA graphs come out of the budget.
        sampler: how the profile samples: `sort` the vocabulary, a `kernel` that does not, or `none`.
        is_v0: whether the first generation of the engine runs it.
    """

    max_num_seqs: int
    max_num_batched_tokens: int
    counts_graphs: bool
    sampler: str = "sort"
    is_v0: bool = False


@lru_cache(maxsize=4096)
def vllm_limits(version: str, card_gib: float, *, is_a100: bool, context: int) -> VllmLimits:
    """Return vLLM's defaults for a card.

    Args:
        version: of vLLM; `V0` or `V1` in it says which generation of the engine ran.
        card_gib: memory of one GPU.
        is_a100: vLLM treats an A100 as a small card whatever its memory.
        context: longest sequence that is asked for (`max_model_len`), tokens.

    Source: vLLM's EngineArgs: V1 (0.8) takes 1,024 sequences and 8,192 tokens on cards of 70 GiB and
    more, else 256 (1,024 before 0.8.4) and 2,048; V0 takes 256, and the whole context in one step up to
    32K. Beyond, its steps are chunks of 2,048 (512 before 0.7) that end no prompt, so its profile samples
    nothing.
    """
    known = version_of(version)
    stated = re.search(r"\bV[01]\b", version)
    if stated[0] == "V0" if stated else known < _V1:
        if context <= 32768:  # noqa: PLR2004 - chunked above
            return VllmLimits(256, max(context, 2048), counts_graphs=False, is_v0=True)
        chunk = 2048 if known >= _LONGER_CHUNKS else 512
        return VllmLimits(256, chunk, counts_graphs=False, sampler="none", is_v0=True)
    is_big = is_large(card_gib, is_a100=is_a100)
    return VllmLimits(
        1024 if is_big or known < _FEWER_SEATS else 256,
        8192 if is_big else 2048,
        known >= _GRAPHS_IN_BUDGET,
        "kernel" if known >= _KERNEL_SAMPLES else "sort",
    )


def memory_fraction_of(engine: Engine, version: str) -> float:
    """Return the share of a card that a version of an engine takes when nothing is said.

    Source: vLLM's CacheConfig: 0.92 in 0.25 and later, 0.9 before.
    """
    is_larger = engine.name == "vllm" and version_of(version) >= _LARGER_SHARE
    return 0.92 if is_larger else engine.memory_fraction
