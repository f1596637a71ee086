"""What people ask about a GPU, answered by the engine with that GPU's numbers: no rule of thumb."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from rackrate import memory, pairing
from rackrate.catalog.gpu import find_gpu
from rackrate.report.block import Block, Text

if TYPE_CHECKING:
    from rackrate.market.stats import Spread
    from rackrate.report.price import Price

EXAMPLE, SMALL = "llama-3.1-70b", "llama-3.1-8b"


def questions(gpu: str, price: Price | None) -> list[Block]:
    """Return the questions with their answers; what it costs only where a price is given."""
    asked = list(_of_memory(gpu))
    spread = price.spread if price else None
    if spread:
        lines = (_cost(spread), "Spot, reserved and serverless prices are never mixed into that.")
        asked.append(Text(f"What does the {find_gpu(gpu).name} cost?", lines))
    return list(asked)


def _cost(spread: Spread) -> str:
    who, low = spread.cheapest
    if spread.n == 1:
        return f"On demand, only {who} has it, at {low:.3f} USD per GPU-hour on {spread.day}."
    return (
        f"On demand, the median of {spread.n} providers is {spread.median_usd_per_gpu_hour:.3f} USD per "
        f"GPU-hour on {spread.day}; the cheapest is {who} at {low:.3f}, the dearest {spread.dearest[0]} at "
        f"{spread.dearest[1]:.3f}."
    )


@lru_cache(maxsize=128)
def _of_memory(gpu: str) -> tuple[Text, ...]:
    """Return what facts alone decide; it is worked out once for each GPU."""
    found = find_gpu(gpu)
    name, article = found.name, "a" if found.vendor == "Google" else "an"  # AMD, AWS, Intel, NVIDIA
    return (
        Text(f"What AI models can I run on {article} {name}?", _models(gpu)),
        Text(f"How much memory does a model need on the {name}?", _memory(gpu)),
        Text("How does the precision of the weights change what fits?", _precisions(gpu)),
        Text(f"Can I fine-tune on the {name}, or only run models?", _tuning(gpu)),
        Text(
            "Where do these numbers come from?",
            (
                (
                    "Every set-up is computed: weights from the model's published configuration, "
                    "KV cache by layer "
                    "kind, activations and overheads by engine and version, each term with range, formula "
                    "and "
                    "source."
                ),
                (
                    "The terms are held against measured runs; nothing is copied from a table of "
                    "recommendations. "
                    "The page of each model on each GPU shows the sum."
                ),
            ),
        ),
    )


def _models(gpu: str) -> tuple[str, ...]:
    found = pairing.fitting(gpu)
    alone = [each for each in found if each.n_gpus == 1]
    lines = [
        (
            f"{sum(each.n_gpus > 0 for each in found)} of {len(found)} models of the catalog fit on up to 8 "
            f"of them "
            f"at 8,192 tokens of context, {len(alone)} on a single one."
        )
    ]
    if alone:
        largest = max(alone, key=lambda each: each.n_params)
        lines.append(
            f"The largest on one card: {largest.name}, {largest.n_params / 1e9:.1f}B parameters "
            f"at {largest.precision}."
        )
    return tuple(lines)


def _memory(gpu: str) -> tuple[str, ...]:
    answer = memory.fits(EXAMPLE, gpu, precision="int4", context=8192)
    terms = ", ".join(f"{name} {gib:.2f}" for name, gib in answer.stack().parts)
    fit = answer.fit
    return (
        (
            f"The sum of its terms, never a flat share on top. {fit.arch.name} at int4 with "
            f"{fit.load.context:,} tokens "
            f"needs {float(fit.total.gib):.2f} of {fit.estimate.limit_gib:.2f} GiB: {terms}."
        ),
        (
            f"So it {'is tight' if answer.verdict == 'tight' else answer.verdict}; "
            f"its longest context there is {fit.longest_context:,} tokens."
        ),
    )


def _precisions(gpu: str) -> tuple[str, ...]:
    lines = []
    for precision in ("fp16", "fp8", "int4"):
        fit = memory.fits(EXAMPLE, gpu, precision=precision).fit
        over = float(fit.total.gib) - fit.estimate.limit_gib
        says = f"{over:.1f} GiB too much" if over > 0 else f"{-over:.1f} GiB free"
        lines.append(
            f"{fit.arch.name} at {precision} on one card: weights {float(fit.estimate.gib('weights')):.1f} "
            "GiB, "
            f"in all {float(fit.total.gib):.1f} GiB: {fit.verdict} ({says})."
        )
    return (*lines, "The KV cache does not shrink with the weights; it has a precision of its own.")


def _tuning(gpu: str) -> tuple[str, ...]:
    lines = []
    for task, words in (("full", "full fine-tuning"), ("lora", "LoRA"), ("qlora", "QLoRA")):
        fit = memory.fits(SMALL, gpu, task=task).fit
        lines.append(
            f"{words} of {fit.arch.name}, 2,048 tokens a sequence: {float(fit.total.gib):.1f} GiB on one "
            "card, "
            f"{fit.verdict}."
        )
    return tuple(lines)
