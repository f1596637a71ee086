"""How many texts a second does an encoder such as BERT read, and how long does one take?

    time of a text = work of its own tokens; padding counts where the engine computes it
    latency of one = weights read once + work + launches

A server reaches less than a full batch would: the slower a text against the time that may be waited, the
smaller the batches that can be gathered.

Source: MLPerf Inference BERT: SQuAD 1.1, at most 384 tokens, of which 180 are text on average.
"""

from __future__ import annotations

from dataclasses import dataclass

from rackrate.catalog.architecture import Architecture
from rackrate.perf.chip import Chip
from rackrate.perf.estimate import Estimate
from rackrate.perf.factors import Factors, load_factors
from rackrate.perf.flop import encoder_pass
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
from rackrate.units import counted

ENGINES = ("eager", "tensorrt")
"""Kernels one by one (transformers), or fused and without padding (TensorRT)."""

NUMBERS = ("fp32", "tf32", "fp16", "fp8", "int8", "8-bit")
SQUAD_TOKENS, SQUAD_P90_TOKENS = 180, 280  # of a question with its paragraph: mean, and 9 in 10 are shorter


@dataclass(frozen=True, slots=True)
class Reading:
    """What is read, and how.

    Attributes:
        tokens: of a text, without padding where the engine leaves it out.
        batch: texts at once, where that is set; 0 for as many as it takes to fill the GPU.
        engine: one of `ENGINES`.
        number: one of `NUMBERS`; `8-bit` is what is fastest on the card.
    """

    tokens: int = SQUAD_TOKENS
    batch: int = 0
    engine: str = "tensorrt"
    number: str = "8-bit"

    def __post_init__(self) -> None:
        at_least_one(tokens=self.tokens, batch=self.batch or 1)
        chosen("engine", self.engine, ENGINES)
        chosen("number type", self.number, NUMBERS)


def batch_spent(arch: Architecture, chip: Chip, reading: Reading, factors: Factors | None = None) -> Spent:
    """Return the time of one batch on one GPU; of one text's share where no batch is set."""
    factors = factors or load_factors("media")
    number = multiplied_in(chip, reading.number)
    work = encoder_pass(arch, arch.tensors[0].part, arch.main.name, reading.tokens)
    keys = ("encoder", reading.engine)
    found = spent(work.times(reading.batch or 1), chip, factors, number, keys, arch.main.n_layers)
    return found if reading.batch else Spent(found.compute_s, found.memory_s)


def texts_per_s(
    arch: Architecture,
    chip: Chip,
    reading: Reading,
    *,
    n_gpus: int = 1,
    is_server: bool = False,
    factors: Factors | None = None,
) -> Estimate:
    """Return the texts a second of some GPUs, each with a copy of the model.

    Args:
        arch: the encoder.
        chip: one GPU.
        reading: texts and engine.
        n_gpus: how many.
        is_server: whether requests come at random and must be answered within 130 ms.
        factors: the table; the bundled one by default.
    """
    at_least_one(GPUs=n_gpus)
    factors = factors or load_factors("media")
    time = batch_spent(arch, chip, reading, factors)
    one_s = time.total_s / (reading.batch or 1)
    share = 1.0
    if is_server:
        share = factors.value("server", "encoder") / (1 + one_s / factors.value("patience_s"))
    how = f"{reading.engine} in {reading.number} on {counted(n_gpus, 'GPU')}"
    says = (f"{reading.tokens} tokens a text", how)
    asked = _asked(arch, chip, reading)
    return ranged(n_gpus / one_s * share, "samples/s", time.limit, asked, factors, says)


def latency_s(arch: Architecture, chip: Chip, reading: Reading, factors: Factors | None = None) -> Estimate:
    """Return the time of a single text on an idle GPU, seconds."""
    factors = factors or load_factors("media")
    number = multiplied_in(chip, reading.number)
    width = {"fp32": 4, "tf32": 4, "fp16": 2}.get(chip.number(number), 1)
    read_s = width * arch.n_params / copied_bytes_per_s(chip, factors)
    work = encoder_pass(arch, arch.tensors[0].part, arch.main.name, reading.tokens)
    time = spent(work, chip, factors, number, ("encoder", reading.engine), arch.main.n_layers)
    time += Spent(memory_s=read_s)
    says = (f"one text of {reading.tokens} tokens", f"{reading.engine} in {reading.number}")
    asked = _asked(arch, chip, reading)
    return ranged(time.total_s, "s", time.limit, asked, factors, says)


def _asked(arch: Architecture, chip: Chip, reading: Reading) -> Asked:
    is_unlike = reading.engine == "eager"  # one case alone speaks of stock transformers
    return Asked("encoder", arch.name, chip.gpu, is_unlike)
