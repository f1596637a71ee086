"""What is held beside the model: context, communication, graphs, the allocator's slack; and the card.

A process never gets what the box says. "48 GB" is 48 GiB of chips, ECC takes a sixteenth of GDDR6,
the driver keeps some, and CUDA reports about 44.4 GiB on an L40S.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from rackrate.catalog.gpu import Gpu
from rackrate.fit.engine import NEWER_LINKS, Engine, VllmLimits, version_of
from rackrate.fit.parallel import Layout
from rackrate.fit.term import Term

FIRST_GRAPHS_GIB, GRAPHS_GIB = 0.15, 0.0155
"""Of vLLM's captured batch sizes, and of each: 51 take 0.5 to 1.9 GiB, 1.0 in the mean (0.19), three take
0.1 to 0.4."""

GRAPHS_ERROR = 0.35  # one standard deviation, as a share
LARGEST_GRAPH = 512
DRIVER_FRAC = 0.0095  # of what nvidia-smi shows CUDA does not: 0.6 % (H100), 1.1 % (A100), 1.4 % (L40S)
ECC_FRAC = 1 / 16  # GDDR6 keeps its check bits in the memory itself


@dataclass(frozen=True, slots=True)
class Card:
    """The memory of one GPU that a process can have.

    Attributes:
        gpu: slug of the GPU, or what was given instead.
        gib: expected.
        sigma_gib: one standard deviation.
        formula: in words.
        source: where it was read, or what was assumed.
        is_a100: whether engines take it for one.
        has_multicast: whether such cards sit behind a switch that sends to several at once (NVLink SHARP).
        is_hopper: whether it is of that generation, which has kernels of its own.
    """

    gpu: str
    gib: float
    sigma_gib: float
    formula: str
    source: str
    is_a100: bool = False
    has_multicast: bool = False
    is_hopper: bool = False


def has_multicast(gpu: Gpu) -> bool:
    """Tell whether NCCL takes buffers for the switch's own arithmetic: NVSwitch from Hopper on."""
    return "NVSwitch" in str(gpu.nvlink_kind.value) and gpu.architecture != "Ampere"


def usable_memory(gpu: Gpu) -> Card:
    """Return what CUDA gives a process on this card: measured, else from the driver's figure or label."""
    kind = gpu.slug.startswith("a100"), has_multicast(gpu), gpu.architecture == "Hopper"
    seen = gpu.memory_cuda_gib
    if seen.value is not None:
        how = "as CUDA reports it"
        return Card(gpu.slug, seen.value, 0.03, how, seen.source, *kind)
    shown = gpu.memory_visible_gib
    if shown.value is not None:
        gib = shown.value * (1 - DRIVER_FRAC)
        how = f"{shown.value:.2f} GiB in nvidia-smi, less {DRIVER_FRAC:.1%} that CUDA does not report"
        return Card(gpu.slug, gib, 0.006 * gib, how, shown.source, *kind)
    nominal = gpu.memory_gib.value or 0.0
    # Cards for data centres ship with ECC on, workstation cards with it off.
    is_server = gpu.segment == "datacenter"
    has_inline_ecc = is_server and gpu.ecc.value == "yes" and "GDDR" in str(gpu.memory_type.value)
    gib = nominal * (1 - DRIVER_FRAC - 0.003) * (1 - (ECC_FRAC if has_inline_ecc else 0))
    how = f"{nominal:g} GiB nominal" + (", a sixteenth for ECC" if has_inline_ecc else "")
    how += ", less the driver's share"
    return Card(gpu.slug, gib, 0.012 * gib, how, gpu.memory_gib.source, *kind)


TRAINING_CONTEXT_GIB = 0.07  # libraries that only the way back loads (H100: 0.75 GiB against 0.68)


def context_term(engine: Engine, *, is_training: bool = False) -> Term:
    """Return what CUDA, its libraries and the engine's own buffers take on one GPU."""
    gib = engine.context_gib + (TRAINING_CONTEXT_GIB if is_training else 0.0)
    return Term(
        "CUDA context", gib, engine.context_sigma_gib, "driver context and libraries",
        engine.source,
    )  # fmt: skip


def link_term(engine: Engine, layout: Layout) -> Term | None:
    """Return the buffers for communication between GPUs, if there is any."""
    if layout.n_gpus == 1 or not engine.link_gib:
        return None
    return Term(
        "NCCL", engine.link_gib, 0.4 * engine.link_gib, f"channels and buffers of {layout}", engine.source
    )


@lru_cache(maxsize=4096)
def graphs_term(max_num_seqs: int) -> Term:
    """Return the CUDA graphs that vLLM captures for steps of up to twice as many tokens as sequences.

    Sizes are 1, 2, 4, then every 8th to 256 and every 16th to 512 (vLLM's CompilationConfig).
    """
    largest = min(2 * max_num_seqs, LARGEST_GRAPH)
    n_sizes = 3 + min(largest, 256) // 8 + max(largest - 256, 0) // 16
    gib = FIRST_GRAPHS_GIB + GRAPHS_GIB * n_sizes
    how = f"{n_sizes} captured batch sizes"
    return Term("CUDA graphs", gib, GRAPHS_ERROR * gib, how, "vLLM's start-up logs")


NEWER_CONTEXT_GIB = 0.12
"""What vLLM 0.18 and later hold outside of torch above earlier versions: 0.24 to 0.27 GiB on one H100."""

MULTICAST_GIB = 1.85
"""Buffers between GPUs behind a switch that can multicast: 2.06 to 2.21 GiB outside of torch on two and four
H100 (vLLM 0.19), 1.84 on four (0.10)."""


@lru_cache(maxsize=4096)
def serving_outside(engine: Engine, version: str, card: Card, layout: Layout) -> tuple[Term, ...]:
    """Return what a serving engine holds outside of torch's counters on one GPU.

    Multicast buffers come with more than two GPUs, and with two since vLLM 0.18.
    """
    is_newer = engine.name == "vllm" and version_of(version) >= NEWER_LINKS
    context = context_term(engine)
    if is_newer:
        context = replace(context, gib=context.gib + NEWER_CONTEXT_GIB)
    link = link_term(engine, layout) if layout.shared > 1 else None
    if link and card.has_multicast and (is_newer or layout.shared > 2):  # noqa: PLR2004 - a pair
        link = replace(link, gib=MULTICAST_GIB, sigma_gib=0.15)
    return (context, link) if link else (context,)


STARTED_GIB, STARTED_SIGMA_GIB = 0.35, 0.1  # the CUDA context: there before vLLM begins to count
SMALL_CARD_GIB = 24.0  # smaller ones run smaller models, whose graphs are smaller
MXFP4_GIB, MXFP4_SIGMA_GIB = 3.1, 0.9
"""What Hopper's MXFP4 kernels hold outside of torch when a step runs, which no profile sees: one and two H100
are out of memory at 0.95 with 4.0 GiB left over, and start at 0.90 with 7.9 (gpt-oss-20b, vLLM 0.19). An H100
with 0.97 holds gpt-oss-120b by 0.11.2 and not by 0.14.1 (vllm-project/vllm#33155)."""
MXFP4_SINCE = (0, 14)


def beside_term(card: Card, limits: VllmLimits, *, has_graphs: bool, is_mxfp4: bool) -> Term:
    """Return what vLLM takes on top of the share of the card that it was given.

    Args:
        card: one GPU.
        limits: what it tries out at start-up.
        has_graphs: whether it captures any.
        is_mxfp4: whether kernels for experts that are stored so run.
    """
    parts = [("context", STARTED_GIB, STARTED_SIGMA_GIB)]
    if has_graphs and not limits.counts_graphs:
        gib = min(card.gib / SMALL_CARD_GIB, 1.0) * graphs_term(limits.max_num_seqs).gib
        parts.append(("CUDA graphs", gib, GRAPHS_ERROR * gib))
    if is_mxfp4 and card.is_hopper:
        parts.append(("MXFP4 kernels", MXFP4_GIB, MXFP4_SIGMA_GIB))
    sigma = sum(sigma_gib**2 for _, _, sigma_gib in parts) ** 0.5
    how = " + ".join(f"{gib:.2f} GiB of {name}" for name, gib, _ in parts)
    return Term("beside its share", sum(gib for _, gib, _ in parts), sigma, how, "vLLM's start-up logs")


ZERO_BUCKETS = Term(
    "ZeRO buckets", 5.0, 2.5, "4.5 times two buckets of 0.2 to 0.5 billion 16-bit numbers",
    "the DeepSpeed guide of transformers: 9 GB for buckets of 5e8 with overlap_comm",
)  # fmt: skip


LOSS_SLACK = 0.195  # logits of several sizes leave gaps: 0 (the allocator gives back what it can before it
# fails) to 0.6 of the loss, 116 cases on an H100
KEPT_SLACK = 0.015  # BERT without a large vocabulary: 0.41 GiB beside 19


def training_slack(kept_gib: Any, loss_gib: Any) -> Term:
    """Return what the allocator reserves in a training step and never hands out at the same moment."""
    gib = 0.15 + KEPT_SLACK * kept_gib + LOSS_SLACK * loss_gib
    how = f"0.15 GiB + {KEPT_SLACK:.1%} of activations + {LOSS_SLACK:.1%} of the loss"
    return Term("fragmentation", gib, 0.6 * gib, how, "reserved over allocated, measured on an H100")


def slack_term(engine: Engine, moving_gib: Any) -> Term | None:
    """Return what the allocator reserves and never hands out at the same moment.

    Args:
        engine: whose allocator.
        moving_gib: what comes and goes; weights stay where they are and leave no gaps.
    """
    if not engine.slack_frac:
        return None
    gib = engine.slack_frac * moving_gib
    how = f"{engine.slack_frac:.0%} of what comes and goes"
    return Term("fragmentation", gib, 0.6 * gib, how, "reserved over allocated, measured on an H100")
