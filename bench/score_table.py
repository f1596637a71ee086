"""The arithmetic of a score: classes of quantities, errors, quantiles, goals, and the table of them.

An error is |predicted - measured| / measured; of KV room it is |predicted - measured| in GiB, because a
room that is nearly nothing has no useful relative error. A row without an answer has an error of 100 %
(of KV room: all of it), for us and for everyone else. Quantiles are interpolated between ranks, as
`statistics.quantiles(method="inclusive")` does.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rackrate.fit.cases import VERDICTS, Case
from rackrate.fit.precision import Precision
from rackrate.fit.predict import Prediction

CLASSES = (
    "weights 16-bit",
    "weights quantised",
    "inference peak",
    "activation peak",
    "KV room",
    "KV tokens",
    "KV cache",
    "LoRA",
    "QLoRA",
    "full fine-tune",
    "diffusion",
    "ASR",
    "verdict",
    "other",
)
IN_GIB = "KV room"
GOALS: dict[str, tuple[float, float]] = {
    "weights 16-bit": (0.005, 0.03),
    "weights quantised": (0.005, 0.03),
    "inference peak": (0.02, 0.08),
    "KV room": (0.2, 1.0),
    "KV tokens": (0.01, 0.05),
    "LoRA": (0.08, 0.20),
    "QLoRA": (0.08, 0.20),
    "full fine-tune": (0.10, 0.25),
    "diffusion": (0.05, 0.15),
    "ASR": (0.05, 0.15),
}
"""Median and 90th percentile that the goals allow: shares, of KV room GiB; of KV tokens 1 % are
asked for, 5 % where layers are of several kinds."""

VERDICT_GOAL = 0.90
COVERAGE_GOAL = (0.85, 0.95)
WIDTH_GOAL = 0.15
SURE = 0.95
_PEAKS = {"lora": "LoRA", "qlora": "QLoRA", "full_ft": "full fine-tune"}
_QUANTITIES = {"kv_tokens": "KV tokens", "activation_gib": "activation peak"} | dict.fromkeys(
    VERDICTS, "verdict"
)
_WORKLOADS = {"diffusion": "diffusion", "asr": "ASR"}


def class_of(case: Case, precision: Precision | None, *, reserves: bool) -> str:
    """Return the class that a case counts in.

    Args:
        case: what was measured.
        precision: of its weights, where it is known.
        reserves: whether its engine takes all that is left for KV cache (vLLM, SGLang).
    """
    if case.quantity in _QUANTITIES:
        return _QUANTITIES[case.quantity]
    if case.quantity == "kv_gib":
        return "KV room" if reserves else "KV cache"
    if case.quantity in ("weights_gib", "peak_gib") and case.workload in _WORKLOADS:
        return _WORKLOADS[case.workload]
    if case.quantity == "weights_gib":
        return "weights 16-bit" if precision is None or precision.is_wide else "weights quantised"
    if case.quantity == "peak_gib":
        return _PEAKS.get(case.workload, "inference peak")
    return "other"


@dataclass(frozen=True)
class Answer:
    """What somebody says of a case.

    Attributes:
        prediction: expected value and range; None where there is no answer.
        reason: why there is none.
        seconds: what it took.
    """

    prediction: Prediction | None
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Scored:
    """A case with an answer to it.

    Attributes:
        case: what was measured.
        kind: its class.
        answer: what was said.
    """

    case: Case
    kind: str
    answer: Answer

    @property
    def truth(self) -> float:
        """The measured value; of a verdict 1 where it fitted."""
        if self.case.quantity in VERDICTS:
            is_yes = self.case.value == 1
            return float(is_yes == (self.case.quantity == "fits"))
        return self.case.value

    @property
    def error(self) -> float:
        """The error; see the module. Of a verdict 0 where it is right and 1 where it is not."""
        found = self.answer.prediction
        if self.kind == "verdict":
            return 1.0 if found is None else float((found.value >= 0.5) != bool(self.truth))  # noqa: PLR2004
        if found is None:
            return self.truth if self.kind == IN_GIB else 1.0
        off = abs(found.value - self.truth)
        if self.kind == IN_GIB:
            return off
        return off / self.truth if self.truth else float(off > 0)

    @property
    def is_inside(self) -> bool | None:
        """Whether the stated range holds the truth; None where there is no range."""
        found = self.answer.prediction
        if found is None or self.kind == "verdict" or not found.sigma:
            return None
        return found.low <= self.truth <= found.high

    @property
    def width(self) -> float | None:
        """Width of the range over its middle; None where there is no range."""
        found = self.answer.prediction
        if self.is_inside is None or found is None or not found.value:
            return None
        return (found.high - found.low) / found.value

    @property
    def z(self) -> float | None:
        """How many standard deviations the truth is above what was expected."""
        found = self.answer.prediction
        if self.is_inside is None or found is None:
            return None
        return (self.truth - found.value) / found.sigma

    def to_dict(self) -> dict[str, Any]:
        """Return the row as plain data."""
        found = self.answer.prediction
        return {
            "id": self.case.id,
            "class": self.kind,
            "model": self.case.model,
            "engine": self.case.engine,
            "gpu": self.case.gpu,
            "quantity": self.case.quantity,
            "measured": self.truth,
            "predicted": found.value if found else None,
            "low": found.low if found else None,
            "high": found.high if found else None,
            "error": self.error,
            "z": self.z,
            "reason": self.answer.reason,
        }


@dataclass(frozen=True)
class Score:
    """How somebody did on the rows of one class.

    Attributes:
        kind: the class.
        n: rows.
        n_refused: rows without an answer.
        median: of the errors of all rows; of verdicts the share that is right.
        p90: 90th percentile of them; 0 of verdicts.
        median_answered: of the errors of the rows with an answer; None where there are none.
        p90_answered: likewise.
        coverage: share of the stated ranges that hold the truth; None where no range is stated.
        width: median width of the ranges over their middle; None likewise.
        n_false_fits: verdicts that said "fits" with `SURE` of what ran out of memory.
    """

    kind: str
    n: int
    n_refused: int
    median: float
    p90: float
    median_answered: float | None
    p90_answered: float | None
    coverage: float | None = None
    width: float | None = None
    n_false_fits: int = 0

    @property
    def is_met(self) -> bool | None:
        """Whether the goal of the class is met; None where it has none."""
        if self.kind == "verdict":
            return self.median >= VERDICT_GOAL and not self.n_false_fits
        goal = GOALS.get(self.kind)
        return None if goal is None else self.median <= goal[0] and self.p90 <= goal[1]


def quantile(values: Sequence[float], share: float) -> float:
    """Return the quantile of `values`, interpolated between ranks.

    >>> quantile([1.0, 2.0, 3.0], 0.5), quantile([0.0, 10.0], 0.9)
    (2.0, 9.0)
    """
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def score(kind: str, rows: Sequence[Scored]) -> Score:
    """Return the score of the rows of one class; there is at least one."""
    errors = [row.error for row in rows]
    answered = [row.error for row in rows if row.answer.prediction is not None]
    inside = [row.is_inside for row in rows if row.is_inside is not None]
    widths = [row.width for row in rows if row.width is not None]
    if kind == "verdict":
        right = 1 - sum(errors) / len(errors)
        right_answered = 1 - sum(answered) / len(answered) if answered else None
        false = [r for r in rows if not r.truth and r.answer.prediction and r.answer.prediction.value >= SURE]
        refused = len(rows) - len(answered)
        return Score(kind, len(rows), refused, right, 0.0, right_answered, None, n_false_fits=len(false))
    return Score(
        kind,
        len(rows),
        len(rows) - len(answered),
        statistics.median(errors),
        quantile(errors, 0.9),
        statistics.median(answered) if answered else None,
        quantile(answered, 0.9) if answered else None,
        sum(inside) / len(inside) if inside else None,
        statistics.median(widths) if widths else None,
    )


def scores(rows: Iterable[Scored]) -> list[Score]:
    """Return the score of each class that has rows, in the order of `CLASSES`."""
    by_kind: dict[str, list[Scored]] = {}
    for row in rows:
        by_kind.setdefault(row.kind, []).append(row)
    return [score(kind, by_kind[kind]) for kind in CLASSES if kind in by_kind]


def ranges(rows: Sequence[Scored]) -> tuple[float | None, float | None, int]:
    """Return coverage and median width of all stated ranges, and how many there are."""
    inside = [row.is_inside for row in rows if row.is_inside is not None]
    widths = [row.width for row in rows if row.width is not None]
    if not inside or not widths:
        return None, None, 0
    return sum(inside) / len(inside), statistics.median(widths), len(inside)
