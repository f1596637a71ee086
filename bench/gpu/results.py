"""The columns of a result file, and how readings become rows."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from cases import Case

GIB = 2**30
COLUMNS = (
    "id", "workload", "model", "params_b", "precision", "quant_format", "engine", "gpu", "gpu_count",
    "batch", "context", "quantity", "value", "per", "raw", "source", "note", "config", "settings", "spread",
)  # fmt: skip
SOURCE = "bench/gpu/measure_memory.py"
FORMATS = {"nf4": "bnb nf4", "nf4-double": "bnb nf4 double-quant", "int8": "bnb int8"}
SETTINGS = {  # the fields of a case that mean something to it
    "inference": ("attention", "padded", "new_tokens", "task"),
    "training": (
        "attention", "padded", "task", "optimiser", "checkpointing", "reentrant", "accumulate",
        "keep_logits", "use_cache", "autocast", "expandable",
    ),
    "adapters": ("rank", "targets", "adapters", "dropout", "prepared"),
}  # fmt: skip


def precision(case: Case) -> str:
    """Return the word for the numbers that a case computes with."""
    if case.weights != "plain":
        return case.weights.partition("-")[0]
    return "bf16-autocast" if case.autocast and case.dtype == "fp32" else case.dtype


def settings(case: Case, seed: int) -> dict[str, object]:
    """Return the case's settings and what they imply, by name."""
    names = SETTINGS["training" if case.trains else "inference"]
    names += SETTINGS["adapters"] if case.adapts else ()
    known = {field.name for field in fields(case)}
    said: dict[str, object] = {name: getattr(case, name) for name in names if name in known}
    trained = case.adapters if case.adapts else case.dtype
    said |= {"seed": seed, "weights": case.weights if case.weights != "plain" else case.dtype}
    if case.trains:
        said |= {"gradients": trained, "trained_weights": trained, "logits": "all, plain loss of the model"}
    elif case.task == "lm":
        said["logits"] = "last token"
    return said


def rows(
    case: Case,
    quantities: Mapping[str, Sequence[float]],
    facts: Mapping[str, str],
    raw: Mapping[str, str] | None = None,
) -> list[dict[str, str]]:
    """Return one row a quantity.

    Args:
        case: what was measured.
        quantities: name to its values over the repeats: bytes if the name ends in `_gib`, written in GiB;
            the first repeat, from a fresh process, is the value.
        facts: engine, gpu, config, settings, params_b, date and note.
        raw: further text by quantity, in place of the exact bytes.
    """
    base = {
        "workload": case.workload,
        "model": case.model,
        "params_b": facts["params_b"],
        "precision": precision(case),
        "quant_format": FORMATS.get(case.weights, case.dtype),
        "engine": facts["engine"],
        "gpu": facts["gpu"],
        "gpu_count": "1",
        "batch": str(case.batch),
        "context": str(case.tokens + case.new_tokens),
        "per": "gpu",
        "source": f"{SOURCE}, {facts['date']}",
        "note": facts["note"],
        "config": facts["config"],
        "settings": facts["settings"],
    }
    return [
        base
        | {
            "id": f"{case.slug}:{name}",
            "quantity": name,
            "value": _value(name, values[0]),
            "raw": (raw or {}).get(name, f"{values[0]:.0f} B" if name.endswith("_gib") else ""),
            "spread": _value(name, max(values) - min(values)) if len(values) > 1 else "",
        }
        for name, values in quantities.items()
    ]


def _value(name: str, number: float) -> str:
    return f"{number / GIB:.6f}" if name.endswith("_gib") else f"{number:g}"


def compact(thing: object) -> str:
    """Return `thing` as JSON without spaces."""
    return json.dumps(thing, separators=(",", ":"))


class Table:
    """A CSV file that grows by whole cases, and is right after each."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding="utf-8", newline="") as out:
            csv.DictWriter(out, COLUMNS, lineterminator="\n").writeheader()

    def add(self, new: Sequence[Mapping[str, str]]) -> None:
        """Append rows."""
        with self._path.open("a", encoding="utf-8", newline="") as out:
            csv.DictWriter(out, COLUMNS, lineterminator="\n").writerows(new)
