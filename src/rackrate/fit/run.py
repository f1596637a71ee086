"""How was a measured case run? From the words of its row to a set-up and a load.

What a row does not say is the tool's default; words that nobody knows are passed over where the rest
still tells enough, and answered wide where it does not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

from rackrate.catalog.architecture import Architecture
from rackrate.errors import UnknownName
from rackrate.fit.cases import Case
from rackrate.fit.engine import find_engine, memory_fraction_of
from rackrate.fit.kv import KV_BYTES
from rackrate.fit.parallel import Layout
from rackrate.fit.pipeline import OFFLOADS
from rackrate.fit.precision import (
    PRECISIONS,
    Precision,
    averaged_precision,
    find_precision,
    precision_in,
)
from rackrate.fit.setup import Load, Setup, default_layout
from rackrate.fit.tools import Style, style_of
from rackrate.fit.training import OPTIMISERS, Training, lora_targets

ENCODED_TOKENS = 1500  # Whisper's frames of a window
TASK_OF: Mapping[str, str] = {"full_ft": "full", "lora": "lora", "qlora": "qlora"}
"""Task of a case's workload; the others are inference."""


def setup_of(case: Case, arch: Architecture, style: Style) -> tuple[Setup, Load]:
    """Return how the case was run and its load; what it does not say is the engine's default."""
    said = case.settings
    engine = find_engine(style.engine)
    task = TASK_OF.get(case.workload, "inference")
    if case.workload == "diffusion" and "lora_rank" in said:
        task = "lora"
    precision = precision_of(case).applied_to(arch)
    layout = _layout(case, said, arch, task, style)
    fraction = said.get("gpu_memory_utilization") or said.get("mem_fraction_static")
    setup = Setup(
        engine=engine,
        version=case.engine,
        task=task,
        precision=precision,
        kv=_kv(said),
        layout=layout,
        memory_fraction=float(fraction) if fraction else memory_fraction_of(engine, case.engine),
        max_num_seqs=int(said.get("max_num_seqs", 0)),
        max_num_batched_tokens=int(said.get("max_num_batched_tokens", said.get("profiled_tokens", 0))),
        sampler=said.get("sampler", ""),
        is_eager="enforce_eager" in said,
        has_flash_attention=said.get("attention", style.attention) not in ("no flash", "eager"),
        offload=_offload(said, arch),
        training=None if task == "inference" else _training(case, arch, said, style, task),
    )
    context = case.context or (512 if task == "inference" or "short" in case.note else 2048)
    if arch.task == "asr" and context > ENCODED_TOKENS:
        context -= ENCODED_TOKENS  # cases count the encoder's frames
    if not style.counts_prefill:
        setup = replace(setup, max_num_batched_tokens=1)
    return setup, Load(context, case.batch or 1, pixels=_pixels(arch), frames=int(said.get("n_frames", 1)))


def _offload(said: Mapping[str, str], arch: Architecture) -> str:
    """Return how a pipeline's parts are offloaded; `cpu` is a trainer's word, or means whole parts."""
    stated = said.get("offload", "").lower()
    if arch.task == "image" and stated == "cpu":
        return "model"
    return stated if stated in OFFLOADS else "none"


def _pixels(arch: Architecture) -> int:
    """Return the usual size of what a pipeline makes: a megapixel, or 480 x 720 for video."""
    return 480 * 720 if "video" in arch.name else 1024 * 1024


def _kv(said: Mapping[str, str]) -> str:
    name = said.get("kv_cache_dtype", "fp16").lower()
    name = "fp8" if name.startswith("fp8") else {"f16": "fp16", "f32": "fp32"}.get(name, name)
    return name if name in KV_BYTES else "fp16"


def _layout(case: Case, said: Mapping[str, str], arch: Architecture, task: str, style: Style) -> Layout:
    """Return how the case's GPUs shared the model."""
    n_gpus = max(case.gpu_count, 1)
    stated = {name: int(said[key]) for name in _PARALLEL if (key := f"{name}_parallel_size") in said}
    if stated:
        return Layout(**stated)
    if task == "inference" or n_gpus == 1:
        return default_layout(arch, find_engine(style.engine), task, n_gpus)
    sharding = said.get("sharding", "")
    if not sharding and not (style.shards and task == "full"):
        return Layout(pipeline=n_gpus)
    return Layout(data=n_gpus, shard=_STAGES.get(sharding, ALL_SHARED))


_PARALLEL = ("tensor", "pipeline", "expert", "data")
_STAGES, ALL_SHARED = {"ddp": 0, "zero1": 1, "zero2": 2}, 3
"""What ZeRO's stages share out: optimiser states, gradients too; FSDP and whatever else, weights too."""


def layers_on_gpus(case: Case) -> float:
    """Return the share of the layers that llama.cpp put on GPUs; it counts the output matrix as one."""
    on, _, of = case.settings.get("n_gpu_layers", "").partition("/")
    return min(int(on) / max(int(of) - 1, 1), 1.0) if of and int(on) < int(of) else 1.0


HAND_MIXED_ERROR, UNSAID_ERROR = 0.05, 0.25
"""One standard deviation of the weights as a share of them: of files whose types somebody mixed by hand, and
where the row leaves the width open."""

_BITS = re.compile(r"(\d(?:\.\d+)?)\s*bpw")


def precision_of(case: Case) -> Precision:
    """Return the precision of a case: from the words of its format, its precision, its model's name.

    Where none of them tells, it is what the tool usually runs, with a wide error.
    """
    words = f"{case.quant_format} {case.precision}".lower()
    average = _BITS.search(words)
    if average:
        bits = float(average[1])
        return averaged_precision(bits) if "exl" in f"{words} {case.engine}".lower() else _of_width(bits)
    file_type = _FILE_TYPE.search(words) if "gguf" in words or case.precision[:1] in "qQiI" else None
    if file_type:
        found = _of_file_type(file_type[0])
        return replace(found, error_frac=HAND_MIXED_ERROR) if "ud-" in words else found  # Unsloth's own
    if case.precision != "gguf":
        told = precision_in(words if "mlx" in words else case.quant_format)
        for said in (told, case.precision, precision_in(case.precision)):
            try:
                return find_precision(said)
            except UnknownName:
                continue
    return _unsaid(case, words)


_FILE_TYPE = re.compile(r"\b(?:i?q\d\w*|tq\d_\d|b?f16|f32)\b")
_LIKE = {"tq1_0": "iq1_m", "tq2_0": "iq2_xxs"}  # as many bits a number


def _of_file_type(name: str) -> Precision:
    """Return the recipe of that name, or of a file that is mixed by hand the one that it starts from."""
    stem = name.rsplit("_", 1)[0]  # Q4_K_XL is made from Q4_K_M
    tries = (name, f"{name}_m", f"{name}_k_m", f"{name}_k", stem, f"{stem}_m", f"{stem[:2]}_0")
    found = next((kind for kind in (_LIKE.get(name, ""), *tries) if f"gguf:{kind}" in PRECISIONS), "")
    precision = find_precision(f"gguf:{found or name}")
    return precision if found == name else replace(precision, error_frac=HAND_MIXED_ERROR)


def _unsaid(case: Case, words: str) -> Precision:
    """Return what is likely where the row does not say how the weights are stored."""
    named = precision_in(case.model)
    if not words.strip() and named:
        return find_precision(named)
    if case.precision == "gguf" or style_of(case).engine == "llama.cpp":
        likely = "gguf:q4_k_m"
    elif case.workload == "qlora":
        likely = "nf4-dq"
    elif "16" in words or "32" in words:  # `bf16-mixed`, `tf32`
        return find_precision("bf16" if "16" in words else "fp32")
    else:
        likely = "bf16"
    return replace(find_precision(likely), error_frac=UNSAID_ERROR)


def _of_width(bits: float) -> Precision:
    """Return a file that is `bits` wide on average: the recipe next to it stands for its layout."""
    recipes = [precision for precision in PRECISIONS.values() if precision.recipe]
    return replace(min(recipes, key=lambda p: abs(p.bits - bits)), error_frac=HAND_MIXED_ERROR)


def _training(case: Case, arch: Architecture, said: Mapping[str, str], style: Style, task: str) -> Training:
    checkpointing = {"yes": True, "no": False}.get(said.get("checkpointing", ""), style.has_checkpointing)
    is_full, is_alone = task == "full", case.gpu_count <= 1
    usual = style.optimiser if is_full and is_alone else "adamw"
    optimiser = said.get("optimizer", usual).replace("_", "-")
    optimiser = optimiser if optimiser in OPTIMISERS else _OPTIMISER_LIKE.get(optimiser, "adamw")
    if optimiser == "adamw-8bit" and "paged" in said:
        optimiser = "paged-adamw-8bit"
    targets = said.get("lora_targets", "all-linear")
    words = f"{case.precision} {case.quant_format}".lower()
    is_mixed = is_full and (style.is_mixed or bool(re.search(r"mixed|\bamp\b|autocast", words)))
    is_fp32 = case.precision == "fp32" and not is_mixed
    has_deepspeed = said.get("sharding", "").startswith(("zero", "deepspeed"))
    return Training(
        method=task,
        optimiser=optimiser,
        is_mixed=is_mixed and not is_fp32,
        is_fp32=is_fp32,
        has_checkpointing=checkpointing,
        has_step_in_backward="optimizer_in_backward" in said
        or (style.has_step_in_backward and is_full and is_alone),
        has_master=is_full and not is_mixed and (style.has_master or has_deepspeed),
        has_offload=is_full and said.get("offload") == "cpu",
        is_foreach=style.is_foreach and optimiser == "adamw",
        loss=style.loss,
        offloads_checkpoints=style.offloads_checkpoints,
        has_dropout=style.has_dropout,
        adapters=style.adapters,
        has_wide_ends=style.has_wide_ends and task == "qlora",
        keeps_frozen_inputs=said.get("bitsandbytes", "").startswith("0.41") and task == "qlora",
        hidden_copies=style.hidden_copies,
        keeps_gradients=style.keeps_gradients,
        attention="eager" if said.get("attention") == "eager" else style.attention,
        rank=int(said.get("lora_rank", 0)) or style.rank,
        targets=() if targets == "all-linear" else _targets(arch, targets),
        label_count=style.label_count,
    )


_OPTIMISER_LIKE = {"adam": "adamw", "muon": "sgd-momentum", "galore": "adamw-8bit"}
"""Which of ours keeps as much a parameter; GaLore keeps the moments of a quarter of them."""


def _targets(arch: Architecture, text: str) -> tuple[str, ...]:
    """Return the matrices that are adapted; words of no matrix are passed over, and no word means all."""
    found: list[str] = []
    for word in text.split(","):
        with suppress(UnknownName):
            found += lora_targets(arch, word.strip())
    return tuple(dict.fromkeys(found))
