"""Would the prediction have picked the right GPU? Ranks what was measured by what it costs.

Rows of the same model, workload, metric and load on different GPUs are one question: which of them gives
the result for the least money, at the median on-demand price of the bundled market? It is answered right
when the GPU with the least predicted cost has the least measured cost.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import rackrate
from rackrate.errors import RackrateError
from rackrate.perf.cases import PerfCase
from rackrate.perf.wording import gpu_meant

GOAL = 0.85
_TIMES = ("_ms", "_us", "_s", "_min", "seconds_per_batch")


@dataclass(frozen=True)
class Ranking:
    """How often the pick was right.

    Attributes:
        n_questions: groups of rows with two GPUs and more that have a price.
        n_right: those whose predicted cheapest is the measured cheapest.
        extra_cost_frac: what the picks cost above the cheapest, mean over all questions.
    """

    n_questions: int
    n_right: int
    extra_cost_frac: float

    def __str__(self) -> str:
        """Write it as a sentence."""
        if not self.n_questions:
            return "No two rows ask which GPU is cheapest."
        share = self.n_right / self.n_questions
        met = "met" if share >= GOAL else "missed"
        return (
            f"Cheapest GPU of those measured for one model and load, at median on-demand prices: right in "
            f"{share:.0%} of {self.n_questions} questions (goal {GOAL:.0%}: {met}); the picks cost "
            f"{self.extra_cost_frac:.1%} more than the cheapest on average."
        )


def ranking(cases: Sequence[PerfCase], predicted: Any) -> Ranking:
    """Return how often the predicted cheapest GPU is the measured cheapest."""
    groups: dict[tuple[Any, ...], dict[str, list[tuple[float, float]]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for case, value in zip(cases, predicted, strict=True):
        usd = _usd_per_hour(case.gpu)
        if usd and value > 0 and case.model:
            price = usd * case.gpu_count
            groups[_question(case)][case.gpu].append(
                (_cost(case, price, case.value), _cost(case, price, value))
            )
    n_right, extra, n = 0, 0.0, 0
    for by_gpu in groups.values():
        if len(by_gpu) < 2:  # noqa: PLR2004 - nothing to choose
            continue
        # Of several rows of one GPU (other counts, clouds) the cheapest stands for it.
        true = {gpu: min(row[0] for row in rows) for gpu, rows in by_gpu.items()}
        guess = {gpu: min(row[1] for row in rows) for gpu, rows in by_gpu.items()}
        pick, best = min(guess, key=guess.__getitem__), min(true.values())
        n += 1
        n_right += true[pick] == best
        extra += true[pick] / best - 1
    return Ranking(n, n_right, extra / n if n else 0.0)


def _question(case: PerfCase) -> tuple[Any, ...]:
    try:
        load = f"{math.log2(max(float(case.load), 1.0)):.0f}"  # of about the same size
    except ValueError:
        load = case.load
    return (case.workload, case.model, case.metric, load, case.input_tokens, case.output_tokens)


def _cost(case: PerfCase, usd: float, value: float) -> float:
    return usd * value if case.metric.endswith(_TIMES) else usd / value


@cache
def _usd_per_hour(gpu: str) -> float:
    """Return the median on-demand price of one GPU; 0 where nobody rents it."""
    try:
        found = rackrate.price(gpu_meant(gpu)[0].slug, kind="on_demand")
    except RackrateError:
        return 0.0
    return float(found.to_dict()["spread"]["median_usd_per_gpu_hour"])
