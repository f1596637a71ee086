"""How much speech does Whisper write down in a second?

    a batch = windows x (sound prepared + encoder) + steps x time of a step
    step    = max(weights + windows x beams x their caches read, decoder layers x launches)

A window is 30 s of sound; its text is about 105 tokens. Engines differ tenfold in what a decoder's step
costs them: the Python ones launch every kernel, and what Python does before the GPU starts (the spectrogram,
cutting and joining windows) costs more than the encoder. These two times alone tell engines apart.

Source: published comparisons on A100 and RTX 3070 Ti, our H100, MLPerf Inference Whisper.
"""

from __future__ import annotations

from dataclasses import dataclass

from rackrate.catalog.architecture import Architecture
from rackrate.errors import NoAnswer
from rackrate.perf.chip import Chip
from rackrate.perf.estimate import Estimate
from rackrate.perf.factors import Factors, load_factors
from rackrate.perf.flop import Work, encoder_pass, products, stack_named
from rackrate.perf.reach import Asked, Spent, at_least_one, chosen, copied_bytes_per_s, ranged, spent
from rackrate.units import counted

ENGINES = (
    "openai-whisper",
    "transformers",
    "flash-attention",
    "bettertransformer",
    "faster-whisper",
    "whisper.cpp",
    "tensorrt",
    "vllm",
)
"""`transformers` stands for its default attention; the next two are its flash-attention 2 and its old
BetterTransformer path."""

NUMBERS = ("fp32", "fp16", "int8")
WINDOW_S, WINDOW_TOKENS, FRAMES = 30.0, 105, 1500
_BYTES = {"fp32": 4.0, "fp16": 2.0, "int8": 1.0}


@dataclass(frozen=True, slots=True)
class Listening:
    """How speech is written down.

    Attributes:
        batch: windows of 30 s at once.
        beams: hypotheses of a window.
        engine: one of `ENGINES`.
        number: one of `NUMBERS`, of the weights.
    """

    batch: int = 1
    beams: int = 1
    engine: str = "faster-whisper"
    number: str = "fp16"

    def __post_init__(self) -> None:
        at_least_one(batch=self.batch, beams=self.beams)
        chosen("engine", self.engine, ENGINES)
        chosen("number type", self.number, NUMBERS)


def encoder_spent(arch: Architecture, chip: Chip, listening: Listening, factors: Factors) -> Spent:
    """Return the time of the encoder for a batch of windows."""
    work = encoder_pass(arch, "audio", "encoder", FRAMES).times(listening.batch)
    number = "fp16" if listening.number == "int8" else listening.number  # int8 pays in the decoder
    return spent(work, chip, factors, number, ("speech", listening.engine))


def step_spent(arch: Architecture, chip: Chip, listening: Listening, factors: Factors) -> Spent:
    """Return the time of one step of the decoder: one token for every window and beam."""
    decoder = stack_named(arch, "decoder")
    sequences = listening.batch * listening.beams
    tensors = [t for t in arch.tensors if t.part == "language"]
    head = Work(2.0 * arch.vocab_size * decoder.hidden_size)
    weights = sum(t.n_params for t in tensors) * _BYTES[listening.number]
    cache = 2.0 * decoder.n_layers * (FRAMES + WINDOW_TOKENS / 2) * decoder.kv_size * _BYTES["fp16"]
    compute = spent(
        (products(tensors, 1) + head).times(sequences), chip, factors, "fp16", ("speech", listening.engine)
    )
    read_s = (weights + sequences * cache) / copied_bytes_per_s(chip, factors)
    launched_s = decoder.n_layers * factors.value("layer_s", listening.engine)
    return Spent(compute.compute_s, read_s, launched_s)


def audio_s_per_s(
    arch: Architecture,
    chip: Chip,
    listening: Listening,
    *,
    n_gpus: int = 1,
    factors: Factors | None = None,
) -> Estimate:
    """Return the seconds of speech written down in a second: the inverse of the real-time factor.

    Args:
        arch: a Whisper.
        chip: one GPU.
        listening: load and engine.
        n_gpus: each with a copy of the model.
        factors: the table; the bundled one by default.

    Raises:
        NoAnswer: a model without encoder and decoder.
    """
    at_least_one(GPUs=n_gpus)
    if arch.task != "asr":
        raise NoAnswer(f"{arch.name} does not write down speech", hint="Whisper and its kin do")
    factors = factors or load_factors("media")
    encoder = encoder_spent(arch, chip, listening, factors)
    steps = step_spent(arch, chip, listening, factors).times(WINDOW_TOKENS)
    prepared_s = listening.batch * factors.value("window_s", listening.engine)
    total_s = encoder.total_s + steps.total_s + prepared_s
    limit = "host" if prepared_s > steps.total_s else steps.limit
    at_once = f"{counted(listening.batch, 'window')} x {counted(listening.beams, 'beam')}"
    says = (
        f"{listening.engine} in {listening.number}, {at_once}",
        f"{WINDOW_TOKENS} tokens for each 30 s, on {counted(n_gpus, 'GPU')}",
    )
    value = n_gpus * listening.batch * WINDOW_S / total_s
    asked = Asked("speech", arch.name, chip.gpu)
    return ranged(value, "s/s", limit, asked, factors, says)
