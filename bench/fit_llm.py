"""Fit the factors of LLM serving (`perf/data/llm.toml`), links first.

The all-reduces say what a link does; that is the prior of the same factor when whole models are fitted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from perf_fit import Problem

from rackrate.errors import RackrateError
from rackrate.perf.cases import PerfCase
from rackrate.perf.machine import (
    assemble,
    assemble_habits,
    factor_keys,
    habit_numbers,
    numbers_of,
)
from rackrate.perf.predict_llm import METRICS, Run, Runs, forecast, run_of

GUESSES = {
    "memory": 0.8, "cache": 0.8, "compute": 0.6, "attention": 0.6, "link": 0.4, "link_us": 10.0,
    "step_us": 500.0, "layer_us": 10.0, "expert_layer_us": 30.0, "sequence_us": 10.0, "request_us": 5000.0,
    "ramp": 100.0, "wait": 1.0, "burst": 0.3, "wave": 0.02, "pipeline": 0.5, "server": 0.9, "sharpness": 1.5,
}  # fmt: skip


@dataclass
class Rows:
    """Cases that can be forecast.

    Attributes:
        cases: as read.
        runs: what they mean.
        problem: for the fit.
    """

    cases: list[PerfCase]
    runs: list[Run]
    problem: Problem


def llm_rows(cases: Sequence[PerfCase]) -> Rows:
    """Return the cases of LLMs that have a forecast."""
    kept, runs = list[PerfCase](), list[Run]()
    for case in cases:
        if not (case.workload.startswith("llm_") and case.is_trusted and case.metric in METRICS):
            continue
        try:
            runs.append(run_of(case))
        except RackrateError:
            continue
        kept.append(case)
    return Rows(kept, runs, _problem(kept, runs))


def _problem(cases: Sequence[PerfCase], runs: Sequence[Run]) -> Problem:
    stacked = Runs.of(runs)
    numbers = _columns([numbers_of(run.machine) for run in runs])
    habits = _columns([habit_numbers(run.machine, run.arrivals) for run in runs])
    names = list(METRICS)
    metric = np.array([names.index(case.metric) for case in cases])
    rows = np.arange(len(cases))

    def predict(values: Mapping[str, Any]) -> Any:
        found = forecast(
            stacked, assemble(numbers, values), assemble_habits(habits, values), values["server"]
        )
        return np.log(np.vstack([found[name] for name in names])[metric, rows])

    count = Counter(case.workload for case in cases)
    return Problem(
        keys=[factor_keys(run.machine, run.arrivals) for run in runs],
        truth=np.log([case.value for case in cases]),
        predict=predict,
        guesses=GUESSES,
        weights=np.array([count[case.workload] ** -0.25 for case in cases]),
        sharp={"sharpness": 0.1},
    )


def _columns(rows: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
