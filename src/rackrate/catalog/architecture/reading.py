"""From a `config.json` to an architecture: which reader, which sections, what had to be assumed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rackrate.catalog.architecture import encoders, images, pipelines, speech
from rackrate.catalog.architecture.anatomy import Architecture
from rackrate.catalog.architecture.config import Config, spellings
from rackrate.catalog.architecture.decoder import read_decoder
from rackrate.catalog.architecture.family import Family, families, family
from rackrate.catalog.architecture.projectors import PROJECTORS
from rackrate.catalog.architecture.quirks import in_common_words
from rackrate.catalog.architecture.sheet import Sheet
from rackrate.catalog.architecture.towers import TOWERS
from rackrate.errors import BadQuantity

TEXT_SECTIONS = ("text_config", "llm_config", "language_config", "thinker_config")
SENSES = frozenset(
    {
        "vision_config", "audio_config", "vision_tower", "mm_vision_tower", "img_processor",
        "audio_processor", "embd_layer", "visual", "speech_encoder", "perceiver_config",
    }
)  # fmt: skip
"""What a config of a model that sees or hears has beside those of its language model."""
PIPELINES = {
    "CogVideoXPipeline": "cogvideox",
    "FluxPipeline": "flux",
    "StableDiffusion3Pipeline": "stable_diffusion_3",
    "StableDiffusionPipeline": "stable_diffusion",
    "StableDiffusionXLPipeline": "stable_diffusion_xl",
}
"""Families of pipelines, by the `_class_name` of their index."""

DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}
GENERIC = "llama"
"""The family whose traits an unknown model type is read with."""


def read_config(config: Mapping[str, Any], name: str = "") -> Architecture:
    """Return the architecture that a Hugging Face `config.json` describes.

    Args:
        config: the parsed file.
        name: of the model, for people and errors; the config's own by default.

    >>> read_config({"model_type": "llama"}).n_params
    6738415616

    Raises:
        NoAnswer: a number that is needed is not there.
        BadQuantity: a value is not what its key needs.
    """
    if not isinstance(config, Mapping):
        raise BadQuantity(f"a config is a table of keys, not {type(config).__name__}")
    name = name or _text(config.get("_name_or_path")) or _text(config.get("model_type")) or "this model"
    notes: list[str] = []
    kind = _family(config, notes)
    top = Config(config, kind.defaults, name, notes)
    made = READERS.get(kind.reader, images.tower)(top, kind)
    if kind.reader == "decoder":
        for section in sorted(SENSES & config.keys()):
            top.note(f"`{section}` was left out: nothing but its language model was counted")
    level = _text_level(top)
    is_silent = not any(name in level.values for name in spellings("hidden_size"))
    if is_silent and kind.reader != "pipeline":
        top.note(f"the config has no hidden_size: the sizes of {kind.model_type}'s class are taken")
    return replace(
        made,
        name=name,
        model_type=_text(config.get("model_type")) or kind.model_type,
        dtype=_dtype(top),
        quantization=top.section("quantization_config") or _text_level(top).section("quantization_config"),
        assumptions=tuple(notes),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _family(config: Mapping[str, Any], notes: list[str], otherwise: str = "") -> Family:
    model_type = _text(config.get("model_type")) or otherwise
    model_type = model_type or PIPELINES.get(_text(config.get("_class_name")), "")
    if model_type in families():
        return family(model_type)
    notes.append(f"the model type {model_type!r} is not known: read as Llama with what its keys say")
    nested = any(config.get(section) for section in TEXT_SECTIONS)
    reader, task = ("seeing", "vision-language") if nested else ("decoder", "text")
    generic = replace(family(GENERIC), model_type=model_type, defaults={}, reader=reader, task=task)
    return replace(generic, traits=replace(generic.traits, head_norms="", mtp=""))


def _text_level(top: Config) -> Config:
    """Return the level of the config that describes the language model."""
    for section in TEXT_SECTIONS:
        inner = top.section(section)
        if inner:
            level = Config(inner, {}, f"{top.where}, {section}", top.notes)
            return _text_level(level)
    return top


def _dtype(top: Config) -> str:
    for level in (top, _text_level(top)):
        said = level.text("dtype") or level.text("torch_dtype")
        if said:
            return DTYPES.get(said.removeprefix("torch."), "")
    return ""


def _language(top: Config, kind: Family) -> Architecture:
    """Read a model that only reads text."""
    return _with_language(top, kind, top, kind)


def _with_language(top: Config, kind: Family, level: Config, text_kind: Family) -> Architecture:
    """Read the language model at one level of a config, of one family."""
    tied = top.get("tie_word_embeddings", level.get("tie_word_embeddings", text_kind.traits.tied))
    architectures = top.words("architectures") if top.get("architectures") else []
    is_bare = bool(architectures) and re.search(r"(?<!Head)Model$", str(architectures[0]))
    has_head = not is_bare
    level, traits = in_common_words(level, text_kind.quirk, text_kind.traits)
    made = read_decoder(level, traits, tied=bool(tied), has_head=has_head)
    return Architecture(
        name="",
        model_type=kind.model_type,
        task=kind.task,
        tensors=tuple(made.tensors),
        caches=made.caches,
        stacks=(made.stack,),
        vocab_size=made.vocab_size,
        max_context=made.max_context,
    )


def _seeing(top: Config, kind: Family) -> Architecture:
    """Read a language model with a vision tower and what joins the two."""
    level = _text_level(top)
    if level is top:  # older configs have the language model's numbers at the top
        text_kind = family(kind.text or GENERIC)
        level = Config(top.values, text_kind.defaults, top.where, top.notes)
    else:
        text_kind = _family(level.values, top.notes, kind.text)
        level = Config(level.values, text_kind.defaults, level.where, top.notes)
    made = _with_language(top, kind, level, text_kind)
    thinker = Config(top.section("thinker_config"), {}, top.where, top.notes)
    if top.get("audio_config") or thinker.get("audio_config"):
        top.note("the audio tower was left out")
    if top.get("talker_config"):
        top.note("what speaks (`talker_config`) was left out")
    section = top.section("vision_config") or thinker.section("vision_config")
    tower = _tower(section, kind)
    if not section or tower is None:
        what = "is of a kind that is not known" if section else "is not in the config"
        top.note(f"`vision_config` {what}: no vision tower was counted")
        return made
    vision = Config(section, tower.defaults, f"{top.where}, vision_config", top.notes)
    sheet = Sheet("vision")
    n_patches = TOWERS[tower.reader](vision, sheet) * _most_tiles(top, vision)
    if kind.projector:
        PROJECTORS[kind.projector](vision, top, sheet, made.main.hidden_size)
    return replace(made, tensors=made.tensors + tuple(sheet.tensors), vision_tokens=n_patches)


def _most_tiles(top: Config, vision: Config) -> int:
    """Return how many images of the tower's size the largest image is cut into, with the whole beside."""
    most = top.get("max_dynamic_patch")
    if isinstance(most, int) and most > 1:
        return most + 1
    shapes, side = top.get("image_grid_pinpoints"), vision.get("image_size")
    if not isinstance(shapes, (list, tuple)) or not isinstance(side, int) or side < 1:
        return 1
    pairs = [s for s in shapes if isinstance(s, (list, tuple)) and len(s) == 2]  # noqa: PLR2004  (sides)
    areas = [a * b for a, b in pairs if isinstance(a, int) and isinstance(b, int)]
    return max(areas, default=0) // side**2 + 1


def _tower(section: Mapping[str, Any], kind: Family) -> Family | None:
    """Return the family of a tower: the one its section names if that is a tower, else the usual one."""
    named = _text(section.get("model_type"))
    if named in families() and family(named).reader in TOWERS:
        return family(named)
    return family(kind.vision) if kind.vision else None


READERS: Mapping[str, Callable[[Config, Family], Architecture]] = {
    "decoder": _language,
    "seeing": _seeing,
    "encoder": encoders.encoder,
    "t5": encoders.t5,
    "bart": encoders.bart,
    "pair": images.pair,
    "whisper": speech.whisper,
    "wav2vec2": speech.wav2vec2,
    "pipeline": pipelines.pipeline,
}
"""What reads a family, by the word in its file."""
