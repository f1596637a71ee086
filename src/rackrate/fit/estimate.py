"""The sum: which terms a task has on which engine, on the fullest GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from rackrate.catalog.architecture import Architecture
from rackrate.fit.activation import forward_activation, llama_cpp_buffer, vllm_activation
from rackrate.fit.backward import (
    LATENT_TOKENS_A_PIXEL,
    PROMPT_TOKENS,
    dequantised_term,
    gathered_term,
    kept_terms,
    loss_bytes,
)
from rackrate.fit.engine import Engine, version_of
from rackrate.fit.kv import PAGE_PADDING, Memory, memory_of
from rackrate.fit.overhead import (
    MXFP4_SINCE,
    ZERO_BUCKETS,
    Card,
    beside_term,
    context_term,
    graphs_term,
    link_term,
    serving_outside,
    slack_term,
    training_slack,
)
from rackrate.fit.pipeline import diffusion_terms, speech_terms
from rackrate.fit.setup import Load, Setup
from rackrate.fit.term import GIB, Term, Total, larger
from rackrate.fit.training import Training, autocast_gib, gradient_gib, state_terms, tied_gib
from rackrate.fit.weights import weights_term

OUTSIDE = ("CUDA context", "NCCL", "fragmentation")
"""Terms that torch's own counter of allocated memory does not see."""

RESTING = (
    "weights",
    "DDP buckets",
    "optimiser",
    "adapters",
    "autocast copies",
    "gradients",
    "gathered layers",
    "load peak",
)
"""Terms that are handed out once and stay: they leave no gaps."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the fullest GPU holds.

    Attributes:
        terms: its parts.
        limit_gib: what the engine may use of the card.
        limit_sigma_gib: one standard deviation of that.
        beside: what it takes on top of its share of the card; None where it has no share, or all is in it.
        left_gib: of the card, for that.
    """

    terms: tuple[Term, ...]
    limit_gib: float
    limit_sigma_gib: float
    beside: Term | None = None
    left_gib: float = 0.0

    @property
    def total(self) -> Total:
        """All terms: what nvidia-smi shows at the peak, or vLLM's sum against its budget."""
        return Total.of(self.terms)

    @property
    def allocated(self) -> Total:
        """The terms that torch's counter of allocated memory sees."""
        return Total.of(term for term in self.terms if term.name not in OUTSIDE)

    def gib(self, name: str) -> Any:
        """Return the size of the term of that name; 0 where there is none."""
        return sum(term.gib for term in self.terms if term.name == name)


def estimate(arch: Architecture, card: Card, setup: Setup, load: Load) -> Estimate:
    """Return the terms of one GPU under a load, whether they fit or not."""
    if setup.is_training:
        terms = _training(arch, setup, load)
    elif arch.task == "image":
        terms = _with_overheads(setup, diffusion_terms(
            arch, setup.precision, load.pixels, load.frames, load.concurrency, setup.offload
        ))  # fmt: skip
    elif arch.task == "asr":
        terms = _with_overheads(setup, speech_terms(
            arch, setup.precision, setup.engine.name, setup.kv, load
        ))  # fmt: skip
    elif setup.engine.name in ("vllm", "sglang"):
        terms = _serving(arch, card, setup, load)
    else:
        terms = _forward(arch, setup, load)
    fraction = setup.memory_fraction
    has_share = setup.engine.name == "vllm" and not setup.is_training and arch.task not in ("image", "asr")
    return Estimate(
        tuple(terms),
        fraction * card.gib,
        fraction * card.sigma_gib,
        _beside(card, setup, load) if has_share else None,
        (1 - fraction) * card.gib,
    )


def _beside(card: Card, setup: Setup, load: Load) -> Term:
    limits = setup.limits(card, _longest(load))
    version = version_of(setup.version or setup.engine.version)
    is_mxfp4 = setup.precision.name == "mxfp4" and version >= MXFP4_SINCE
    return beside_term(card, limits, has_graphs=not setup.is_eager, is_mxfp4=is_mxfp4)


def _longest(load: Load) -> int:
    return load.context if isinstance(load.context, int) else int(load.context.max())


def sequence_memory(arch: Architecture, setup: Setup) -> Memory:
    """Return what one sequence costs one GPU under this set-up."""
    engine = setup.engine
    padding = PAGE_PADDING if engine.name == "vllm" and _has_state(arch) else 1.0
    # transformers hands the prefill of sliding layers on whole; what it drops comes after the peak.
    is_whole = engine.name in ("transformers", "torch", "litgpt")
    return memory_of(
        arch, setup.kv, setup.layout, block=engine.kv_block, padding=padding, is_window_full=is_whole
    )


def _has_state(arch: Architecture) -> bool:
    return any(cache.kind == "state" for cache in arch.caches)


def kv_term(arch: Architecture, setup: Setup, load: Load) -> Term:
    """Return the KV cache that the load fills."""
    gib = load.concurrency * sequence_memory(arch, setup).sequence_bytes(load.context) / GIB
    how = f"{load} in {setup.kv}"
    sigma = (0.05 if _has_state(arch) else 0.002) * gib
    return Term("KV cache", gib, sigma, how, "sum over layers of what each kind keeps")


def _weights(arch: Architecture, setup: Setup) -> Term:
    return weights_term(arch, setup.precision, setup.layout, setup.engine.name, setup.stored_bytes)


def _serving(arch: Architecture, card: Card, setup: Setup, load: Load) -> list[Term]:
    limits = setup.limits(card, _longest(load))
    outside = serving_outside(setup.engine, setup.version or setup.engine.version, card, setup.layout)
    terms = [_weights(arch, setup), *outside]
    if setup.engine.name == "vllm":  # SGLang leaves the rest of the card to activations and graphs
        terms.insert(1, vllm_activation(arch, limits, setup.layout))
    if limits.counts_graphs:
        terms.append(graphs_term(limits.max_num_seqs))
    if arch.caches:
        terms.append(kv_term(arch, setup, load))
    return terms


def _forward(arch: Architecture, setup: Setup, load: Load) -> list[Term]:
    terms = [_weights(arch, setup)]
    flash = setup.has_flash_attention
    if arch.caches:
        terms.append(kv_term(arch, setup, load))
    if setup.engine.name == "llama.cpp":
        terms.append(llama_cpp_buffer(arch, load.context, setup.ubatch, has_flash_attention=flash))
    else:
        terms.append(
            forward_activation(
                arch, setup.precision, load.context, load.concurrency, setup.layout, has_flash_attention=flash
            )
        )
    return _with_overheads(setup, terms)


def _training(arch: Architecture, setup: Setup, load: Load) -> list[Term]:
    how = setup.training or Training(method=setup.task)
    states = state_terms(arch, setup.precision, how, setup.layout)
    gathered = gathered_term(arch, setup.precision, setup.layout)
    widened = dequantised_term(arch, setup.precision, setup.layout) if how.method != "full" else None
    states += [term for term in (gathered, widened) if term]
    length = load.context
    if arch.task == "image":
        length = load.pixels * LATENT_TOKENS_A_PIXEL + PROMPT_TOKENS
    activations, loss, layer = kept_terms(arch, how, length, load.concurrency, setup.layout)
    cast = autocast_gib(arch, how, setup.layout)
    if cast:
        states.append(Term("autocast copies", cast, 0.02 * cast, "16-bit weights", "measured on an H100"))
    gradients = gradient_gib(arch, how, setup.layout)
    if not how.keeps_gradients and not how.has_step_in_backward:  # they come as the activations go
        tied = 0.0 if how.is_foreach else tied_gib(arch, how)
        end = larger(gradients + tied, gradients + layer)  # of the way back
        gradients = larger(end - activations.gib - loss.gib - cast, 0.0)
    text = "all" if how.keeps_gradients else "at the step, above what the way back took"
    kept = Term("gradients", gradients, 0.01 * gradients, text, "bytes a parameter")
    has_none = isinstance(gradients, float) and gradients <= 0  # the way back took more
    terms = [*states, *([] if has_none else [kept]), activations, loss]
    if setup.layout.data > 1 and not setup.layout.shard:
        buckets = 2 * gradient_gib(arch, replace(how, is_foreach=False), setup.layout)
        source = "two H200: +0.80, +2.33, +5.2 GiB for gradients of 0.41, 1.25, 2.30"
        terms.append(Term("DDP buckets", buckets, 0.1 * buckets, "two copies of the gradients", source))
    if setup.layout.data > 1 and setup.layout.shard in (1, 2):
        terms.append(ZERO_BUCKETS)
    slack = training_slack(activations.gib, loss_bytes(arch, how, length, load.concurrency) / GIB)
    return [*terms, slack, *_outside(setup.engine, setup)]


def _outside(engine: Engine, setup: Setup) -> list[Term]:
    layout = setup.layout
    is_shared = setup.is_training or layout.shared > 1
    link = link_term(engine, layout) if is_shared else None
    return [context_term(engine, is_training=setup.is_training), *([link] if link else [])]


def _with_overheads(setup: Setup, terms: list[Term]) -> list[Term]:
    slack = slack_term(setup.engine, Total.of(term for term in terms if term.name not in RESTING).gib)
    return [*terms, *([slack] if slack else []), *_outside(setup.engine, setup)]
