"""How long does a training benchmark take to reach its target on some GPUs?

    minutes = samples to the target / samples a second       where the model is known (BERT, Llama 2 70B LoRA)
    minutes = work to the target / arithmetic a second       elsewhere

Samples and work are properties of the benchmark and not of the GPUs: one fitted number for each. Larger
batches need more samples. A benchmark that no case speaks of gets the middle of the others, and a range
that says how little that means.

Source: MLPerf Training v4.0.
"""

from __future__ import annotations

from rackrate.catalog.architecture import Architecture
from rackrate.perf.chip import Chip
from rackrate.perf.estimate import Estimate
from rackrate.perf.factors import Factors, load_factors
from rackrate.perf.reach import Asked, at_least_one, product_flops, ranged
from rackrate.perf.training import Run, samples_per_s, scaling

MINUTE_S = 60.0
EXA = 1e18
SAMPLED = ("bert", "llama2-70b-lora")
"""Benchmarks whose speed follows from their model."""

_USUAL_BATCH = {"bert": 384, "llama2-70b-lora": 8}  # sequences of a step, for which samples are stated


def minutes_by_samples(
    name: str, arch: Architecture, chip: Chip, run: Run, batch: int, factors: Factors | None = None
) -> Estimate:
    """Return the minutes to the target of a benchmark in `SAMPLED`.

    Args:
        name: of the benchmark.
        arch: its model.
        chip: one GPU.
        run: how it is trained.
        batch: sequences of a step of all GPUs; 0 where it is not known.
        factors: the table; the bundled one by default.
    """
    factors = factors or load_factors("media")
    usual = _USUAL_BATCH[name]
    samples = factors.value("samples", name) * ((batch or usual) / usual) ** factors.value("batch_growth")
    speed = samples_per_s(arch, chip, run, factors)
    says = (*speed.assumptions, f"{samples:,.0f} samples to the target")
    value = samples / speed.value / MINUTE_S
    asked = Asked("benchmark", name, chip.gpu)
    return ranged(value, "min", speed.limit, asked, factors, says)


def minutes_by_work(
    name: str, chip: Chip, *, n_gpus: int, n_nodes: int = 1, factors: Factors | None = None
) -> Estimate:
    """Return the minutes to the target of any other benchmark.

    Args:
        name: as the table of factors has it; an unknown one gets the middle of the known.
        chip: one GPU.
        n_gpus: of all nodes.
        n_nodes: machines.
        factors: the table; the bundled one by default.
    """
    at_least_one(GPUs=n_gpus, nodes=n_nodes)
    factors = factors or load_factors("media")
    work = EXA * factors.value("work", name)
    run = Run(n_gpus=n_gpus, n_nodes=n_nodes, engine="tuned")
    value = work / (flops_of(chip, run, factors) * n_gpus) / MINUTE_S
    asked = Asked("benchmark", name, chip.gpu)
    is_known = factors.is_measured("work", name)
    says = (
        f"{work / EXA:.3g} EFLOP of useful work to the target" + ("" if is_known else ", as others have"),
        f"{n_gpus} GPUs of {n_nodes} nodes",
    )
    return ranged(value, "min", "compute", asked, factors, says)


def flops_of(chip: Chip, run: Run, factors: Factors) -> float:
    """Return the FLOP/s that one GPU gives to a tuned benchmark in 16 bit."""
    return product_flops(chip, factors, chip.number("fp16")) * scaling(run, factors)


def tuned_number(chip: Chip) -> str:
    """Return the type in which submitters train transformers: 8 bit where the engines know how."""
    return "8-bit" if chip.kind in ("hopper", "blackwell-dc") else "fp16"
