"""The command that serves a planned model: an engine with the flags that follow from the plan."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rackrate.catalog.gpu import load_gpu
from rackrate.errors import NoAnswer, UsageError
from rackrate.plan.answer import Plan, Row

PORT = 8000
TOKEN = "HF_TOKEN"  # noqa: S105 - the name of a variable, no secret
SHM_GIB = 16  # for messages between the processes of several GPUs
_LONGEST_LABEL = 40  # dstack's, the shortest of the limits


@dataclass(frozen=True, slots=True)
class Software:
    """An engine as it is installed and started.

    Attributes:
        package: that installs it, in Python's words.
        image: OCI image that has it.
        start: the command, up to the weights.
        narrows: precisions that it makes of 16-bit weights as it loads them, with the flags for that.
        flags: of a row of a plan for requests of so many tokens with this type of KV cache.
    """

    package: str
    image: str
    start: tuple[str, ...]
    narrows: Mapping[str, tuple[str, str]]
    flags: Callable[[Row, int, str], dict[str, object]]


def _vllm(row: Row, context: int, kv: str) -> dict[str, object]:
    return {
        "--tensor-parallel-size": row.tensor,
        "--pipeline-parallel-size": row.pipeline,
        "--data-parallel-size": row.copies,
        "--max-model-len": context,
        "--max-num-seqs": row.max_num_seqs,
        "--max-num-batched-tokens": row.max_num_batched_tokens,
        "--gpu-memory-utilization": f"{row.memory_fraction:g}",
        "--kv-cache-dtype": "fp8" if kv == "fp8" else "auto",
        "--port": PORT,
    }


def _sglang(row: Row, context: int, kv: str) -> dict[str, object]:
    return {
        "--tp-size": row.tensor,
        "--pp-size": row.pipeline,
        "--dp-size": row.copies,
        "--context-length": context,
        "--mem-fraction-static": f"{row.memory_fraction:g}",
        "--kv-cache-dtype": "fp8_e4m3" if kv == "fp8" else "auto",
        "--host": "0.0.0.0",  # noqa: S104 - within its container; its own default nobody reaches
        "--port": PORT,
    }


SOFTWARE: Mapping[str, Software] = {
    "vllm": Software(
        "vllm~=0.21.0",
        "vllm/vllm-openai:v0.21.0",
        ("vllm", "serve"),
        {"fp8": ("--quantization", "fp8"), "nf4": ("--quantization", "bitsandbytes")},
        _vllm,
    ),
    "sglang": Software(
        "sglang[all]~=0.5.9",
        "lmsysorg/sglang:v0.5.9",
        ("python3", "-m", "sglang.launch_server", "--model-path"),
        {"fp8": ("--quantization", "fp8")},
        _sglang,
    ),
}
"""Engines that an export can start, in the versions that plans reckon with: flags and defaults of others may
differ. Images are for NVIDIA's cards. Source: `vllm serve --help`, SGLang's page on server arguments."""


@dataclass(frozen=True, slots=True)
class Server:
    """What is served, and how.

    Attributes:
        name: of the service: letters, digits and dashes.
        weights: repository of the weights on the Hugging Face hub, or a folder.
        software: the engine.
        args: its flags, each with its value, after the weights.
    """

    name: str
    weights: str
    software: Software
    args: tuple[str, ...]

    @property
    def argv(self) -> list[str]:
        """The command, word by word."""
        return [*self.software.start, self.weights, *self.args]

    @property
    def command(self) -> str:
        """The command, a flag a line, as a shell reads it."""
        pairs = [shlex.join(pair) for pair in zip(self.args[::2], self.args[1::2], strict=True)]
        return " \\\n  ".join([shlex.join([*self.software.start, self.weights]), *pairs]) + "\n"


def server_for(plan: Plan, row: Row, weights: str, published: str, *, is_old: bool = False) -> Server:
    """Return the server of a row.

    Args:
        plan: with the question.
        row: one of its rows.
        weights: repository or folder.
        published: precision of these weights.
        is_old: whether the card computes no bfloat16.

    Raises:
        NoAnswer: the plan serves no language model, or with an engine that no export starts, or on a card
            that their images do not run on.
        UsageError: the row is narrower than the weights, and the engine does not narrow them by itself.
    """
    software = SOFTWARE.get(row.engine.split()[0])
    if "ttft_s" not in row.speed or software is None:
        what = f"{row.engine} of this plan has no export"
        names = " or ".join(SOFTWARE)
        raise NoAnswer(what, hint=f"plans that serve a language model with {names} have one")
    vendor = load_gpu(row.taken_as).vendor
    if vendor != "NVIDIA":
        what = f"the images and packages of an export are NVIDIA's, {row.gpu} is of {vendor}"
        raise NoAnswer(what, hint="choose another row: --row N")
    if row.precision not in ("bf16", "fp16", *software.narrows, published):
        hint = f"name a repository of {row.precision} weights: --weights owner/model-{row.precision}"
        raise UsageError(f"{weights} holds {published} weights, the plan has {row.precision}", hint=hint)
    question = plan.question
    context = math.ceil(question["input_tokens"] + question["output_tokens"])
    args = [str(word) for pair in software.flags(row, context, question["kv"]).items() for word in pair]
    if row.precision != published:
        args += software.narrows.get(row.precision, ())
    if is_old:
        args += ["--dtype", "half"]
    return Server(_label(plan.name), weights, software, tuple(args))


def _label(name: str) -> str:
    """Return a name as the strictest of the tools takes it: DNS-1035, as Kubernetes asks of a Service."""
    found = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return (found if found[:1].isalpha() else f"serve-{found}")[:_LONGEST_LABEL].strip("-")
