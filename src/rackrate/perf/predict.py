"""What does the model say of a measured case, whatever it is about? One estimate in the case's own unit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rackrate.errors import UnknownName, nearest
from rackrate.perf.cases import PerfCase
from rackrate.perf.chip import MICRO
from rackrate.perf.estimate import Estimate
from rackrate.perf.factors import Factors, load_factors
from rackrate.perf.machine import factor_keys, habits_of, rates_of
from rackrate.perf.nearest import nearest_measured
from rackrate.perf.predict_kernels import kernel_keys, kernel_s
from rackrate.perf.predict_llm import METRICS, Run, Runs, forecast, run_of
from rackrate.perf.predict_media import predict_media
from rackrate.perf.ranges import width_of
from rackrate.perf.serving import serve
from rackrate.perf.step import limit_of
from rackrate.perf.wording import ENDLESS

_KERNELS = {"kernel_time_us", "collective_time_us"}

_OTHER_METRICS: Mapping[str, str] = {
    "tpot_ms": "tpot_mean_ms",
    "tpot_p50_ms": "tpot_mean_ms",  # the steps of a request hardly differ
    "tpot_median_ms": "tpot_mean_ms",
    "itl_ms": "tpot_mean_ms",
    "itl_mean_ms": "tpot_mean_ms",
    "ttft_ms": "ttft_mean_ms",
    "ttft_median_ms": "ttft_p50_ms",
    "prefill_ms": "first_token_latency_ms",
    "prefill_latency_ms": "first_token_latency_ms",
    "queries_per_s": "requests_per_s",
    "samples_per_s": "requests_per_s",
    "e2e_ms": "e2e_mean_ms",
    "e2e_latency_mean_ms": "e2e_mean_ms",
    "latency_mean_ms": "e2e_mean_ms",
    "throughput_tokens_per_s": "output_tokens_per_s",
}
"""What sources call metrics that are named otherwise here."""

_TOKENS: Mapping[str, str] = {
    "llm_decode": "decode_tokens_per_s",
    "llm_prefill": "prefill_tokens_per_s",
}
"""What tokens/s without another word mean, by workload; elsewhere those of all answers."""

_OF_A_SECOND: Mapping[str, float] = {
    "s": 1.0,
    "sec": 1.0,
    "ms": 1e3,
    "us": 1e6,
    "\u00b5s": 1e6,
    "\u03bcs": 1e6,
}
"""Units of time, as many as a second has."""


def predict(case: PerfCase) -> Estimate:
    """Return what the model expects of a case, in the case's unit.

    Args:
        case: its value is not read.

    Raises:
        RackrateError: nothing is known of its GPU or model, or no such metric is forecast.
    """
    if case.metric in _KERNELS:
        return _in_unit(predict_kernel(case, load_factors("kernels")), case.unit)
    if case.workload.startswith("llm_"):
        known = replace(case, metric=metric_of(case))
        return _in_unit(predict_llm(known, load_factors("llm")), case.unit)
    return predict_media(case)


def metric_of(case: PerfCase) -> str:
    """Return the metric of an LLM case, one of `METRICS`.

    Raises:
        UnknownName: nothing of that name is forecast.
    """
    name = case.metric.lower()
    if name == "tokens_per_s":
        return _TOKENS.get(case.workload, "output_tokens_per_s")
    name = _OTHER_METRICS.get(name, name)
    if name not in METRICS:
        raise UnknownName("metric", case.metric, nearest(name, METRICS) or list(METRICS))
    return name


def _in_unit(found: Estimate, unit: str) -> Estimate:
    """Return a time in the unit that a case states."""
    ours, theirs = _OF_A_SECOND.get(found.unit), _OF_A_SECOND.get(unit.strip().lower())
    if not ours or not theirs or ours == theirs:
        return found
    by = theirs / ours
    return replace(found, value=found.value * by, low=found.low * by, high=found.high * by, unit=unit)


def predict_kernel(case: PerfCase, factors: Factors) -> Estimate:
    """Return the time of a kernel, us."""
    values = {name: factors.value(name, *keys) for name, keys in kernel_keys(case).items()}
    found = kernel_s(case, values) / MICRO
    width = factors.value("width", case.workload)
    limit = "link" if case.workload == "comm" else "compute"
    return Estimate(found, found / width, found * width, "us", limit)


def predict_llm(case: PerfCase, factors: Factors) -> Estimate:
    """Return the metric of an LLM case."""
    run = run_of(case)
    machine = run.machine
    rates, habits = rates_of(machine, factors), habits_of(machine, factors, run.arrivals)
    server = factors.value("server", *factor_keys(machine)["server"])
    value = float(forecast(Runs.of([run]), rates, habits, server)[case.metric][0])
    width = width_of(factors, kind_of(case, run), machine.chip)
    served = serve(run.work, rates, habits, run.request, run.concurrency, run.room)
    is_waiting = case.metric.startswith("ttft") and float(served.waiting_s) > float(served.ttft_s) / 2
    return Estimate(
        value,
        value / width,
        value * width,
        METRICS[case.metric],
        "queue" if is_waiting else limit_of(served.step, is_full=run.room < run.concurrency < ENDLESS),
        run.assumptions,
        nearest_measured(case.workload, run.model, machine.chip.gpu),
    )


def kind_of(case: PerfCase, run: Run) -> str:
    """Return the kind of forecast that a case asks for: each has its own error."""
    if case.metric.startswith(("server", "interactive")) or run.machine.engine == "other":
        return "scenario"
    if case.metric in ("prefill_tokens_per_s", "first_token_latency_ms"):
        return "prefill"
    if case.metric.startswith("ttft"):
        return "ttft" if run.concurrency <= 1 else "loaded_ttft"
    if case.metric == "tpot_mean_ms" and run.concurrency > 1:
        return "tpot"
    return "decode" if case.workload == "llm_decode" else "throughput"
