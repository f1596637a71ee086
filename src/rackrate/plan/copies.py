"""Copies of a model on cards: what every way of planning hands to the search for machines.

A copy is a group of GPUs that does the work by itself; a machine holds as many as its GPUs allow, and as many
machines are taken as the load needs. All arrays have one element a copy, sorted by card.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, eq=False)
class Copies:
    """Groups of GPUs that can do the work.

    Attributes:
        card: place in `Cards`.
        n_gpus: of one copy.
        capacity: results a second that it does and still keeps the promise.
        low: lower end of the 80 % range of `capacity`.
        high: upper end.
        bits: of a weight: of two ways that cost alike, the wider one is better.
        weights_gib: of the copy.
    """

    card: Any
    n_gpus: Any
    capacity: Any
    low: Any
    high: Any
    bits: Any
    weights_gib: Any

    def __len__(self) -> int:
        """Return the number of copies."""
        return len(self.card)


class Found(Protocol):
    """What a way of planning found: the search asks nothing else of it."""

    @property
    def copies(self) -> Copies:
        """Copies that do the work."""

    def at(self, copies: Any, rate_per_s: Any) -> Mapping[str, Any]:
        """Return what copies do at a rate each: `seconds` of one result, and what else is shown."""

    def precision(self, copy: int) -> str:
        """Return the name of a copy's precision."""

    def engine(self, copy: int) -> str:
        """Return the engine that runs a copy, in words."""

    def choice(self, copy: int, batch: float) -> Mapping[str, Any]:
        """Return how a copy is run: the fields of `answer.Row` from `engine` to `weights_gib`, `limit`."""

    def explained(self, copy: int, rate_per_s: float) -> Iterator[str]:
        """Yield how its memory and speed were reckoned, with the numbers in."""

    def assumptions(self, copy: int) -> Iterator[str]:
        """Yield what its numbers rest on."""
