"""Which measured cases are most like a forecast? A reader can hold the two side by side.

A few cases of every GPU are bundled (`data/measured.toml`, `data/measured_media.toml`), each with its source:
what was seen there, not what the model says of it.
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rackrate.perf.chip import Chip

_DATA = Path(__file__).parent / "data"
_FILES = ("measured.toml", "measured_media.toml")
_OTHER_GPU, _OTHER_CLASS, _OTHER_ENGINE = 1.5, 4.0, 0.7
_FAR = 6.0  # nothing in common: not shown


@dataclass(frozen=True, slots=True)
class Measured:
    """A measured speed.

    Attributes:
        workload: as in the cases.
        model: name as the source has it.
        params_b: billions of parameters, for likeness; 0 where they say nothing.
        precision: of the weights.
        engine: with its version.
        gpu: slug.
        kind: class of the GPU.
        n_gpus: how many.
        load: requests at once and tokens, in words.
        metric: what was measured.
        value: in `unit`.
        unit: of it.
        source: where it was read.
    """

    workload: str
    model: str
    params_b: float
    precision: str
    engine: str
    gpu: str
    kind: str
    n_gpus: int
    load: str
    metric: str
    value: float
    unit: str
    source: str

    def __str__(self) -> str:
        """Write it as a line for people."""
        gpus = f"{self.n_gpus} x {self.gpu}" if self.n_gpus > 1 else self.gpu
        what = self.metric.replace("_", " ")
        return (
            f"{gpus}, {self.model} {self.precision}, {self.engine}, {self.load}: {what} {self.value:g} "
            f"{self.unit} ({self.source})"
        )


@cache
def measured() -> tuple[Measured, ...]:
    """Return the bundled cases."""
    texts = [(_DATA / name).read_text("utf-8") for name in _FILES]
    return tuple(Measured(**row) for text in texts for row in tomllib.loads(text)["case"])


@cache
def was_measured(workload: str, model: str) -> bool:
    """Tell whether a model's speed at a workload was measured on any card."""
    return any(case.workload == workload and case.model == model for case in measured())


def nearest_cases(
    chip: Chip, workloads: Iterable[str], params_b: float, n_gpus: int, engine: str = "", limit: int = 2
) -> tuple[str, ...]:
    """Return the measured cases most like a run, nearest first; none where nothing is like it.

    Args:
        chip: of the run.
        workloads: that may be compared.
        params_b: billions of parameters of its model.
        n_gpus: GPUs of the run.
        engine: its engine's name.
        limit: most lines.
    """
    allowed = set(workloads)

    def distance(case: Measured) -> float:
        far = 0.0
        if case.gpu != chip.gpu:
            far += _OTHER_GPU if case.kind == chip.kind else _OTHER_CLASS
        if engine and not case.engine.lower().startswith(engine):
            far += _OTHER_ENGINE
        far += abs(math.log2(case.n_gpus / n_gpus))
        if params_b and case.params_b:
            far += abs(math.log(case.params_b / params_b))
        return far

    ranked = sorted((distance(case), str(case)) for case in measured() if case.workload in allowed)
    return tuple(text for far, text in ranked[:limit] if far < _FAR)
