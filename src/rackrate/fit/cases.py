"""Which measured cases are there to compare a forecast with? The one place that knows their columns.

A case is one quantity of one run: how many GiB the weights took, whether it fitted. Cases are CSV with the
columns of `COLUMNS`; what a run was set to stands in prose in `engine`, `quant_format`, `raw` and `note`,
as the sources have it, and `Case.settings` reads it into names:

| name | values | from words like |
| --- | --- | --- |
| engine, engine_version, engine_date | `vLLM`, `0.7.x`, `2026-04` | `vLLM V0 0.7.x` |
| engine_generation | `V0`, `V1` | the same |
| front_end, backend | `ollama`, `ROCm` | `llama.cpp ollama 2024-09` |
| torch, cuda, bitsandbytes, flash_attn | a version | `torch 2.6.0` |
| gpu_memory_utilization, mem_fraction_static | 0 to 1 | |
| max_num_seqs, max_num_seqs_is_default, max_num_batched_tokens, profiled_tokens, n_ubatch, n_batch | | |
| enforce_eager, compile | `yes` | `eager`, `torch.compile` |
| sampler | `kernel` | `FlashInfer samples` |
| attention | `flash`, `no flash`, `eager`, `sdpa`, `xformers` | `flash-attn 2.7.4` |
| kv_cache_dtype, kv_cache | `q8_0`, `none` | `KV q8_0`, `no KV cache` |
| tensor_, pipeline_, data_, expert_parallel_size | a count | `TP 4`, `tensor_parallel_size 4` |
| lora_rank, lora_targets | `64`, `q,v`, `all-linear` | `LoRA r=8 on q,v` |
| checkpointing | `yes`, `no` | `no activation checkpointing` |
| optimizer, paged, optimizer_in_backward | `adamw`, `adamw_8bit`, ... | `8-bit/paged AdamW` |
| sharding | `fsdp`, `zero3`, `deepspeed` | `ZeRO-3` |
| offload | `cpu` of a trainer, `model` and `sequential` of a pipeline, `none` | `CPU offload` |
| micro_batch, gradient_accumulation, packed_tokens, longest_sample_tokens | a count | `micro-batch 2` |
| quant_group, double_quant | `128`, `128x128`; `yes` | `GPTQ-Int4 g128` |
| frozen, n_frames, vae_tiling, host_embedding | | `ViT frozen`, `no tiling` |
| evidence | `projection`, `file`, `rounded` | not a measurement of a run |
| context_stated, flags_stated, unit | `no`, `no`, `assumed` | the source left it open |

Nothing is said of what the words do not say: a missing name is unknown, not a default.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from rackrate.errors import ImportRejected

COLUMNS = (
    "id",
    "workload",
    "model",
    "params_b",
    "precision",
    "quant_format",
    "engine",
    "gpu",
    "gpu_count",
    "batch",
    "context",
    "quantity",
    "value",
    "per",
    "raw",
    "source",
    "note",
)
VERDICTS = frozenset({"fits", "oom"})  # quantities that are true or false, written 1 or 0
_REQUIRED = ("workload", "model", "quantity", "value", "per")
_QUANTITY = re.compile(r"[a-z][a-z0-9_]{0,40}")
_MAX_COUNT = 10**9
_PER: Mapping[str, Literal["gpu", "total"]] = {"gpu": "gpu", "per gpu": "gpu", "total": "total"}
_WORKLOADS = dict.fromkeys(
    ("full", "full ft", "full fine tune", "full finetune", "full finetuning", "training", "pretraining"),
    "full_ft",
)
"""Other words for a workload."""
_ANSWERS = {"true": "1", "yes": "1", "false": "0", "no": "0"}


@dataclass(frozen=True, slots=True)
class Case:
    """One quantity of one run.

    Attributes:
        id: of the row; may be empty.
        workload: `inference`, `lora`, `qlora`, `full_ft`, `diffusion`, `asr`.
        model: name as the source has it.
        params_b: billions of parameters; None where unknown.
        precision: of the weights: `bf16`, `fp8`, `int4`, `gguf`, ...
        quant_format: of the weights, in the words of the source.
        engine: name and version, in the words of the source.
        gpu: in the words of the source; empty where unknown.
        gpu_count: GPUs of the run; 0 for a file that was not run.
        batch: sequences at once; None where it does not apply or is unknown.
        context: tokens of a sequence; None where it does not apply or is unknown.
        quantity: what was measured; the unit is the end of the name: `weights_gib`, `kv_tokens`; a
            verdict (`fits`, `oom`) has none.
        value: in that unit, at least 0; of a verdict 1 for yes.
        per: whether the value is of one GPU or of all together.
        raw: the figure as the source has it.
        source: where it was read.
        note: settings and remarks, in prose.
    """

    id: str
    workload: str
    model: str
    params_b: float | None
    precision: str
    quant_format: str
    engine: str
    gpu: str
    gpu_count: int
    batch: int | None
    context: int | None
    quantity: str
    value: float
    per: Literal["gpu", "total"]
    raw: str
    source: str
    note: str

    @property
    def settings(self) -> dict[str, str]:
        """What the run was set to, by the names of the module's table."""
        return read_settings(self)

    def to_row(self) -> dict[str, str]:
        """Return the case as a row of `COLUMNS`."""
        return {name: _write(getattr(self, name)) for name in COLUMNS}


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that is no case.

    Attributes:
        line: the line of the text on which the row ends, from 1.
        reason: what is wrong, with the value.
    """

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class CaseTable:
    """What a text of cases held.

    Attributes:
        cases: the rows that are cases, in order.
        rejected: the rows that are not.
    """

    cases: tuple[Case, ...]
    rejected: tuple[Rejected, ...] = ()


def read_cases(text: str) -> CaseTable:
    """Read cases from CSV with a header; columns may come in any order, others are passed over.

    A column of `COLUMNS` that is not there counts as empty.

    Raises:
        ImportRejected: the text is no CSV, or lacks a column without which a row is no case.
    """
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        header = [name.strip() for name in next(reader, [])]
        missing = [name for name in _REQUIRED if name not in header]
        if missing:
            hint = f"a case needs {', '.join(_REQUIRED)}; all columns are {', '.join(COLUMNS)}"
            raise ImportRejected(f"the table of cases has no column {', '.join(missing)}", hint=hint)
        return _read_rows(reader, header)
    except csv.Error as error:
        hint = "write it as CSV, with quotes around a field that holds a comma"
        raise ImportRejected(f"the table of cases is no CSV: {error}", hint=hint) from error


def write_cases(cases: Iterable[Case]) -> str:
    """Write cases as CSV with a header; `read_cases` gives them back."""
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(case.to_row() for case in cases)
    return out.getvalue()


def case_from_row(row: Mapping[str, str]) -> Case:
    """Read a case from a row of texts by column; a column that is not there is empty.

    Raises:
        ImportRejected: the row is no case; the message names the column and the value.
    """
    cell = {name: (row.get(name) or "").strip() for name in COLUMNS}
    for name in _REQUIRED:
        if not cell[name]:
            raise ImportRejected(f"{name} is empty", hint=f"a case needs {', '.join(_REQUIRED)}")
    if not _QUANTITY.fullmatch(cell["quantity"]):
        raise ImportRejected(f"quantity {cell['quantity']!r} is no name", hint="write it like weights_gib")
    is_verdict = cell["quantity"] in VERDICTS
    said = _ANSWERS.get(cell["value"].lower(), cell["value"]) if is_verdict else cell["value"]
    value = _number(said, "value")
    if is_verdict and value not in {0.0, 1.0}:
        raise ImportRejected(f"value {cell['value']!r} of {cell['quantity']} is not 0 or 1")
    per = _PER.get(cell["per"].lower().replace("_", " "))
    if per is None:
        raise ImportRejected(f"per {cell['per']!r} is neither gpu nor total")
    return Case(
        id=cell["id"],
        workload=_workload(cell["workload"]),
        model=cell["model"],
        params_b=_number(cell["params_b"], "params_b") if cell["params_b"] else None,
        precision=cell["precision"],
        quant_format=cell["quant_format"],
        engine=cell["engine"],
        gpu=cell["gpu"],
        gpu_count=_count(cell["gpu_count"], "gpu_count") or 0,
        batch=_count(cell["batch"], "batch"),
        context=_count(cell["context"], "context"),
        quantity=cell["quantity"],
        value=value,
        per=per,
        raw=cell["raw"],
        source=cell["source"],
        note=cell["note"],
    )


def _workload(text: str) -> str:
    plain = text.lower()
    return _WORKLOADS.get(re.sub(r"[-_]", " ", plain), plain)


def read_settings(case: Case) -> dict[str, str]:
    """Read what a run was set to from the prose of its row; see the module's table."""
    found = _read_engine(case.engine)
    prose = f"{case.note}; {case.raw}; {case.quant_format}"
    for name, pattern, value in _RULES:
        match = pattern.search(prose)
        if match and name not in found:
            found[name] = next(group for group in match.groups() if group) if value is None else value
    targets = found.get("lora_targets", "")
    if re.match(r"all[- ]linear", targets, re.IGNORECASE):
        found["lora_targets"] = "all-linear"
    if case.workload == "full_ft":
        # Sources describe a table of several methods once: a full fine-tune has no adapter.
        found.pop("lora_rank", None)
        found.pop("lora_targets", None)
    return found


def _read_rows(reader: Iterable[list[str]], header: list[str]) -> CaseTable:
    cases: list[Case] = []
    rejected: list[Rejected] = []
    seen: set[str] = set()
    for fields in reader:
        line = getattr(reader, "line_num", 0)
        if not any(field.strip() for field in fields):
            continue
        if len(fields) != len(header):
            rejected.append(Rejected(line, f"{len(fields)} fields, the header has {len(header)}"))
            continue
        try:
            case = case_from_row(dict(zip(header, fields, strict=True)))
        except ImportRejected as error:
            rejected.append(Rejected(line, error.message))
            continue
        if case.id and case.id in seen:
            rejected.append(Rejected(line, f"id {case.id!r} is there twice"))
            continue
        seen.add(case.id)
        cases.append(case)
    return CaseTable(tuple(cases), tuple(rejected))


def _number(text: str, name: str) -> float:
    if re.fullmatch(r"\d{1,3}(?:,\d{3}){1,4}(?:\.\d*)?", text):
        text = text.replace(",", "")
    if not re.fullmatch(r"\d{1,15}(?:\.\d*)?(?:[eE][-+]?\d{1,2})?", text) or math.isinf(float(text)):
        raise ImportRejected(f"{name} {text!r} is not a number of 0 or more")
    return float(text)


def _count(text: str, name: str) -> int | None:
    if not text:
        return None
    number = _number(text, name)
    if number != int(number) or number > _MAX_COUNT:
        raise ImportRejected(f"{name} {text!r} is not a whole number up to {_MAX_COUNT}")
    return int(number)


def _write(value: str | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


# --- the words of engines ---------------------------------------------------------------------

_DATE = re.compile(r"\(?(20\d\d(?:-\d\d)?)\)?")
_VERSION = re.compile(r"[bv]?\d[\w.]*(?:-\d[\w.]*)?|[0-9a-f]{7,40}")
_LIBRARIES = {
    "torch": "torch",
    "pytorch": "torch",
    "cuda": "cuda",
    "bitsandbytes": "bitsandbytes",
    "flash-attn": "flash_attn",
    "transformers": "transformers",
    "peft": "peft",
    "deepspeed": "deepspeed",
}
_FRONT_ENDS = frozenset({"ollama", "koboldcpp", "ik_llama"})
_BACKENDS = frozenset({"ROCm", "Vulkan", "CUDA", "Metal", "SYCL"})


def _read_engine(engine: str) -> dict[str, str]:
    """Read `vLLM V0 0.7.x`, `transformers 4.51.3, torch 2.6.0`, `llama.cpp 2026-04 ROCm`."""
    found: dict[str, str] = {}
    plain = re.sub(r"\((?!20\d\d)[^)]*\)", "", engine)  # remarks; a year in brackets is the date
    head, *libraries = [part.strip() for part in re.split(r",\s+| \+ ", plain)]
    words: list[str] = []
    for word in head.split():
        date = _DATE.fullmatch(word)
        if date:
            found["engine_date"] = date[1]
        elif words and word in {"V0", "V1"}:
            found["engine_generation"] = word
        elif words and word in _FRONT_ENDS:
            found["front_end"] = word
        elif words and word in _BACKENDS:
            found["backend"] = word
        elif words and _VERSION.fullmatch(word):
            found["engine_version"] = word
        elif not found:
            words.append(word)
    if words:
        found["engine"] = " ".join(words)
    for library in libraries:
        _read_library(library, found)
    return found


def _read_library(text: str, found: dict[str, str]) -> None:
    if text == "torch.compile":
        found["compile"] = "yes"
        return
    if re.match(r"flash-attn|FA\d", text, re.IGNORECASE):
        found["attention"] = "flash"
    name, _, version = text.rpartition(" ")
    known = _LIBRARIES.get(name.lower())
    if known and _VERSION.fullmatch(version):
        found[known] = version


# --- the words of notes -----------------------------------------------------------------------

_FRACTION = r"[ =:]+(0?\.\d+|1(?:\.0+)?|0\.\d+)\b"
_NOT = (
    r"(?:no|without)\s+(?:activation|gradient)\s+checkpointing|(?:activation|gradient)\s+checkpointing\s+off"
)


def _rule(name: str, pattern: str, value: str | None = None) -> tuple[str, re.Pattern[str], str | None]:
    """Return a rule: where `pattern` is found, `name` has its first group, or `value`."""
    return name, re.compile(pattern, re.IGNORECASE), value


# The first rule of a name that applies holds, so the more particular words come first.
_RULES = (
    _rule("gpu_memory_utilization", r"gpu[_ -]memory[_ -]utili[sz]ation" + _FRACTION),
    _rule("mem_fraction_static", r"mem[_ -]fraction[_ -]static" + _FRACTION),
    _rule("max_num_seqs", r"max[_ -]num[_ -]seqs[ =:]+(\d+)"),
    _rule("max_num_seqs_is_default", r"max[_ -]num[_ -]seqs[ =:]+\d+ \([^)]*default\)", "yes"),
    _rule("max_num_batched_tokens", r"max[_ -]num[_ -]batched[_ -]tokens[ =:]+(\d+)"),
    _rule("profiled_tokens", r"(\d+) profiled tokens"),
    _rule("n_ubatch", r"\b(?:n_)?ubatch[ =:]+(\d+)"),
    _rule("n_batch", r"\bn_batch[ =:]+(\d+)"),
    _rule("n_gpu_layers", r"\bn_gpu_layers[ =:]+(\d+/\d+|\d+)"),
    _rule("sampler", r"\bFlashInfer samples", "kernel"),
    _rule(
        "enforce_eager",
        r"(?<![\w=-])(?:enforce[_ -])?eager(?:\s+mode)?(?!\s+attention)(?=\s*(?:[;,.)]|$))",
        "yes",
    ),
    _rule("compile", r"torch\.compile", "yes"),
    _rule("attention", r"(?:no|without)\s+flash[ -]att", "no flash"),
    _rule("attention", r"flash[ -]att(?:ention|n)|\bFA[23]\b", "flash"),
    _rule("attention", r"eager\s+attention|attn[_ =]+eager", "eager"),
    _rule("attention", r"\bxformers\b", "xformers"),
    _rule("attention", r"\bsdpa\b", "sdpa"),
    _rule("kv_cache", r"\bno KV cache", "none"),
    _rule(
        "kv_cache_dtype",
        r"(?:\bKV(?: cache)?|kv[_ -]cache[_ -]dtype|type_k)[ =:]+(q\d_[\dK]\w*|fp8\w*|int8|bf16|f(?:p)?16)",
    ),
    _rule("tensor_parallel_size", r"(?:\bTP|tensor[_ -]parallel(?:[_ -]size)?|tp_size)[ =:]*([1-9]\d*)\b"),
    _rule(
        "pipeline_parallel_size", r"(?:\bPP|pipeline[_ -]parallel(?:[_ -]size)?|pp_size)[ =:]*([1-9]\d*)\b"
    ),
    _rule("data_parallel_size", r"(?:\bDP|data[_ -]parallel(?:[_ -]size)?|dp_size)[ =:]*(\d+)\b"),
    _rule("expert_parallel_size", r"(?:\bEP|expert[_ -]parallel(?:[_ -]size)?|ep_size)[ =:]*(\d+)\b"),
    _rule("lora_rank", r"(?:\bLoRA(?:,|\s)*(?:rank|r)?|\brank|\br)\s*=?\s*(\d+)\b(?!\s*[xB.])"),
    _rule("lora_targets", r"(all[- ]linear|all linear layers)"),
    _rule("lora_targets", r"LoRA r\s*=\s*\d+ on ([\w.]+(?:,\s?[\w.]+)*?)(?=\s|;|$)"),
    _rule("checkpointing", _NOT, "no"),
    _rule("checkpointing", r"(?:activation|gradient)\s+checkpoint", "yes"),
    _rule("optimizer_in_backward", r"optimi[sz]er[- ]in[- ]backward|fused backward", "yes"),
    _rule("paged", r"\bpaged\b", "yes"),
    _rule("optimizer", r"8-?bit[^;,]{0,12}AdamW|AdamW[ _]?8-?bit|8-?bit optimi[sz]er", "adamw_8bit"),
    _rule("optimizer", r"\bAdamW\b", "adamw"),
    _rule("optimizer", r"\bAdafactor\b", "adafactor"),
    _rule("optimizer", r"\bSGD\b", "sgd"),
    _rule("optimizer", r"\bLion\b", "lion"),
    _rule("optimizer", r"\bMuon\b", "muon"),
    _rule("optimizer", r"\bGaLore\b", "galore"),
    _rule("optimizer", r"\bAdam\b", "adam"),
    _rule("sharding", r"\bFSDP2?\b", "fsdp"),
    _rule("sharding", r"\bZeRO[- ]?(?:stage[- ]?)?3", "zero3"),
    _rule("sharding", r"\bZeRO[- ]?(?:stage[- ]?)?2", "zero2"),
    _rule("sharding", r"\bZeRO[- ]?(?:stage[- ]?)?1", "zero1"),
    _rule("sharding", r"\bDeepSpeed\b", "deepspeed"),
    _rule("sharding", r"\bDDP\b", "ddp"),
    _rule("offload", r"\b(?:no|without) (?:CPU[- ])?offload", "none"),
    _rule("offload", r"\b(sequential|model)[_ -](?:cpu[_ -])?offload"),
    _rule("offload", r"\b(?:cpu|optimi[sz]er)[_ -](?:cpu[_ -])?offload", "cpu"),
    _rule("micro_batch", r"(?:micro-?batch(?:[ -]size)?|\bbs)[ =:]+(\d+)"),
    _rule("gradient_accumulation", r"gradient[ -]accumulation(?:[ -]steps)?[ =:]+(\d+)"),
    _rule("packed_tokens", r"packed to (\d+)"),
    _rule("longest_sample_tokens", r"longest sample (\d+) tokens"),
    _rule("quant_group", r"\bg(\d{2,4})\b|block (\d+x\d+)"),
    _rule("double_quant", r"double[- ]quant", "yes"),
    _rule("frozen", r"\b(ViT|vision tower|text encoder) frozen"),
    _rule("n_frames", r"(\d+) frames"),
    _rule("vae_tiling", r"(?:no|without) tiling", "no"),
    _rule("vae_tiling", r"\btiling\b", "yes"),
    _rule("host_embedding", r"embedding stays on the host", "yes"),
    _rule("evidence", r"own projection|projected to use", "projection"),
    _rule("evidence", r"\bfile size\b|indexed tensor bytes", "file"),
    _rule("evidence", r"\brounded\b", "rounded"),
    _rule("context_stated", r"context not stated", "no"),
    _rule("flags_stated", r"flags not stated", "no"),
    _rule("unit", r"unit ambiguous|unit (?:\w+ )?taken as", "assumed"),
)
