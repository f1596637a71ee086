"""How many nodes does a pool need now, given what waits and what it had to do until now?

A pool grows at once and shrinks late. The k-th node is needed while there are tasks for k nodes; it goes when
it was not needed for `idle_s`, so each node idles by itself, and none goes between two tasks. While results
are held on nodes, one stays: without it they would be computed again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Demand:
    """What the head says of the work.

    Attributes:
        n_tasks: that run or could run.
        holds_results: whether nodes hold results that somebody wants.
        busy: names of the nodes that run something.
    """

    n_tasks: int = 0
    holds_results: bool = False
    busy: frozenset[str] = frozenset()

    @classmethod
    def said(cls, news: Mapping[str, Any]) -> Self:
        """Return what the head's news say."""
        return cls(news.get("n_tasks", 0), bool(news.get("holds_results")), frozenset(news.get("busy", ())))


class Pool:
    """The size of a fleet that grows and shrinks with its work.

    Args:
        least: nodes that there are always.
        most: nodes that there are at most.
        threads: tasks at once, a node.
        idle_s: after which a node goes that is not needed.
    """

    def __init__(self, least: int, most: int, threads: int, idle_s: float) -> None:
        self._least, self._most = least, most
        self._threads = threads
        self._idle_s = idle_s
        self._needed_at_s = [-math.inf] * most

    def needed(self, demand: Demand) -> int:
        """Return for how many nodes there is something to do."""
        n = max(math.ceil(demand.n_tasks / self._threads), len(demand.busy), int(demand.holds_results))
        return min(max(n, self._least), self._most)

    def wanted(self, demand: Demand, at_s: float) -> int:
        """Return how many nodes there are to be at an instant; instants never go back."""
        n = self.needed(demand)
        self._needed_at_s[:n] = [at_s] * n
        while n < self._most and at_s - self._needed_at_s[n] < self._idle_s:
            n += 1
        return n
