"""What the model says of a measured case: one prediction with its range for each quantity.

A case states what a source measured, and sources measure different things: torch's counter of what
is handed out, the whole card in nvidia-smi, a file's size. `STYLES` says which, once for each tool.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from rackrate.catalog.architecture import Architecture
from rackrate.errors import NoAnswer, UnknownName, nearest
from rackrate.fit.cases import Case
from rackrate.fit.engine import find_engine, memory_fraction_of
from rackrate.fit.estimate import OUTSIDE, Estimate, estimate, sequence_memory
from rackrate.fit.kv import memory_of
from rackrate.fit.overhead import Card, graphs_term
from rackrate.fit.parallel import ONE_GPU, Layout
from rackrate.fit.pipeline import OFFLOADS, component_bytes
from rackrate.fit.precision import PRECISIONS, Precision, find_precision, precision_in
from rackrate.fit.setup import Load, Setup, default_layout
from rackrate.fit.solve import probability
from rackrate.fit.term import GIB, Z90, Total
from rackrate.fit.training import NEW_COPIES, OLD_COPIES, Training, gradient_gib, lora_targets
from rackrate.fit.weights import weight_bytes, weights_term


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is expected of a quantity, in its unit.

    Attributes:
        value: expected; of a verdict the probability that it fits.
        sigma: one standard deviation; 0 for a verdict.
    """

    value: float
    sigma: float

    @property
    def low(self) -> float:
        """Lower end of the range that holds the truth in 9 cases of 10."""
        return max(self.value - Z90 * self.sigma, 0.0)

    @property
    def high(self) -> float:
        """Upper end of that range."""
        return self.value + Z90 * self.sigma


@dataclass(frozen=True, slots=True)
class Style:
    """What a tool does and what its published peaks count.

    Attributes:
        engine: whose terms apply.
        footing: `allocated` (what torch hands out), `reserved` (what it keeps), `device` (nvidia-smi) or
            `file`.
        loss: of training.
        has_checkpointing: of training, where the case does not say.
        is_mixed: whether full fine-tuning keeps 32-bit weights.
        is_foreach: whether its AdamW takes all parameters at once.
        offloads_checkpoints: whether layers' checkpoints wait on the host.
        has_dropout: of LoRA.
        counts_prefill: whether the prompt's activations are in the peak.
        label_count: classes that a training's loss is over, as `Training` has it.
        optimiser: of full fine-tuning, where the case does not say.
        has_master: whether full fine-tuning keeps a 32-bit master copy (DeepSpeed).
        has_step_in_backward: whether full fine-tuning on one GPU steps in the backward pass.
        shards: whether full fine-tuning on several GPUs shares its states out (ZeRO-3).
        rank: of LoRA, where the case does not say.
        adapters: type in which they work.
        has_wide_ends: whether QLoRA puts embedding and output matrix in 32 bit.
        hidden_copies: by the age of its norms.
        keeps_gradients: whether gradients outlive the step (accumulation).
        attention: of training: `flash` or `eager`.
    """

    engine: str
    footing: str = "allocated"
    loss: str = "full"
    has_checkpointing: bool = True
    is_mixed: bool = False
    is_foreach: bool = False
    offloads_checkpoints: bool = False
    has_dropout: bool = True
    counts_prefill: bool = True
    label_count: int = 0
    optimiser: str = "adamw"
    has_master: bool = False
    has_step_in_backward: bool = False
    shards: bool = False
    rank: int = 16
    adapters: str = "autocast"
    has_wide_ends: bool = False
    hidden_copies: float = OLD_COPIES
    keeps_gradients: bool = False
    attention: str = "flash"


STYLES: Mapping[str, Style] = {
    "vllm": Style("vllm"),
    "sglang": Style("sglang"),
    "transformers (": Style("transformers", footing="device"),  # makers' tables, read off nvidia-smi
    "transformers 5": Style("transformers", hidden_copies=NEW_COPIES),
    "transformers": Style("transformers"),
    "llama.cpp": Style("llama.cpp"),
    "llama-box": Style("llama.cpp", footing="device"),
    "litgpt": Style("litgpt", loss="chunked", has_checkpointing=False, has_dropout=False, adapters="bf16"),
    "hf trainer": Style("transformers", footing="device", has_master=True, shards=True),
    "hf": Style("transformers", footing="device"),
    "torchtune": Style(
        "torch", loss="chunked", optimiser="adamw-8bit", has_step_in_backward=True, rank=8, adapters="bf16"
    ),
    "ms-swift": Style("transformers", footing="device", is_foreach=True),
    "unsloth": Style(
        "transformers",
        footing="device",
        loss="fused",
        offloads_checkpoints=True,
        has_dropout=False,
        adapters="bf16",
    ),
    "qlora code": Style("transformers", footing="device", has_wide_ends=True),
    "peft": Style("transformers", footing="device"),
    "diffusers": Style("diffusers"),
    "kohya": Style("diffusers", footing="device"),
    "openai/whisper": Style("openai-whisper", footing="device"),
    "faster-whisper": Style("faster-whisper", footing="device"),
    "gguf file": Style("transformers", footing="file"),
    "mlx": Style("transformers", footing="file"),
}
"""By how the name of the tool begins."""

_PLAIN = Style("transformers")


def style_of(case: Case) -> Style:
    """Return the style of the tool that the case names; plain transformers when none is known."""
    name = case.engine.lower()
    for known, style in STYLES.items():
        if name.startswith(known):
            if "Qwen3 docs" in case.source or "speed_benchmark" in case.source:
                return replace(style, counts_prefill="Qwen3" not in case.source)
            return style
    return _PLAIN


def predict(
    case: Case,
    arch: Architecture,
    card: Card,
    room_gib: float | None = None,
    style: Style | None = None,
) -> Prediction:
    """Return what the model expects of a case.

    Args:
        case: one measured quantity.
        arch: the model that it names.
        card: the memory of one of its GPUs.
        room_gib: the KV room that the same run had, where it was measured: tokens follow from it.
        style: of the tool, where one knows better than its name tells.

    Raises:
        UnknownName: a quantity, engine or precision that nothing here predicts.
    """
    style = style or style_of(case)
    setup, load = setup_of(case, arch, style)
    if case.quantity == "weights_gib":
        return _weights(case, arch, setup, style)
    found = estimate(arch, card, setup, load)
    if case.quantity in ("fits", "oom"):
        return Prediction(probability(found), 0.0)
    if case.quantity == "peak_gib":
        return _over_all(found, setup, style, (case.gpu_count or 1) if case.per == "total" else 1)
    if case.quantity in ("kv_gib", "kv_tokens"):
        is_room = case.quantity == "kv_gib"
        return _cache(case, arch, found, setup, load) if is_room else _tokens(found, arch, setup, room_gib)
    if case.quantity == "between_steps_gib":
        return _between_steps(found, arch, setup)
    if case.quantity in _TERMS:
        n_seqs = setup.limits(card, load.context).max_num_seqs
        graphs = (graphs_term(n_seqs),)  # whether or not they come out of the budget
        terms = graphs if case.quantity == "cuda_graph_gib" else found.terms
        return _of_terms(replace(found, terms=terms), *_TERMS[case.quantity])
    raise UnknownName("quantity", case.quantity, nearest(case.quantity, QUANTITIES) or QUANTITIES)


_RESERVING = ("vllm", "sglang")  # engines that take all that is left for KV cache
_TERMS = {
    "non_torch_gib": ("CUDA context", "NCCL"),
    "activation_gib": ("activation peak", "compute buffer"),
    "compute_gib": ("compute buffer",),
    "cuda_graph_gib": ("CUDA graphs",),
}
QUANTITIES = (
    "weights_gib", "peak_gib", "kv_gib", "kv_tokens", "between_steps_gib", "fits", "oom", *_TERMS,
)  # fmt: skip
"""What can be predicted of a case."""


def _between_steps(found: Estimate, arch: Architecture, setup: Setup) -> Prediction:
    """Return weights, optimiser and the last step's gradients: what training holds between two steps."""
    states = Total.of(term for term in found.terms if term.name in ("weights", "optimiser", "adapters"))
    how = replace(setup.training or Training(method=setup.task), is_foreach=False)
    gradients = gradient_gib(arch, how, setup.layout)
    return Prediction(float(states.gib + gradients), float(states.sigma_gib + 0.01 * gradients))


def _cache(case: Case, arch: Architecture, found: Estimate, setup: Setup, load: Load) -> Prediction:
    """Return the room of an engine that takes all that is left, or the cache of the load."""
    if setup.engine.name in _RESERVING:
        return _room(found)
    if case.per == "gpu" and setup.engine.name == "llama.cpp":
        return _of_terms(found, "KV cache")
    memory = memory_of(arch, setup.kv, ONE_GPU)  # as it is kept, which a prefill may exceed
    gib = load.concurrency * memory.sequence_bytes(load.context) / GIB
    return Prediction(float(gib), 0.002 * float(gib) + 0.001)


def setup_of(case: Case, arch: Architecture, style: Style) -> tuple[Setup, Load]:
    """Return how the case was run and its load; what it does not say is the engine's default."""
    said = case.settings
    engine = find_engine(style.engine)
    task = {"full_ft": "full", "lora": "lora", "qlora": "qlora"}.get(case.workload, "inference")
    if case.workload == "diffusion" and "lora_rank" in said:
        task = "lora"
    precision = precision_of(case)
    layout = _layout(case, said, arch, task, style)
    fraction = said.get("gpu_memory_utilization") or said.get("mem_fraction_static")
    offload = said.get("offload", "").lower()  # of a pipeline; `cpu` is a trainer's
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
        offload=offload if offload in OFFLOADS else "none",
        training=None if task == "inference" else _training(case, arch, said, style, task),
    )
    context = case.context or (512 if task == "inference" or "short" in case.note else 2048)
    if arch.task == "asr" and context > ENCODED_TOKENS:
        context -= ENCODED_TOKENS  # cases count the encoder's frames
    if not style.counts_prefill:
        setup = replace(setup, max_num_batched_tokens=1)
    return setup, Load(context, case.batch or 1, pixels=_pixels(arch), frames=int(said.get("n_frames", 1)))


def _pixels(arch: Architecture) -> int:
    """Return the usual size of what a pipeline makes: a megapixel, or 480 x 720 for video."""
    return 480 * 720 if "video" in arch.name else 1024 * 1024


def _kv(said: Mapping[str, str]) -> str:
    name = said.get("kv_cache_dtype", "fp16").lower()
    return "fp8" if name.startswith("fp8") else {"f16": "fp16"}.get(name, name)


def _layout(case: Case, said: Mapping[str, str], arch: Architecture, task: str, style: Style) -> Layout:
    """Return how the case's GPUs shared the model."""
    n_gpus = max(case.gpu_count, 1)
    stated = {name: int(said[key]) for name in _PARALLEL if (key := f"{name}_parallel_size") in said}
    if stated:
        return Layout(**stated)
    if task == "inference" or n_gpus == 1:
        return default_layout(arch, find_engine(style.engine), task, n_gpus)
    sharding = said.get("sharding", "")
    if sharding == "ddp":
        return Layout(data=n_gpus)
    if not sharding and not (style.shards and task == "full"):
        return Layout(pipeline=n_gpus)
    return Layout(data=n_gpus, shard=_STAGES.get(sharding, ALL_SHARED))


_PARALLEL = ("tensor", "pipeline", "expert", "data")
_STAGES, ALL_SHARED = {"zero1": 1, "zero2": 2}, 3
"""What ZeRO's stages share out: optimiser states, gradients too; FSDP and whatever else, weights too."""


def precision_of(case: Case) -> Precision:
    """Return the precision of a case, from the words of its format or else its precision.

    Raises:
        UnknownName: neither is known.
    """
    words = case.quant_format.lower()
    bits_per_weight = re.search(r"([\d.]+) bpw", words)
    if bits_per_weight:
        return _of_width(float(bits_per_weight[1]))
    if case.precision == "gguf":
        found = re.search(r"\b(?:i?q\d\w*|b?f16|f32)\b", words)
        return find_precision("gguf:" + (found[0] if found else words))
    return find_precision(precision_in(words) or case.precision)


def _of_width(bits: float) -> Precision:
    """Return a file that is `bits` wide on average: the recipe next to it stands for its layout."""
    recipes = [precision for precision in PRECISIONS.values() if precision.recipe]
    return replace(min(recipes, key=lambda p: abs(p.bits - bits)), error_frac=0.05)


def _training(case: Case, arch: Architecture, said: Mapping[str, str], style: Style, task: str) -> Training:
    checkpointing = {"yes": True, "no": False}.get(said.get("checkpointing", ""), style.has_checkpointing)
    is_full, is_alone = task == "full", case.gpu_count <= 1
    usual = style.optimiser if is_full and is_alone else "adamw"
    optimiser = said.get("optimizer", usual).replace("_", "-")
    if optimiser == "adamw-8bit" and "paged" in said:
        optimiser = "paged-adamw-8bit"
    targets = said.get("lora_targets", "all-linear")
    is_fp32 = case.precision == "fp32"
    return Training(
        method=task,
        optimiser=optimiser,
        is_mixed=style.is_mixed and not is_fp32,
        is_fp32=is_fp32,
        has_checkpointing=checkpointing,
        has_step_in_backward="optimizer_in_backward" in said
        or (style.has_step_in_backward and is_full and is_alone),
        has_master=style.has_master and is_full,
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
        rank=int(said.get("lora_rank", style.rank)),
        has_offload=said.get("offload") == "cpu" and is_full,
        targets=() if targets == "all-linear" else _targets(arch, targets),
        label_count=style.label_count,
    )


def _targets(arch: Architecture, text: str) -> tuple[str, ...]:
    return tuple(name for word in text.split(",") for name in lora_targets(arch, word.strip()))


def _weights(case: Case, arch: Architecture, setup: Setup, style: Style) -> Prediction:
    engine = "" if style.footing == "file" else setup.engine.name
    if engine == "llama.cpp" and "host" not in case.note and case.per == "total":
        engine = ""  # "model size" in its log is the file's
    layout = setup.layout if case.per == "gpu" else ONE_GPU
    if arch.task == "image":
        gib = sum(component_bytes(arch, setup.precision).values()) / GIB
    else:
        gib = weight_bytes(arch, setup.precision, layout, engine) / GIB
    term = weights_term(arch, setup.precision, layout, engine)
    return Prediction(gib, term.sigma_gib * gib / term.gib)


def _peak(found: Estimate, style: Style) -> Total:
    if not style.counts_prefill:
        held = ("weights", "KV cache", *(OUTSIDE[:2] if style.footing == "device" else ()))
        return Total.of(term for term in found.terms if term.name in held)
    outside = {"device": (), "reserved": ("CUDA context", "NCCL")}.get(style.footing, OUTSIDE)
    return Total.of(term for term in found.terms if term.name not in outside)


ENCODED_TOKENS = 1500  # Whisper's frames of a window

SOURCE_FRAC, TRAINER_FRAC, SOURCE_GIB = 0.012, 0.07, 0.1
"""What sources differ by when they measure one thing: rounding, units, the moment that is sampled; and what
trainers other than the one that we measured differ by."""


def _over_all(found: Estimate, setup: Setup, style: Style, n_gpus: int) -> Prediction:
    """Return the peak over all GPUs; of GPUs that work in turn only one holds the loss at a time."""
    peak = _peak(found, style)
    frac = TRAINER_FRAC if setup.is_training and style.hidden_copies != NEW_COPIES else SOURCE_FRAC
    sigma = float(peak.sigma_gib**2 + (frac * peak.gib) ** 2 + SOURCE_GIB**2) ** 0.5
    peak = Total(peak.gib, sigma)
    if n_gpus > 1 and setup.is_training and setup.layout.pipeline > 1:
        once = Total.of(t for t in found.terms if t.name in ("loss", "fragmentation", "NCCL")).gib
        return Prediction(float(peak.gib * n_gpus - once * (n_gpus - 1)), float(peak.sigma_gib) * n_gpus)
    return _times(peak, n_gpus)


def _times(total: Total, n: int) -> Prediction:
    return Prediction(float(total.gib) * n, float(total.sigma_gib) * n)


def _of_terms(found: Estimate, *names: str) -> Prediction:
    return _times(Total.of(term for term in found.terms if term.name in names), 1)


def _room(found: Estimate) -> Prediction:
    """Return what the engine has left for KV cache on one GPU."""
    rest = Total.of(term for term in found.terms if term.name != "KV cache")
    sigma = (rest.sigma_gib**2 + found.limit_sigma_gib**2) ** 0.5
    return Prediction(max(found.limit_gib - rest.gib, 0.0), sigma)


def _tokens(found: Estimate, arch: Architecture, setup: Setup, room_gib: float | None) -> Prediction:
    room = _room(found) if room_gib is None else Prediction(room_gib, 0.005)
    memory = sequence_memory(arch, setup)
    per_token = memory.token_bytes + sum(size for _, size in memory.windows)
    if not per_token:
        raise NoAnswer(f"{arch.name} has no KV cache that grows")
    tokens = room.value * GIB / per_token
    whole = int(tokens) // memory.block * memory.block
    return Prediction(float(whole), whole * (room.sigma / max(room.value, 1e-9) + 0.004))
