"""What sets a family apart: which reader, the defaults of its class, and where it differs from Llama.

A family is a file `data/architectures/<model_type>.toml`. A trait is a constant or the name of the
config key that decides it; `like` takes over the traits of another family, never its defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any

from rackrate.catalog import load
from rackrate.catalog.architecture.config import Switch
from rackrate.errors import CatalogInvalid

FOLDER = "architectures"


@dataclass(frozen=True, slots=True)
class Traits:
    """How the modules of a family differ from Llama's. A `Switch` is the answer or its config key.

    Attributes:
        norm: kind of the norms (`sheet.NORM_VECTORS`), or the key of a map in `norms`.
        layer_norms: norms of the width of the residual stream in a layer.
        first_norm: whether the first layer has a norm before attention; else the embedding's serves.
        final_norm: whether a norm stands before the head.
        embedding_norm: whether a norm stands after the embedding.
        is_encoder: whether every token sees all others, so that nothing is remembered.
        types: whether segments are looked up in a table.
        pooler: what follows an encoder: nothing, `dense`, or `head` where only a classifier has one.
        embed_size: key of the embedding's width where it is not that of the residual stream.
        places: whether places are looked up in a table of `max_position_embeddings` rows.
        places_offset: rows of that table beyond the places.
        tied: what `tie_word_embeddings` is where neither config nor defaults say.
        head_bias: whether the head has a bias.
        qkv_bias: whether query, key and value have biases.
        output_bias: whether the attention's output has one.
        head_norms: which norms query and key get: none, `head` (one for all heads), `width` (over all
            heads together), `heads` (one for each head).
        head_norms_if: key that switches them on; empty for always.
        head_norm: kind of those norms.
        output_gate: what the attention's output is gated by: nothing, `features` or `heads`.
        sinks: which layers have a learned sink a head: none, `all`, `full` or `sliding`.
        gated: whether the feed-forward block has a gate beside the up projection.
        mlp_bias: whether its matrices have biases.
        ffn_factor: inner width over outer width where the config gives none.
        expert_size: key of an expert's inner width.
        router_bias: whether the router has a bias or a correction of its scores.
        expert_bias: whether experts have biases.
        shared_gate: whether the shared expert is weighed by a gate of its own.
        window_pattern: layers of which the last attends fully; 1: all layers slide; 0: none does.
        window_from: key of the first layer that slides.
        linear: which recurrence `linear_attention` means (`mixing`).
        linear_bias: whether its projections have biases.
        linear_norm: whether it normalises inside.
        silent: what layers are that nothing names: `full` or `linear`.
        has_both: whether attention and recurrence stand side by side in each layer.
        blocks: where feed-forward blocks are: in `all` layers, in `none`, or instead of attention
            (`either`).
        full: names of config keys that full attention reads instead of the common ones.
        sliding: the same for sliding attention.
        mtp: what a multi-token prediction layer adds to a layer: nothing, `qwen` or `deepseek`.
        extra: what writes the tensors that no other family has (`extras.EXTRAS`); may be empty.
    """

    norm: str = "rms"
    layer_norms: int = 2
    first_norm: bool = True
    final_norm: Switch = True
    embedding_norm: Switch = False
    is_encoder: bool = False
    types: bool = False
    pooler: str = ""
    embed_size: str = ""
    places: Switch = False
    places_offset: int = 0
    tied: bool = False
    head_bias: Switch = False
    qkv_bias: Switch = False
    output_bias: Switch = False
    head_norms: str = ""
    head_norms_if: str = ""
    head_norm: str = "rms"
    output_gate: str = ""
    sinks: str = ""
    gated: Switch = True
    mlp_bias: Switch = False
    ffn_factor: int = 4
    expert_size: str = "moe_intermediate_size"
    router_bias: Switch = False
    expert_bias: Switch = False
    shared_gate: Switch = False
    window_pattern: int = 1
    window_from: str = ""
    linear: str = ""
    linear_bias: Switch = False
    linear_norm: bool = True
    silent: str = "full"
    has_both: bool = False
    blocks: str = "all"
    full: Mapping[str, str] = field(default_factory=dict)
    sliding: Mapping[str, str] = field(default_factory=dict)
    mtp: str = ""
    extra: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """One `model_type`.

    Attributes:
        model_type: its name in configs.
        reader: which function of `reading.READERS` reads it, or of `towers.TOWERS` a tower.
        task: what a model of the family does (`rackrate.catalog.model.TASKS`).
        defaults: structural values of its config class, by the names of `config.SYNONYMS`.
        traits: of its language model.
        text: model type of its text section, where it has one without a `model_type`.
        vision: model type of its vision tower, likewise.
        projector: which function joins vision to text.
        quirk: which function of `quirks.QUIRKS` first puts its config into common words; may be empty.
    """

    model_type: str
    reader: str
    task: str
    defaults: Mapping[str, Any]
    traits: Traits
    text: str = ""
    vision: str = ""
    projector: str = ""
    quirk: str = ""


_TRAITS = frozenset(f.name for f in fields(Traits))
_OWN = ("reader", "task", "text", "vision", "projector", "quirk")


@cache
def families() -> frozenset[str]:
    """Return the model types that have a file."""
    return frozenset(load.slugs(FOLDER))


@cache
def family(model_type: str) -> Family:
    """Return the family of a model type that `families` names.

    >>> family("qwen2").traits.qkv_bias
    True

    Raises:
        CatalogInvalid: its file has a trait that no reader knows.
    """
    row = load.table(f"{FOLDER}/{model_type}")
    texts, traits = _inherited(row)
    stray = (traits.keys() - _TRAITS) | (texts.keys() - set(_OWN))
    if stray:
        raise CatalogInvalid(f"architecture {model_type!r}: no reader knows {sorted(stray)}")
    texts = {"reader": "decoder", "task": "text"} | texts
    return Family(model_type, defaults=row.get("defaults", {}), traits=Traits(**traits), **texts)


def _inherited(row: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the texts and the traits of a file, its own over those of the family that it is like."""
    texts, traits = _inherited(load.table(f"{FOLDER}/{row['like']}")) if "like" in row else ({}, {})
    own = {name: value for name, value in row.items() if name not in ("like", "defaults", "traits")}
    return texts | own, traits | row.get("traits", {})
