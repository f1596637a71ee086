"""What does the model say of a measured case, whatever it is about? One estimate in the case's own unit."""

from __future__ import annotations

from rackrate.perf.cases import PerfCase
from rackrate.perf.chip import MICRO
from rackrate.perf.estimate import Estimate
from rackrate.perf.factors import Factors, load_factors
from rackrate.perf.machine import factor_keys, habits_of, rates_of
from rackrate.perf.nearest import nearest_measured
from rackrate.perf.predict_kernels import kernel_keys, kernel_s
from rackrate.perf.predict_llm import ENDLESS, METRICS, Run, Runs, forecast, run_of
from rackrate.perf.predict_media import predict_media
from rackrate.perf.ranges import width_of
from rackrate.perf.serving import serve
from rackrate.perf.step import limit_of

_KERNELS = {"kernel_time_us", "collective_time_us"}


def predict(case: PerfCase) -> Estimate:
    """Return what the model expects of a case, in the case's unit.

    Args:
        case: its value is not read.

    Raises:
        RackrateError: nothing is known of its GPU or model, or no such metric is forecast.
    """
    if case.metric in _KERNELS:
        return predict_kernel(case, load_factors("kernels"))
    if case.workload.startswith("llm_") and case.metric in METRICS:
        return predict_llm(case, load_factors("llm"))
    return predict_media(case)


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
