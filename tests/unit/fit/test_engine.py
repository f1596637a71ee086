"""Engines: vLLM's defaults by version and card, and names that are not there."""

from __future__ import annotations

import pytest

from rackrate.errors import UnknownName
from rackrate.fit.engine import (
    DEFAULT_ENGINE,
    ENGINES,
    find_engine,
    memory_fraction_of,
    version_of,
    vllm_limits,
)
from rackrate.sizing import find_card


@pytest.mark.parametrize(
    ("version", "card", "seqs", "tokens", "graphs"),
    [
        # vllm/engine/arg_utils.py: cards of 70 GiB and more but the A100 take 1,024 and 8,192 since V1
        ("0.11", "h100-sxm", 1024, 8192, False),
        ("0.21", "h100-sxm", 1024, 8192, True),
        ("0.21", "h200-sxm", 1024, 8192, True),
        ("0.11", "a100-80gb-sxm", 256, 2048, False),  # fit-146: 1.19 GiB is 256 sequences on an A100
        ("0.21", "l40s", 256, 2048, True),
        ("0.21", "rtx-4090", 256, 2048, True),
        ("0.8.5", "l40s", 256, 2048, False),
        ("0.7.x", "t4", 256, 8192, False),  # V0: the whole context in one step
        ("0.6.4", "h100-sxm", 256, 8192, False),
    ],
)
def test_vllm_defaults(version: str, card: str, seqs: int, tokens: int, graphs: bool) -> None:  # noqa: FBT001
    memory = find_card(card)[0]
    limits = vllm_limits(version, memory.gib, is_a100=memory.is_a100, context=8192)
    assert (limits.max_num_seqs, limits.max_num_batched_tokens) == (seqs, tokens)
    assert limits.counts_graphs is graphs


@pytest.mark.parametrize(("context", "tokens"), [(100, 2048), (2048, 2048), (32768, 32768), (32769, 2048)])
def test_v0_takes_the_context_in_one_step_up_to_32k(context: int, tokens: int) -> None:
    assert vllm_limits("0.7.3", 14.6, is_a100=False, context=context).max_num_batched_tokens == tokens


def test_v0_cuts_longer_contexts_into_chunks_whose_profile_samples_nothing() -> None:
    """Start-up logs: 0.22 GiB of activations for 131,072 tokens and 0.06 for 35,000, where 4,096 take 1.4."""
    old = vllm_limits("0.6.4", 24, is_a100=False, context=35_000)
    assert (old.max_num_batched_tokens, old.sampler) == (512, "none")
    assert vllm_limits("0.7.3", 24, is_a100=False, context=32_768).sampler == "sort"


def test_a_later_version_may_run_the_first_generation() -> None:
    """A V100 under 0.8.5 takes 32,768 tokens at once: 4.35 GiB."""
    limits = vllm_limits("vLLM V0 0.8.5", 32, is_a100=False, context=32_768)
    assert (limits.max_num_batched_tokens, limits.is_v0) == (32_768, True)
    assert not vllm_limits("0.8.5", 32, is_a100=False, context=32_768).is_v0


@pytest.mark.parametrize(
    ("version", "sampler"), [("0.16.0", "sort"), ("0.17.0", "kernel"), ("0.30", "kernel")]
)
def test_a_kernel_samples_since_0_17(version: str, sampler: str) -> None:
    assert vllm_limits(version, 80, is_a100=False, context=8192).sampler == sampler


@pytest.mark.parametrize(
    ("engine", "version", "share"),
    [("vllm", "0.24.1", 0.9), ("vllm", "0.25.0", 0.92), ("vllm", "", 0.92), ("sglang", "2026", 0.88)],
)
def test_the_share_of_a_card_that_a_version_takes(engine: str, version: str, share: float) -> None:
    assert memory_fraction_of(ENGINES[engine], version) == share


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("vLLM V0 0.7.x", (0, 7)),
        ("0.11", (0, 11)),
        ("vLLM 0.8.5.post1", (0, 8, 5)),
        ("", (9999,)),
        ("2026", (9999,)),
    ],
)
def test_versions_in_prose(text: str, version: tuple[int, ...]) -> None:
    assert version_of(text) == version


@pytest.mark.parametrize(
    ("name", "engine"),
    [("vLLM", "vllm"), (" llamacpp ", "llama.cpp"), ("hf", "transformers"), ("ollama", "llama.cpp"),
     ("Faster Whisper", "faster-whisper"), ("pytorch", "torch")],
)  # fmt: skip
def test_names_that_people_write(name: str, engine: str) -> None:
    assert find_engine(name).name == engine


@pytest.mark.parametrize("name", ["vlm", "", "tgi", "x" * 1000])
def test_an_unknown_engine_is_our_error(name: str) -> None:
    with pytest.raises(UnknownName):
        find_engine(name)


def test_every_default_engine_does_its_task() -> None:
    assert all(task in ENGINES[name].tasks for task, name in DEFAULT_ENGINE.items())


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_every_engine_is_sourced_and_sane(engine: object) -> None:
    assert 0 < engine.memory_fraction <= 1  # type: ignore[attr-defined]
    assert 0.1 <= engine.context_gib <= 1  # type: ignore[attr-defined]
    assert engine.source  # type: ignore[attr-defined]
    assert engine.version  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("version", "seqs", "is_v0"),
    [
        ("0.7.3", 256, True),
        ("V1 0.7.3", 1024, False),
        ("0.8.0", 1024, False),
        ("0.8.4", 256, False),
        ("V0 0.8.5", 256, True),
    ],
)
def test_the_generation_of_vllm_and_its_seats_on_a_small_card(version: str, seqs: int, is_v0: bool) -> None:  # noqa: FBT001
    limits = vllm_limits(version, 23.5, is_a100=False, context=8192)
    assert (limits.max_num_seqs, limits.is_v0) == (seqs, is_v0)
