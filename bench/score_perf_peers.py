"""Others who predict speeds: the uncalibrated roofline, and AIConfigurator where it is installed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rackrate.errors import NoAnswer
from rackrate.perf.cases import PerfCase
from rackrate.perf.machine import numbers_of
from rackrate.perf.predict_llm import METRICS, Runs, forecast, run_of
from rackrate.perf.serving import Habits
from rackrate.perf.step import Rates

MEMORY_FRAC, COMPUTE_FRAC = 0.75, 0.5
"""Shares of bandwidth and peak that the notes on speed take for a roofline that nobody calibrated."""

LINK_FRAC = 0.6


def roofline(case: PerfCase) -> float:
    """Return what bandwidth and FLOPS alone say of an LLM case: no overheads, no waiting.

    Raises:
        NoAnswer: it is no case of an LLM.
    """
    if not case.workload.startswith("llm_") or case.metric not in METRICS:
        raise NoAnswer("the roofline is of language models")
    run = run_of(case)
    numbers = numbers_of(run.machine)
    n = numbers["tensor"]
    peak = numbers["flops"] / run.machine.chip.reached_frac
    bandwidth = numbers["bandwidth"] * MEMORY_FRAC
    rates = Rates(
        flops=peak * COMPUTE_FRAC,
        attention_flops=run.machine.chip.peak("fp16") * COMPUTE_FRAC,
        bandwidth=bandwidth,
        kv_bandwidth=bandwidth,
        link_bandwidth=numbers["link_bandwidth"] * LINK_FRAC / max(2 * (n - 1) / n, 1.0),
        link_s=0.0, step_s=0.0, layer_s=0.0, expert_layer_s=0.0, sequence_s=0.0,
        tensor=n,
        sharpness=20.0,
    )  # fmt: skip
    habits = replace(Habits(), wait=0.0, burst=0.0, stages=run.machine.pipeline, stage_gain=1.0)
    return float(np.ravel(forecast(Runs.of([run]), rates, habits, 1.0)[case.metric])[0])


def peers() -> dict[str, Callable[[PerfCase], float]]:
    """Return the others that are there, by name."""
    return {"roofline": roofline}
