"""How fast is it: from what a person writes to images, speech, texts and training in `rackrate.perf`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from rackrate.catalog.architecture import Architecture
from rackrate.errors import NoAnswer, UnknownName, nearest
from rackrate.fit.precision import PRECISIONS, Precision
from rackrate.pace import Pace, Situation, card_for, fitting, taken_words
from rackrate.perf import diffusion, encoder, speech, training
from rackrate.perf.chip import Chip, chip_of
from rackrate.perf.estimate import Estimate
from rackrate.perf.power import drawn_w
from rackrate.sizing import Weights, Wish

_ENGINES: Mapping[str, Mapping[str, str]] = {
    "image": {
        "eager": "diffusers",
        "compiled": "diffusers",
        "tensorrt": "diffusers",
        "diffusers": "diffusers",
    },
    "encoder": {"eager": "transformers", "tensorrt": "transformers", "transformers": "transformers"},
    "asr": {
        "faster-whisper": "faster-whisper",
        "openai-whisper": "openai-whisper",
        "transformers": "transformers",
        "flash-attention": "transformers",
        "bettertransformer": "transformers",
        "whisper.cpp": "faster-whisper",
        "tensorrt": "faster-whisper",
        "vllm": "faster-whisper",
    },
}
"""How a kind of model is run, by the names of the speed model, to the engine whose memory is counted."""

_STOCK = {"diffusers": "eager", "transformers": "eager"}
"""Engines of the memory model under which kernels are launched one by one."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A model on one GPU, and what it is given."""

    arch: Architecture
    chip: Chip
    engine: str
    number: str
    batch: int
    n_gpus: int
    load: Mapping[str, int]


def media_pace(weights: Weights, gpu: str, wish: Wish, *, batch: int, load: Mapping[str, int]) -> Pace:
    """Return how fast a model makes images, writes down speech or reads texts.

    Args:
        weights: the model.
        gpu: name with a count; each GPU has a copy.
        wish: how it is run; its engine may be one of the speed model.
        batch: images, windows of 30 s or texts at once on a GPU.
        load: `pixels` and `steps` of an image, `beams` of speech, `input` tokens of a text, where given.

    Raises:
        NoAnswer: it does not fit, or no speed of the GPU is known.
        UnknownName: an engine or precision of which no speed is known.
    """
    task = weights.arch.task
    card, n_gpus = card_for(gpu)
    engine, wish = _engine(task, wish)
    memory = {name: load[name] for name in ("pixels", "beams") if name in load}
    fit = fitting(weights, gpu, wish, concurrency=batch, **memory)
    chip, (figures_of, numbers, doing, what) = chip_of(card), _KINDS[task]
    number = _number(fit.setup.precision, numbers)
    figures = figures_of(_Asked(fit.arch, chip, engine, number, batch, n_gpus, load))
    paid = next(iter(figures))
    title = f"{batch} {what}{'s' * (batch > 1)} at once on each GPU"
    return Pace(
        fit=fit,
        asked=", ".join((*figures[paid].assumptions[:2], *taken_words(gpu, card))),
        asked_for=Situation(title, float(batch * n_gpus), figures),
        paid=paid,
        watts=drawn_w(chip, doing, n_gpus),
    )


def training_pace(weights: Weights, gpu: str, wish: Wish, *, tokens: int, batch: int) -> Pace:
    """Return how fast a language model or encoder is trained.

    Args:
        weights: the model.
        gpu: name with a count.
        wish: task, precision and training.
        tokens: of a sequence.
        batch: sequences a GPU and step.

    Raises:
        NoAnswer: it does not fit, or how fast such a model trains is not modelled.
    """
    card, n_gpus = card_for(gpu)
    fit = fitting(weights, gpu, wish, context=tokens, concurrency=batch)
    how = fit.setup.training
    run = training.Run(
        method=fit.setup.task,
        tokens=tokens,
        batch=batch,
        number="fp32" if fit.setup.precision.name == "fp32" else "fp16",
        has_checkpointing=bool(how and how.has_checkpointing),
        is_sharded=fit.setup.layout.shard > 0,
        n_gpus=n_gpus,
    )
    chip = chip_of(card)
    speed = training.tokens_per_s(fit.arch, chip, run)
    figures = {"tokens_per_s": speed, "samples_per_s": training.samples_per_s(fit.arch, chip, run)}
    where = Situation("a training run", float(batch * n_gpus), figures)
    asked = f"{batch} x {tokens:,} tokens a GPU and step"
    return Pace(fit, asked, where, "tokens_per_s", drawn_w(chip, "training", n_gpus))


def _engine(task: str, wish: Wish) -> tuple[str, Wish]:
    """Return how the speed model calls the engine, and the wish with that of the memory model."""
    known = _ENGINES[task]
    name = wish.engine.partition(" ")[0].lower() or {"asr": "faster-whisper"}.get(task, "eager")
    if name not in known:
        raise UnknownName("engine", name, nearest(name, known) or tuple(known))
    run_by = name if task == "asr" else _STOCK.get(name, name)
    return run_by, replace(wish, engine=known[name])


def _number(precision: Precision, known: tuple[str, ...]) -> str:
    """Return the type in which weights of a precision are multiplied."""
    name = "fp16" if precision.name == "bf16" else precision.name
    if name not in known:
        able = tuple(number for number in known if number in PRECISIONS)
        why = "its speed is not modelled"
        raise UnknownName("precision", precision.name, nearest(name, able) or able, why=why)
    return name


def _images(asked: _Asked) -> Mapping[str, Estimate]:
    how = {name: asked.load[name] for name in ("pixels", "steps") if name in asked.load}
    drawing = diffusion.usual(
        asked.arch.name, batch=asked.batch, engine=asked.engine, number=asked.number, **how
    )
    flow = diffusion.images_per_s(asked.arch, asked.chip, drawing, n_gpus=asked.n_gpus)
    return {"images_per_s": flow, "s_per_image": inverse(flow, "s", times=asked.n_gpus)}


def _speech(asked: _Asked) -> Mapping[str, Estimate]:
    beams = asked.load.get("beams", 1)
    listening = speech.Listening(asked.batch, beams, asked.engine, asked.number)
    flow = speech.audio_s_per_s(asked.arch, asked.chip, listening, n_gpus=asked.n_gpus)
    return {"audio_s_per_s": flow, "real_time_factor": inverse(flow, "s of work a s of sound")}


def _texts(asked: _Asked) -> Mapping[str, Estimate]:
    if not asked.arch.vocab_size:
        hint = "`rackrate fit` knows its memory"
        raise NoAnswer(
            f"{asked.arch.name} reads no text: the speed of other encoders is not known", hint=hint
        )
    tokens = asked.load.get("input", encoder.SQUAD_TOKENS)
    reading = encoder.Reading(tokens, asked.batch, asked.engine, asked.number)
    flow = encoder.texts_per_s(asked.arch, asked.chip, reading, n_gpus=asked.n_gpus)
    return {"texts_per_s": flow, "s_per_text": encoder.latency_s(asked.arch, asked.chip, reading)}


_KINDS: Mapping[str, tuple[Callable[[_Asked], Mapping[str, Estimate]], tuple[str, ...], str, str]] = {
    "image": (_images, diffusion.NUMBERS, "diffusion", "image"),
    "asr": (_speech, speech.NUMBERS, "speech", "window of 30 s"),
    "encoder": (_texts, encoder.NUMBERS, "encoder", "text"),
}
"""Of each kind of model: its figures, the paid one first; types of number; draw of power; what there is."""


def inverse(found: Estimate, unit: str, *, times: float = 1.0) -> Estimate:
    """Return the time of one from how many a second there are, `times` of them side by side."""
    return replace(
        found, value=times / found.value, low=times / found.high, high=times / found.low, unit=unit
    )
