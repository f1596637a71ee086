"""The command that serves a planned model: vLLM with the flags that follow from the plan."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass

from rackrate.errors import NoAnswer, UsageError
from rackrate.plan.answer import Plan, Row

PORT = 8000
IMAGE = "vllm/vllm-openai:latest"
TOKEN = "HF_TOKEN"  # noqa: S105 - the name of a variable, no secret
SHM_GIB = 16  # for messages between the processes of several GPUs

_FLAG_OF_PRECISION = {"fp8": ("--quantization", "fp8"), "nf4": ("--quantization", "bitsandbytes")}
"""What vLLM narrows by itself when it loads 16-bit weights."""

_FREE = ("bf16", "fp16", *_FLAG_OF_PRECISION)
"""Precisions that need no weights of their own."""


@dataclass(frozen=True, slots=True)
class Server:
    """What is served, and how.

    Attributes:
        name: of the service: letters, digits and dashes.
        weights: repository of the weights on the Hugging Face hub, or a folder.
        args: of `vllm serve`, after the weights.
    """

    name: str
    weights: str
    args: tuple[str, ...]

    @property
    def command(self) -> str:
        """The command, a flag a line, as a shell reads it."""
        pairs = [
            " ".join(map(shlex.quote, pair)) for pair in zip(self.args[::2], self.args[1::2], strict=True)
        ]
        return " \\\n  ".join([f"vllm serve {shlex.quote(self.weights)}", *pairs]) + "\n"


def server_for(plan: Plan, row: Row, weights: str, published: str, *, is_old: bool = False) -> Server:
    """Return the server of a row.

    Args:
        plan: with the question.
        row: one of its rows.
        weights: repository or folder.
        published: precision of these weights.
        is_old: whether the card computes no bfloat16.

    Raises:
        NoAnswer: the plan serves no language model, or not with vLLM.
        UsageError: the row is narrower than the weights, and vLLM does not narrow them by itself.
    """
    if "ttft_s" not in row.speed or not row.engine.startswith("vllm"):
        what = f"{row.engine} of this plan has no export"
        raise NoAnswer(what, hint="plans that serve a language model with vLLM have one")
    if row.precision not in (*_FREE, published):
        hint = f"name a repository of {row.precision} weights: --weights owner/model-{row.precision}"
        raise UsageError(f"{weights} holds {published} weights, the plan has {row.precision}", hint=hint)
    question = plan.question
    args = [
        "--tensor-parallel-size", str(row.tensor),
        "--pipeline-parallel-size", str(row.pipeline),
        "--data-parallel-size", str(row.copies),
        "--max-model-len", str(math.ceil(question["input_tokens"] + question["output_tokens"])),
        "--max-num-seqs", str(row.max_num_seqs),
        "--max-num-batched-tokens", str(row.max_num_batched_tokens),
        "--gpu-memory-utilization", f"{row.memory_fraction:g}",
        "--kv-cache-dtype", "fp8" if question["kv"] == "fp8" else "auto",
        "--port", str(PORT),
    ]  # fmt: skip
    if row.precision != published:
        args += _FLAG_OF_PRECISION.get(row.precision, ())
    if is_old:
        args += ["--dtype", "half"]
    name = "".join(sign if sign.isalnum() else "-" for sign in plan.name.lower()).strip("-")[:40]
    return Server(name, weights, tuple(args))
