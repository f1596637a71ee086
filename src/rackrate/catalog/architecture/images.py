"""Models that see and say nothing: a tower alone, or one beside an encoder of texts.

Source: `ViTModel`, `DeiTModel`, `Dinov2Model`, `CLIPModel`, `SiglipModel`, `Siglip2Model`
of transformers 5.23.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rackrate.catalog.architecture.anatomy import Architecture, Stack, Tensor
from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.encoders import classic_stack
from rackrate.catalog.architecture.family import Family, family
from rackrate.catalog.architecture.sheet import Sheet
from rackrate.catalog.architecture.towers import TOWERS, write_layer

HUB_CLASSES = 1000  # of ImageNet, on which published classifiers were trained


def tower(config: Config, kind: Family) -> Architecture:
    """Read a tower with what the class that the config names has behind it: a pooler, or classes."""
    sheet = Sheet("vision")
    n_patches = TOWERS[kind.reader](config, sheet)
    named = (config.words("architectures") if config.get("architectures") else [""])[0]
    width = _width(config)
    if named.endswith("Model") and kind.traits.pooler:
        sheet.matrix("pooler", "mlp", width, width, bias=True)
    if named.endswith("ForImageClassification"):
        labels = config.get("id2label")
        n_labels = len(labels) if isinstance(labels, Mapping) else config.count("num_labels", HUB_CLASSES)
        features = 2 * width if kind.reader == "dinov2" else width  # the class token, and the mean of patches
        sheet.matrix("cls_output", "mlp", features, n_labels, bias=True)
    return _made(kind, sheet.tensors, (_stack("vision", config),), n_patches)


def pair(config: Config, kind: Family) -> Architecture:
    """Read a tower and an encoder of texts, each projected to a common width (CLIP) or of that width."""
    seen = _section(config, "vision_config", kind.vision)
    read = _section(config, "text_config", kind.text)
    eyes, words = Sheet("vision"), Sheet()
    n_patches = TOWERS[family(kind.vision).reader](seen, eyes)
    width, n_places = read.count("hidden_size", least=1), read.count("max_position_embeddings")
    words.table("token_embd", read.count("vocab_size"), width, "vocab")
    words.table("position_embd", n_places, width)
    write_layer(words.times(read.count("num_hidden_layers")), width, read.count("intermediate_size"))
    words.norm("output_norm", width, "layer")
    if kind.projector == "both":
        common = config.count("projection_dim", least=1)
        eyes.matrix("visual_projection", "mlp", _width(seen), common)
        words.matrix("text_projection", "mlp", width, common)
        words.vector("logit_scale", 1)
    else:
        words.matrix("text_head", "mlp", width, read.count("projection_size", width), bias=True)
        words.times(2).vector("logit_scale", 1)
    stacks = (_stack("vision", seen), _stack("encoder", read))
    return _made(kind, [*words.tensors, *eyes.tensors], stacks, n_patches)


def _section(config: Config, name: str, model_type: str) -> Config:
    defaults: Mapping[str, Any] = family(model_type).defaults
    return Config(config.section(name), defaults, f"{config.where}, {name}", config.notes)


def _width(config: Config) -> int:
    return config.count("hidden_size", least=1)


def _stack(name: str, config: Config) -> Stack:
    width, n_heads = _width(config), config.count("num_attention_heads", least=1)
    inner = config.count("intermediate_size", config.count("mlp_ratio", 4) * width)
    n_layers = config.count("num_hidden_layers")
    return classic_stack(name, n_layers, width, inner, n_heads, width // n_heads)


def _made(kind: Family, tensors: list[Tensor], stacks: tuple[Stack, ...], n_patches: int) -> Architecture:
    """Return an encoder whose tokens are the patches of an image."""
    return Architecture(
        name="",
        model_type=kind.model_type,
        task="encoder",
        tensors=tuple(tensors),
        caches=(),
        stacks=stacks,
        max_context=n_patches,
        vision_tokens=n_patches,
    )
