"""In which ways may a language model be served on a card: engine, precision, layout?

The published precision and narrower ones are tried, as far as the engine has kernels for them on the card.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rackrate.catalog.architecture import Architecture
from rackrate.catalog.gpu import Gpu
from rackrate.fit.engine import ENGINES, Engine
from rackrate.fit.parallel import Layout
from rackrate.fit.precision import PRECISIONS, Precision
from rackrate.perf.chip import CLASSES, Chip
from rackrate.perf.machine import packing_of

NARROWER = ("fp8", "int8", "int4")
NARROWER_GGUF = ("gguf:q8_0", "gguf:q4_k_m")
MUCH = 0.75  # of the published bits: what saves less is not worth a loss

SEQUENCES = (0, 32)
"""Sequences in a step that are tried: the engine's default, and few, where its buffers do not fit."""

TRIED_ON: Mapping[str, frozenset[str]] = {
    "vllm": frozenset(CLASSES),
    "sglang": frozenset({"hopper", "blackwell-dc"}),
}
"""Engines that are tried when none is named, each with the generations of cards that it is tried on. SGLang's
serving was measured on these alone: elsewhere its general factors would be set against vLLM's own ones of the
card. llama.cpp was measured with one request at a time. Source: the cases that the factors were fitted to."""

_LEAST_CAPABILITY: Mapping[str, float] = {
    "wide": 7.0, "int8": 7.5, "int4": 7.5, "nf4": 7.5, "fp8": 8.0, "mxfp4": 8.0, "nvfp4": 8.0, "gguf": 5.0,
}  # fmt: skip
"""Compute capability from which vLLM (of GGUF: llama.cpp) has kernels for a packing. Source: vLLM's table of
quantisation by hardware and its notes on Marlin kernels, which unpack where the card cannot multiply."""

_ON_AMD = frozenset({"wide", "fp8", "int4", "mxfp4", "gguf"})


@dataclass(frozen=True, slots=True)
class Way:
    """How a copy of a model is run.

    Attributes:
        engine: with its defaults.
        precision: of the weights.
        tensor: GPUs that share every layer.
        pipeline: stages.
        max_num_seqs: sequences in a step; 0 for the engine's default.
    """

    engine: Engine
    precision: Precision
    tensor: int = 1
    pipeline: int = 1
    max_num_seqs: int = 0

    @property
    def n_gpus(self) -> int:
        """GPUs of one copy."""
        return self.tensor * self.pipeline

    @property
    def layout(self) -> Layout:
        """As the memory model has it."""
        return Layout(tensor=self.tensor, pipeline=self.pipeline)

    @property
    def packing(self) -> str:
        """How the weights are stored, as the speed model has it."""
        return packing_of(self.precision)


def precisions(published: Precision, engine: Engine, asked: str = "") -> tuple[Precision, ...]:
    """Return the published precision and much narrower ones, the widest first; or the one asked for."""
    if asked:
        return (PRECISIONS[asked],)
    names = NARROWER_GGUF if engine.name == "llama.cpp" else NARROWER
    narrower = [PRECISIONS[name] for name in names if PRECISIONS[name].bits <= MUCH * published.bits]
    return (published, *narrower)


def takes(gpu: Gpu, chip: Chip, engine: Engine, packing: str) -> bool:
    """Tell whether an engine runs weights of a packing on a card."""
    if gpu.vendor == "AMD":
        return packing in _ON_AMD and (packing != "fp8" or "fp8" in chip.flops)
    if gpu.vendor != "NVIDIA" or (packing == "gguf") != (engine.name == "llama.cpp" and packing != "wide"):
        return False
    capability = gpu.compute_capability.value
    return capability is not None and float(capability) >= _LEAST_CAPABILITY[packing]


def layouts(arch: Architecture, engine: Engine, most: int) -> tuple[tuple[int, int], ...]:
    """Return tensor and pipeline parallel of every layout on 1, 2, 4 or 8 GPUs, at most `most`."""
    sizes = [n for n in (1, 2, 4, 8) if n <= most]
    return tuple(
        (tensor, n // tensor)
        for n in sizes
        for tensor in sizes
        if tensor <= n
        and n // tensor <= max(arch.main.n_layers, 1)
        and (tensor == 1 if engine.name == "llama.cpp" else arch.main.n_heads % tensor == 0)
    )


def is_sensible(way: Way, chip: Chip, ways: Iterable[tuple[int, int]]) -> bool:
    """Tell whether a layout is worth a try: stages only where GPUs lack a fabric, or heads do not divide."""
    if way.pipeline == 1 or chip.link != "nvlink" or way.engine.name == "llama.cpp":
        return True
    return (way.n_gpus, 1) not in ways


def engines(name: str, precision: str = "") -> tuple[Engine, ...]:
    """Return the engines to try: the one asked for, llama.cpp for its own files, else all others."""
    if name:
        return (ENGINES[name],)
    is_own = precision and PRECISIONS[precision].recipe
    return (ENGINES["llama.cpp"],) if is_own else tuple(ENGINES[name] for name in TRIED_ON)


def is_tried(engine: Engine, chip: Chip) -> bool:
    """Tell whether an engine that nobody named is tried on a card."""
    return chip.kind in TRIED_ON.get(engine.name, CLASSES)
