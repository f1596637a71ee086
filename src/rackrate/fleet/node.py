"""Where is a node in its life, and how did it come there?

    intent -> requested -> booted -> ready -> draining -> ending -> gone

Intent: we are about to order it, or have and wait for the answer. Requested: the provider said yes.
Booted: it called home. Ready: its worker works. Draining: it finishes and takes nothing new. Ending: we
want it destroyed, and ask until it is. Gone: a listing of the provider no longer has it; an answer to
"destroy" is not enough. Every state may go to ending; a node that is listed again after it was gone is
ending once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rackrate.errors import InvalidTransition
from rackrate.fleet.lease import Lease
from rackrate.fleet.ledger import Line, Rate


class NodeState(StrEnum):
    """A state of a node."""

    INTENT = "intent"
    REQUESTED = "requested"
    BOOTED = "booted"
    READY = "ready"
    DRAINING = "draining"
    ENDING = "ending"
    GONE = "gone"


_NEXT = {
    NodeState.INTENT: {NodeState.REQUESTED, NodeState.BOOTED, NodeState.ENDING},
    NodeState.REQUESTED: {NodeState.BOOTED, NodeState.ENDING},
    NodeState.BOOTED: {NodeState.READY, NodeState.ENDING},
    NodeState.READY: {NodeState.DRAINING, NodeState.ENDING},
    NodeState.DRAINING: {NodeState.ENDING},
    NodeState.ENDING: {NodeState.GONE},
    NodeState.GONE: {NodeState.ENDING},
}

BOOTING = frozenset({NodeState.INTENT, NodeState.REQUESTED, NodeState.BOOTED})
"""Ordered, but its worker does not work yet."""

WANTED = BOOTING | {NodeState.READY}
"""Counts towards the nodes that are wanted."""

ALIVE = WANTED | {NodeState.DRAINING}
"""May renew its lease."""


@dataclass(frozen=True, slots=True)
class Change:
    """A step in the life of a node.

    Attributes:
        at_s: when, seconds since the fleet was opened.
        node: its name.
        state: that it came into.
        why: in words.
        until_s: instant to which the node is billed, where that is not this one.
        from_s: instant from which it is billed, where that is not its order's.
        heard_s: when it had last called home, of one that ends.
    """

    at_s: float
    node: str
    state: NodeState
    why: str
    until_s: float | None = None
    from_s: float | None = None
    heard_s: float | None = None

    def __str__(self) -> str:
        """Write it for people: `12.3 s ending: boot timeout`."""
        return f"{self.at_s:.1f} s {self.state}: {self.why}"

    def to_dict(self) -> dict[str, Any]:
        """Return it as a journal's entry."""
        entry = {
            "what": "node",
            "at_s": round(self.at_s, 3),
            "node": self.node,
            "state": str(self.state),
            "why": self.why,
        }
        billed = {"until_s": self.until_s, "from_s": self.from_s, "heard_s": self.heard_s}
        return entry | {name: round(at_s, 3) for name, at_s in billed.items() if at_s is not None}

    @classmethod
    def from_dict(cls, entry: Mapping[str, Any]) -> Change:
        """Return the change that `to_dict` wrote."""
        state = NodeState(entry["state"])
        billed = entry.get("until_s"), entry.get("from_s"), entry.get("heard_s")
        return cls(entry["at_s"], entry["node"], state, entry["why"], *billed)


@dataclass
class Node:
    """A node as the fleet knows it.

    Attributes:
        name: unique for ever; the key by which the provider lists it.
        rate: how it is billed.
        state: where it is in its life.
        story: every change, oldest first.
        lease: as last granted; None before it called home.
        is_answered: whether the provider said yes or no to the order.
        asked_at_s: when the provider was asked to make it; None where that is unknown.
        is_refused: whether the provider said no to the order, and nothing was seen of the node since.
        destroy_asked_at_s: when it was last asked to be destroyed.
        n_asked: questions to destroy it that are not answered yet.
        made_at_s: when the provider said yes to the order; None where it did not.
        destroyed_at_s: when the provider said that it destroys it; None where that was before it said that it
            makes it, or a later listing belies it.
        missing_since_s: first of the listings in a row that lack it.
        heard_s: when it last called home before it was to be destroyed; from then on it may be unbilled.
        called_s: when it last called home at all.
        is_seen: whether anything ever showed that there is a machine, or may have hidden it.
        is_listed: whether a listing ever had it.
        is_found: whether who was asked to destroy it found it.
        absent_at_s: answer of the first of the listings in a row that lack it, after one that had it.
    """

    name: str
    rate: Rate
    state: NodeState = NodeState.INTENT
    story: list[Change] = field(default_factory=list)
    lease: Lease | None = None
    is_answered: bool = False
    asked_at_s: float | None = None
    is_refused: bool = False
    destroy_asked_at_s: float | None = None
    n_asked: int = 0
    made_at_s: float | None = None
    destroyed_at_s: float | None = None
    missing_since_s: float | None = None
    heard_s: float | None = None
    called_s: float = 0.0
    is_seen: bool = False
    is_listed: bool = False
    is_found: bool = False
    absent_at_s: float | None = None

    @property
    def since_s(self) -> float:
        """When it came into its state."""
        return self.story[-1].at_s

    @property
    def ordered_at_s(self) -> float:
        """When its creation was decided."""
        return self.story[0].at_s

    def line(self) -> Line:
        """Return its line of the bill; a refused order costs nothing as long as nothing is seen of it."""
        last = self.story[-1]
        until_s = last.at_s if last.until_s is None else last.until_s
        from_s = self.ordered_at_s if self.asked_at_s is None else self.asked_at_s
        gone_at_s = until_s if self.state is NodeState.GONE else from_s if self.is_refused else None
        runs_from_s, made_s = self._first_at_s(NodeState.BOOTED), self._first_at_s(NodeState.REQUESTED)
        return Line(self.name, self.rate, from_s, gone_at_s, runs_from_s, made_s, self.heard_s)

    def _first_at_s(self, state: NodeState) -> float | None:
        """Return when it first came into a state."""
        return next((one.at_s for one in self.story if one.state is state), None)

    def is_over(self, at_s: float, why: str) -> Change:
        """Go to gone, billed to the instant at which that was known, or not at all where it never was.

        Raises:
            InvalidTransition: it was not ending.
        """
        return self.move(NodeState.GONE, at_s, why, self._until_s())

    def _until_s(self) -> float | None:
        """Return the instant to which it is billed, as of one that is there no more; None for now."""
        if self.is_refused or not self.is_seen:
            return self.line().from_s
        ends_s = [end_s for end_s in (self.destroyed_at_s, self.absent_at_s) if end_s is not None]
        return max(min(ends_s), self.called_s) if ends_s else None

    def begin(self, at_s: float, why: str) -> Change:
        """Write the first line of its story."""
        return self._write(at_s, why)

    def move(self, state: NodeState, at_s: float, why: str, until_s: float | None = None) -> Change:
        """Go into a state.

        Raises:
            InvalidTransition: it does not follow the one it is in.
        """
        if state not in _NEXT[self.state]:
            raise InvalidTransition(
                f"{self.name} cannot go from {self.state} to {state} ({why})", story=[*map(str, self.story)]
            )
        self.state = state
        return self._write(at_s, why, until_s)

    def _write(self, at_s: float, why: str, until_s: float | None = None) -> Change:
        is_written = any(one.from_s is not None for one in self.story)
        heard_s = self.heard_s if self.state not in ALIVE else None
        from_s = None if is_written else self.asked_at_s
        change = Change(at_s, self.name, self.state, why, until_s, from_s, heard_s)
        self.story.append(change)
        return change
