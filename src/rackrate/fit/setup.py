"""How a model is run, and under which load: all that a verdict must state beside model and card."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rackrate.catalog.architecture import Architecture
from rackrate.errors import UnknownName, UsageError, nearest
from rackrate.fit.engine import (
    DEFAULT_ENGINE,
    ENGINES,
    Engine,
    VllmLimits,
    find_engine,
    vllm_limits,
)
from rackrate.fit.overhead import Card
from rackrate.fit.parallel import ONE_GPU, Layout
from rackrate.fit.precision import PRECISIONS, Precision
from rackrate.fit.training import Training

TASKS = ("inference", "full", "lora", "qlora")


def check_task(name: str) -> None:
    """Check that there is such a task.

    Raises:
        UnknownName: there is not, with the nearest.
    """
    if name not in TASKS:
        raise UnknownName("task", name, nearest(name, TASKS) or TASKS)


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of the model at once.

    Attributes:
        context: tokens of a sequence, prompt and answer. May be an array.
        concurrency: sequences (images, windows of speech) at once; of training, a GPU's batch. May be an
            array.
        pixels: of an image that is made.
        frames: of a video that is made; 1 for an image.
        beams: hypotheses of a speech decoder.
    """

    context: Any = 8192
    concurrency: Any = 1
    pixels: int = 1024 * 1024
    frames: int = 1
    beams: int = 1

    def __str__(self) -> str:
        """Write it for people; arrays by their size."""
        if not isinstance(self.context, int) or not isinstance(self.concurrency, int):
            return "many loads"
        return f"{self.concurrency} x {self.context:,} tokens"


@dataclass(frozen=True, slots=True)
class Setup:
    """How it is run.

    Attributes:
        engine: with its defaults.
        version: of the engine.
        task: one of `TASKS`.
        precision: of the weights.
        kv: type of the KV cache.
        layout: how the GPUs share the work.
        memory_fraction: of the card that the engine may use.
        max_num_seqs: sequences in one step, where the engine's default is not wanted; 0 for the default.
        max_num_batched_tokens: tokens in one step; 0 for the default.
        sampler: how vLLM's profile samples, where it is not the version's own way: see `VllmLimits`.
        is_eager: whether CUDA graphs are off.
        has_flash_attention: whether attention scores are never written out.
        ubatch: llama.cpp's micro-batch, tokens.
        offload: of a pipeline's parts.
        training: how it is trained, for the tasks that train.
        stored_bytes: of the tensors in the model's files, where they were read; 0 where the precision's
            rules must do.
    """

    engine: Engine = field(default_factory=lambda: ENGINES["vllm"])
    version: str = ""
    task: str = "inference"
    precision: Precision = field(default_factory=lambda: PRECISIONS["bf16"])
    kv: str = "fp16"
    layout: Layout = ONE_GPU
    memory_fraction: float = 0.9
    max_num_seqs: int = 0
    max_num_batched_tokens: int = 0
    sampler: str = ""
    is_eager: bool = False
    has_flash_attention: bool = True
    ubatch: int = 512
    offload: str = "none"
    training: Training | None = None
    stored_bytes: int = 0

    def __post_init__(self) -> None:
        check_task(self.task)
        if not 0 < self.memory_fraction <= 1:
            hint = "vLLM's default is 0.9"
            raise UsageError(
                f"memory fraction {self.memory_fraction} is not above 0 and at most 1", hint=hint
            )

    @property
    def is_training(self) -> bool:
        """Whether the model learns."""
        return self.task != "inference"

    def limits(self, card: Card, context: int) -> VllmLimits:
        """Return what vLLM tries out at start-up on this card, with what was asked for in place."""
        version = self.version or self.engine.version
        if self.engine.name != "vllm":  # SGLang's own numbers say nothing of vLLM's defaults
            version = ENGINES["vllm"].version
        found = vllm_limits(version, card.gib, is_a100=card.is_a100, context=context)
        return VllmLimits(
            self.max_num_seqs or found.max_num_seqs,
            self.max_num_batched_tokens or found.max_num_batched_tokens,
            found.counts_graphs and self.engine.name == "vllm" and not self.is_eager,
            self.sampler or found.sampler,
            found.is_v0,
        )

    def seats(self, card: Card, context: int) -> int | None:
        """Return the sequences in a step at most; None where the engine takes as many as memory holds."""
        is_vllm = self.engine.name == "vllm"
        return self.limits(card, context).max_num_seqs if is_vllm else self.max_num_seqs or None

    def chunk_tokens(self, card: Card, context: int) -> int:
        """Return the tokens of prompts in a step at most; 0 where the engine's own number is not known."""
        is_vllm = self.engine.name == "vllm"
        return self.limits(card, context).max_num_batched_tokens if is_vllm else self.max_num_batched_tokens

    def named(self) -> str:
        """Write engine and version for people."""
        return f"{self.engine.name} {self.version or self.engine.version}"


def choose_engine(arch: Architecture, task: str, name: str = "") -> Engine:
    """Return the engine of that name, or the usual one for the model and task.

    Raises:
        UnknownName: no such engine.
        UsageError: an engine that does not do that.
    """
    need = "training" if task != "inference" else arch.task
    engine = find_engine(name or ("transformers" if need == "training" else DEFAULT_ENGINE[arch.task]))
    if need not in engine.tasks:
        able = [other.name for other in ENGINES.values() if need in other.tasks]
        what = f"{task} of {arch.name}" if need == "training" else f"{need} models such as {arch.name}"
        raise UsageError(f"{engine.name} does not do {what}", hint=f"engines that do: {', '.join(able)}")
    return engine


def default_layout(arch: Architecture, engine: Engine, task: str, n_gpus: int) -> Layout:
    """Return how an engine spreads a model over `n_gpus` when nothing is said.

    vLLM and SGLang cut every layer (tensor parallel) as far as the heads divide and put the rest in a
    pipeline; transformers and llama.cpp give each GPU a run of layers; training shares all states
    (FSDP); images and speech run one copy a GPU.

    Raises:
        UsageError: fewer GPUs than one.
    """
    if n_gpus < 1:
        raise UsageError(f"{n_gpus} GPUs are below 1", hint="give 1 or more")
    if n_gpus == 1:
        return ONE_GPU
    if task != "inference":
        return Layout(data=n_gpus, shard=3)
    if arch.task in ("image", "asr", "encoder"):
        return Layout(data=n_gpus)
    if engine.name in ("vllm", "sglang"):
        tensor = max(n for n in range(1, n_gpus + 1) if n_gpus % n == 0 and arch.main.n_heads % n == 0)
        return Layout(tensor=tensor, pipeline=n_gpus // tensor)
    return Layout(pipeline=min(n_gpus, arch.main.n_layers))
