"""What a model is made of: its weight tensors, the stacks of layers, what each layer remembers.

    anatomy      the words: Tensor, Cache, Stack, Architecture
    reading      from a config.json to an architecture (`read_config`)
    of_model     from a model of the catalog, by the same way; counts as the catalog states them
    config       what a config says: synonyms, the defaults of its family, one error
    family       the traits of a model type, from data/architectures/<model_type>.toml
    quirks       configs with words of their own, put into the common ones
    layout       which layer attends, slides, recurs; which has experts
    mixing       the mixer of each layer with its numbers
    layers       attention, latent attention; recurrent: what carries a state instead
    feedforward  dense blocks and experts
    decoder      language models out of these; extras: what one family alone has
    encoders     BERT and its kin, T5, BART; speech: Whisper, wav2vec 2.0
    towers       eyes; projectors: what joins them to a language model; images: eyes alone
    pipelines    diffusion; denoisers: what works in every step; autoencoders
    sheet        how tensors are written down

Every shape is computed from the config; none is taken from a published total. Left out: heads of a
task that the checkpoint does not ship, and quantisation, which changes bytes and not shapes.

Source: the modules of transformers 5.23 and diffusers 0.42, which each reader names.
Error: none; tests/data/architectures.json holds what those modules hold, built without weights.
"""

from __future__ import annotations

from rackrate.catalog.architecture.anatomy import Architecture, Cache, Stack, Tensor
from rackrate.catalog.architecture.of_model import (
    ParameterCount,
    architecture_of,
    count_parameters,
    counts_of,
)
from rackrate.catalog.architecture.reading import read_config

__all__ = [
    "Architecture",
    "Cache",
    "ParameterCount",
    "Stack",
    "Tensor",
    "architecture_of",
    "count_parameters",
    "counts_of",
    "read_config",
]
