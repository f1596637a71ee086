"""Verdicts: what is known to start or to fail, and how far it would still fit."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from rackrate.fit.solve import HOPELESS, SURE, solve, verdict
from rackrate.fit.term import Term, Total, larger, probability_below, rounded_up, smaller
from rackrate.sizing import fits

GPT_OSS = {"precision": "mxfp4", "context": 16000, "engine": "vllm 0.11"}


@pytest.mark.parametrize(
    ("model", "gpu", "options", "starts"),
    [
        # llm-d-planner, vLLM 0.11 on an H100 of 79.18 GiB: fit-131 to fit-133
        ("qwen3-32b", "h100-sxm", {"precision": "bf16", "context": 16000, "engine": "vllm 0.11"}, True),
        ("qwen3-32b", "h100-sxm", {"precision": "bf16", "context": 32000, "engine": "vllm 0.11"}, False),
        # its row says 0.9; 64.38 + 7.38 + 0.13 + 3.33 of cache is 75.22 = 0.95 x 79.18
        ("gpt-oss-120b", "h100-sxm", GPT_OSS | {"memory_fraction": 0.95}, True),
        ("gpt-oss-120b", "h100-sxm", GPT_OSS, False),
        # notes, section 4: what the page gets wrong
        ("gemma-3-27b", "l40s", {"precision": "bf16"}, False),
        ("gemma-3-27b", "l40s", {"precision": "fp8"}, True),
        ("llama-3-70b", "l40s", {"precision": "int4", "context": "128k"}, False),
        ("qwen2.5-72b", "l40s", {"precision": "int4"}, False),
        ("magnum-v4-72b", "l40s", {"precision": "q4_k_m", "engine": "llama.cpp"}, False),
        ("qwen2.5-72b", "h100-sxm:2", {"precision": "bf16", "engine": "transformers", "context": 2048}, True),
        # fit-190: 27,091 MiB against 20,252
        ("qwen2.5-32b", "20GiB", {"precision": "q4_k_m", "engine": "llama.cpp", "context": 32768}, False),
        # fit-084, fit-086: Llama-2-70B in NF4 on a 40 GB A100 only with double quantisation
        ("llama-2-70b", "a100-40gb-sxm", {"precision": "nf4-dq", "engine": "litgpt", "context": 512}, True),
        ("code-llama-34b", "a100-40gb-sxm", {"precision": "bf16", "engine": "litgpt", "context": 512}, False),
        ("llama-3.1-70b", "h100-sxm:2", {"task": "full", "context": 2048}, False),
        ("flux.1-dev", "l40s", {}, True),
        ("flux.1-dev", "rtx-4090", {}, False),
        ("whisper-large-v3", "t4", {}, True),
    ],
)
def test_known_outcomes(model: str, gpu: str, options: dict[str, object], starts: bool) -> None:  # noqa: FBT001
    fit = fits(model, gpu, **options)  # type: ignore[arg-type]
    assert (fit.probability > 0.5) is starts
    assert fit.verdict != ("does not fit" if starts else "fits")


def test_words_of_a_probability() -> None:
    assert [verdict(p) for p in (1, SURE, SURE - 1e-9, HOPELESS + 1e-9, HOPELESS, 0)] == [
        "fits", "fits", "tight", "tight", "does not fit", "does not fit",
    ]  # fmt: skip


def test_probabilities_of_a_normal_error() -> None:
    assert probability_below(10, 10, 1) == 0.5
    assert probability_below(11.645, 10, 1) == pytest.approx(0.95, abs=1e-4)
    assert probability_below(10, 10, 0) == 1.0
    assert probability_below(9.99, 10, 0) == 0.0


def test_errors_add_as_squares() -> None:
    total = Total.of([Term("a", 1.0, 0.3, "", ""), Term("b", 2.0, 0.4, "", "")])
    assert total.gib == 3.0
    assert total.sigma_gib == pytest.approx(0.5)
    assert total.high_gib - total.low_gib == pytest.approx(2 * 1.645 * 0.5)


def test_small_tools() -> None:
    assert (larger(2, 3), smaller(2, 3), rounded_up(17, 16), rounded_up(16, 16)) == (3, 2, 32, 16)


@pytest.mark.parametrize("gpu", ["l40s", "h100-sxm:2", "rtx-4090"])
@pytest.mark.parametrize("model", ["llama-3.1-8b", "gemma-3-12b", "qwen3.5-9b", "mixtral-8x7b"])
@pytest.mark.parametrize("engine", ["vllm", "transformers", "llama.cpp"])
def test_the_longest_context_fits_and_one_token_more_does_not(model: str, gpu: str, engine: str) -> None:
    fit = fits(model, gpu, precision="bf16", engine=engine, concurrency=2)
    longest = fit.longest_context
    most = fit.arch.max_context
    for tokens, is_in in ((longest, True), (longest + 1, False)):
        if 1 <= tokens <= most:
            again = solve(fit.arch, fit.card, fit.setup, replace(fit.load, context=tokens))
            assert (again.verdict == "fits") is is_in


@pytest.mark.parametrize("model", ["llama-3.1-8b", "qwen3.5-9b", "flux.1-schnell", "whisper-large-v3"])
@pytest.mark.parametrize("gpu", ["l40s", "a100-80gb-sxm"])
def test_the_most_at_once_fit_and_one_more_does_not(model: str, gpu: str) -> None:
    fit = fits(model, gpu)
    most = fit.most_concurrent
    assert most >= 1
    for n, is_in in ((most, True), (most + 1, most >= 4096)):
        again = solve(fit.arch, fit.card, fit.setup, replace(fit.load, concurrency=n))
        assert (again.verdict == "fits") is is_in


def test_an_answer_states_its_conditions() -> None:
    answer = json.loads(
        json.dumps(fits("llama-3-70b", "l40s:2", precision="int4").to_dict(), allow_nan=False)
    )
    for key in (
        "context_tokens",
        "concurrency",
        "engine",
        "precision",
        "kv_cache",
        "layout",
        "verdict",
        "card_source",
    ):
        assert answer[key], key
    assert answer["n_gpus"] == 2
    assert answer["total_gib"]["low"] < answer["total_gib"]["value"] < answer["total_gib"]["high"]
    assert sum(term["gib"] for term in answer["terms"]) == pytest.approx(answer["total_gib"]["value"])
    assert answer["dominating"] == "weights"


def test_a_context_beyond_the_models_own_is_said() -> None:
    assert "8,192" in fits("llama-3-70b", "h100:4", context="32k").assumptions[0]
    assert fits("llama-3-70b", "h100:4", context="8k").assumptions == ()
    assert "only a count" in " ".join(fits("70B", "h100:4").assumptions)


def test_room_of_an_l40s_as_the_notes_have_it() -> None:
    """Notes, section 4: 70B INT4 at 0.95 holds about 11,600 tokens, a 14B in 16 bit 58,000 at 0.90."""
    tight = fits("llama-3.3-70b", "l40s", precision="int4", memory_fraction=0.95, engine="vllm 0.11")
    wide = fits("deepseek-r1-distill-qwen-14b", "l40s", precision="fp16", engine="vllm 0.11")
    for fit, tokens in ((tight, 11_600), (wide, 58_000)):
        rest = sum(term.gib for term in fit.estimate.terms if term.name != "KV cache")
        per_token = fit.estimate.gib("KV cache") / 8192
        assert (fit.estimate.limit_gib - rest) / per_token == pytest.approx(tokens, rel=0.12)
