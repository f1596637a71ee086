"""Fit the factors of single kernels (`perf/data/kernels.toml`): matrix products and all-reduces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from perf_fit import Problem

from rackrate.errors import RackrateError
from rackrate.perf.cases import PerfCase
from rackrate.perf.chip import MICRO
from rackrate.perf.predict_kernels import kernel_keys, kernel_s

FEW = 5  # messages of a card and count; there are no more
GUESSES = {"compute": 0.9, "memory": 0.8, "launch_us": 5.0, "link": 0.5, "link_us": 10.0}


def kernel_rows(cases: Sequence[PerfCase]) -> tuple[list[PerfCase], Problem]:
    """Return the cases of kernels and what is to be fitted."""
    kept = [
        case for case in cases if case.is_trusted and case.metric.endswith("_time_us") and _is_known(case)
    ]

    def predict(values: Mapping[str, Any]) -> Any:
        return np.log([
            kernel_s(case, {name: column[i] for name, column in values.items()}) / MICRO
            for i, case in enumerate(kept)
        ])  # fmt: skip

    return kept, Problem(
        keys=[kernel_keys(case) for case in kept],
        truth=np.log([case.value for case in kept]),
        predict=predict,
        guesses=GUESSES,
        weights=np.ones(len(kept)),
        seen=FEW,
    )


def _is_known(case: PerfCase) -> bool:
    try:
        kernel_s(case, GUESSES)
    except RackrateError:
        return False
    return True
