"""How to make it fit: the nearest changes, one alone or two together, and what each costs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from rackrate.fit.estimate import estimate
from rackrate.fit.parallel import Layout
from rackrate.fit.precision import PRECISIONS
from rackrate.fit.setup import Load, Setup, default_layout
from rackrate.fit.solve import SURE, Fit, probability
from rackrate.fit.term import Total
from rackrate.fit.training import Training

MOST_GPUS = 64
SHORTEST = 2048  # tokens; a context below is rarely of use
_USUAL_FRACTION = 0.95  # leaves room for nothing else on the card
_SAFE_FRACTION = 0.9  # leaves room for what is beside the share
_SEQUENCES = 64

Applied = tuple[Setup, Load]


@dataclass(frozen=True, slots=True)
class Way:
    """A change that makes it fit.

    Attributes:
        change: what to do.
        price: what that costs in quality, speed or money.
        total: memory of the fullest GPU afterwards.
        probability: that it then fits.
        limit_gib: what the engine may then use of the card.
    """

    change: str
    price: str
    total: Total
    probability: float
    limit_gib: float

    def to_dict(self) -> dict[str, Any]:
        """Return the way as plain data."""
        return {
            "change": self.change,
            "price": self.price,
            "total_gib": float(self.total.gib),
            "limit_gib": self.limit_gib,
            "probability": self.probability,
        }


@dataclass(frozen=True, slots=True)
class _Change:
    text: str
    price: str
    apply: Callable[[Setup, Load], Applied]


def ways(fit: Fit, n: int = 3) -> list[Way]:
    """Return the nearest `n` changes that make it fit, the cheapest first; none when it fits.

    Each change alone is tried, then two together; more GPUs come last, for they cost money.
    """
    if fit.verdict == "fits":
        return []
    changes = list(_changes(fit))
    alone = [_way(fit, (change,)) for change in changes]
    found = [way for way in alone if way]
    if len(found) < n:
        pairs = combinations([change for change, way in zip(changes, alone, strict=True) if not way], 2)
        found += [way for pair in pairs if (way := _way(fit, pair))]
    more = _more_gpus(fit)
    room = n - 1 if more else n
    return [*found[:room], *([more] if more else [])]


def _way(fit: Fit, changes: tuple[_Change, ...]) -> Way | None:
    setup, load = fit.setup, fit.load
    for change in changes:
        setup, load = change.apply(setup, load)
    found = estimate(fit.arch, fit.card, setup, load)
    chance = probability(found)
    if chance < SURE:
        return None
    text = " and ".join(change.text for change in changes)
    return Way(text, "; ".join(change.price for change in changes), found.total, chance, found.limit_gib)


def _changes(fit: Fit) -> Iterator[_Change]:
    """Yield single changes, the cheapest in quality first."""
    if fit.setup.is_training:
        yield from _of_training(fit.setup.training or Training(method=fit.setup.task), fit.load)
        return
    yield from _of_serving(fit)
    yield from _of_load(fit)
    yield from _of_weights(fit)


def _of_serving(fit: Fit) -> Iterator[_Change]:
    setup, name = fit.setup, fit.setup.engine.name
    if name == "vllm":
        if setup.memory_fraction < _USUAL_FRACTION:
            yield _Change(
                f"--gpu-memory-utilization {_USUAL_FRACTION}",
                "nothing, if nobody else uses the card",
                lambda setup, load: (replace(setup, memory_fraction=_USUAL_FRACTION), load),
            )
        if setup.memory_fraction > _SAFE_FRACTION:
            yield _Change(
                f"--gpu-memory-utilization {_SAFE_FRACTION}",
                "a smaller KV cache",
                lambda setup, load: (replace(setup, memory_fraction=_SAFE_FRACTION), load),
            )
        seqs = max(_SEQUENCES, fit.load.concurrency)
        if seqs < setup.limits(fit.card, fit.load.context).max_num_seqs:
            yield _Change(
                f"--max-num-seqs {seqs}",
                f"no more than {seqs} sequences in a step",
                lambda setup, load: (replace(setup, max_num_seqs=seqs), load),
            )
    if fit.arch.caches and setup.kv in ("fp16", "bf16") and name in ("vllm", "sglang", "llama.cpp"):
        kv = "q8_0" if name == "llama.cpp" else "fp8"
        price = "half the cache; a little quality at long contexts"
        yield _Change(f"KV cache in {kv}", price, lambda setup, load: (replace(setup, kv=kv), load))
    if fit.arch.task == "image" and setup.offload == "none":
        price = "parts wait on the host: seconds an image"
        yield _Change("model offload", price, lambda setup, load: (replace(setup, offload="model"), load))


def _of_load(fit: Fit) -> Iterator[_Change]:
    if fit.load.concurrency > 1:
        text = "one at a time"
        price = "less throughput"
        yield _Change(text, price, lambda setup, load: (setup, replace(load, concurrency=1)))
    if fit.arch.task in ("text", "vision-language") and fit.load.context > SHORTEST:
        short = max(SHORTEST, fit.load.context // 4)
        price = "shorter prompts and answers"
        yield _Change(
            f"context of {short:,} tokens", price, lambda setup, load: (setup, replace(load, context=short))
        )


_NARROWER = ("fp8", "int8", "int4")
_PRICE = {
    "fp8": "hardly any quality; fast on Ada, Hopper and newer",
    "int8": "hardly any quality",
    "int4": "some quality, more for small models",
    "nf4": "some quality",
}


def _of_weights(fit: Fit) -> Iterator[_Change]:
    if fit.setup.precision.recipe:
        names: tuple[str, ...] = ("gguf:q8_0", "gguf:q6_k", "gguf:q5_k_m", "gguf:q4_k_m")
    else:
        names = ("int8", "nf4") if fit.arch.task == "image" else _NARROWER
    for name in names:
        precision = PRECISIONS[name]
        if precision.bits < fit.setup.precision.bits - 0.25:
            price = _PRICE.get(name, "a little quality")
            yield _Change(
                f"weights in {name}",
                price,
                lambda setup, load, p=precision: (replace(setup, precision=p, stored_bytes=0), load),  # type: ignore[misc]
            )


def _learn(**changes: Any) -> Callable[[Setup, Load], Applied]:
    """Return the step to a training with these fields; QLoRA brings its precision along."""

    def apply(setup: Setup, load: Load) -> Applied:
        training = replace(setup.training or Training(method=setup.task), **changes)
        task, precision = training.method, setup.precision
        if task == "qlora" and not precision.matrix.startswith("nf4"):
            precision = PRECISIONS["nf4-dq"]
        return replace(setup, task=task, training=training, precision=precision), load

    return apply


def _of_training(how: Training, load: Load) -> Iterator[_Change]:
    if not how.has_checkpointing:
        price = "about a third more time: layers are computed twice"
        yield _Change("gradient checkpointing", price, _learn(has_checkpointing=True))
    if load.concurrency > 1:
        price = "gradient accumulation keeps the batch; less speed"
        yield _Change("batch 1 a GPU", price, lambda setup, load: (setup, replace(load, concurrency=1)))
    if how.loss == "full":
        yield _Change("fused cross entropy", "another kernel (Liger, Unsloth)", _learn(loss="fused"))
    if how.optimiser == "adamw":
        yield _Change("8-bit AdamW", "rounded states: a little noise", _learn(optimiser="adamw-8bit"))
    if load.context > SHORTEST:
        short = max(SHORTEST, load.context // 4)
        text = f"sequences of {short:,} tokens"
        price = "longer texts are cut"
        yield _Change(text, price, lambda setup, load: (setup, replace(load, context=short)))
    yield from _of_method(how)


def _of_method(how: Training) -> Iterator[_Change]:
    price = "learns less than all weights can"
    if how.method == "full":
        yield _Change("LoRA instead of all weights", price, _learn(method="lora", is_mixed=False))
    if how.method != "qlora":
        change = _learn(method="qlora", is_mixed=False, has_wide_ends=True)
        yield _Change("QLoRA (NF4 base)", f"{price}; slower steps", change)


def _more_gpus(fit: Fit) -> Way | None:
    """Return the smallest doubling of the GPUs at which it fits."""
    setup, n = fit.setup, fit.setup.layout.n_gpus
    while 2 * n <= MOST_GPUS:
        n *= 2
        layout: Layout = default_layout(fit.arch, setup.engine, setup.task, n)
        found = estimate(fit.arch, fit.card, replace(setup, layout=layout), fit.load)
        chance = probability(found)
        if chance >= SURE:
            times = n / setup.layout.n_gpus
            return Way(
                f"{n} GPUs ({layout})", f"{times:g} times the rent", found.total, chance, found.limit_gib
            )
    return None
