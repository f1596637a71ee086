"""What a formula reads (the numbers of a config) and what it returns (a count by part)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rackrate.catalog.fact import Fact
from rackrate.catalog.model import Model
from rackrate.errors import NoAnswer


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


class Config:
    """The numbers of a config, read as attributes under the names that the field uses."""

    def __init__(self, owner: str, facts: Mapping[str, Fact[Any]]) -> None:
        self._owner, self._facts = owner, facts

    def __getattr__(self, name: str) -> Any:
        fact = self._facts.get(name)
        if fact is None or fact.value is None:
            why = "not in the catalog" if fact is None else fact.unknown
            raise NoAnswer(f"the parameters of {self._owner} cannot be counted: {name}: {why}")
        return fact.value


def config_of(model: Model, part: str = "") -> Config:
    """Return the numbers of `model`, or of one of its parts, under the names of its config."""
    facts = model.parts.get(part, {}) if part else model.facts()
    return Config(f"{model.slug} {part}".strip(), facts)


def dense(parts: dict[str, int]) -> ParameterCount:
    """Return the count of a model all of which works for every token."""
    return ParameterCount(parts, embedding=parts["embedding"], active=sum(parts.values()))
