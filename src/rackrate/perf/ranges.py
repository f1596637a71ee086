"""How far off may a forecast of a language model's serving be?

The width is a factor: 4 cases of 5 lie between the expected value divided and multiplied by it. It was found
on cases that the fit had not seen (`bench/fit_perf.py`).
"""

from __future__ import annotations

from rackrate.perf.chip import Chip
from rackrate.perf.factors import Factors


def is_seen(factors: Factors, gpu: str) -> bool:
    """Tell whether a GPU has factors of its own: its cases were enough, and unlike those of its class."""
    return any(factors.is_measured(name, gpu) for name in ("memory", "compute"))


def width_of(factors: Factors, kind: str, chip: Chip) -> float:
    """Return the factor by which the truth of 4 cases in 5 lies above or below a forecast at most.

    Args:
        factors: with `width`.
        kind: of forecast: `decode`, `prefill`, `ttft`, `loaded_ttft`, `tpot`, `throughput`, `scenario`.
        chip: a GPU without factors of its own has a wider range.
    """
    return max(factors.value("width", kind, "" if is_seen(factors, chip.gpu) else "unseen"), 1.0)
