"""What people run on GPUs, what it needs of the card, and which cards can do it.

A capability is read off the facts of a GPU and is there, not there, or not known; what is not known
never counts as missing. Whether a model fits and how fast it runs is not asked here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from rackrate.catalog.fact import Fact
from rackrate.catalog.gpu import Gpu
from rackrate.catalog.load import table
from rackrate.catalog.names import fold
from rackrate.errors import UnknownName, nearest

VERDICTS = ("suitable", "possible", "unknown", "unsuitable")


@dataclass(frozen=True, slots=True)
class Need:
    """One capability that a workload needs or prefers.

    Attributes:
        capability: a key of `CAPABILITIES`.
        why: what it is for, and what happens without it.
        source: source id of the reason.
    """

    capability: str
    why: str
    source: str


@dataclass(frozen=True, slots=True)
class Workload:
    """A kind of work.

    Attributes:
        slug: stable identifier.
        name: display name.
        says: what it does, as the rest of a sentence that begins with the name.
        examples: programs or models that do it.
        source: source id of the page that names it.
        needs: without these it does not run, or not sensibly.
        prefers: without these it runs slower.
    """

    slug: str
    name: str
    says: str
    examples: tuple[str, ...]
    source: str
    needs: tuple[Need, ...]
    prefers: tuple[Need, ...]


@dataclass(frozen=True, slots=True)
class Suitability:
    """Whether a GPU can do a workload.

    Attributes:
        workload: the workload judged.
        verdict: `suitable`; `possible`, where it lacks what is preferred; `unsuitable`, where it
            lacks what is needed; `unknown`, where a need cannot be judged.
        reasons: one sentence for each capability that decided.
    """

    workload: Workload
    verdict: str
    reasons: tuple[str, ...]


def _some(fact: Fact[Any]) -> bool | None:
    """Tell whether there is some of it: a count or rate that is not 0."""
    return bool(fact.value) if fact else None


def _graphics(gpu: Gpu) -> bool | None:
    """Tell whether it draws: by its APIs, else by its RT cores.

    No source lists an API for a card made for compute alone, and none says that there is none. Cards
    that draw and are too old for RT cores have their APIs listed, so 0 RT cores decide the rest.
    """
    return _some(gpu.graphics_apis or gpu.rt_cores)


def _matrix_units(gpu: Gpu) -> bool | None:
    """Tell whether it multiplies matrices in hardware: by a rate, else by its generation."""
    if gpu.fp16_tensor_tflops or gpu.bf16_tensor_tflops or gpu.fp8_tensor_tflops:
        return True
    if gpu.vendor != "NVIDIA" or gpu.compute_capability.value is None:
        return None
    return float(gpu.compute_capability.value) >= _FIRST_TENSOR_CORES


def _fabric(gpu: Gpu) -> bool | None:
    """Tell whether its link joins all GPUs of a node: a bridge joins two."""
    if not gpu.nvlink_gb_per_s.value:
        return _some(gpu.nvlink_gb_per_s)
    return "bridge" not in gpu.nvlink_kind.value if gpu.nvlink_kind.value else None


_FIRST_TENSOR_CORES = 7.0  # compute capability of Volta

# Each capability with the question that it puts to a GPU.
CAPABILITIES: Mapping[str, Callable[[Gpu], bool | None]] = {
    "cuda": lambda gpu: gpu.vendor == "NVIDIA",
    "fabric": _fabric,
    "graphics_api": _graphics,
    "nvdec": lambda gpu: _some(gpu.nvdec),
    "nvenc": lambda gpu: _some(gpu.nvenc),
    "nvlink": lambda gpu: _some(gpu.nvlink_gb_per_s),
    "rt_cores": lambda gpu: _some(gpu.rt_cores),
    "tensor_cores": _matrix_units,
}


@cache
def all_workloads() -> tuple[Workload, ...]:
    """Return every workload, in the order of the catalog: models first, then graphics and video."""
    return tuple(from_table(slug, row) for slug, row in table("workloads").items())


def from_table(slug: str, row: Mapping[str, Any]) -> Workload:
    """Return the workload that a TOML table states: the form of `data/workloads.toml`."""
    return Workload(
        slug=slug,
        name=row["name"],
        says=row["says"],
        examples=tuple(row["examples"]),
        source=row["source"],
        needs=tuple(Need(**need) for need in row.get("needs", ())),
        prefers=tuple(Need(**need) for need in row.get("prefers", ())),
    )


def find_workload(name: str) -> Workload:
    """Return the workload with this slug or name, in any case and with any separators.

    >>> find_workload("LLM Serving").slug
    'llm-serving'

    Raises:
        UnknownName: there is none; carries the nearest.
    """
    for workload in all_workloads():
        if fold(name) in {fold(workload.slug), fold(workload.name)}:
            return workload
    raise UnknownName("workload", name, nearest(name, (w.slug for w in all_workloads())))


def capabilities_missing(workload: Workload, gpu: Gpu) -> list[str]:
    """Return the needs of `workload` that `gpu` is known to lack; empty if it lacks none."""
    return [need.capability for need in _answered(workload.needs, gpu, answer=False)]


def capabilities_unknown(workload: Workload, gpu: Gpu) -> list[str]:
    """Return the needs of `workload` of which nobody told whether `gpu` has them."""
    return [need.capability for need in _answered(workload.needs, gpu, answer=None)]


def suitable_workloads(gpu: Gpu) -> list[Suitability]:
    """Return what `gpu` is good for and what it is not, with reasons, the best verdicts first."""
    judged = [_judge(workload, gpu) for workload in all_workloads()]
    return sorted(judged, key=lambda suitability: VERDICTS.index(suitability.verdict))


def _judge(workload: Workload, gpu: Gpu) -> Suitability:
    """Let the gravest finding give the verdict, and everything of that gravity the reasons."""
    findings = (
        ("unsuitable", "no {}", _answered(workload.needs, gpu, answer=False)),
        ("unknown", "{}, not known", _answered(workload.needs, gpu, answer=None)),
        ("possible", "no {}", _answered(workload.prefers, gpu, answer=False)),
        ("suitable", "{}", workload.needs),
    )
    verdict, phrase, needs = next(finding for finding in findings if finding[2])
    reasons = (f"{phrase.format(_WORDS[need.capability])}: {need.why}" for need in needs)
    return Suitability(workload, verdict, tuple(reasons))


def _answered(needs: Iterable[Need], gpu: Gpu, *, answer: bool | None) -> list[Need]:
    return [need for need in needs if CAPABILITIES[need.capability](gpu) is answer]


_WORDS = {
    "cuda": "CUDA",
    "fabric": "link that joins all GPUs of a node",
    "graphics_api": "graphics API",
    "nvdec": "NVDEC",
    "nvenc": "NVENC",
    "nvlink": "fast link between GPUs (NVLink or Infinity Fabric)",
    "rt_cores": "RT cores",
    "tensor_cores": "tensor cores (or matrix units of that kind)",
}
