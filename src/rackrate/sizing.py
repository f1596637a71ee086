"""Does it fit: from what a person writes to an answer of `rackrate.fit`.

A model is a slug or name of the catalog, a `config.json`, a safetensors or GGUF file or its address,
`hf:owner/name`, or a bare count such as `70B`; a card is a GPU's name with a count, such as
`l40s:2`, or an amount of memory such as `24GiB`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from rackrate.catalog.aliases import family_members, match_gpu
from rackrate.catalog.architecture import Architecture, read_config
from rackrate.catalog.architecture.bare import architecture_of_count, best_architecture
from rackrate.catalog.gpu import find_gpu, load_gpu
from rackrate.catalog.load import slugs
from rackrate.catalog.model import find_model
from rackrate.errors import BadQuantity, ImportRejected, NoAnswer, UnknownName, UsageError, nearest
from rackrate.fit.kv import kv_bytes
from rackrate.fit.overhead import Card, usable_memory
from rackrate.fit.parallel import Layout
from rackrate.fit.pipeline import OFFLOADS
from rackrate.fit.precision import PRECISIONS, Precision, find_precision, from_config
from rackrate.fit.setup import Load, Setup, choose_engine, default_layout
from rackrate.fit.solve import SURE, Fit, solve
from rackrate.fit.training import Training
from rackrate.units import parse_number

if TYPE_CHECKING:
    from rackrate.checkpoint import Header

LARGEST_COUNT = 1024
LARGEST_GIB = 4096  # of one card
LONGEST = 1 << 30  # tokens: beyond any model
MOST_AT_ONCE = 65_536  # sequences: beyond any engine


@dataclass(frozen=True)
class Weights:
    """A model to load.

    Attributes:
        arch: what it is made of.
        stored_bytes: of the tensors in its files, where these were read; 0 where they were not.
    """

    arch: Architecture
    stored_bytes: int = 0


def find_weights(what: str) -> Weights:
    """Return the model that a person means: see the module for the forms.

    Raises:
        UnknownName: no model of the catalog answers to it.
        ImportRejected: a file or address that cannot be read as a model.
        NoAnswer: a config without a number that memory depends on.
    """
    text = what.strip()
    if text.startswith("hf:"):
        return _from_hub(text.removeprefix("hf:"))
    if re.match(r"https?://", text) or _exists(text):
        return _from_files(text)
    count = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([bm])", text, re.IGNORECASE)
    if count:
        scale = 1e9 if count[2].lower() == "b" else 1e6
        return Weights(architecture_of_count(float(count[1]) * scale, text))
    if text.endswith((".json", ".gguf", ".safetensors")):
        raise ImportRejected(f"{text} does not exist", hint="give the path of a config or of weights")
    return Weights(best_architecture(find_model(text)))


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # longer than a file's name may be, or with a NUL
        return False


def _from_files(text: str) -> Weights:
    from rackrate import checkpoint  # noqa: PLC0415 - most questions name a model of the catalog

    path = Path(text)
    if path.is_file() and path.suffix == ".json" and not path.name.endswith(".index.json"):
        return Weights(
            read_config(_config_file(path), path.parent.name if path.stem == "config" else path.stem)
        )
    return _of_header(checkpoint.read(text))


def _config_file(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ImportRejected(f"{path} cannot be read as JSON: {error}") from None
    if not isinstance(config, dict):
        raise ImportRejected(
            f"{path} is no config: it holds {type(config).__name__}", hint="give a config.json"
        )
    return config


def _from_hub(repository: str) -> Weights:
    from rackrate.checkpoint import hub  # noqa: PLC0415 - the network only when it is asked for

    return _of_header(hub.read(repository))


def _of_header(header: Header) -> Weights:
    from rackrate.checkpoint import hf_config  # noqa: PLC0415 - loaded by whoever made the header

    config = hf_config(header) if header.format == "gguf" else header.config
    if not config:
        hint = "put the model's config.json beside it"
        raise ImportRejected(f"{header.name} holds weights and no config", hint=hint)
    return Weights(read_config(config, header.name), header.n_bytes)


def find_card(text: str) -> tuple[Card, int]:
    """Return the memory of a card and how many of them are meant.

    A family, such as `a100-80gb`, is taken at its smallest member.

    >>> find_card("l40s:2")[0].gpu, find_card("l40s:2")[1]
    ('l40s', 2)

    Raises:
        UnknownName: no such GPU.
        BadQuantity: a count that is none.
    """
    name, colon, count = text.partition(":")
    n_gpus = _whole(count, "GPU count") if colon else 1
    memory = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*gi?b\s*", name, re.IGNORECASE)
    if memory:
        gib = float(memory[1])
        if not 0 < gib <= LARGEST_GIB:
            raise BadQuantity(f"memory {name!r} is not above 0 and at most {LARGEST_GIB} GiB", hint="24GiB")
        return Card(f"{gib:g} GiB", gib, 0.0, "as given", "you"), n_gpus
    slug = match_gpu(name).slug
    members = [m for m in family_members(slug) if m in slugs("gpus")] if slug else []
    if slug and members:
        return min((usable_memory(load_gpu(m)) for m in members), key=lambda card: card.gib), n_gpus
    return usable_memory(find_gpu(name)), n_gpus


def _whole(text: str, what: str) -> int:
    number = parse_number(text, what)
    if number != int(number) or not 1 <= number <= LARGEST_COUNT:
        raise BadQuantity(f"{what} {text!r} is no whole number of 1 to {LARGEST_COUNT}", hint="write l40s:2")
    return int(number)


def parse_tokens(text: str | int) -> int:
    """Read a number of tokens: `8192`, `8k` (8,192), `128K`, `1M`.

    Raises:
        BadQuantity: not of that form, below 1 or beyond any model.
    """
    match = re.fullmatch(r"\s*(\d[\d_,]*(?:\.\d+)?)\s*([km]?)\s*", str(text), re.IGNORECASE)
    scale = {"": 1, "k": 1024, "m": 1024 * 1024}[match[2].lower()] if match else 0
    tokens = float(match[1].replace(",", "").replace("_", "")) * scale if match else 0
    if not 1 <= tokens <= LONGEST or tokens != int(tokens):
        raise BadQuantity(f"context {text!r} is no number of tokens", hint="write it like 8192 or 8k")
    return int(tokens)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person may say about how a model is run; what is left empty takes the engine's default.

    Attributes:
        task: `inference`, `full`, `lora` or `qlora`.
        precision: name of a precision; empty for what the model was published in, or bf16.
        kv: type of the KV cache.
        engine: name, and a version after a blank.
        tensor: GPUs that share every layer; 0 for the engine's own way.
        pipeline: groups of GPUs with a run of layers each; 0 likewise.
        memory_fraction: of the card; 0 for the engine's default.
        max_num_seqs: sequences in one step; 0 for the engine's default.
        max_num_batched_tokens: tokens in one step; 0 for the engine's default.
        is_eager: no CUDA graphs.
        has_flash_attention: whether attention scores are never written out.
        offload: of a pipeline: `none`, `model` or `sequential`.
        training: how it is trained.
    """

    task: str = "inference"
    precision: str = ""
    kv: str = "fp16"
    engine: str = ""
    tensor: int = 0
    pipeline: int = 0
    memory_fraction: float = 0.0
    max_num_seqs: int = 0
    max_num_batched_tokens: int = 0
    is_eager: bool = False
    has_flash_attention: bool = True
    offload: str = "none"
    training: Training | None = None

    def __post_init__(self) -> None:
        for name in ("task", "precision", "kv", "engine", "offload"):
            value: object = getattr(self, name)
            if not isinstance(value, str):
                raise UsageError(f"{name} {value!r} is not a name", hint="give it as text")
        for name in ("tensor", "pipeline", "max_num_seqs", "max_num_batched_tokens"):
            if getattr(self, name) != 0:
                _count(getattr(self, name), name, 1 << 24)
        if not isinstance(self.memory_fraction, (int, float)) or not 0 <= self.memory_fraction <= 1:
            what = f"memory fraction {self.memory_fraction!r} is not above 0 and at most 1"
            raise BadQuantity(what, hint="vLLM's default is 0.9")
        if self.offload not in OFFLOADS:
            raise UnknownName("offload", self.offload, nearest(self.offload, OFFLOADS) or OFFLOADS)


def _count(value: object, what: str, most: int) -> int:
    """Return a whole number of 1 to `most`.

    Raises:
        BadQuantity: anything else.
    """
    number = index(value) if isinstance(value, SupportsIndex) and not isinstance(value, bool) else 0
    if not 1 <= number <= most:
        raise BadQuantity(f"{what} {value!r} is no whole number of 1 to {most:,}", hint="write it like 4")
    return number


def setup_for(weights: Weights, n_gpus: int, wish: Wish) -> Setup:
    """Return the full set-up that a wish leaves to the defaults.

    Raises:
        UnknownName: an engine, precision or cache type that is not there.
        UsageError: values that do not go together.
    """
    arch = weights.arch
    name, _, version = wish.engine.partition(" ")
    engine = choose_engine(arch, wish.task, name)
    kv_bytes(wish.kv)
    layout = default_layout(arch, engine, wish.task, n_gpus)
    if wish.tensor or wish.pipeline:
        layout = _asked_layout(arch, wish, n_gpus)
    training = None
    if wish.task != "inference":
        training = replace(wish.training or Training(), method=wish.task)
    return Setup(
        engine=engine,
        version=version,
        task=wish.task,
        precision=_precision(arch, wish),
        kv=wish.kv,
        layout=layout,
        memory_fraction=wish.memory_fraction or engine.memory_fraction,
        max_num_seqs=wish.max_num_seqs,
        max_num_batched_tokens=wish.max_num_batched_tokens,
        is_eager=wish.is_eager,
        has_flash_attention=wish.has_flash_attention,
        offload=wish.offload,
        training=training,
        stored_bytes=weights.stored_bytes if not wish.precision else 0,
    )


def _asked_layout(arch: Architecture, wish: Wish, n_gpus: int) -> Layout:
    tensor = wish.tensor or max(n_gpus // max(wish.pipeline, 1), 1)
    pipeline = wish.pipeline or max(n_gpus // tensor, 1)
    if tensor * pipeline != n_gpus:
        raise UsageError(
            f"tensor parallel {tensor} x pipeline {pipeline} is not {n_gpus} GPUs",
            hint=f"give --gpu NAME:{tensor * pipeline}, or another split",
        )
    if arch.main.n_heads % tensor:
        able = [n for n in range(1, arch.main.n_heads + 1) if arch.main.n_heads % n == 0]
        near = min(able, key=lambda n: abs(n - tensor))
        what = f"{arch.main.n_heads} attention heads do not divide by tensor parallel {tensor}"
        raise UsageError(what, hint=f"the nearest that does is {near}")
    return Layout(tensor=tensor, pipeline=pipeline)


def _precision(arch: Architecture, wish: Wish) -> Precision:
    if wish.precision:
        return find_precision(wish.precision)
    if wish.task == "qlora":
        return PRECISIONS["nf4-dq"]
    if arch.quantization:
        return from_config(arch.quantization, arch)
    return PRECISIONS["fp16" if arch.dtype == "fp16" else "bf16"]


def fits(
    model: str | Weights,
    gpu: str = "l40s",
    *,
    context: int | str = 8192,
    concurrency: int = 1,
    wish: Wish | None = None,
    pixels: int = 1024 * 1024,
    beams: int = 5,
    **options: Any,
) -> Fit:
    """Return whether a model fits a card under a load.

    Args:
        model: see the module for the forms.
        gpu: name with a count, such as `l40s:2`; or an amount of memory, such as `24GiB`.
        context: tokens of a sequence, prompt and answer.
        concurrency: sequences (images, windows of speech; of training a GPU's batch) at once.
        wish: how it is run.
        pixels: of an image that is made.
        beams: hypotheses of a speech decoder.
        options: fields of `Wish`, instead of one.

    Raises:
        UnknownName: a model, GPU, engine or precision that is not there.
        BadQuantity: a number that cannot be.
        UsageError: values that do not go together.
    """
    load = Load(
        parse_tokens(context),
        _count(concurrency, "concurrency", MOST_AT_ONCE),
        pixels=_count(pixels, "pixels", 1 << 32),
        beams=_count(beams, "beams", MOST_AT_ONCE),
    )
    weights = model if isinstance(model, Weights) else find_weights(model)
    card, n_gpus = find_card(gpu)
    setup = setup_for(weights, n_gpus, wish or _wish(options))
    return solve(weights.arch, card, setup, load)


def _wish(options: Mapping[str, Any]) -> Wish:
    unknown = [name for name in options if name not in Wish.__slots__]
    if unknown:
        raise UnknownName("option", unknown[0], list(Wish.__slots__))
    return Wish(**options)


@dataclass(frozen=True)
class Choice:
    """The best way to run a model on a card, or why there is none.

    Attributes:
        model: slug.
        name: of the model.
        fit: the smallest count with the widest precision that fits; None when none does.
        nearest: what came nearest, where none fits.
        why_not: in words, where the model cannot be judged at all.
    """

    model: str
    name: str
    fit: Fit | None
    nearest: Fit | None = None
    why_not: str = ""


COUNTS = (1, 2, 4, 8)
WIDEST_FIRST = ("bf16", "fp8", "int8", "int4")


def best_choice(
    model: str, gpu: str, *, task: str = "inference", context: int = 8192, concurrency: int = 1
) -> Choice:
    """Return the smallest number of cards and the widest precision at which a model fits.

    Raises:
        UnknownName: a model or GPU that is not there.
    """
    found = find_model(model)
    try:
        weights = Weights(best_architecture(found))
    except NoAnswer as error:
        return Choice(found.slug, found.name, None, why_not=error.message)
    load = _fair_load(weights.arch, context, concurrency)
    nearest = None
    for count in COUNTS:
        for precision in _precisions(weights.arch, task):
            fit = fits(weights, f"{gpu}:{count}", **load, task=task, precision=precision)
            if fit.probability >= SURE:
                return Choice(found.slug, found.name, fit)
            nearest = fit
    return Choice(found.slug, found.name, None, nearest)


def _fair_load(arch: Architecture, context: int, concurrency: int) -> dict[str, Any]:
    """Return the load that is fair to a model: no longer than what it was made for."""
    longest = arch.max_context if arch.task in ("text", "vision-language", "encoder") else 0
    return {"context": min(context, longest) if longest else context, "concurrency": concurrency}


def _precisions(arch: Architecture, task: str) -> Iterable[str]:
    if task == "qlora":
        return ("nf4-dq",)
    if task != "inference" or arch.task in ("encoder", "asr"):
        return ("bf16",)
    return ("bf16", "int8", "nf4") if arch.task == "image" else WIDEST_FIRST
