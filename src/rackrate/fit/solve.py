"""Does it fit: the verdict, how far it would still fit, and the nearest ways to make it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from rackrate.catalog.architecture import Architecture
from rackrate.fit.estimate import Estimate, estimate
from rackrate.fit.overhead import Card
from rackrate.fit.precision import PRECISIONS, Precision
from rackrate.fit.setup import Load, Setup, default_layout
from rackrate.fit.term import Total, probability_below
from rackrate.fit.training import Training

SURE, HOPELESS = 0.95, 0.05
"""Probabilities from which a verdict is `fits` and below which it is `does not fit`; between: `tight`."""

MOST_CONCURRENT = 4096
MOST_GPUS = 64
_LONGEST = 1 << 20  # tokens, where the model names no limit


@dataclass(frozen=True, slots=True)
class Way:
    """A change that makes it fit.

    Attributes:
        change: what to do.
        price: what that costs in quality, speed or money.
        total: memory of the fullest GPU afterwards.
        probability: that it then fits.
    """

    change: str
    price: str
    total: Total
    probability: float

    def to_dict(self) -> dict[str, Any]:
        """Return the way as plain data."""
        return {
            "change": self.change,
            "price": self.price,
            "total_gib": self.total.gib,
            "probability": self.probability,
        }


@dataclass(frozen=True)
class Fit:
    """Whether a model fits a card under a load, and why.

    Attributes:
        arch: the model.
        card: one GPU.
        setup: how it is run.
        load: what is asked at once.
        estimate: the terms of the fullest GPU and the limit.
    """

    arch: Architecture
    card: Card
    setup: Setup
    load: Load
    estimate: Estimate

    @property
    def total(self) -> Total:
        """Memory of the fullest GPU."""
        return self.estimate.total

    @property
    def probability(self) -> float:
        """That it fits, 0 to 1."""
        return probability(self.estimate)

    @property
    def verdict(self) -> str:
        """`fits`, `tight` or `does not fit`."""
        return verdict(self.probability)

    @property
    def dominating(self) -> str:
        """The largest term."""
        return max(self.estimate.terms, key=lambda term: float(term.gib)).name

    @property
    def longest_context(self) -> int:
        """Tokens of a sequence that fit at this concurrency, at most what the model was made for."""
        most = self.arch.max_context or _LONGEST
        return _largest(most, lambda tokens: replace(self.load, context=tokens), self)

    @property
    def most_concurrent(self) -> int:
        """Sequences (images, windows, a GPU's batch) that fit at this context."""
        return _largest(MOST_CONCURRENT, lambda n: replace(self.load, concurrency=n), self)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What was not said and had to be assumed, beside the defaults that the setup states."""
        found = list(self.arch.assumptions)
        most = self.arch.max_context
        if most and self.load.context > most and not self.setup.is_training:
            found.append(f"{self.load.context:,} tokens are more than the {most:,} that the model was made for")
        return tuple(found)

    def ways(self, n: int = 3) -> list[Way]:
        """Return the nearest changes that make it fit; none when it fits."""
        if self.verdict == "fits":
            return []
        found = []
        for change, price, setup, load in _changes(self):
            changed = estimate(self.arch, self.card, setup, load)
            chance = probability(changed)
            if chance >= SURE:
                found.append(Way(change, price, changed.total, chance))
            if len(found) == n:
                break
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain data, memory in GiB on the fullest GPU."""
        total, setup = self.total, self.setup
        return {
            "model": self.arch.name,
            "gpu": self.card.gpu,
            "n_gpus": setup.layout.n_gpus,
            "layout": str(setup.layout),
            "task": setup.task,
            "engine": setup.named(),
            "precision": setup.precision.name,
            "kv_cache": setup.kv,
            "context_tokens": self.load.context,
            "concurrency": self.load.concurrency,
            "verdict": self.verdict,
            "probability": self.probability,
            "total_gib": {"low": total.low_gib, "value": total.gib, "high": total.high_gib},
            "limit_gib": self.estimate.limit_gib,
            "card_gib": self.card.gib,
            "card_source": f"{self.card.formula} [{self.card.source}]",
            "terms": [term.to_dict() for term in self.estimate.terms],
            "dominating": self.dominating,
            "longest_context_tokens": self.longest_context,
            "most_concurrent": self.most_concurrent,
            "ways": [way.to_dict() for way in self.ways()],
            "assumptions": list(self.assumptions),
        }


def solve(arch: Architecture, card: Card, setup: Setup, load: Load) -> Fit:
    """Return the answer for one model, card, set-up and load."""
    return Fit(arch, card, setup, load, estimate(arch, card, setup, load))


def probability(found: Estimate) -> float:
    """Return the probability that an estimate stays below its limit."""
    total = found.total
    sigma = float(total.sigma_gib**2 + found.limit_sigma_gib**2) ** 0.5
    return probability_below(found.limit_gib, float(total.gib), sigma)


def verdict(chance: float) -> str:
    """Return the word for a probability."""
    if chance >= SURE:
        return "fits"
    return "tight" if chance > HOPELESS else "does not fit"


def _largest(most: int, load_of: Callable[[int], Load], fit: Fit) -> int:
    """Return the largest number of 1 to `most` that fits as well as `fits` asks, by halving; else 0."""
    low, high = 0, most
    if _is_sure(fit, load_of(most)):
        return most
    while high - low > 1:
        middle = (low + high) // 2
        if _is_sure(fit, load_of(middle)):
            low = middle
        else:
            high = middle
    return low


def _is_sure(fit: Fit, load: Load) -> bool:
    return probability(estimate(fit.arch, fit.card, fit.setup, load)) >= SURE


def _changes(fit: Fit) -> Iterator[tuple[str, str, Setup, Load]]:
    """Yield single changes, the cheapest in quality and money first."""
    if fit.setup.is_training:
        yield from _training_changes(fit)
    else:
        yield from _serving_changes(fit)
    yield from _narrower(fit)
    yield from _shorter(fit)
    yield from _more_gpus(fit)


def _serving_changes(fit: Fit) -> Iterator[tuple[str, str, Setup, Load]]:
    setup, load = fit.setup, fit.load
    if setup.engine.name == "vllm":
        if setup.memory_fraction < 0.95:  # noqa: PLR2004 - the highest that leaves room for a desktop
            text = "--gpu-memory-utilization 0.95"
            yield text, "nothing, if nobody else uses the card", replace(setup, memory_fraction=0.95), load
        seqs = max(64, load.concurrency)
        if seqs < setup.limits(fit.card, load.context).max_num_seqs:
            price = f"no more than {seqs} sequences a step"
            yield f"--max-num-seqs {seqs}", price, replace(setup, max_num_seqs=seqs), load
    if fit.arch.caches and setup.kv in ("fp16", "bf16") and setup.engine.name in ("vllm", "sglang"):
        yield "KV cache in FP8", "half the cache; a little quality at long contexts", replace(setup, kv="fp8"), load
    if fit.arch.caches and setup.kv in ("fp16", "bf16") and setup.engine.name == "llama.cpp":
        yield "KV cache in q8_0", "about half the cache; hardly any quality", replace(setup, kv="q8_0"), load
    if fit.arch.task == "image" and setup.offload == "none":
        price = "parts wait on the host: seconds an image"
        yield "model offload", price, replace(setup, offload="model"), load


def _training_changes(fit: Fit) -> Iterator[tuple[str, str, Setup, Load]]:
    setup, load = fit.setup, fit.load
    how = setup.training or Training(method=setup.task)
    if not how.has_checkpointing:
        changed = replace(setup, training=replace(how, has_checkpointing=True))
        yield "gradient checkpointing", "about a third more time: layers are computed twice", changed, load
    if load.concurrency > 1:
        price = "gradient accumulation keeps the batch; less speed"
        yield "batch 1 a GPU", price, setup, replace(load, concurrency=1)
    if how.loss == "full":
        changed = replace(setup, training=replace(how, loss="fused"))
        yield "fused cross entropy", "nothing but the kernel (Liger, Unsloth)", changed, load
    if how.optimiser == "adamw":
        changed = replace(setup, training=replace(how, optimiser="adamw-8bit"))
        yield "8-bit AdamW", "rounded states; a little noise", changed, load
    if how.method == "full":
        changed = replace(setup, task="lora", training=replace(how, method="lora", is_mixed=False))
        yield "LoRA instead of all weights", "learns less than all weights can", changed, load
    if how.method != "qlora":
        changed = replace(setup, task="qlora", precision=PRECISIONS["nf4-dq"], training=replace(how, method="qlora", is_mixed=False))
        yield "QLoRA (NF4 base)", "learns less than all weights can; slower steps", changed, load


_NARROWER = ("bf16", "fp8", "int8", "int4")
_PRICE = {
    "fp8": "close to no quality; needs Ada, Hopper or newer for speed",
    "int8": "close to no quality",
    "int4": "some quality, more for small models",
}


def narrower(precision: Precision) -> tuple[str, ...]:
    """Return the usual precisions with fewer bits, widest first."""
    return tuple(name for name in _NARROWER if PRECISIONS[name].bits < precision.bits - 0.5)  # noqa: PLR2004


def _narrower(fit: Fit) -> Iterator[tuple[str, str, Setup, Load]]:
    if fit.setup.is_training or fit.setup.precision.recipe:
        return
    for name in narrower(fit.setup.precision):
        yield f"weights in {name}", _PRICE[name], replace(fit.setup, precision=PRECISIONS[name]), fit.load


def _shorter(fit: Fit) -> Iterator[tuple[str, str, Setup, Load]]:
    if fit.arch.task not in ("text", "vision-language"):
        return
    longest = fit.longest_context
    if 512 <= longest < fit.load.context:  # noqa: PLR2004 - less is of no use
        yield f"context of {longest:,} tokens", "shorter prompts and answers", fit.setup, replace(fit.load, context=longest)


def _more_gpus(fit: Fit) -> Iterator[tuple[str, str, Setup, Load]]:
    setup, n = fit.setup, fit.setup.layout.n_gpus * 2
    while n <= MOST_GPUS:
        layout = default_layout(fit.arch, setup.engine, setup.task, n)
        changed = replace(setup, layout=layout)
        if probability(estimate(fit.arch, fit.card, changed, fit.load)) >= SURE:
            yield f"{n} GPUs ({layout})", f"{n / setup.layout.n_gpus:g} times the rent", changed, fit.load
            return
        n *= 2
