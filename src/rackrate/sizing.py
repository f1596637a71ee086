"""Does it fit: from what a person writes to an answer of `rackrate.fit`.

A model is a slug or name of the catalog, a `config.json`, a safetensors or GGUF file or its address,
`hf:owner/name`, or a bare count such as `70B`; a card is a GPU's name with a count, such as
`l40s:2`, or an amount of memory such as `24GiB`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsIndex

from rackrate.catalog.aliases import family_members, match_uncounted
from rackrate.catalog.architecture import Architecture, read_config
from rackrate.catalog.architecture.bare import architecture_of_count, best_architecture
from rackrate.catalog.gpu import find_gpu, load_gpu
from rackrate.catalog.load import slugs
from rackrate.catalog.model import Model, find_model, load_model
from rackrate.errors import BadQuantity, ImportRejected, UnknownName, UsageError, nearest
from rackrate.fit.declared import from_config
from rackrate.fit.engine import CACHE_TYPES, TORCH_CACHE_TYPES, Engine
from rackrate.fit.kv import kv_bytes
from rackrate.fit.overhead import Card, usable_memory
from rackrate.fit.parallel import Layout
from rackrate.fit.pipeline import OFFLOADS, PIXELS_PER_TOKEN, TEXT_TOKENS
from rackrate.fit.precision import PRECISIONS, Precision, find_precision
from rackrate.fit.setup import Load, Setup, check_task, choose_engine, default_layout
from rackrate.fit.solve import Fit, solve
from rackrate.fit.training import Training, lora_targets
from rackrate.fit.weights import weight_bytes
from rackrate.units import parse_number

if TYPE_CHECKING:
    from rackrate.checkpoint import Header

USUAL_CONTEXT = 8192  # tokens of a sequence, where nobody says
LARGEST_COUNT = 1024  # GPUs
LARGEST_GIB = 4096  # of one card
LONGEST = 1 << 30  # tokens: beyond any model
MOST_AT_ONCE = 65_536  # sequences; beyond any engine
ALL_LINEAR = "all-linear"  # PEFT's word for what is adapted when nothing is said
MOST_PIXELS = 1 << 28  # of one image, 16,384 x 16,384


@dataclass(frozen=True)
class Weights:
    """A model to load.

    Attributes:
        arch: what it is made of.
        stored_bytes: of the tensors in its files, where these were read; 0 where they were not.
        precision: name of the one that the files hold, where neither config nor dtype says it (GGUF).
    """

    arch: Architecture
    stored_bytes: int = 0
    precision: str = ""


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
    return Weights(best_architecture(model_of(text)))


def model_of(name: str) -> Model:
    """Return a model of the catalog; a slug is spared the comparison with all other names.

    Raises:
        UnknownName: no model answers to it, or several do.
    """
    return load_model(name) if name in slugs("models") else find_model(name)


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
    arch = read_config(config, header.name)
    return Weights(arch, header.n_bytes, _recipe_of(arch, header.n_bytes) if header.format == "gguf" else "")


def _recipe_of(arch: Architecture, n_bytes: int) -> str:
    """Return the GGUF recipe whose file would be nearest to `n_bytes`: a file need not name its own."""
    recipes = [precision for precision in PRECISIONS.values() if precision.recipe]
    return min(recipes, key=lambda precision: abs(weight_bytes(arch, precision) - n_bytes)).name


def find_card(text: str) -> tuple[Card, int]:
    """Return the memory of a card and how many of them are meant.

    A family, such as `a100-80gb`, is taken at its smallest member.

    >>> find_card("l40s:2")[0].gpu, find_card("l40s:2")[1]
    ('l40s', 2)

    Raises:
        UnknownName: no such GPU.
        BadQuantity: a count that is none, or stands elsewhere than behind a colon.
    """
    name, colon, count = text.partition(":")
    n_gpus = _whole(count, "GPU count") if colon else 1
    memory = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*gi?b\s*", name, re.IGNORECASE)
    if memory:
        gib = float(memory[1])
        if not 0 < gib <= LARGEST_GIB:
            raise BadQuantity(f"memory {name!r} is not above 0 and at most {LARGEST_GIB} GiB", hint="24GiB")
        return Card(f"{gib:g} GiB", gib, 0.0, "as given", "you"), n_gpus
    if name.lower() in slugs("gpus"):  # the common case is spared the table of all names
        return usable_memory(load_gpu(name.lower())), n_gpus
    slug = match_uncounted(name).slug
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
        tensor: GPUs that share every layer; None for the engine's own way.
        pipeline: groups of GPUs with a run of layers each; None likewise.
        memory_fraction: of the card; None for the engine's default.
        max_num_seqs: sequences in one step; None for the engine's default.
        max_num_batched_tokens: tokens in one step; None for the engine's default.
        is_eager: no CUDA graphs.
        has_flash_attention: whether attention scores are never written out.
        offload: of a pipeline: `none`, `model` or `sequential`.
        training: how it is trained, for the tasks that train.
    """

    task: str = "inference"
    precision: str = ""
    kv: str = "fp16"
    engine: str = ""
    tensor: int | None = None
    pipeline: int | None = None
    memory_fraction: float | None = None
    max_num_seqs: int | None = None
    max_num_batched_tokens: int | None = None
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
            if getattr(self, name) is not None:
                _count(getattr(self, name), name, 1 << 24)
        fraction: object = self.memory_fraction
        if fraction is not None and not (isinstance(fraction, (int, float)) and 0 < fraction <= 1):
            what = f"memory fraction {fraction!r} is not above 0 and at most 1"
            raise BadQuantity(what, hint="vLLM's default is 0.9")
        if self.offload not in OFFLOADS:
            raise UnknownName("offload", self.offload, nearest(self.offload, OFFLOADS) or OFFLOADS)


def _count(value: object, what: str, most: int) -> int:
    """Return a whole number of 1 to `most`.

    Raises:
        BadQuantity: anything else.
    """
    if type(value) is int:  # nearly always; to ask for the protocol takes longer than a term of memory
        number = value
    else:
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
    precision = _precision(weights, wish)
    kv_bytes(wish.kv)
    engine, version = _engine(arch, wish, precision)
    layout = default_layout(arch, engine, wish.task, n_gpus)
    if wish.tensor is not None or wish.pipeline is not None:
        layout = _asked_layout(arch, wish, n_gpus)
    if layout.pipeline > max(arch.main.n_layers, 1):
        what = f"{arch.main.n_layers} layers of {arch.name} do not make {layout.pipeline} stages"
        hint = f"give at most {arch.main.n_layers * layout.tensor} GPUs"
        raise UsageError(what, hint=hint)
    if wish.offload != "none" and arch.task != "image":
        hint = "pipelines for images can be offloaded"
        raise UsageError(f"{arch.name} is not offloaded in parts (offload {wish.offload!r})", hint=hint)
    fraction = engine.memory_fraction if wish.memory_fraction is None else wish.memory_fraction
    return Setup(
        engine=engine,
        version=version,
        task=wish.task,
        precision=precision,
        kv=wish.kv.lower(),
        layout=layout,
        memory_fraction=fraction,
        max_num_seqs=wish.max_num_seqs or 0,
        max_num_batched_tokens=wish.max_num_batched_tokens or 0,
        is_eager=wish.is_eager,
        has_flash_attention=wish.has_flash_attention,
        offload=wish.offload,
        training=_training(arch, wish, precision),
        stored_bytes=weights.stored_bytes if not wish.precision else 0,
    )


def _engine(arch: Architecture, wish: Wish, precision: Precision) -> tuple[Engine, str]:
    """Return the engine and the version that are asked for; GGUF files run in llama.cpp."""
    check_task(wish.task)
    name, _, version = wish.engine.strip().partition(" ")
    if version and not re.fullmatch(r"[bv]?\d[\w.+-]*", version):
        raise BadQuantity(f"engine version {version!r} is no version", hint=f"write it like {name} 0.11")
    if (
        not name
        and precision.recipe
        and wish.task == "inference"
        and arch.task in ("text", "vision-language")
    ):
        name = "llama.cpp"
    engine = choose_engine(arch, wish.task, name)
    _check_types(engine, precision if wish.precision else None, wish.kv.lower())
    return engine, version


def _check_types(engine: Engine, asked: Precision | None, kv: str) -> None:
    """Refuse weights or a cache of a type that the engine does not take."""
    if engine.name == "llama.cpp" and asked and not asked.recipe and not asked.is_wide:
        hint = "GGUF files have their own types, such as gguf:q8_0 or gguf:q4_k_m"
        raise UsageError(f"llama.cpp does not take {asked.name} weights", hint=hint)
    taken = CACHE_TYPES.get(engine.name, TORCH_CACHE_TYPES)
    if kv not in taken and engine.name not in ("faster-whisper", "openai-whisper", "diffusers"):
        hint = f"it takes {', '.join(taken)}"
        raise UsageError(f"{engine.name} does not take a KV cache in {kv}", hint=hint)


def _asked_layout(arch: Architecture, wish: Wish, n_gpus: int) -> Layout:
    tensor = wish.tensor or max(n_gpus // (wish.pipeline or 1), 1)
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


def _precision(weights: Weights, wish: Wish) -> Precision:
    arch = weights.arch
    if wish.precision:
        asked = find_precision(wish.precision)
        if wish.task == "full" and not asked.is_wide:
            raise UsageError(
                f"all weights cannot be trained in {asked.name}: they need 16 or 32 bit",
                hint="qlora trains adapters on a 4-bit model",
            )
        if "experts" in asked.narrowed and len(asked.narrowed) == 1 and not arch.main.n_experts:
            hint = "int4 or nvfp4 narrow a dense model"
            raise UsageError(f"{asked.name} narrows experts, and {arch.name} has none", hint=hint)
        return asked
    if wish.training and wish.training.is_fp32:
        return PRECISIONS["fp32"]
    if wish.task == "qlora":
        return PRECISIONS["nf4-dq"]
    if weights.precision and wish.task == "inference":
        return PRECISIONS[weights.precision]
    if arch.quantization and wish.task != "full":
        return from_config(arch.quantization, arch)
    return PRECISIONS["fp16" if arch.dtype == "fp16" else "bf16"]


def _training(arch: Architecture, wish: Wish, precision: Precision) -> Training | None:
    if wish.task == "inference":
        if wish.training:
            raise UsageError(
                "options of training were given without it", hint="add --task full, lora or qlora"
            )
        return None
    how = wish.training or Training()
    return replace(
        how,
        method=wish.task,
        is_fp32=precision.name == "fp32",
        has_wide_ends=wish.task == "qlora",  # PEFT's and TRL's own way with a 4-bit model
        attention=how.attention if wish.has_flash_attention else "eager",
        targets=tuple(
            name for word in how.targets if word.strip() != ALL_LINEAR for name in lora_targets(arch, word)
        ),
    )


def fits(
    model: str | Weights,
    gpu: str = "l40s",
    *,
    context: int | str | None = None,
    concurrency: int = 1,
    pixels: int = 1024 * 1024,
    beams: int = 5,
    wish: Wish | None = None,
    **options: Any,
) -> Fit:
    """Return whether a model fits a card under a load.

    Args:
        model: see the module for the forms.
        gpu: name with a count, such as `l40s:2`; or an amount of memory, such as `24GiB`.
        context: tokens of a sequence, prompt and answer; None for 8,192, of training 2,048, or what the
            model was made for where that is less.
        concurrency: sequences (images, windows of speech; of training a GPU's batch) at once.
        pixels: of an image that is made.
        beams: hypotheses of a speech decoder.
        wish: how it is run.
        options: fields of `Wish` and `Training`, instead of one.

    Raises:
        UnknownName: a model, GPU, engine or precision that is not there.
        BadQuantity: a number that cannot be.
        UsageError: values that do not go together.
    """
    load = Load(
        concurrency=_count(concurrency, "concurrency", MOST_AT_ONCE),
        pixels=_count(pixels, "pixels", MOST_PIXELS),
        beams=_count(beams, "beams", MOST_AT_ONCE),
    )
    weights = model if isinstance(model, Weights) else find_weights(model)
    card, n_gpus = find_card(gpu)
    wish = wish or wish_of(options)
    tokens = usual_context(weights.arch, wish.task) if context is None else parse_tokens(context)
    if weights.arch.task == "image" and wish.task != "inference":
        tokens = load.pixels // PIXELS_PER_TOKEN + TEXT_TOKENS  # what its transformer learns from
    setup = setup_for(weights, n_gpus, wish)
    return solve(weights.arch, card, setup, replace(load, context=tokens))


def usual_context(arch: Architecture, task: str) -> int:
    """Return the tokens of a sequence where nobody says: what people ask for, if the model can."""
    usual = USUAL_CONTEXT if task == "inference" else 2048
    return min(usual, arch.max_context or usual)


def wish_of(options: Mapping[str, Any]) -> Wish:
    """Return the wish that options by name make: fields of `Wish`, and of `Training` beside them.

    Raises:
        UnknownName: an option that is neither.
    """
    of_training = {name: value for name, value in options.items() if name in Training.__slots__}
    others = {name: value for name, value in options.items() if name not in of_training}
    for name in others:
        if name not in Wish.__slots__:
            known = [*Wish.__slots__, *Training.__slots__]
            raise UnknownName("option", name, nearest(name, known) or known)
    wish = Wish(**others)
    return replace(wish, training=Training(**of_training)) if of_training else wish
