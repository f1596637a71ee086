"""Write a start as rows of cases: one a quantity, in the columns of `rackrate.fit.cases`."""

from __future__ import annotations

import re

from rackrate.fit.cases import COLUMNS
from rackrate.fit.logs.record import EngineLog
from rackrate.fit.precision import precision_in

_QUANTITIES = (
    "weights_gib",
    "draft_weights_gib",
    "non_torch_gib",
    "activation_gib",
    "kv_gib",
    "state_gib",
    "cuda_graph_gib",
    "kv_tokens",
)
_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "half": "fp16", "float32": "fp32", "float": "fp32"}
_CONTEXTS = ("max_model_len", "n_ctx", "context_length")
# Said by other columns, or no setting of the run.
_UNSAID = frozenset(
    {*_CONTEXTS, "quantization", "file", "gpu", "front_end", "n_ctx_asked", "bits_per_weight"}
)


def to_cases(log: EngineLog, gpu: str = "") -> list[dict[str, str]]:
    """Return the measured quantities of a start as rows of cases, all of them texts.

    A verdict (`fits` or `oom`) is a row only where the log settles it. A start of llama.cpp that left
    layers or experts on the host does not say that the model fits, and one that ran out of memory
    while it served says neither. What `-fit` projected is a row `peak_gib`, and an `oom` where it
    exceeds the room.

    Args:
        log: what the log said.
        gpu: name of the GPU; the log's own where empty (only llama.cpp names it).
    """
    base = _base(log, gpu)
    rows = [
        base | {"quantity": name, "value": _text(value), "per": _per(log, name), "raw": f"{value:.10g}"}
        for name, value in ((name, log.measured[name]) for name in _QUANTITIES if name in log.measured)
    ]
    if "compute_gib" in log.measured and "activation_gib" not in log.measured:
        # Measured rows of llama.cpp call the compute buffers its activation.
        value = max(gpu.measured.get("compute_gib", 0.0) for gpu in log.per_gpu)
        raw = f"compute buffer {value / 2**-10:.2f} MiB"
        rows.append(base | {"quantity": "activation_gib", "value": _text(value), "per": "gpu", "raw": raw})
    rows += _projection(log, base)
    verdict = _verdict(log)
    if verdict:
        rows.append(base | {"quantity": verdict, "value": "1", "per": "total", "raw": log.reason or "starts"})
    for number, row in enumerate(rows, start=1):
        row["id"] = f"log-{number}"
    return [{name: row[name] for name in COLUMNS} for row in rows]


def _base(log: EngineLog, gpu: str) -> dict[str, str]:
    settings = log.settings
    is_llama = log.engine == "llama.cpp"
    params = log.measured.get("params_b")
    context = next((settings[name] for name in _CONTEXTS if settings.get(name, "").isdecimal()), "")
    precision = "gguf" if is_llama else _precision(log)
    return dict.fromkeys(COLUMNS, "") | {
        "workload": "inference",
        "model": log.model or "unknown",
        "params_b": "" if params is None else f"{params:.10g}",
        "precision": precision,
        "quant_format": _file_type(log) or precision,
        "engine": " ".join(filter(None, (log.engine, _variant(log), log.version))),
        "gpu": gpu or settings.get("gpu", ""),
        "gpu_count": str(log.n_gpus),
        "batch": settings.get("n_seq_max", "1") if is_llama else "",
        "context": context,
        "source": "engine log",
        "note": _note(log),
    }


def _variant(log: EngineLog) -> str:
    """Return what comes between an engine's name and its version: `ollama`, or vLLM's first generation."""
    generation = log.settings.get("engine_generation", "")
    return log.settings.get("front_end", "") or (generation if generation == "V0" else "")


def _precision(log: EngineLog) -> str:
    quantization = log.settings.get("quantization", "").lower()
    told = "gguf" if "gguf" in quantization else precision_in(quantization)
    if told:
        return told
    # A scheme such as compressed-tensors or modelopt does not say how many bits it has.
    return "" if quantization else _DTYPES.get(log.settings.get("dtype", ""), "")


def _file_type(log: EngineLog) -> str:
    """Return the quantisation as files are named, `Q4_K_M`, where llama.cpp prints `Q4_K - Medium`.

    A log that lacks that line may still have it in the name of the file.
    """
    told = log.settings.get("quantization", "")
    if told or log.engine != "llama.cpp":
        return re.sub(r"\b(I?Q\d\w*) - (S|M|L)(?:mall|edium|arge)\b", r"\1_\2", told)
    named = re.search(r"(?<![A-Za-z0-9])(?:I?Q\d\w*|B?F16|F32)(?![A-Za-z0-9])", log.settings.get("file", ""))
    return named[0] if named else ""


def _note(log: EngineLog) -> str:
    """Write the settings as the notes of cases have them: `gpu_memory_utilization 0.9; eager`."""
    parts = []
    for name, value in log.settings.items():
        if name in _UNSAID:
            continue
        if name == "enforce_eager":
            parts.append("eager")
        elif name == "sampler":
            parts.append(f"{value} samples")
        elif name == "type_k":
            parts.append(f"KV {value}")
        elif name == "flash_attn":
            parts.append("flash attention" if value in {"1", "enabled", "true"} else f"flash_attn {value}")
        else:
            parts.append(f"{name} {value}")
    if log.engine == "llama.cpp":
        parts.append("embedding stays on the host")
    return "; ".join(re.sub(r"[;\r\n]", " ", part) for part in parts)


def _per(log: EngineLog, name: str) -> str:
    return "total" if name == "kv_tokens" else log.per


def _projection(log: EngineLog, base: dict[str, str]) -> list[dict[str, str]]:
    """Return what the engine worked out before it loaded, at the context it was asked for."""
    need_gib = log.measured.get("projected_gib")
    if need_gib is None:
        return []
    note = "; ".join(filter(None, ("engine's own projection", base["note"])))
    row = base | {"context": log.settings.get("n_ctx_asked", base["context"]), "note": note, "per": "total"}
    need = f"{need_gib * 1024:.0f} MiB"
    rows = [row | {"quantity": "peak_gib", "value": _text(need_gib), "raw": f"projected to use {need}"}]
    free_gib = log.measured.get("projected_free_gib")
    if free_gib is not None and need_gib > free_gib:
        raw = f"{need} vs {free_gib * 1024:.0f} MiB free"
        rows.append(row | {"quantity": "oom", "value": "1", "raw": raw})
    return rows


def _verdict(log: EngineLog) -> str:
    if log.outcome == "out_of_memory":
        return "oom"
    if log.outcome != "started" or log.reason or not log.per_gpu:
        return ""
    on_gpu, _, of = log.settings.get("n_gpu_layers", "").partition("/")
    is_split = on_gpu != of or "cpu_moe" in log.settings or "cpu_offload_gb" in log.settings
    return "" if is_split else "fits"


def _text(value: float) -> str:
    return f"{round(value, 4):.10g}"
