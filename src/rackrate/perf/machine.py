"""GPUs, an engine and a kind of weights together: which factors apply to them, and what rates follow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from rackrate.fit.precision import Precision
from rackrate.fit.term import smaller
from rackrate.perf.chip import MICRO, Chip
from rackrate.perf.factors import Factors
from rackrate.perf.serving import CHUNK_TOKENS, USUAL_CHUNK, Habits
from rackrate.perf.step import Rates


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """A group of GPUs that runs one copy of a model.

    Attributes:
        chip: of one GPU.
        engine: family of the software: `vllm`, `tensorrt-llm`, `sglang`, `llama.cpp`, ...
        packing: how the weights are stored, see `packing_of`.
        tensor: GPUs that share every layer.
        pipeline: GPUs (or groups of them) that hold a run of layers each.
        chunk_tokens: prompt tokens in one step at most; 0 for the engine's usual number.
        era: of a build whose ways have changed since: `2024` and before; empty for present ones.
    """

    chip: Chip
    engine: str
    packing: str
    tensor: int = 1
    pipeline: int = 1
    chunk_tokens: int = 0
    era: str = ""


def packing_of(precision: Precision) -> str:
    """Return how weights are stored, as far as their kernels differ.

    `wide` 16 or 32 bits; `fp8`, `int8`, `nvfp4`, `mxfp4`: multiplied as they are where the chip can;
    `int4`, `nf4`: unpacked to 16 bit; `gguf`: llama.cpp's blocks, multiplied in 8 bit.
    """
    if precision.recipe:
        return "gguf" if precision.bits < 16 else "wide"  # noqa: PLR2004 - 16 bit files hold plain numbers
    if precision.is_wide:
        return "wide"
    for name in ("fp8", "int8", "nvfp4", "mxfp4", "nf4"):
        if precision.matrix.startswith(name):
            return name
    return "int4"


_NUMBERS: Mapping[str, str] = {
    "wide": "fp16",
    "fp8": "fp8",
    "int8": "int8",
    "nvfp4": "fp4",
    "mxfp4": "fp4",
    "int4": "fp16",
    "nf4": "fp16",
    "gguf": "int8",
}
"""The type of number that a packing is multiplied in where the chip can."""


def factor_keys(machine: Machine, arrivals: str = "steady") -> dict[str, tuple[str, ...]]:
    """Return the factors of a machine, each with the keys that may have a multiplier.

    Args:
        machine: GPUs, engine and kind of weights.
        arrivals: `steady`, where requests come on their own, or `closed`, where a fixed number of clients
            ask again as soon as they have an answer, as benchmarks do.
    """
    chip, engine, packing = machine.chip, machine.engine, machine.packing
    number = chip.number(_NUMBERS[packing])
    hardware = (chip.kind, chip.gpu)
    several = f"x{min(machine.tensor, 8)}"
    build = f"{engine}:{machine.era}" if machine.era else ""
    return {
        "memory": (*hardware, engine, packing, f"{engine}:{packing}", f"{engine}:{chip.kind}", build),
        "cache": (chip.kind, engine),
        "compute": (*hardware, engine, number, f"{packing}:{number}", f"{engine}:{chip.kind}", build),
        "attention": (chip.kind, engine),
        "link": (chip.link, f"{chip.link}:{several}", f"{chip.gpu}:{several}", engine),
        "link_us": (chip.link, several, f"{chip.link}:{several}", chip.gpu, engine),
        "step_us": (engine, chip.kind, build),
        "layer_us": (engine, chip.kind, f"{engine}:{packing}"),
        "expert_layer_us": (engine, chip.kind),
        "sequence_us": (engine,),
        "request_us": (engine, chip.kind),
        "ramp": (engine, chip.kind),
        "wait": (engine, arrivals),
        "burst": (engine, arrivals),
        "wave": (engine, arrivals),
        "pipeline": (f"stages{min(machine.pipeline, 8)}", machine.era),
        "server": (engine,),
        "sharpness": (),
    }


def assemble(numbers: Mapping[str, Any], values: Mapping[str, Any]) -> Rates:
    """Return the rates that follow from data-sheet numbers and the values of the factors.

    Args:
        numbers: `flops`, `attention_flops`, `bandwidth`, `link_bandwidth` (one way), `tensor`.
        values: of the factors, by name. All may be arrays.
    """
    n = numbers["tensor"]
    trips = 2 * (n - 1) / n + (n == 1)  # a ring passes each byte 2 (n - 1) / n times
    bandwidth = numbers["bandwidth"] * values["memory"]
    return Rates(
        flops=numbers["flops"] * values["compute"],
        attention_flops=numbers["attention_flops"] * values["compute"] * values["attention"],
        bandwidth=bandwidth,
        kv_bandwidth=bandwidth * values["cache"],
        link_bandwidth=numbers["link_bandwidth"] * values["link"] / trips,
        link_s=values["link_us"] * MICRO,
        step_s=values["step_us"] * MICRO,
        layer_s=values["layer_us"] * MICRO,
        expert_layer_s=values["expert_layer_us"] * MICRO,
        sequence_s=values["sequence_us"] * MICRO,
        tensor=n,
        sharpness=values["sharpness"],
    )


def numbers_of(machine: Machine) -> dict[str, float]:
    """Return the data-sheet numbers of one GPU of a machine that `assemble` asks for."""
    chip = machine.chip
    return {
        "flops": chip.peak(_NUMBERS[machine.packing]) * chip.reached_frac,
        "attention_flops": chip.peak("fp16") * chip.reached_frac,
        "bandwidth": chip.bandwidth,
        "link_bandwidth": chip.link_bandwidth,
        "tensor": float(machine.tensor),
    }


@lru_cache(maxsize=4096)
def rates_of(machine: Machine, factors: Factors) -> Rates:
    """Return the rates of a machine."""
    values = {name: factors.value(name, *keys) for name, keys in factor_keys(machine).items()}
    return assemble(numbers_of(machine), values)


def assemble_habits(machine: Mapping[str, Any], values: Mapping[str, Any]) -> Habits:
    """Return what an engine does beside its steps, from the values of the factors.

    Args:
        machine: `chunk_tokens`, `stages`, and `is_closed`, which is 1 for closed arrivals and else 0.
        values: of the factors, by name. All may be arrays.
    """
    return Habits(
        chunk_tokens=machine["chunk_tokens"],
        ramp_tokens=values["ramp"],
        request_s=values["request_us"] * MICRO,
        wait=values["wait"],
        burst=values["burst"],
        wave=values["wave"] * machine["is_closed"],
        stages=machine["stages"],
        stage_gain=smaller(values["pipeline"], 1.0),
    )


def habit_numbers(machine: Machine, arrivals: str = "steady") -> dict[str, float]:
    """Return the numbers of a machine that `assemble_habits` asks for."""
    return {
        "chunk_tokens": float(machine.chunk_tokens or CHUNK_TOKENS.get(machine.engine, USUAL_CHUNK)),
        "stages": float(machine.pipeline),
        "is_closed": float(arrivals == "closed"),
    }


@lru_cache(maxsize=4096)
def habits_of(machine: Machine, factors: Factors, arrivals: str = "steady") -> Habits:
    """Return what a machine's engine does beside its steps."""
    values = {name: factors.value(name, *keys) for name, keys in factor_keys(machine, arrivals).items()}
    return assemble_habits(habit_numbers(machine, arrivals), values)
