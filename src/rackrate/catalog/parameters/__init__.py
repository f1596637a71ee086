"""How many parameters a model has, computed from its architecture numbers alone.

    llama     embeddings + L x (attention + gated MLP + 2 norms) + norm
    qwen2     llama with biases on query, key and value
    qwen3     llama with a norm on the query and the key head
    gemma3    qwen3 with four norms a layer and tied embeddings, SigLIP tower, projector
    llava     llama, CLIP tower, a two-layer projector and the image-newline vector
    qwen2.5vl qwen2, a tower with gated MLPs and a merger of 2 x 2 patches
    qwen3.5   one layer in four attends, the others are gated delta nets; every layer has routed
              experts and a shared one; a tower with LayerNorms; a layer that predicts a further
              token (MTP)
    whisper   convolutions and encoder, decoder with cross-attention; the key has no bias
    bert      embeddings of words, places and segments, encoder layers, pooler
    flux      double and single stream blocks, T5 encoder, CLIP text model, VAE

Every term is computed; none is taken from a published total. Left out: heads of a task that the
checkpoint does not ship, and quantisation, which changes bytes and not counts.

Source: the class of each function in transformers 5.23 or diffusers @58eb52c080.
Error: none; the sum equals `params_total` of every model whose config was found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rackrate.catalog.model import Model
from rackrate.catalog.parameters import language, media
from rackrate.catalog.parameters.counting import ParameterCount
from rackrate.errors import NoAnswer

__all__ = ["ParameterCount", "count_parameters"]

_FORMULAE: Mapping[str, Callable[[Model], ParameterCount]] = {
    "llama": language.text,
    "mistral": language.text,
    "qwen2": language.text,
    "qwen3": language.text,
    "gemma3": language.gemma3,
    "llava_next": language.llava_next,
    "qwen2_5_vl": language.qwen2_5_vl,
    "qwen3_5_moe": language.qwen3_5_moe,
    "whisper": media.whisper,
    "bert": media.bert,
    "flux": media.flux,
}


def count_parameters(model: Model) -> ParameterCount:
    """Return how many parameters `model` has, by part.

    >>> from rackrate.catalog.model import load_model
    >>> count_parameters(load_model("llama-3.1-70b")).total
    70553706496

    Raises:
        NoAnswer: a number that the formula needs is unknown, or no formula covers the family.
    """
    if model.family not in _FORMULAE:
        raise NoAnswer(f"no formula counts the parameters of the family {model.family!r}")
    return _FORMULAE[model.family](model)
