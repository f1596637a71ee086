"""Others who predict every row: the uncalibrated roofline. AIConfigurator, for a sample: `score_perf_aic`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from rackrate.errors import NoAnswer
from rackrate.perf.cases import PerfCase
from rackrate.perf.floor import ideal_rates
from rackrate.perf.predict_llm import METRICS, Runs, forecast, run_of
from rackrate.perf.serving import Habits

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
    ideal, n = ideal_rates(run.machine), run.machine.tensor
    bandwidth = ideal.bandwidth * MEMORY_FRAC
    rates = replace(
        ideal,
        flops=ideal.flops * COMPUTE_FRAC,
        attention_flops=ideal.attention_flops * COMPUTE_FRAC,
        bandwidth=bandwidth,
        kv_bandwidth=bandwidth,
        link_bandwidth=run.machine.chip.link_bandwidth * LINK_FRAC / max(2 * (n - 1) / n, 1.0),
        sharpness=20.0,
    )
    habits = replace(Habits(), wait=0.0, burst=0.0, stages=run.machine.pipeline, stage_gain=1.0)
    return float(np.ravel(forecast(Runs.of([run]), rates, habits, 1.0)[case.metric])[0])


def peers() -> dict[str, Callable[[PerfCase], float]]:
    """Return the others that are there, by name."""
    return {"roofline": roofline}
