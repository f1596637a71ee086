"""The architecture of a model of the catalog, and its parameters as the catalog states them.

The facts of a model are the values of its config under the config's own names, so they make a config
again and go the way of every config. What the catalog does not know is never replaced by a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rackrate.catalog.architecture.anatomy import Architecture, count
from rackrate.catalog.architecture.family import families
from rackrate.catalog.architecture.reading import read_config
from rackrate.catalog.fact import Fact
from rackrate.catalog.model import Model
from rackrate.errors import NoAnswer

_COMPUTED = frozenset(
    {
        "attention_layout",
        "full_attention_layers",
        "linear_attention_layers",
        "vision_params",
        "params_total",
        "params_embedding",
        "params_active",
        "params_published",
        "kv_bytes_per_token_bf16",
    }
)
"""Facts that are no config values: they are derived, or published by someone."""


@dataclass(frozen=True, slots=True)
class ParameterCount:
    """Parameters of a model, tied embeddings counted once.

    Attributes:
        by_part: count of each part; the parts add up to `total`.
        embedding: input embedding, and output embedding where it is not tied.
        active: what one generated token or denoising step passes through: all of a dense model, the
            language model less the experts that are not chosen, the transformer of a pipeline.
        mtp: multi-token prediction layers, which the checkpoint ships beside `total`.
    """

    by_part: Mapping[str, int]
    embedding: int
    active: int
    mtp: int = 0

    @property
    def total(self) -> int:
        """Return the parameters that must be loaded."""
        return sum(self.by_part.values())

    @property
    def checkpoint(self) -> int:
        """Return the parameters that the published files hold."""
        return self.total + self.mtp


def architecture_of(model: Model) -> Architecture:
    """Return the architecture of a model of the catalog.

    >>> from rackrate.catalog.model import load_model
    >>> architecture_of(load_model("llama-3.1-70b")).n_params
    70553706496

    Raises:
        NoAnswer: a number that is needed is unknown, or its family is.
    """
    found = _MADE.get(model.slug)
    if found is None or found[0] is not model:
        found = _MADE[model.slug] = (model, read_config(_config_of(model), model.slug))
    return found[1]


_MADE: dict[str, tuple[Model, Architecture]] = {}


def count_parameters(model: Model) -> ParameterCount:
    """Return how many parameters `model` has, by part.

    Raises:
        NoAnswer: a number that is needed is unknown, or no reader knows the family.
    """
    return counts_of(architecture_of(model))


def counts_of(architecture: Architecture) -> ParameterCount:
    """Return how many parameters an architecture has, by part."""
    tensors, main = architecture.tensors, architecture.main
    words = ("token_embd", "output")
    active = architecture.n_params
    if architecture.task == "image":
        active = architecture.params_by_part()[main.name]
    elif main.n_experts:
        language = count(t for t in tensors if t.part == "language")
        experts = architecture.params_of("experts")
        active = language - experts + experts * main.n_experts_per_token // main.n_experts
    return ParameterCount(
        architecture.params_by_part(),
        embedding=count(t for t in tensors if t.name in words and t.role in ("embedding", "head")),
        active=active,
        mtp=sum(t.n_params for t in tensors if t.is_extra),
    )


def _config_of(model: Model) -> dict[str, Any]:
    """Return the facts of a model as the config that they were read from."""
    if model.family not in families():
        raise NoAnswer(f"no reader knows the family {model.family!r} of {model.slug}")
    facts = {name: fact for name, fact in model.facts().items() if name not in _COMPUTED}
    config = _values(model.slug, facts | dict(model.config))
    for part, inner in model.parts.items():
        config[part] = _values(f"{model.slug} {part}", inner)
    if model.attention_layout.value == "full" and "sliding_window" not in config:
        config["sliding_window"] = 0  # of a silent config the family says that it slides; this one says null
    return config | {"model_type": model.family, "architectures": [model.architecture]}


def _values(owner: str, facts: Mapping[str, Fact[Any]]) -> dict[str, Any]:
    """Return the known values; a fact that the architecture does not have is left out."""
    values = {}
    for name, fact in facts.items():
        if fact.value is not None:
            values[name] = fact.value
        elif not fact.unknown.startswith(("not part of", "the part has no")):
            raise NoAnswer(f"{owner} cannot be read: {name}: {fact.unknown}")
    return values
