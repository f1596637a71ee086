"""Read what is to be scored: files of cases, and the measurements that were taken on H100 and H200 cards.

A file of cases has the columns of `rackrate.fit.cases.COLUMNS`, and perhaps a `config` with a Hugging Face
config as JSON. A file of measurements has `config_json`, `quantity` and `unit`; its memory rows become
cases, each with the footing on which it was measured:

    *_alloc_gib, *_bytes   torch's counter of allocated memory
    *_reserved_gib         what torch took from the card: no footing of the model, left out
    *_nvml_used_gib        the whole card as NVML counts it, less what the driver keeps for itself
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rackrate.errors import RackrateError
from rackrate.fit.cases import COLUMNS, Case, case_from_row, read_cases
from rackrate.fit.tools import Style
from rackrate.fit.training import NEW_COPIES

GIB = 2.0**30
NVML_EXTRA_GIB = {"H100": 0.47, "H200": 0.60}  # gpu_measurements.md: NVML's "used" over nvidia-smi's
STATIC_SPARE_TOKENS = 128  # the harness's static caches are this much longer than the context
DECODER_PREFIX = "decode_"
CLOSE_GIB = 60.0  # from which a run of ours on 79.2 GiB counts as a verdict too


@dataclass(frozen=True)
class Row:
    """A case to be predicted.

    Attributes:
        case: what was measured.
        config: of the model, where one came with it.
        style: of the tool, where the row states more than its name.
        file: name of the file that it came from.
    """

    case: Case
    config: Mapping[str, Any] | None = None
    style: Style | None = None
    file: str = ""


def read_rows(path: Path) -> tuple[list[Row], list[str]]:
    """Return the rows of a file and what was left out of it, with the reason.

    Raises:
        RackrateError: the file is neither of cases nor of measurements.
    """
    text = path.read_text("utf-8")
    header = next(csv.reader(io.StringIO(text)), [])
    if "config_json" in header:
        return _measurements(text, path.name)
    table = read_cases(text)
    rejected = [f"{path.name}, line {row.line}: {row.reason}" for row in table.rejected]
    if "config" not in header:
        return [Row(case, file=path.name) for case in table.cases], rejected
    if "settings" in header:
        return _own(text, path.name)
    configs = _configs(text, rejected)
    keys = map(_key, (case.to_row() for case in table.cases))
    return [
        Row(case, configs.get(key), file=path.name) for case, key in zip(table.cases, keys, strict=True)
    ], rejected


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row[name] for name in ("id", "model", "quantity", "context", "batch"))


def _configs(text: str, rejected: list[str]) -> dict[tuple[str, ...], Mapping[str, Any]]:
    found: dict[tuple[str, ...], Mapping[str, Any]] = {}
    for row in csv.DictReader(io.StringIO(text)):
        cell = (row.get("config") or "").strip()
        if not cell:
            continue
        try:
            config = json.loads(cell)
            case = case_from_row({name: row.get(name) or "" for name in COLUMNS})
        except (ValueError, RackrateError) as error:
            rejected.append(f"the config of {row.get('id')}: {error}")
            continue
        if isinstance(config, dict):
            found[_key(case.to_row())] = config
    return found


# --- our own measurements (bench/gpu) ---------------------------------------------------------

_FOOTINGS = {
    "peak_allocated_gib": "allocated", "peak_reserved_gib": "reserved", "peak_device_gib": "device",
}  # fmt: skip
_OPTIMISERS = {
    "adamw8bit": "adamw-8bit", "paged-adamw8bit": "paged-adamw-8bit", "sgd-momentum": "sgd-momentum",
    "sgd": "sgd", "adafactor": "adafactor", "adafactor-hf": "adafactor",
}  # fmt: skip


def _own(text: str, name: str) -> tuple[list[Row], list[str]]:
    """Read what bench/gpu/measure_memory.py wrote: its settings say what others leave to prose."""
    rows, left_out = list[Row](), dict[str, int]()
    for row in csv.DictReader(io.StringIO(text)):
        case = case_from_row({column: row[column] for column in COLUMNS})
        footing = _FOOTINGS.get(case.quantity)
        if footing:
            case = replace(case, quantity="peak_gib")
        elif case.quantity not in ("weights_gib", "kv_gib", "oom"):
            left_out[case.quantity] = left_out.get(case.quantity, 0) + 1
            continue
        how = json.loads(row["settings"])
        is_close = row["quantity"] == "peak_device_gib" and case.value >= CLOSE_GIB
        if case.precision == "bf16-autocast":  # 32-bit weights; the style says so
            case = replace(case, precision=case.quant_format if case.quantity == "weights_gib" else "bf16")
        if how.get("targets") == "qv":
            case = replace(case, note=f"{case.note}; LoRA r={how['rank']} on q,v")
        config = json.loads(row["config"])
        style = _own_style(how, footing or "allocated", is_full=case.workload == "full_ft")
        if how.get("task") == "mlm":
            style = replace(style, label_count=int(config["vocab_size"]))
        rows.append(Row(case, config, style, name))
        if is_close:  # it ran, where a little more would not have
            rows.append(Row(replace(case, quantity="fits", value=1.0, per="total"), config, style, name))
    return rows, [f"{name}: {count} rows of {what}" for what, count in left_out.items()]


def _own_style(how: Mapping[str, Any], footing: str, *, is_full: bool) -> Style:
    adapters = "autocast" if how.get("autocast") else str(how.get("adapters", "fp32"))
    optimiser = str(how.get("optimiser", "adamw-fused"))
    return Style(
        "transformers",
        footing=footing,
        hidden_copies=NEW_COPIES,
        has_checkpointing=bool(how.get("checkpointing")),
        is_mixed=is_full and bool(how.get("autocast")),
        is_foreach=optimiser in ("adamw", "adamw-foreach"),
        optimiser=_OPTIMISERS.get(optimiser, "adamw"),
        has_dropout=bool(how.get("dropout")),
        adapters=adapters,
        has_wide_ends=bool(how.get("prepared")),
        keeps_gradients=int(how.get("accumulate", 1)) > 1,
        attention="eager" if how.get("attention") == "eager" else "flash",
        label_count=2 if how.get("task") == "classify" else 0,
        rank=int(how.get("rank", 16)),
    )


# --- measurements ------------------------------------------------------------------------------

_QUANTITIES = (
    (r"(?:weights_bytes|weights_alloc_gib)", "weights_gib"),
    (r"kv_cache_bytes(?:_after)?", "kv_gib"),
    (r"train_between_steps_alloc_gib", "between_steps_gib"),
    (r"(?:prefill_|decode_|train_)?(?:peak_alloc|nvml_used)_gib", "peak_gib"),
)
_WORKLOADS = {"image-diffusion": "diffusion", "speech-to-text": "asr", "embedding": "inference"}
_TYPES = {
    "LlamaConfig": "llama", "MistralConfig": "mistral", "Qwen2Config": "qwen2", "Qwen3Config": "qwen3",
    "Qwen3MoeConfig": "qwen3_moe", "Gemma3TextConfig": "gemma3_text", "Phi3Config": "phi3",
    "BertConfig": "bert", "DistilBertConfig": "distilbert", "WhisperConfig": "whisper",
    "FluxTransformer2DModel": "flux",
}  # fmt: skip


def _measurements(text: str, name: str) -> tuple[list[Row], list[str]]:
    rows, left_out = list(csv.DictReader(io.StringIO(text))), dict[str, int]()
    configs = _configs_by_model(rows)
    found: list[Row] = []
    for row in rows:
        quantity = row["quantity"]
        kind = next((to for pattern, to in _QUANTITIES if re.fullmatch(pattern, quantity)), None)
        if kind is None or "without VAE" in row["notes"] or "each block through" in row["notes"]:
            if quantity.endswith(("_gib", "_bytes")):
                what = f"{quantity} of a transformer alone" if kind else quantity
                left_out[what] = left_out.get(what, 0) + 1
            continue
        found.append(_measured(row, kind, configs, name))
    return found, [f"{name}: {count} rows of {what}" for what, count in left_out.items()]


def _configs_by_model(rows: list[dict[str, str]]) -> dict[str, Mapping[str, Any]]:
    """Return the config of each model; rows that leave it out mean the same one as those that do not."""
    found: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        stated = json.loads(row["config_json"] or "{}").get("model")
        if stated:
            found[row["model"]] = _hf_config(stated)
    return found


def _hf_config(stated: Mapping[str, Any]) -> dict[str, Any]:
    name = str(stated.get("class", ""))
    kind = _TYPES.get(name, name.removesuffix("Config").lower())
    return {key: value for key, value in stated.items() if key != "class"} | {"model_type": kind}


def _measured(
    row: Mapping[str, str], quantity: str, configs: Mapping[str, Mapping[str, Any]], file: str
) -> Row:
    value = float(row["value"]) / (GIB if row["unit"] == "B" else 1)
    gpu = "H200" if "H200" in row["gpu"] else "H100"
    on_device = "nvml_used" in row["quantity"]
    if on_device:
        value -= NVML_EXTRA_GIB[gpu]
    how = json.loads(row["config_json"] or "{}").get("case", {})
    workload = _WORKLOADS.get(row["workload"], "inference")
    footing = "device" if on_device else "allocated"
    style = Style("transformers", footing=footing, hidden_copies=NEW_COPIES)
    if row["workload"] == "training":
        workload = "lora" if "lora" in row["precision"] else "full_ft"
        style = replace(
            style,
            is_mixed=row["precision"] == "bf16-autocast",
            is_foreach="foreach" in str(how.get("optimizer", "")),
            has_checkpointing="checkpointing on" in row["notes"] or bool(how.get("gradient_checkpointing")),
            label_count=int(configs.get(row["model"], {}).get("num_labels", 0)),
        )
    elif row["workload"] == "image-diffusion":
        style = replace(style, engine="diffusers")
    elif "graph" in row["notes"] or "torch.compile" in row["notes"]:
        style = replace(style, counts_prefill=False)  # only a step of decoding
    tokens = sum(int(float(row[name] or 0)) for name in ("input_tokens", "output_tokens"))
    if quantity == "kv_gib" and "CUDA graph" in row["notes"]:
        tokens = int(float(row["input_tokens"]))
    if "static" in row["notes"]:
        tokens = int(float(row["input_tokens"])) + STATIC_SPARE_TOKENS
    gpus = int(float(row["gpus"] or 1))
    notes = row["notes"].split("; NVML")[0]
    if row["workload"] == "llm-inference-tp" and gpus > 1:
        notes += f"; TP {gpus}"
    elif gpus > 1:
        notes += "; DDP"
    case = Case(
        id=row["id"], workload=workload, model=row["model"], params_b=None,
        precision=_precision(row["precision"]), quant_format=_format(row["precision"]),
        engine=f"transformers 5.17 ({row['workload']})", gpu=gpu, gpu_count=gpus,
        batch=int(float(row["batch"])) if row["batch"] else None, context=tokens or None,
        quantity=quantity, value=value, per="gpu", raw=row["quantity"], source=f"{gpu} measurements",
        note=notes,
    )  # fmt: skip
    return Row(case, configs.get(row["model"]), style, file)


def _precision(text: str) -> str:
    return {"tf32": "fp32", "bf16-autocast": "bf16", "bf16-pure": "bf16", "bf16-lora": "bf16"}.get(text, text)


def _format(text: str) -> str:
    return {"int4": "int4 g128"}.get(text, _precision(text))


def groups(rows: list[Row]) -> Iterator[tuple[str, list[Row]]]:
    """Give the rows of each source, and then of each model."""
    for what in ("source", "model"):
        for value in dict.fromkeys(getattr(row.case, what) for row in rows):
            yield f"{what}: {value}", [row for row in rows if getattr(row.case, what) == value]
