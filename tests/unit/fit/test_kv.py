"""The cache: bytes a token by hand and from engines' logs."""

from __future__ import annotations

import pytest

from rackrate.catalog.architecture import Architecture, Cache
from rackrate.errors import UnknownName
from rackrate.fit.kv import KV_BYTES, PAGE_PADDING, Memory, is_hybrid, kv_bytes, memory_of
from rackrate.fit.parallel import Layout
from rackrate.sizing import find_weights

MIB = 2**20


def model(slug: str) -> Architecture:
    return find_weights(slug).arch


@pytest.mark.parametrize(
    ("slug", "by_hand"),
    [
        ("llama-3-70b", 2 * 8 * 128 * 2 * 80),  # 327,680
        ("llama-3.1-8b", 2 * 8 * 128 * 2 * 32),
        ("llama-2-7b", 2 * 32 * 128 * 2 * 32),  # every head keeps its own
        ("qwen3.5-35b-a3b", 2 * 2 * 256 * 2 * 10),  # 20,480: ten layers of forty
        ("deepseek-v3", (512 + 64) * 2 * 61),  # MLA: 70,272
        ("falcon-7b", 2 * 1 * 64 * 2 * 32),  # one head for all
        ("gemma-3-27b", 2 * 16 * 128 * 2 * 10),  # the ten full layers
        ("qwen3-30b-a3b", 2 * 4 * 128 * 2 * 48),
    ],
)
def test_bytes_a_token(slug: str, by_hand: int) -> None:
    assert memory_of(model(slug)).token_bytes == by_hand


def test_the_state_of_a_recurrent_model() -> None:
    """llama.cpp's log of Qwen3.6-27B says 149.62 MiB; the notes 62.8 MiB for Qwen3.5-35B-A3B."""
    assert memory_of(model("qwen3.6-27b")).fixed_bytes / MIB == pytest.approx(149.62, abs=0.01)
    by_hand = 30 * (32 * 128 * 128 + 3 * (2 * 16 * 128 + 32 * 128)) * 4
    assert memory_of(model("qwen3.5-35b-a3b")).fixed_bytes == by_hand
    assert by_hand / MIB == pytest.approx(62.8, abs=0.05)


def test_a_window_holds_1024_tokens() -> None:
    memory = memory_of(model("gemma-3-27b"))
    a_layer = 2 * 16 * 128 * 2
    assert memory.windows == ((1024, 52 * a_layer),)
    assert memory.sequence_bytes(1024) == 1024 * 62 * a_layer
    assert memory.sequence_bytes(8192) == (8192 * 10 + 1024 * 52) * a_layer
    assert memory.sequence_bytes(8192) / 2**30 == pytest.approx(1.03, abs=0.005)  # notes: 1.03, not 3.875
    assert memory_of(model("gemma-3-27b"), is_window_full=True).sequence_bytes(8192) / 2**30 == 3.875


def test_cross_attention_of_whisper_large() -> None:
    """2 x 32 layers x 1500 x 1280 x 2 bytes: 234 MiB a window (notes, section 7.2)."""
    assert memory_of(model("whisper-large-v3")).fixed_bytes / MIB == 234.375


@pytest.mark.parametrize(
    ("slug", "kv", "tokens", "mib"),
    [
        ("yi-34b", "fp16", 512, 120.0),  # fit-195, ggml-org/llama.cpp#5848
        ("command-r-plus-104b", "q8_0", 32768, 4352.0),  # fit-199: 64 layers, 8 heads, q8_0
    ],
)
def test_what_llama_cpp_says(slug: str, kv: str, tokens: int, mib: float) -> None:
    assert memory_of(model(slug), kv).sequence_bytes(tokens) / MIB == mib


def test_bytes_of_a_number() -> None:
    expected = {
        "fp16": 2,
        "bf16": 2,
        "fp8": 1,
        "q8_0": 8.5 / 8,
        "q4_0": 4.5 / 8,
        "q5_1": 6 / 8,
        "q4_1": 5 / 8,
    }
    assert {name: kv_bytes(name) for name in expected} == expected
    assert kv_bytes("FP8") == 1


@pytest.mark.parametrize("name", ["", "fp7", "q4", "none"])
def test_an_unknown_type_names_its_neighbour(name: str) -> None:
    with pytest.raises(UnknownName):
        kv_bytes(name)


def test_vllm_hands_out_blocks_of_16() -> None:
    memory = memory_of(model("llama-3-70b"), block=16)
    assert memory.sequence_bytes(1) == memory.sequence_bytes(16) == 16 * 327_680
    assert memory.sequence_bytes(17) == 32 * 327_680


def test_vllm_turns_a_room_into_tokens() -> None:
    """Fit-142, fit-143: 2.36 GiB held 88,304 tokens of Qwen2.5-1.5B, 28,672 bytes each."""
    memory = memory_of(model("qwen2.5-1.5b"), block=16)
    assert memory.token_bytes == 2 * 2 * 128 * 2 * 28 == 28_672
    assert memory.longest(2.36 * 2**30, 1 << 20) == pytest.approx(88_304, rel=0.003)


@pytest.mark.parametrize(("tensor", "heads"), [(1, 8), (2, 4), (3, 3), (4, 2), (8, 1), (16, 1), (32, 1)])
def test_key_heads_are_shared_out_and_then_copied(tensor: int, heads: int) -> None:
    token = memory_of(model("llama-3-70b"), layout=Layout(tensor=tensor)).token_bytes
    assert token == 327_680 / 8 * heads


def test_a_latent_is_whole_on_every_gpu() -> None:
    one, eight = (memory_of(model("deepseek-v3"), layout=Layout(tensor=n)).token_bytes for n in (1, 8))
    assert one == eight == 70_272


def test_a_stage_of_a_pipeline_keeps_its_own_layers() -> None:
    memory = memory_of(model("deepseek-v3"), layout=Layout(pipeline=4))
    assert memory.token_bytes == 16 * 576 * 2  # the fullest of 61 layers in four


def test_fp8_halves_the_cache_and_not_the_state() -> None:
    wide, narrow = (memory_of(model("qwen3.5-35b-a3b"), kv) for kv in ("fp16", "fp8"))
    assert narrow.token_bytes == wide.token_bytes / 2
    assert narrow.fixed_bytes == wide.fixed_bytes


def test_padding_of_pages_scales_all() -> None:
    plain, padded = (memory_of(model("qwen3.5-35b-a3b"), padding=p) for p in (1.0, PAGE_PADDING))
    assert padded.sequence_bytes(4096) == pytest.approx(plain.sequence_bytes(4096) * PAGE_PADDING)


def longest_by_trying(memory: Memory, room: float, limit: int) -> int:
    fitting = [n for n in range(1, limit + 1) if n % memory.block == 0 and memory.sequence_bytes(n) <= room]
    return max(fitting, default=0)


@pytest.mark.parametrize("block", [1, 16])
@pytest.mark.parametrize("room", [0, 5, 99, 100, 640, 1000, 1700, 2600, 5000, 10**6])
@pytest.mark.parametrize("windows", [(), ((32, 10.0),), ((32, 10.0), (64, 5.0))])
def test_the_longest_sequence_is_what_trying_finds(
    block: int, room: float, windows: tuple[tuple[int, float], ...]
) -> None:
    memory = Memory(10.0, windows, 50.0, block)
    assert memory.longest(room, 160) == longest_by_trying(memory, room, 160)


def test_hybrids() -> None:
    assert is_hybrid(model("gemma-3-27b").caches)
    assert is_hybrid(model("qwen3.6-27b").caches)
    assert not is_hybrid(model("llama-3-70b").caches)
    assert not is_hybrid([Cache("sliding", 32, 8, 128, 128, 4096)])


@pytest.mark.parametrize("name", KV_BYTES)
def test_every_type_makes_a_cache(name: str) -> None:
    assert memory_of(model("llama-3-70b"), name).token_bytes == 163_840 * KV_BYTES[name]
