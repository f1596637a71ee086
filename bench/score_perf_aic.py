"""What AIConfigurator says of measured LLM speeds, where it is installed (`pip install aiconfigurator`).

It interpolates tables of kernels that NVIDIA measured, and takes a second or two for a row, so that it is
asked for a sample only: rows spread evenly over those whose GPU, engine and model it ships. Which they were
is part of the result, and on the same rows stands what Rackrate says.

A lone request is asked for as static batching of one, everything else as in-flight batching with as many
requests as run at once. It sees the precision of the weights and none of the settings that it does not ask
for.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence

from rackrate.errors import NoAnswer, RackrateError
from rackrate.perf.cases import PerfCase
from rackrate.perf.predict_llm import Run, run_of

NAME = "AIConfigurator"
SAMPLE = 60
MOST_AT_ONCE = 1024

_SYSTEMS: Mapping[str, str] = {
    "a100-80gb-pcie": "a100_pcie",
    "a100-80gb-sxm": "a100_sxm",
    "a100-40gb-sxm": "a100_sxm",
    "b200-sxm": "b200_sxm",
    "gb200": "gb200",
    "h100-pcie": "h100_pcie",
    "h100-sxm": "h100_sxm",
    "h200-sxm": "h200_sxm",
    "l4": "l4",
    "l40s": "l40s",
    "rtx-pro-6000-server": "rtx_pro_6000_server",
}
_MODELS: Mapping[str, str] = {
    "llama-3.1-8b": "meta-llama/Meta-Llama-3.1-8B",
    "llama-3.1-70b": "meta-llama/Meta-Llama-3.1-70B",
    "llama-3.3-70b": "meta-llama/Meta-Llama-3.1-70B",
    "llama-3.1-405b": "meta-llama/Meta-Llama-3.1-405B",
    "mixtral-8x7b": "mistralai/Mixtral-8x7B-v0.1",
    "mixtral-8x22b": "mistralai/Mixtral-8x22B-v0.1",
    "deepseek-r1": "deepseek-ai/DeepSeek-R1",
    "deepseek-v3": "deepseek-ai/DeepSeek-V3",
    "gpt-oss-20b": "openai/gpt-oss-20b",
    "gpt-oss-120b": "openai/gpt-oss-120b",
    "qwen3-0.6b": "Qwen/Qwen3-0.6B",
    "qwen3-1.7b": "Qwen/Qwen3-1.7B",
    "qwen3-8b": "Qwen/Qwen3-8B",
    "qwen3-32b": "Qwen/Qwen3-32B",
    "qwen3-30b-a3b": "Qwen/Qwen3-30B-A3B",
    "qwen3-235b-a22b": "Qwen/Qwen3-235B-A22B",
}
_BACKENDS: Mapping[str, str] = {"vllm": "vllm", "sglang": "sglang", "tensorrt-llm": "trtllm"}
_QUANTISED: Mapping[str, str] = {"wide": "bfloat16", "fp8": "fp8", "nvfp4": "nvfp4"}
_METRICS = ("ttft_mean_ms", "ttft_p50_ms", "tpot_mean_ms", "output_tokens_per_s")


def is_there() -> bool:
    """Tell whether it is installed."""
    return importlib.util.find_spec("aiconfigurator") is not None


def asked(cases: Sequence[PerfCase], n: int = SAMPLE) -> list[int]:
    """Return which rows it is asked for: `n` of those that it has names for, evenly spread."""
    able = [i for i, case in enumerate(cases) if _is_named(case)]
    step = max(len(able) / n, 1.0)
    return [able[int(k * step)] for k in range(min(n, len(able)))]


def _is_named(case: PerfCase) -> bool:
    if not case.workload.startswith("llm_") or case.metric not in _METRICS:
        return False
    try:
        run = run_of(case)
    except RackrateError:
        return False
    machine = run.machine
    return (
        run.model in _MODELS
        and machine.chip.gpu in _SYSTEMS
        and machine.engine in _BACKENDS
        and machine.packing in _QUANTISED
        and "mlperf" not in case.engine.lower()
    )


def aiconfigurator(case: PerfCase) -> float:
    """Return what it says of a case, in the case's unit.

    Raises:
        NoAnswer: it has no table for that.
    """
    from aiconfigurator.cli.api import cli_estimate  # noqa: PLC0415 - an optional peer

    logging.disable(logging.CRITICAL)
    run = run_of(case)
    at_once = int(min(run.concurrency, run.room, MOST_AT_ONCE))
    try:
        found = cli_estimate(
            _MODELS[run.model],
            _SYSTEMS[run.machine.chip.gpu],
            mode="agg" if at_once > 1 else "static",
            backend_name=_BACKENDS[run.machine.engine],
            isl=max(int(run.request.input_tokens), 1),
            osl=max(int(run.request.output_tokens), 2),
            batch_size=max(at_once, 1),
            **_setup(run),
        )
    except (Exception, SystemExit) as error:
        raise NoAnswer(f"{NAME}: {type(error).__name__}: {error}") from error
    if case.metric.startswith("ttft"):
        return float(found.ttft)
    if case.metric == "tpot_mean_ms" and run.is_total:  # the source divides the whole request by its tokens
        n = max(run.request.output_tokens, 1.0)
        return float((float(found.ttft) + (n - 1) * float(found.tpot)) / n)
    if case.metric == "tpot_mean_ms":
        return float(found.tpot)
    return float(found.raw["tokens/s"]) * float(run.replicas)


def _setup(run: Run) -> dict[str, object]:
    tensor = run.machine.tensor
    found: dict[str, object] = {"tp_size": tensor, "pp_size": run.machine.pipeline}
    if run.work.n_experts > 1:
        found |= {"moe_tp_size": tensor, "moe_ep_size": 1}
    if not run.model.startswith("deepseek"):  # published in blocks of 8 bit, which it knows by itself
        found["gemm_quant_mode"] = _QUANTISED[run.machine.packing]
    return found
