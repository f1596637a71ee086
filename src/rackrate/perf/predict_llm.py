"""What does the model say of a measured LLM speed? Reads the words of a case and asks `serving`.

A case names model, engine and load in the words of its source; what they mean stands in `wording`.
Benchmarks count differently: some divide the whole time of a request by its tokens and call that TPOT, some
keep a fixed number of clients busy, MLPerf states only the data set. Each of these is one field of a `Run`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rackrate.catalog.architecture import Architecture
from rackrate.catalog.gpu import Gpu
from rackrate.fit.engine import ENGINES, version_of, vllm_limits
from rackrate.fit.estimate import estimate, sequence_memory
from rackrate.fit.overhead import usable_memory
from rackrate.fit.parallel import Layout
from rackrate.fit.precision import Precision
from rackrate.fit.setup import Load, Setup
from rackrate.fit.term import GIB
from rackrate.perf.arrays import stacked
from rackrate.perf.cases import PerfCase
from rackrate.perf.chip import chip_of
from rackrate.perf.machine import Machine, packing_of
from rackrate.perf.serving import Habits, Request, decode, prefill_s, serve, static_tokens_per_s
from rackrate.perf.step import Rates
from rackrate.perf.wording import (
    ENDLESS,
    architecture_meant,
    engine_of,
    gpu_meant,
    layout_of,
    precision_for,
    requests_at_once,
)
from rackrate.perf.work import Work, work_of

_DATA_SETS = (
    (r"OpenOrca\+GSM8K", 300, 145),
    (r"OpenOrca", 294, 294),
    (r"beam 4", 919, 69),
    (r"max out 128", 870, 128),
    (r"CNN", 870, 69),
    (r"reasoning", 800, 3900),
    (r"mean in ~9500", 9500, 680),
)
"""Mean tokens in and out of the data sets that MLPerf names, in the words of the cases' own remarks."""

_USUAL_TOKENS = (300, 300)
_MAX_GROUP = 8  # GPUs that share a layer in one node
_ROOM_SHARE = 0.3  # of the memory that a replica wants left for KV cache, in a benchmark of throughput
_BENCH_FRACTION = 0.95  # of the memory; benchmarks of peak throughput set more than the default
_FRACTION = 0.9
_CHANGED_VLLM = (0, 6)  # its scheduler was rewritten then


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """A case with what its words mean.

    Attributes:
        model: name of the model in the catalog, else the source's.
        machine: one replica.
        work: of the model.
        request: of the load.
        concurrency: requests at once at one replica.
        room: requests whose KV cache fits.
        replicas: copies of the model, divided by the sequences that one request takes (beams).
        arrivals: `steady` or `closed`, see `machine.factor_keys`.
        busy_frac: share of the time in which there is a request at all.
        is_total: whether TPOT counts the whole request.
        per: GPUs that the value is divided by.
        assumptions: what the words do not say.
    """

    model: str
    machine: Machine
    work: Work
    request: Request
    concurrency: float
    room: float
    replicas: float
    arrivals: str
    busy_frac: float
    is_total: bool
    per: int
    assumptions: tuple[str, ...]


def run_of(case: PerfCase) -> Run:
    """Return what a case is about.

    Raises:
        NoAnswer: neither model nor parameter count is known, or no speed of the GPU.
        UnknownName: no such GPU.
    """
    gpu, taken = gpu_meant(case.gpu)
    chip, arch = chip_of(gpu), architecture_meant(case)
    engine = engine_of(case.engine)
    precision = precision_for(case, arch, chip)
    is_mlperf = "mlperf" in case.engine.lower()
    kv = "fp8" if "kv fp8" in case.extra or is_mlperf else "fp16"
    said: list[str] = [*taken, *arch.assumptions]
    request, beams = _request(case, said)
    layout, replicas = layout_of(case, engine)
    if is_mlperf and not case.parallel:
        layout, replicas = _spread(case, arch, gpu, precision, kv)
        said.append(f"{replicas} copies on {layout} each")
    elif case.gpu_count > 1 and not case.parallel:
        said.append(f"{layout}: how the GPUs share the model is not said")
    fraction = _BENCH_FRACTION if "closed loop" in case.extra else _FRACTION
    known = ENGINES[engine if engine in ("sglang", "llama.cpp") else "vllm"]
    setup = Setup(engine=known, precision=precision, kv=kv, layout=layout, memory_fraction=fraction)
    room = room_of(arch, gpu, setup, request)
    if room < 1 and layout.n_gpus * replicas < case.gpu_count:
        layout = replace(layout, pipeline=case.gpu_count // layout.n_gpus)
        said.append(f"the weights do not fit {layout.tensor} of its GPUs, so they are spread over all")
        room = room_of(arch, gpu, replace(setup, layout=layout), request)
    wanted = requests_at_once(case.load)
    if room < 1:  # it ran, so its memory was set otherwise than we think
        said.append("its memory must have been set higher than usual")
        room = wanted if wanted < ENDLESS else 1.0
    return Run(
        model=arch.name,
        machine=Machine(
            chip,
            engine,
            packing_of(precision),
            layout.tensor,
            layout.pipeline,
            _chunk(case, engine, gpu),
            _era(case.engine, engine),
        ),
        work=work_of(arch, precision, kv),
        request=request,
        concurrency=max(wanted, 1.0) * beams / replicas,
        room=room,
        replicas=replicas / beams,
        arrivals="steady" if case.setting("strategy") else "closed",
        busy_frac=min(wanted, 1.0),
        is_total=bool(case.setting("strategy")),
        per=case.gpu_count if case.metric.endswith("_per_gpu") else 1,
        assumptions=tuple(said),
    )


def _request(case: PerfCase, said: list[str]) -> tuple[Request, int]:
    """Return a request and the sequences that it takes at once."""
    n_in, n_out = case.input_tokens, case.output_tokens
    if n_in is None and n_out is None:
        n_in, n_out = next(
            ((i, o) for pattern, i, o in _DATA_SETS if re.search(pattern, case.extra)), _USUAL_TOKENS
        )
        said.append(f"{n_in} tokens in, {n_out} out on average")
    beams = 4 if "beam 4" in case.extra else 1
    # A beam search reads a prompt once for all its beams.
    return Request(float(n_in or 0), float(n_out or 128), 1 - 1 / beams), beams


def _spread(
    case: PerfCase, arch: Architecture, gpu: Gpu, precision: Precision, kv: str
) -> tuple[Layout, int]:
    """Return the smallest group of GPUs that leaves room for a cache, and how many of them there are."""
    tensor = 1
    while tensor < min(case.gpu_count, _MAX_GROUP):
        setup = Setup(engine=ENGINES["vllm"], precision=precision, kv=kv, layout=Layout(tensor=tensor))
        if _left_gib(arch, gpu, setup) >= _ROOM_SHARE * usable_memory(gpu).gib:
            break
        tensor *= 2
    tensor = case.gpu_count if case.nodes > 1 and case.gpu_count > 16 * _MAX_GROUP else tensor
    return Layout(tensor=tensor), max(case.gpu_count // tensor, 1)


def room_of(arch: Architecture, gpu: Gpu, setup: Setup, request: Request) -> float:
    """Return the requests whose KV cache fits one replica, each at its mean length; below 1 if none does."""
    tokens = max(int(request.input_tokens + request.output_tokens / 2), 16)
    sequence = float(sequence_memory(arch, setup).sequence_bytes(tokens))
    if not sequence:
        return ENDLESS
    tensor = setup.layout.tensor
    n_caches = tensor if tensor > _MAX_GROUP and _is_latent(arch) else 1
    return float(n_caches * _left_gib(arch, gpu, setup) * GIB / sequence)


def _is_latent(arch: Architecture) -> bool:
    """Tell whether every GPU holds the cache whole, so that large groups share requests out instead."""
    return any(cache.kind == "latent" for cache in arch.caches)


def _left_gib(arch: Architecture, gpu: Gpu, setup: Setup) -> float:
    found = estimate(arch, usable_memory(gpu), setup, Load(2048, 1))
    return max(float(found.limit_gib - (found.total.gib - found.gib("KV cache"))), 0.0)


def _chunk(case: PerfCase, engine: str, gpu: Gpu) -> int:
    """Return the prompt tokens in one step: as the case says, else vLLM's default for the card."""
    said = case.setting("max_batched")
    if said.isdigit():
        return int(said)
    if engine != "vllm":
        return 0
    card = usable_memory(gpu)
    return vllm_limits(case.engine, card.gib, is_a100=card.is_a100, context=0).max_num_batched_tokens


def _era(text: str, engine: str) -> str:
    """Return `2024` for builds of that year and before, as far as a name tells; else nothing."""
    is_old = re.search(r"\b202[34]\b", text) or (engine == "vllm" and version_of(text) < _CHANGED_VLLM)
    return "2024" if is_old else ""


# --- many at once -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Runs as arrays, one element each.

    Attributes:
        work: of the models.
        request: of the loads.
        concurrency: see `Run`, as all that follow.
        room: requests.
        replicas: copies.
        busy_frac: of the time.
        is_total: of TPOT.
        per: GPUs.
    """

    work: Work
    request: Request
    concurrency: Any
    room: Any
    replicas: Any
    busy_frac: Any
    is_total: Any
    per: Any

    @classmethod
    def of(cls, runs: Sequence[Run]) -> Runs:
        """Return the arrays of some runs."""
        return cls(
            stacked([run.work for run in runs], Work),
            stacked([run.request for run in runs], Request),
            *(
                np.array([float(getattr(run, name)) for run in runs])
                for name in ("concurrency", "room", "replicas", "busy_frac", "is_total", "per")
            ),
        )


_PERCENTS = (50, 90, 95, 99)

METRICS: Mapping[str, str] = {
    "decode_tokens_per_s": "tok/s",
    "prefill_tokens_per_s": "tok/s",
    "first_token_latency_ms": "ms",
    "ttft_mean_ms": "ms",
    **{f"ttft_p{percent}_ms": "ms" for percent in _PERCENTS},
    "tpot_mean_ms": "ms",
    "output_tokens_per_s": "tok/s",
    "output_tokens_per_s_per_gpu": "tok/s/GPU",
    "server_output_tokens_per_s": "tok/s",
    "interactive_output_tokens_per_s": "tok/s",
    "server_queries_per_s": "queries/s",
    "requests_per_s": "requests/s",
    "total_tokens_per_s": "tok/s",
    "e2e_mean_ms": "ms",
}
"""What can be forecast, with its unit."""


def forecast(runs: Runs, rates: Rates, habits: Habits, server: Any) -> dict[str, Any]:
    """Return every metric of every run.

    Args:
        runs: as arrays.
        rates: of their machines, as arrays.
        habits: of their engines, as arrays.
        server: share of the throughput that is left when every answer must come in time.
    """
    work, request = runs.work, runs.request
    served = serve(work, rates, habits, request, runs.concurrency, runs.room)
    n_in, n_out = np.maximum(request.input_tokens, 1.0), request.output_tokens
    ready_s = served.ttft_s - served.waiting_s
    whole = served.ttft_s + (n_out - 1) * served.tpot_s
    alone_s = prefill_s(work, rates, habits, n_in)
    flow = served.output_tokens_per_s * runs.replicas * runs.busy_frac
    return {
        "decode_tokens_per_s": 1 / decode(work, rates, habits, 1.0, request.input_tokens + n_out / 2).total,
        "prefill_tokens_per_s": n_in / alone_s,
        "first_token_latency_ms": 1e3 * alone_s,
        "ttft_mean_ms": 1e3 * served.ttft_s,
        # Waits are spread exponentially.
        **{
            f"ttft_p{percent}_ms": 1e3 * (ready_s - np.log(1 - percent / 100) * served.waiting_s)
            for percent in _PERCENTS
        },
        "tpot_mean_ms": 1e3 * np.where(runs.is_total > 0, whole / n_out, served.tpot_s),
        "output_tokens_per_s": flow,
        "output_tokens_per_s_per_gpu": static_tokens_per_s(work, rates, habits, request, runs.concurrency)
        / runs.per,
        "server_output_tokens_per_s": flow * server,
        "interactive_output_tokens_per_s": flow * server,
        "server_queries_per_s": flow * server / n_out,
        "requests_per_s": flow / n_out,
        "total_tokens_per_s": flow * (1 + request.input_tokens / n_out),
        "e2e_mean_ms": 1e3 * whole,
    }
