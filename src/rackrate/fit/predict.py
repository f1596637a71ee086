"""What the model says of a measured case: one prediction with its range for each quantity.

`run` reads how the case was run, `tools` what its tool's figures count; here the terms are added up
accordingly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from rackrate.catalog.architecture import Architecture
from rackrate.errors import NoAnswer, UnknownName, nearest
from rackrate.fit.cases import Case
from rackrate.fit.estimate import OUTSIDE, Estimate, estimate, sequence_memory
from rackrate.fit.kv import memory_of
from rackrate.fit.overhead import Card, graphs_term
from rackrate.fit.parallel import ONE_GPU
from rackrate.fit.pipeline import component_bytes
from rackrate.fit.run import layers_on_gpus, setup_of
from rackrate.fit.setup import Load, Setup
from rackrate.fit.solve import probability
from rackrate.fit.term import GIB, Z90, Total
from rackrate.fit.tools import Style, style_of
from rackrate.fit.training import NEW_COPIES, Training, gradient_gib
from rackrate.fit.weights import weight_bytes, weights_term


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is expected of a quantity, in its unit.

    Attributes:
        value: expected; of a verdict the probability that it fits.
        sigma: one standard deviation; 0 for a verdict.
    """

    value: float
    sigma: float

    @property
    def low(self) -> float:
        """Lower end of the range that holds the truth in 9 cases of 10."""
        return max(self.value - Z90 * self.sigma, 0.0)

    @property
    def high(self) -> float:
        """Upper end of that range."""
        return self.value + Z90 * self.sigma


def predict(
    case: Case,
    arch: Architecture,
    card: Card,
    room_gib: float | None = None,
    style: Style | None = None,
) -> Prediction:
    """Return what the model expects of a case.

    Args:
        case: one measured quantity.
        arch: the model that it names.
        card: the memory of one of its GPUs.
        room_gib: the KV room that the same run had, where it was measured: tokens follow from it. Of one
            GPU for engines that take all that is left, else of all together.
        style: of the tool, where one knows better than its name tells.

    Raises:
        UnknownName: a quantity, engine or precision that nothing here predicts.
    """
    style = style or style_of(case)
    setup, load = setup_of(case, arch, style)
    if case.quantity == "weights_gib":
        return _weights(case, arch, setup, style)
    found = estimate(arch, card, setup, load)
    if case.quantity in ("fits", "oom"):
        return Prediction(probability(found), 0.0)
    if case.quantity == "peak_gib":
        return _over_all(found, setup, style, (case.gpu_count or 1) if case.per == "total" else 1)
    if case.quantity in ("kv_gib", "kv_tokens"):
        is_room = case.quantity == "kv_gib"
        return _cache(case, arch, found, setup, load) if is_room else _tokens(found, arch, setup, room_gib)
    if case.quantity == "between_steps_gib":
        return _between_steps(found, arch, setup)
    if case.quantity in _TERMS:
        n_seqs = setup.limits(card, load.context).max_num_seqs
        graphs = (graphs_term(n_seqs),)  # whether or not they come out of the budget
        terms = graphs if case.quantity == "cuda_graph_gib" else found.terms
        return _of_terms(replace(found, terms=terms), *_TERMS[case.quantity])
    raise UnknownName("quantity", case.quantity, nearest(case.quantity, QUANTITIES) or QUANTITIES)


_RESERVING = ("vllm", "sglang")  # engines that take all that is left for KV cache
_TERMS = {
    "non_torch_gib": ("CUDA context", "NCCL"),
    "activation_gib": ("activation peak", "compute buffer"),
    "compute_gib": ("compute buffer",),
    "cuda_graph_gib": ("CUDA graphs",),
}
QUANTITIES = (
    "weights_gib", "peak_gib", "kv_gib", "kv_tokens", "between_steps_gib", "fits", "oom", *_TERMS,
)  # fmt: skip
"""What can be predicted of a case."""


def _between_steps(found: Estimate, arch: Architecture, setup: Setup) -> Prediction:
    """Return weights, optimiser and the last step's gradients: what training holds between two steps."""
    states = Total.of(term for term in found.terms if term.name in ("weights", "optimiser", "adapters"))
    how = replace(setup.training or Training(method=setup.task), is_foreach=False)
    gradients = gradient_gib(arch, how, setup.layout)
    return Prediction(float(states.gib + gradients), float(states.sigma_gib + 0.01 * gradients))


def _cache(case: Case, arch: Architecture, found: Estimate, setup: Setup, load: Load) -> Prediction:
    """Return the room of an engine that takes all that is left, or the cache of the load."""
    if setup.engine.name in _RESERVING:
        return _room(found)
    if case.per == "gpu" and setup.engine.name == "llama.cpp":
        return _of_terms(found, "KV cache")
    memory = memory_of(arch, setup.kv, ONE_GPU)  # as it is kept, which a prefill may exceed
    gib = load.concurrency * memory.sequence_bytes(load.context) / GIB * layers_on_gpus(case)
    return Prediction(float(gib), 0.002 * float(gib) + 0.001)


def _weights(case: Case, arch: Architecture, setup: Setup, style: Style) -> Prediction:
    on_gpus = layers_on_gpus(case)
    if on_gpus < 1:  # the ends of the model stay on the host, too
        inner = tuple(t for t in arch.tensors if t.role not in ("embedding", "head"))
        gib = on_gpus * weight_bytes(replace(arch, tensors=inner), setup.precision) / GIB
        return Prediction(gib, 0.03 * gib)
    engine = "" if style.footing == "file" else setup.engine.name
    if engine == "llama.cpp" and "host" not in case.note and case.per == "total":
        engine = ""  # "model size" in its log is the file's
    layout = setup.layout if case.per == "gpu" else ONE_GPU
    if arch.task == "image":
        gib = sum(component_bytes(arch, setup.precision).values()) / GIB
    else:
        gib = weight_bytes(arch, setup.precision, layout, engine) / GIB
    term = weights_term(arch, setup.precision, layout, engine)
    return Prediction(gib, term.sigma_gib * gib / term.gib)


def _peak(found: Estimate, style: Style) -> Total:
    if not style.counts_prefill:
        held = ("weights", "KV cache", *(OUTSIDE[:2] if style.footing == "device" else ()))
        return Total.of(term for term in found.terms if term.name in held)
    outside = {"device": (), "reserved": ("CUDA context", "NCCL")}.get(style.footing, OUTSIDE)
    return Total.of(term for term in found.terms if term.name not in outside)


SOURCE_FRAC, TRAINER_FRAC, SOURCE_GIB = 0.012, 0.07, 0.1
"""What sources differ by when they measure one thing: rounding, units, the moment that is sampled; and what
trainers other than the one that we measured differ by."""


def _over_all(found: Estimate, setup: Setup, style: Style, n_gpus: int) -> Prediction:
    """Return the peak over all GPUs; of GPUs that work in turn only one holds the loss at a time."""
    peak = _peak(found, style)
    frac = TRAINER_FRAC if setup.is_training and style.hidden_copies != NEW_COPIES else SOURCE_FRAC
    sigma = float(peak.sigma_gib**2 + (frac * peak.gib) ** 2 + SOURCE_GIB**2) ** 0.5
    peak = Total(peak.gib, sigma)
    if n_gpus > 1 and setup.is_training and setup.layout.pipeline > 1:
        once = Total.of(t for t in found.terms if t.name in ("loss", "fragmentation", "NCCL")).gib
        return Prediction(float(peak.gib * n_gpus - once * (n_gpus - 1)), float(peak.sigma_gib) * n_gpus)
    return _times(peak, n_gpus)


def _times(total: Total, n: int) -> Prediction:
    return Prediction(float(total.gib) * n, float(total.sigma_gib) * n)


def _of_terms(found: Estimate, *names: str) -> Prediction:
    return _times(Total.of(term for term in found.terms if term.name in names), 1)


def _room(found: Estimate) -> Prediction:
    """Return what the engine has left for KV cache on one GPU."""
    rest = Total.of(term for term in found.terms if term.name != "KV cache")
    sigma = (rest.sigma_gib**2 + found.limit_sigma_gib**2) ** 0.5
    return Prediction(max(found.limit_gib - rest.gib, 0.0), sigma)


def _tokens(found: Estimate, arch: Architecture, setup: Setup, room_gib: float | None) -> Prediction:
    room = _room(found) if room_gib is None else Prediction(room_gib, 0.005)
    if room_gib is not None and setup.engine.name not in _RESERVING:
        setup = replace(setup, layout=ONE_GPU)
    memory = sequence_memory(arch, setup)
    per_token = memory.token_bytes + sum(size for _, size in memory.windows)
    if not per_token:
        raise NoAnswer(f"{arch.name} has no KV cache that grows")
    tokens = room.value * GIB / per_token
    whole = int(tokens) // memory.block * memory.block
    return Prediction(float(whole), whole * (room.sigma / max(room.value, 1e-9) + 0.004))
