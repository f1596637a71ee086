"""Which measured speeds are there to compare a forecast with? The one place that knows their columns.

A case is one metric of one run: how long a token took, how many images a second. `extra` holds the settings
of a run as `name=value` or in words, separated by semicolons; what a source doubts is marked in `quality`,
and only rows whose quality begins with `ok` or `note` are used.
"""

from __future__ import annotations

import csv
import io
import re
from dataclasses import dataclass, fields

from rackrate.errors import ImportRejected
from rackrate.fit.cases import Rejected

TRUSTED = ("ok", "note")


@dataclass(frozen=True, slots=True)
class PerfCase:
    """One metric of one run.

    Attributes:
        id: of the row; may be empty.
        workload: `llm_decode`, `llm_prefill`, `llm_offline`, `llm_server`, `diffusion`, `encoder`, `asr`,
            `bert_ft`, `train`, `gemm`, `bandwidth` or `comm`.
        model: name as the source has it.
        precision: of the weights, in the words of the source; may be empty.
        engine: name and version, in the words of the source.
        gpu: in the words of the source.
        gpu_count: GPUs of the run.
        nodes: machines of the run.
        parallel: layout: `tp2`, `tp4,ep4`, `layer-split`, `ddp`; may be empty.
        load: requests at once, a batch, or a scenario (`offline`, `server`), in the words of the source.
        input_tokens: of a prompt; None where it does not apply or is unknown.
        output_tokens: of an answer; None where it does not apply or is unknown.
        metric: what was measured; its unit stands in `unit`.
        value: above 0.
        unit: of the value.
        extra: settings and remarks.
        quality: `ok`, `note: ...` or `suspect: ...`.
        source: where it was read.
        licence: of the source's data.
        group: rows of one run or setting share it: none of them may judge a model that saw another.
    """

    id: str
    workload: str
    model: str
    precision: str
    engine: str
    gpu: str
    gpu_count: int
    nodes: int
    parallel: str
    load: str
    input_tokens: int | None
    output_tokens: int | None
    metric: str
    value: float
    unit: str
    extra: str
    quality: str
    source: str
    licence: str
    group: str

    @property
    def is_trusted(self) -> bool:
        """Whether the source stands by the figure."""
        return self.quality.lower().startswith(TRUSTED)

    def setting(self, name: str) -> str:
        """Return the value of `name=...` in `extra`; empty where it is not said."""
        found = re.search(rf"(?:^|[;\s]){re.escape(name)}=([^;]*)", self.extra)
        return found[1].strip() if found else ""


COLUMNS = tuple("batch_or_concurrency" if f.name == "load" else f.name for f in fields(PerfCase))


@dataclass(frozen=True, slots=True)
class PerfTable:
    """What a text of cases held.

    Attributes:
        cases: the rows that are cases, in order.
        rejected: the rows that are not.
    """

    cases: tuple[PerfCase, ...]
    rejected: tuple[Rejected, ...] = ()


def read_perf_cases(text: str) -> PerfTable:
    """Read cases from CSV with a header; columns may come in any order, others are passed over.

    Raises:
        ImportRejected: the text is no CSV, or lacks one of `COLUMNS`.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
    if missing:
        hint = f"the header must have the columns {', '.join(COLUMNS)}"
        raise ImportRejected(f"the table of speeds has no column {', '.join(missing)}", hint=hint)
    cases, rejected = list[PerfCase](), list[Rejected]()
    try:
        for row in reader:
            try:
                cases.append(_case({name: (row[name] or "").strip() for name in COLUMNS}))
            except ImportRejected as error:
                rejected.append(Rejected(reader.line_num, error.message))
    except csv.Error as error:
        raise ImportRejected(f"the table of speeds is no CSV: {error}") from error
    return PerfTable(tuple(cases), tuple(rejected))


def _case(cell: dict[str, str]) -> PerfCase:
    for name in ("workload", "metric", "value"):
        if not cell[name]:
            raise ImportRejected(f"{name} is empty")
    texts = {
        name: cell[name]
        for name in COLUMNS
        if name not in {"gpu_count", "nodes", "input_tokens", "output_tokens", "value"}
    }
    texts["load"] = texts.pop("batch_or_concurrency")
    value = _number(cell["value"], "value")
    if value <= 0:
        raise ImportRejected(f"value {cell['value']!r} is not above 0")
    return PerfCase(
        **texts,
        gpu_count=_count(cell["gpu_count"], "gpu_count") or 1,
        nodes=_count(cell["nodes"], "nodes") or 1,
        input_tokens=_mean(cell["input_tokens"], "input_tokens"),
        output_tokens=_mean(cell["output_tokens"], "output_tokens"),
        value=value,
    )


def _number(text: str, name: str) -> float:
    if not re.fullmatch(r"(?:\d{1,15}\.?\d*|\.\d+)(?:[eE][-+]?\d{1,2})?", text):
        raise ImportRejected(f"{name} {text!r} is not a number of 0 or more")
    return float(text)


def _count(text: str, name: str) -> int | None:
    if not text:
        return None
    number = _number(text, name)
    if number != int(number):
        raise ImportRejected(f"{name} {text!r} is not a whole number")
    return int(number)


def _mean(text: str, name: str) -> int | None:
    """Return tokens: sources state means of many requests too, which are rounded."""
    return round(_number(text, name)) if text else None
