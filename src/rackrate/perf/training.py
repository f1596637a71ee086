"""How fast does a model train: tokens and samples a second?

    step = max(work of the batch + optimiser, launches) + gradients over the link

The way back does the arithmetic of the way forward twice, once for the inputs and once for the weights; a
frozen weight saves the latter, layers that are computed again add a way forward, 4-bit weights are widened
on every way. Data-parallel GPUs sum up their gradients: 2 (n - 1) / n of them cross the link, mostly while
the way back still runs; shared weights (FSDP) are gathered on both ways, too.

Source: our training runs on H100 and H200, NVIDIA's BERT containers, MLPerf Training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from rackrate.catalog.architecture import Architecture
from rackrate.errors import NoAnswer
from rackrate.perf.chip import Chip
from rackrate.perf.estimate import Estimate
from rackrate.perf.factors import Factors, load_factors
from rackrate.perf.flop import Work, attention, products
from rackrate.perf.reach import (
    Asked,
    Spent,
    at_least_one,
    chosen,
    copied_bytes_per_s,
    multiplied_in,
    ranged,
    spent,
)

METHODS = ("full", "lora", "qlora")
NUMBERS = ("fp32", "tf32", "fp16", "8-bit")
"""In which type products are computed: 16-bit ones under autocast count as `fp16`."""

ENGINES = ("torch", "container", "tuned")
"""Stock PyTorch with fused attention; NVIDIA's containers of 2020 to 2022, whose attention writes its scores;
and what MLPerf's submitters tune."""

_WAYS_BACK = {"full": 2.0, "lora": 1.0, "qlora": 1.0}
_OPTIMISER_BYTES = 28.0  # AdamW reads weight, gradient and two moments of 32 bit, and writes all but one
_WIDENING_BYTES = 0.5 + 2.0 + 2.0  # 4-bit weights read, widened, read again
_ADAPTERS_FRAC = 0.01  # trained parameters of LoRA over frozen ones: 0.5 to 2 % at rank 16 to 64


@dataclass(frozen=True, slots=True)
class Run:
    """How a model is trained.

    Attributes:
        method: one of `METHODS`.
        tokens: of a sequence.
        batch: sequences a GPU and step.
        number: one of `NUMBERS`.
        engine: one of `ENGINES`.
        has_checkpointing: whether layers are computed again on the way back.
        is_sharded: whether weights and states are shared out (FSDP, ZeRO-3).
        n_gpus: of all nodes.
        n_nodes: machines.
    """

    method: str = "full"
    tokens: int = 512
    batch: int = 16
    number: str = "fp16"
    engine: str = "torch"
    has_checkpointing: bool = False
    is_sharded: bool = False
    n_gpus: int = 1
    n_nodes: int = 1

    def __post_init__(self) -> None:
        at_least_one(tokens=self.tokens, batch=self.batch, GPUs=self.n_gpus, nodes=self.n_nodes)
        chosen("method", self.method, METHODS)
        chosen("number type", self.number, NUMBERS)
        chosen("engine", self.engine, ENGINES)

    @property
    def ways(self) -> float:
        """Ways through the model in a step, each as long as the way forward."""
        return 1.0 + _WAYS_BACK[self.method] + (1.0 if self.has_checkpointing else 0.0)


@cache
def forward(arch: Architecture, tokens: int, *, writes_scores: bool) -> Work:
    """Return the work of the way forward over one sequence.

    Args:
        arch: a decoder, which looks back only, or an encoder.
        tokens: of the sequence.
        writes_scores: whether attention leaves its scores in memory.

    Raises:
        NoAnswer: the model is neither.
    """
    if arch.task not in ("text", "vision-language", "encoder"):
        raise NoAnswer(f"the speed of training {arch.name} is not modelled", hint="language models are")
    main, is_decoder = arch.main, arch.task != "encoder"
    tensors = [t for t in arch.tensors if t.part not in ("vision", "audio")]
    routed = main.n_experts_per_token / main.n_experts if main.n_experts else 0.0
    found = products((t for t in tensors if t.role != "experts"), tokens)
    found += products((t for t in tensors if t.role == "experts"), tokens * routed)
    if is_decoder and not any(t.role == "head" for t in tensors):
        found += Work(2.0 * arch.vocab_size * main.hidden_size * tokens, float(arch.vocab_size * tokens))
    seen = tokens / 2 if is_decoder else tokens
    found += attention(main.n_layers, tokens, seen, main.q_size)
    scores = main.n_layers * main.n_heads * tokens * seen if writes_scores else 0.0
    return found + Work(numbers=scores)


def step_spent(arch: Architecture, chip: Chip, run: Run, factors: Factors | None = None) -> Spent:
    """Return the time of one step of all GPUs.

    Raises:
        NoAnswer: the model is no language model.
    """
    factors = factors or load_factors("media")
    number = multiplied_in(chip, run.number)
    keys = ("training", run.engine, run.method)
    work = forward(arch, run.tokens, writes_scores=run.engine == "container").times(run.batch * run.ways)
    mode = "checkpointing" if run.has_checkpointing else "plain"
    trained = arch.n_params * (1.0 if run.method == "full" else _ADAPTERS_FRAC)
    moved = trained * _OPTIMISER_BYTES / (run.n_gpus if run.is_sharded else 1)
    if run.method == "qlora":
        moved += run.ways * arch.n_params * _WIDENING_BYTES
    device = spent(work, chip, factors, number, keys)
    host_s = arch.main.n_layers * factors.value("host_s", "training", run.method, mode)
    return Spent(
        device.compute_s,
        device.memory_s + moved / copied_bytes_per_s(chip, factors),
        host_s if run.engine == "torch" else 0.0,
        link_s(arch, chip, run, trained, factors),
    )


def link_s(arch: Architecture, chip: Chip, run: Run, trained: float, factors: Factors) -> float:
    """Return the time in which a step waits for the GPUs' links, seconds.

    Args:
        arch: the model.
        chip: one GPU.
        run: how it is trained.
        trained: parameters whose gradients are summed up.
        factors: with `link`, the share of a link's bandwidth that is reached and not hidden.
    """
    if run.n_gpus == 1:
        return 0.0
    is_wide = run.number in ("fp32", "tf32") or (arch.task == "encoder" and run.engine != "tuned")
    width = 4.0 if is_wide else 2.0  # BERT's containers keep 32-bit weights under autocast
    crossing = width * trained
    if run.is_sharded:
        crossing += 2.0 * arch.n_params
    link = "bridge" if chip.link == "bridge" and run.n_gpus == 2 else chip.link  # noqa: PLR2004 - a pair
    link = "pcie" if link == "bridge" and run.n_gpus > 2 else link  # noqa: PLR2004 - a pair
    bandwidth = chip.pcie_bandwidth if link == "pcie" else chip.link_bandwidth
    if run.n_nodes > 1:
        link, bandwidth = "nodes", factors.value("node_bytes_per_s")
    n = run.n_gpus
    return 2.0 * (n - 1) / n * crossing / (bandwidth * factors.value("link", link, run.engine))


def samples_per_s(arch: Architecture, chip: Chip, run: Run, factors: Factors | None = None) -> Estimate:
    """Return the sequences a second of all GPUs.

    Raises:
        NoAnswer: the model is no language model.
    """
    factors = factors or load_factors("media")
    step = step_spent(arch, chip, run, factors)
    value = run.n_gpus * run.batch / step.total_s * scaling(run, factors)
    again = ", layers computed again" if run.has_checkpointing else ""
    says = (
        f"{run.method} training, {run.engine}, {run.number}{again}",
        f"{run.batch} x {run.tokens:,} tokens a GPU on {_where(run)}",
    )
    asked = Asked("training", arch.name, chip.gpu)
    return ranged(value, "samples/s", step.limit, asked, factors, says)


def _where(run: Run) -> str:
    gpus = f"{run.n_gpus} GPU{'s' * (run.n_gpus > 1)}"
    return f"{gpus} of {run.n_nodes} nodes" if run.n_nodes > 1 else gpus


def tokens_per_s(arch: Architecture, chip: Chip, run: Run, factors: Factors | None = None) -> Estimate:
    """Return the tokens a second of all GPUs.

    Raises:
        NoAnswer: the model is no language model.
    """
    found = samples_per_s(arch, chip, run, factors)
    n = run.tokens
    return replace(found, value=found.value * n, low=found.low * n, high=found.high * n, unit="tokens/s")


def scaling(run: Run, factors: Factors) -> float:
    """Return the share of speed that several machines keep: a power of their number."""
    return float(run.n_nodes ** -factors.value("scaling"))
