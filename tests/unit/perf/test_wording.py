"""The words of measured cases: names of GPUs, models, engines and precisions as sources write them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rackrate.catalog.aliases import family_members
from rackrate.catalog.gpu import load_gpu
from rackrate.errors import UnknownName
from rackrate.fit.parallel import Layout
from rackrate.perf.cases import PerfCase
from rackrate.perf.chip import chip_of
from rackrate.perf.predict import metric_of, predict
from rackrate.perf.wording import (
    _USUAL_MEMBERS,
    ENDLESS,
    architecture_meant,
    engine_of,
    gpu_meant,
    layout_of,
    precision_for,
    requests_at_once,
)

CASE = PerfCase(
    id="t", workload="llm_server", model="llama-3.1-8b", precision="bf16", engine="vLLM 0.22.1", gpu="l40s",
    gpu_count=1, nodes=1, parallel="tp1", load="8", input_tokens=1024, output_tokens=256,
    metric="tpot_mean_ms", value=1.0, unit="ms", extra="", quality="ok", source="", licence="", group="",
)  # fmt: skip


def case(**changes: object) -> PerfCase:
    return replace(CASE, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("H100", "h100-sxm"),
        ("NVIDIA H100", "h100-sxm"),
        ("a100", "a100-80gb-sxm"),
        ("A100 40GB", "a100-40gb-sxm"),
        ("A100 PCIe", "a100-80gb-pcie"),
        ("H200", "h200-sxm"),
        ("NVIDIA GH200 480GB", "gh200-96gb"),
        ("V100", "v100-16gb-sxm"),
        ("RTX PRO 6000", "rtx-pro-6000-server"),
    ],
)
def test_a_bare_name_of_a_family_is_its_usual_member_and_says_so(name: str, slug: str) -> None:
    gpu, assumed = gpu_meant(name)
    assert gpu.slug == slug
    assert slug in assumed[0]
    assert any(slug in words for words in predict(case(gpu=name)).assumptions)


def test_usual_members_are_of_their_families_and_an_exact_name_assumes_nothing() -> None:
    for family, slug in _USUAL_MEMBERS.items():
        assert slug in family_members(family)
    assert gpu_meant("H100 PCIe") == (load_gpu("h100-pcie"), ())
    with pytest.raises(UnknownName, match="family"):
        gpu_meant("RTX 6000")  # Turing, Ada or Blackwell: nothing that is usual


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("NVIDIA TensorRT-LLM 1.0", "tensorrt-llm"),
        ("TensorRT 10.2.0 (MLPerf Inference v4.1 closed)", "tensorrt-llm"),
        ("vLLM 0.9 (MLPerf v5.1, TensorRT)", "vllm"),
        ("ROCm vLLM", "vllm"),
        ("SGL 0.5", "sglang"),
        ("llama-bench 4753", "llama.cpp"),
        ("KoboldCpp", "llama.cpp"),
        ("LMDeploy TurboMind", "lmdeploy"),
        ("gpt-fast", "other"),
    ],
)
def test_families_of_engines(name: str, engine: str) -> None:
    assert engine_of(name) == engine


@pytest.mark.parametrize(
    ("changes", "precision"),
    [
        ({"precision": "FP8 (W8A8)"}, "fp8"),
        ({"precision": "fp8_e4m3"}, "fp8"),
        ({"precision": "INT4 AWQ"}, "int4"),
        ({"precision": "gptq-4bit"}, "int4"),
        ({"precision": "4-bit"}, "int4"),
        ({"precision": "FP4 (NVFP4)"}, "nvfp4"),
        ({"precision": "fp8/int8"}, "fp8"),
        ({"precision": "auto"}, "bf16"),
        ({"precision": "", "model": "Qwen/Qwen3-32B-FP8"}, "fp8"),
        ({"precision": "", "model": "Qwen/Qwen2.5-72B-Instruct-AWQ"}, "int4"),
        ({"precision": "", "model": "gemma-2b.Q4_K_M.gguf"}, "gguf:q4_k_m"),
        ({"precision": "auto", "model": "deepseek-ai/DeepSeek-V3"}, "fp8-block"),
        ({"precision": "", "model": "meta-llama/Llama-3.1-8B-Instruct"}, "bf16"),
    ],
)
def test_precisions_in_the_words_of_sources(changes: dict[str, object], precision: str) -> None:
    each = case(**changes)
    found = precision_for(each, architecture_meant(each), chip_of(load_gpu("l40s")))
    assert found.name == precision


@pytest.mark.parametrize(
    ("changes", "billions"),
    [
        ({"model": "gemma-2b.Q4_K_M"}, 2.5),
        ({"model": "SmolLM-135M.Q4_K_M.gguf"}, 0.135),
        ({"model": "somebody-1M-context-7b"}, 7.0),
        ({"model": "nobody's", "extra": "params=6738415616;bytes=1"}, 6.74),
        ({"model": "meta-llama/Meta-Llama-3.1-70B-Instruct"}, 70.6),
        ({"model": "nobody's", "extra": "hf=Qwen/Qwen2.5-7B"}, 7.6),
    ],
)
def test_models_by_name_then_by_count(changes: dict[str, object], billions: float) -> None:
    assert architecture_meant(case(**changes)).n_params / 1e9 == pytest.approx(billions, rel=0.06)


@pytest.mark.parametrize(
    ("parallel", "n_gpus", "engine", "layout", "copies"),
    [
        ("tp2", 2, "vllm", Layout(tensor=2), 1),
        ("TP=4 PP=2", 8, "vllm", Layout(tensor=4, pipeline=2), 1),
        ("tensor_parallel_size=2", 2, "vllm", Layout(tensor=2), 1),
        ("tp2,dp4", 8, "vllm", Layout(tensor=2), 4),
        ("tp8,dp8", 8, "sglang", Layout(tensor=8), 1),
        ("", 4, "vllm", Layout(tensor=4), 1),
        ("", 2, "llama.cpp", Layout(pipeline=2), 1),
        ("layer-split", 2, "llama.cpp", Layout(pipeline=2), 1),
    ],
)
def test_layouts(parallel: str, n_gpus: int, engine: str, layout: Layout, copies: int) -> None:
    assert layout_of(case(parallel=parallel, gpu_count=n_gpus), engine) == (layout, copies)


@pytest.mark.parametrize(
    ("load", "n"),
    [("16", 16), ("batch 8", 8), ("c32", 32), ("bs=4", 4), ("0.5", 0.5), ("0", ENDLESS), ("-5", ENDLESS)]
    + [(word, ENDLESS) for word in ("nan", "inf", "offline", "max (offline)", "")],
)
def test_loads_are_numbers_above_zero_or_endless(load: str, n: float) -> None:
    assert requests_at_once(load) == n
    found = predict(case(load=load, metric="output_tokens_per_s"))
    assert 0 < found.low < found.value < found.high


def test_a_time_is_given_in_the_unit_of_the_case() -> None:
    ms = predict(case(metric="ttft_mean_ms", unit="ms"))
    seconds = predict(case(metric="ttft_mean_ms", unit="s"))
    assert seconds.unit == "s"
    assert seconds.value == pytest.approx(ms.value / 1000)
    assert seconds.high == pytest.approx(ms.high / 1000)


def test_other_names_of_metrics() -> None:
    same = {
        "itl_mean_ms": "tpot_mean_ms",
        "ttft_median_ms": "ttft_p50_ms",
        "tokens_per_s": "output_tokens_per_s",
    }
    for name, known in same.items():
        assert predict(case(metric=name)).value == predict(case(metric=known)).value
    assert metric_of(case(workload="llm_decode", metric="tokens_per_s")) == "decode_tokens_per_s"
    with pytest.raises(UnknownName, match="metric 'tpot_p999_ms'"):
        predict(case(metric="tpot_p999_ms"))
    with pytest.raises(UnknownName, match="workload 'llm'"):
        predict(case(workload="llm"))


def test_rates_and_times_agree_with_each_other() -> None:
    """256 tokens an answer: requests, all tokens and whole requests follow from tokens/s, TTFT and TPOT."""
    value = {
        name: predict(case(metric=name)).value
        for name in (
            "output_tokens_per_s", "requests_per_s", "total_tokens_per_s", "e2e_mean_ms", "ttft_mean_ms",
            "tpot_mean_ms", "ttft_p50_ms", "ttft_p90_ms", "ttft_p99_ms",
        )
    }  # fmt: skip
    assert value["requests_per_s"] == pytest.approx(value["output_tokens_per_s"] / 256)
    assert value["total_tokens_per_s"] == pytest.approx(value["output_tokens_per_s"] * 1280 / 256)
    assert value["e2e_mean_ms"] == pytest.approx(value["ttft_mean_ms"] + 255 * value["tpot_mean_ms"])
    assert value["ttft_p50_ms"] < value["ttft_mean_ms"] < value["ttft_p90_ms"] < value["ttft_p99_ms"]
