"""The measuring process: one group of cases, its rows sent to the parent as they come."""

from __future__ import annotations

import argparse
import traceback
import warnings
from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

import building
import inference
import torch
import training
import transformers
from cases import Case
from meter import Meter, Reading
from results import compact, rows, settings


def _measure(case: Case, model: Any, config: Any, meter: Meter) -> tuple[Any, list[Reading]]:
    """Return the model (kept for the next case of the group) and the readings of `case`."""
    if not meter.on_gpu:
        case = replace(case, batch=min(case.batch, 2), tokens=min(case.tokens, 32))
    if case.trains:
        return None, list(training.run(model, case, config, meter))
    return model, inference.run(model, case, config, meter)


def _quantities(case: Case, readings: Sequence[Reading], weights: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {
        "peak_allocated_gib": [reading.peak for reading in readings],
        "peak_reserved_gib": [reading.reserved for reading in readings],
        "peak_device_gib": [reading.device for reading in readings],
        "weights_gib": [weights],
    }
    if case.trains:
        found["between_steps_gib"] = [reading.phases["between_steps"] for reading in readings]
    elif readings[0].phases.get("kv"):
        found["kv_gib"] = [reading.phases["kv"] for reading in readings]
    return found


class Child:
    """The measuring side: one process, one group of cases, rows sent to the parent as they come."""

    def __init__(self, pipe: Connection, options: argparse.Namespace, facts: dict[str, str]) -> None:
        self._pipe = pipe
        self._tiny = options.dry_run
        self._facts = facts
        self._meter = Meter("cpu" if options.dry_run else "cuda", pipe)
        self._seed = options.seed

    def run(self, group: Sequence[Case]) -> None:
        """Measure every case of the group; the model is built once and read by all."""
        model: Any = None
        config, count, weights = None, 0, 0
        torch.manual_seed(self._seed)
        for case in group:
            self._pipe.send(("begin", case.slug))
            if case.expandable and self._meter.on_gpu:
                torch.cuda.memory._set_allocator_settings("expandable_segments:True")  # noqa: SLF001
            try:
                config = building.configuration(case, tiny=self._tiny)
                if case.workload == "context":
                    self._context(case, config)
                    continue
                if case.workload == "load":
                    self._load(case, config)
                    continue
                if model is None:
                    self._meter.empty()
                    model = building.build(case, config, self._meter.device)
                    count = self._count(case, config)
                    self._meter.empty()
                    weights = self._meter.allocated_bytes()
                model, readings = _measure(case, model, config, self._meter)
                raw = {"peak_allocated_gib": compact({"weights": weights} | readings[0].phases)}
                self._send(case, config, count, _quantities(case, readings, weights), raw)
            except torch.OutOfMemoryError as full:
                self._send(case, config, count, {"oom": [1]}, {"oom": str(full).partition(". GPU")[0]})

    def _count(self, case: Case, config: Any) -> int:
        with torch.device("meta"):
            return building.parameters(building.HEADS[case.task].from_config(config))

    def _context(self, case: Case, config: Any) -> None:
        reading = inference.context(self._meter)
        phases = reading.phases
        found: dict[str, Sequence[float]] = {
            "context_gib": [reading.device - phases["context_reserved"]],
            "context_cublas_gib": [phases["cublas_device"] - phases["cublas_reserved"]],
            "context_attention_gib": [phases["attention_device"] - phases["attention_reserved"]],
            "total_memory_gib": [phases.get("total", 0)],
        }
        self._send(case, config, 0, found, {"context_gib": compact({"device": reading.device} | phases)})

    def _load(self, case: Case, config: Any) -> None:
        count, reading = inference.load(case, config, self._meter)
        found: dict[str, Sequence[float]] = {
            "load_peak_allocated_gib": [reading.peak],
            "load_peak_reserved_gib": [reading.reserved],
            "load_peak_device_gib": [reading.device],
            "weights_gib": [reading.phases["weights"]],
        }
        self._send(case, config, count, found, {"load_peak_allocated_gib": compact(reading.phases)})

    def _send(
        self,
        case: Case,
        config: Any,
        count: int,
        found: dict[str, Any],
        raw: dict[str, str] | None = None,
    ) -> None:
        facts = self._facts | {
            "config": compact(building.describe(config)) if config else "",
            "settings": compact(settings(case, self._seed)),
            "params_b": f"{count / 1e9:.6f}" if count else "",
            "note": "random weights" + (f"; config changed: {dict(case.changes)}" if case.changes else ""),
        }
        self._pipe.send(("rows", rows(case, found, facts, raw)))


preload = building.preload


def child(
    pipe: Connection, group: Sequence[Case], options: argparse.Namespace, facts: dict[str, str]
) -> None:
    """Measure a group, and say how it ended: what a forked process runs."""
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    try:
        Child(pipe, options, facts).run(group)
        pipe.send(("done", None))
    except Exception:  # noqa: BLE001 - whatever it is, it is told and loses one case
        pipe.send(("failed", traceback.format_exc(limit=-4)))
