"""Which measured speeds are most like a question? What an estimate shows beside itself.

The table is a choice of what was measured, not all of it: one row for each card, model and way of running it
that tells something of its own.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rackrate.catalog.gpu import load_gpu
from rackrate.errors import CatalogInvalid
from rackrate.perf.chip import class_of

_DATA = Path(__file__).parent / "data"
_FILES = ("measured_llm.toml", "measured_media.toml")
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """One measured speed.

    Attributes:
        workload: `diffusion`, `encoder`, `speech`, `training`, `benchmark`, or that of an LLM's case.
        model: slug, or the benchmark's name.
        gpu: slug.
        what: settings, for people.
        value: in `unit`.
        unit: of the value.
        source: who measured it.
    """

    workload: str
    model: str
    gpu: str
    what: str
    value: float
    unit: str
    source: str

    def __str__(self) -> str:
        """Write it for people."""
        return f"{self.model} on {self.gpu}, {self.what}: {self.value:g} {self.unit} ({self.source})"


@cache
def all_measured() -> tuple[Measured, ...]:
    """Return the whole table.

    Raises:
        CatalogInvalid: the file is missing or a row of it is no measured speed.
    """
    try:
        return tuple(
            Measured(**row)
            for name in _FILES
            for row in tomllib.loads((_DATA / name).read_text("utf-8"))["measured"]
        )
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
