"""Configs with words of their own, put into the common ones before a reader sees them.

A quirk returns what the config would say in common words, and the traits that follow from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.family import Traits

Quirk = Callable[[Config, Traits], tuple[dict[str, Any], Traits]]


def falcon(config: Config, traits: Traits) -> tuple[dict[str, Any], Traits]:
    """Falcon: one key head, or groups and two norms side by side in the new decoder."""
    n_heads = config.count("num_attention_heads", least=1)
    if config.flag("new_decoder_architecture"):
        n_norms = config.count("num_ln_in_parallel_attn", 2)
        return {}, replace(traits, layer_norms=n_norms)
    traits = replace(traits, layer_norms=1 if config.flag("parallel_attn") else 2)
    return {"num_key_value_heads": 1 if config.flag("multi_query") else n_heads}, traits


QUIRKS: Mapping[str, Quirk] = {"falcon": falcon}
"""What puts a config into common words, by the word in the family's file."""


def in_common_words(config: Config, quirk: str, traits: Traits) -> tuple[Config, Traits]:
    """Return a config and traits as the readers know them."""
    if not quirk:
        return config, traits
    said, traits = QUIRKS[quirk](config, traits)
    return Config({**config.values, **said}, config.defaults, config.where, config.notes), traits
