<<<<<<< HEAD
"""Which measured cases are most like a forecast? A reader can hold the two side by side.

A few cases of every GPU are bundled (`data/measured.toml`), each with its source: what was seen there, not
what the model says of it.
=======
"""Which measured speeds are most like a question? What an estimate shows beside itself.

The table is a choice of what was measured, not all of it: one row for each card, model and way of running it
that tells something of its own.
>>>>>>> media
"""

from __future__ import annotations

<<<<<<< HEAD
import math
import tomllib
from collections.abc import Iterable
=======
import tomllib
>>>>>>> media
from dataclasses import dataclass
from functools import cache
from pathlib import Path

<<<<<<< HEAD
from rackrate.perf.chip import Chip

_FILE = Path(__file__).parent / "data" / "measured.toml"
_OTHER_GPU, _OTHER_CLASS, _OTHER_ENGINE = 1.5, 4.0, 0.7
_FAR = 6.0  # nothing in common: not shown
=======
from rackrate.catalog.gpu import load_gpu
from rackrate.errors import CatalogInvalid
from rackrate.perf.chip import class_of

_FILE = Path(__file__).parent / "data" / "measured_media.toml"
SHOWN = 3
>>>>>>> media


@dataclass(frozen=True, slots=True)
class Measured:
<<<<<<< HEAD
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
=======
    """One measured speed.

    Attributes:
        workload: `diffusion`, `encoder`, `speech`, `training` or `benchmark`.
        model: slug, or the benchmark's name.
        gpu: slug.
        what: settings, for people.
        value: in `unit`.
        unit: of the value.
        source: who measured it.
>>>>>>> media
    """

    workload: str
    model: str
<<<<<<< HEAD
    params_b: float
    precision: str
    engine: str
    gpu: str
    kind: str
    n_gpus: int
    load: str
    metric: str
=======
    gpu: str
    what: str
>>>>>>> media
    value: float
    unit: str
    source: str

    def __str__(self) -> str:
<<<<<<< HEAD
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
    rows = tomllib.loads(_FILE.read_text("utf-8"))["case"]
    return tuple(Measured(**row) for row in rows)


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
=======
        """Write it for people."""
        return f"{self.model} on {self.gpu}, {self.what}: {self.value:g} {self.unit} ({self.source})"


@cache
def all_measured() -> tuple[Measured, ...]:
    """Return the whole table.

    Raises:
        CatalogInvalid: the file is missing or a row of it is no measured speed.
    """
    try:
        return tuple(Measured(**row) for row in tomllib.loads(_FILE.read_text("utf-8"))["measured"])
    except (FileNotFoundError, KeyError, TypeError, tomllib.TOMLDecodeError) as error:
        raise CatalogInvalid(f"no table of measured speeds: {error}") from error


@cache
def nearest_measured(workload: str, model: str, gpu: str) -> tuple[str, ...]:
    """Return the measured speeds of a workload that are nearest: by model, then by card, then by class."""
    kind = class_of(load_gpu(gpu))

    def distance(row: Measured) -> tuple[bool, bool, bool]:
        return row.model != model, row.gpu != gpu, class_of(load_gpu(row.gpu)) != kind

    rows = [row for row in all_measured() if row.workload == workload]
    return tuple(str(row) for row in sorted(rows, key=distance)[:SHOWN])


@cache
def was_measured(workload: str, model: str) -> bool:
    """Tell whether a model's speed was measured on any card."""
    return any(row.workload == workload and row.model == model for row in all_measured())
>>>>>>> media
