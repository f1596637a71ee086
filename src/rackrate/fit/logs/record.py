"""What the start of an engine measured: the record that every reader of a log makes.

Memory is GiB (2^30 bytes). A figure is there only if the log has it, or two lines of the log give it
by one subtraction; nothing is estimated here.

| name | what it is | vLLM | SGLang | llama.cpp |
| --- | --- | --- | --- | --- |
| weights_gib | the model's tensors | yes | yes | yes |
| draft_weights_gib | tensors of a draft model that was loaded apart | | yes | |
| non_torch_gib | taken beside PyTorch's allocator (NCCL, workspaces) | yes | | |
| distributed_gib | taken by starting the process group | | yes | |
| activation_gib | peak of a forward pass above the weights | yes | | |
| compute_gib | buffers reserved for the graph of a forward pass | | | yes |
| kv_gib | reserved for keys and values | yes | yes | yes |
| kv_missing_gib | by how much the budget fell short of any KV cache | yes | | |
| state_gib | recurrent (mamba, linear attention) state | in kv | yes | yes |
| cuda_graph_gib | what capturing CUDA graphs took | yes | yes | |
| total_gib, free_gib | the card as seen, free before the load | yes | free | yes |
| host_weights_gib | tensors left in the host's memory | | | yes |
| projected_gib, projected_free_gib | need and room that the engine worked out before it loaded | | | yes |
| kv_tokens | tokens that fit in the cache of all engines together | yes | yes | yes |
| max_concurrency | requests of full length at once | yes | | |
| kv_needed_gib, kv_available_gib | of one request of full length; of the refusal | yes | | |
| longest_context_tokens | that the engine says would have fitted | yes | | |
| asked_gib | the allocation that failed | yes | yes | yes |
| file_gib, params_b | size of the file; billions of parameters | | | yes |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Outcome = Literal["started", "out_of_memory", "unknown"]
Per = Literal["gpu", "total"]

# The smallest GPU of several decides what is left, the fullest one what is needed.
_SCARCE = frozenset({"kv_gib", "total_gib", "free_gib"})


@dataclass(frozen=True, slots=True)
class GpuLog:
    """What one GPU, or one rank, reported.

    Attributes:
        name: the rank or device as the engine writes it: `TP1`, `rank 3`, `CUDA0`; `0` where unnamed.
        measured: GiB by name, see the table of the module.
    """

    name: str
    measured: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class EngineLog:
    """One start of an engine, as its log tells it.

    Attributes:
        engine: `vLLM`, `SGLang` or `llama.cpp`.
        version: as printed: `0.8.5`, `b9310`; empty where the log does not say.
        model: name or path; empty where the log does not say.
        settings: what the start was asked for or chose, by the engine's own names.
        measured: figures by name (table of the module); memory as `per` says.
        per: whether memory in `measured` is of one GPU (the fullest, or the one with the least room)
            or of all GPUs together.
        per_gpu: the same figures of each GPU that reported any.
        n_gpus: GPUs that the start used, by its settings or else by who reported; 0 if unknown.
        outcome: `started` when the engine came to serve; `out_of_memory` when memory stopped it;
            `unknown` when the log ends before, or another fault stopped it.
        reason: what stopped it, in a sentence with the numbers; for a start that ran out of memory
            while serving, that.
        n_starts: starts seen in the text; this is the last complete one.
    """

    engine: str
    version: str = ""
    model: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    per: Per = "gpu"
    per_gpu: tuple[GpuLog, ...] = ()
    n_gpus: int = 0
    outcome: Outcome = "unknown"
    reason: str = ""
    n_starts: int = 1


@dataclass(slots=True)
class Start:
    """One start while its lines are read.

    Attributes:
        version: as printed.
        model: name or path.
        settings: by the engine's own names.
        measured: figures of the whole engine.
        gpus: figures by GPU.
        engines: tokens of KV cache by data-parallel engine.
        who: names of the engines that announced themselves.
        has_body: something was measured, failed or served: the next announcement is another start.
        is_serving: the engine came to serve.
        failure: how memory stopped it.
        late_failure: how memory ran out while it served.
        fault: what else stopped it.
    """

    version: str = ""
    model: str = ""
    settings: dict[str, str] = field(default_factory=dict)
    measured: dict[str, float] = field(default_factory=dict)
    gpus: dict[str, dict[str, float]] = field(default_factory=dict)
    engines: dict[str, float] = field(default_factory=dict)
    who: set[str] = field(default_factory=set)
    has_body: bool = False
    is_serving: bool = False
    failure: str = ""
    late_failure: str = ""
    fault: str = ""

    def put(self, gpu: str, name: str, value: float) -> None:
        """Note a figure of one GPU; the last one said is the one that holds."""
        self.gpus.setdefault(gpu, {})[name] = value
        self.has_body = True

    def put_if_new(self, gpu: str, name: str, value: float) -> None:
        """Note a figure of one GPU unless a finer line said it before."""
        self.gpus.setdefault(gpu, {}).setdefault(name, value)
        self.has_body = True

    def serve(self) -> None:
        """Note that the engine serves: what failed before was tried again and worked."""
        self.is_serving = self.has_body = True
        self.failure = ""

    def fail(self, reason: str) -> None:
        """Note that memory ran out; the first message has the numbers, the rest are its echoes."""
        self.has_body = True
        if self.is_serving:
            self.late_failure = self.late_failure or reason
        else:
            self.failure = self.failure or reason

    def verdict(self) -> tuple[Outcome, str]:
        """Return the outcome and its reason."""
        if self.is_serving:
            late = f"out of memory later, while serving: {self.late_failure}"
            return "started", late if self.late_failure else ""
        if self.failure:
            return "out_of_memory", self.failure
        return "unknown", self.fault or "the log ends before the engine serves"

    def fold(self, per: Per) -> dict[str, float]:
        """Return the figures of the engine with those of its GPUs folded into one each."""
        folded = dict(self.measured)
        for name in dict.fromkeys(name for figures in self.gpus.values() for name in figures):
            values = [figures[name] for figures in self.gpus.values() if name in figures]
            if per == "total":
                folded[name] = sum(values)
            else:
                folded[name] = min(values) if name in _SCARCE else max(values)
        if self.engines:
            folded["kv_tokens"] = sum(self.engines.values())
        return folded


def last_complete(starts: list[Start]) -> Start:
    """Return the start to report: the last with a verdict, else the last that measured something.

    A start that another fault stopped (a port in use, a card that another process holds) has no
    verdict, and does not hide an earlier one that came to serve or ran out of memory.
    """
    with_verdict = [start for start in starts if start.verdict()[0] != "unknown"]
    with_body = [start for start in starts if start.has_body]
    return (with_verdict or with_body or starts)[-1]


def gpu_logs(start: Start) -> tuple[GpuLog, ...]:
    """Return the figures of each GPU that has any, in the order in which they reported."""
    return tuple(GpuLog(name, dict(figures)) for name, figures in start.gpus.items() if figures)
