"""What does a tool do by itself, and what do the peaks that it publishes count?

Sources measure different things: torch's counter of what is handed out, the whole card in nvidia-smi, a
file's size. `STYLES` says which, once for each tool.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rackrate.fit.cases import Case
from rackrate.fit.training import NEW_COPIES, OLD_COPIES


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
    "aphrodite": Style("vllm"),  # made from vLLM
    "sglang": Style("sglang"),
    "transformers (": Style("transformers", footing="device"),  # makers' tables, read off nvidia-smi
    "transformers 5": Style("transformers", hidden_copies=NEW_COPIES),
    "transformers": Style("transformers"),
    "llama.cpp": Style("llama.cpp"),
    "llama-box": Style("llama.cpp", footing="device"),
    **dict.fromkeys(
        (
            "llama-server",
            "llama-cpp",
            "llama_cpp",
            "ik_llama",
            "ollama",
            "koboldcpp",
            "lm studio",
            "lmstudio",
            "gpt4all",
            "llamafile",
        ),
        Style("llama.cpp"),
    ),
    "litgpt": Style("litgpt", loss="chunked", has_checkpointing=False, has_dropout=False, adapters="bf16"),
    "hf trainer": Style("transformers", footing="device", has_master=True, shards=True),
    "hf": Style("transformers", footing="device"),
    "torchtune": Style(
        "torch", loss="chunked", optimiser="adamw-8bit", has_step_in_backward=True, rank=8, adapters="bf16"
    ),
    **dict.fromkeys(("axolotl", "llama-factory", "llamafactory", "trl"), Style("transformers", "device")),
    "deepspeed": Style("transformers", footing="device", has_master=True, shards=True),
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
