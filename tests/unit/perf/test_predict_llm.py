"""Cases of LLMs: what their words mean, figures that were measured, and what has no forecast."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rackrate.errors import NoAnswer, RackrateError, UnknownName
from rackrate.perf.cases import PerfCase, read_perf_cases
from rackrate.perf.factors import load_factors
from rackrate.perf.machine import habits_of, rates_of
from rackrate.perf.predict import kind_of, predict
from rackrate.perf.predict_llm import METRICS, Runs, forecast, run_of
from rackrate.perf.ranges import width_of
from rackrate.perf.wording import ENDLESS, engine_of

CASE = PerfCase(
    id="t", workload="llm_decode", model="llama-3.1-8b", precision="bf16", engine="vLLM 0.22.1", gpu="l40s",
    gpu_count=1, nodes=1, parallel="tp1", load="1", input_tokens=1024, output_tokens=256,
    metric="tpot_mean_ms", value=1.0, unit="ms", extra="max_batched=2048", quality="ok", source="",
    licence="", group="",
)  # fmt: skip


def case(**changes: object) -> PerfCase:
    return replace(CASE, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("measured", "changes"),
    [
        (19.09, {}),  # notes on speed, section 2
        (11.1, {"gpu_count": 2, "parallel": "tp2"}),  # the same on two cards over PCIe
        (131.0, {"workload": "llm_prefill", "metric": "ttft_mean_ms"}),
        (
            4055.0,
            {
                "workload": "llm_offline", "metric": "output_tokens_per_s", "engine": "TensorRT-LLM 0.17",
                "precision": "fp8", "load": "max (offline)", "input_tokens": 1000, "output_tokens": 1000,
            },
        ),
    ],
)  # fmt: skip
def test_what_was_measured_of_llama_8b_on_l40s_lies_within_the_range(
    measured: float, changes: dict[str, object]
) -> None:
    found = predict(case(**changes))
    assert found.low < measured < found.high
    assert found.high / found.low < 4
    assert found.nearest


def test_words_of_a_case() -> None:
    run = run_of(case(gpu_count=4, parallel="tp2,pp2", precision="fp8", extra="max_batched=512; kv fp8"))
    assert (run.machine.tensor, run.machine.pipeline, run.machine.packing) == (2, 2, "fp8")
    assert run.machine.chunk_tokens == 512
    assert run.work.token_bytes == 65_536
    assert run.arrivals == "closed"
    assert not run.is_total


def test_a_client_with_a_strategy_comes_by_itself_and_counts_whole_requests() -> None:
    run = run_of(case(extra="strategy=constant;max_batched=2048", load="3.5"))
    assert (run.arrivals, run.is_total, run.concurrency, run.busy_frac) == ("steady", True, 3.5, 1)
    assert run_of(case(load="0.4")).busy_frac == 0.4
    assert run_of(case(load="max (offline)")).concurrency == ENDLESS


def test_mlperf_spreads_copies_over_its_gpus() -> None:
    run = run_of(
        case(
            engine="MLPerf TensorRT", model="llama-2-70b", precision="fp8", gpu="h100-sxm-80", gpu_count=8,
            parallel="", load="offline", input_tokens=None, output_tokens=None, extra="OpenOrca",
        )
    )  # fmt: skip
    assert (run.machine.tensor, run.replicas) == (2, 4)
    assert (run.request.input_tokens, run.request.output_tokens) == (294, 294)
    assert any("294 tokens in" in words for words in run.assumptions)


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("vLLM 0.22.1", "vllm"),
        ("TensorRT-LLM 0.17", "tensorrt-llm"),
        ("trtllm", "tensorrt-llm"),
        ("MLPerf TensorRT 10", "tensorrt-llm"),
        ("MLPerf vLLM", "vllm"),
        ("llama.cpp b4753", "llama.cpp"),
        ("ollama", "llama.cpp"),
        ("SGLang 0.5", "sglang"),
        ("Mango", "other"),
    ],
)
def test_engines_by_the_words_of_sources(name: str, engine: str) -> None:
    assert engine_of(name) == engine


@pytest.mark.parametrize(
    ("changes", "packing"),
    [
        ({"extra": "hf=unsloth/Llama-bnb-4bit"}, "nf4"),
        ({"model": "gpt-oss-20b"}, "mxfp4"),
        ({"model": "deepseek-r1", "precision": ""}, "fp8"),
        ({"precision": "q4_k_m", "engine": "llama.cpp"}, "gguf"),
        ({"precision": "fp4 or fp8", "gpu": "h100-sxm"}, "fp8"),
        ({"precision": "fp4 or fp8", "gpu": "b200-sxm"}, "nvfp4"),
        ({"precision": "bf16/fp16"}, "wide"),
    ],
)
def test_how_weights_are_packed(changes: dict[str, object], packing: str) -> None:
    assert run_of(case(**changes)).machine.packing == packing


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"gpu": "abacus"}, UnknownName),
        ({"model": "nobody's model"}, NoAnswer),
        ({"precision": "fp7"}, UnknownName),
        ({"metric": "smiles"}, RackrateError),
    ],
)
def test_what_has_no_forecast_says_why(changes: dict[str, object], error: type[RackrateError]) -> None:
    with pytest.raises(error):
        predict(case(**changes))


def test_a_model_by_its_count_alone() -> None:
    run = run_of(case(model="somebody-13B"))
    assert 2 * (run.work.linear_params + run.work.head_params) == pytest.approx(2 * 13e9, rel=0.06)


def test_many_at_once_are_the_same_as_one_by_one() -> None:
    cases = [case(), case(gpu_count=2, parallel="tp2"), case(load="32"), case(model="gemma-2-2b", gpu="l4")]
    runs, factors = [run_of(each) for each in cases], load_factors("llm")
    for run, each in zip(runs, cases, strict=True):
        rates, habits = rates_of(run.machine, factors), habits_of(run.machine, factors, run.arrivals)
        alone = forecast(Runs.of([run]), rates, habits, 0.8)
        pair = forecast(Runs.of([run, run]), rates, habits, 0.8)
        assert set(alone) == set(METRICS)
        for name, values in pair.items():
            assert np.allclose(values, alone[name]), name
        assert predict(each).value == pytest.approx(float(alone["tpot_mean_ms"][0]))


def test_a_card_that_no_case_speaks_of_has_a_wider_range() -> None:
    factors = load_factors("llm")
    known, unknown = (run_of(case(gpu=gpu)).machine.chip for gpu in ("l40s", "l40"))
    assert width_of(factors, "decode", unknown) > width_of(factors, "decode", known) > 1


def test_kinds_have_errors_of_their_own() -> None:
    kinds = {
        kind_of(each, run_of(each))
        for each in (
            case(),
            case(workload="llm_server", load="16"),
            case(workload="llm_prefill", metric="ttft_mean_ms"),
            case(workload="llm_server", metric="ttft_mean_ms", load="16"),
            case(workload="llm_prefill", metric="prefill_tokens_per_s"),
            case(workload="llm_offline", metric="output_tokens_per_s", load="64"),
            case(workload="llm_server", metric="server_queries_per_s", load="server"),
        )
    }
    assert kinds == {"decode", "tpot", "ttft", "loaded_ttft", "prefill", "throughput", "scenario"}


def test_the_shared_cases_stay_close(shared: Path) -> None:
    """Loose bounds on cases that the factors were fitted to: a break of the model, not its quality."""
    table = read_perf_cases((shared / "data" / "perf_cases.csv").read_text("utf-8"))
    cases = [c for c in table.cases if c.is_trusted and c.workload.startswith("llm_")][::7]
    far = [abs(predict(each).value / each.value - 1) for each in cases]
    assert len(far) > 100
    assert np.median(far) < 0.13
    assert np.quantile(far, 0.9) < 0.55
