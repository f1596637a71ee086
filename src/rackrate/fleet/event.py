"""What can happen to a fleet, and what it can then want done.

Events may be lost, late, doubled and out of order: none promises that another came before. Actions are
done after their changes stand in the journal, and may fail: what matters is asked for again.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""


@dataclass(frozen=True, slots=True)
class OwnerSeen:
    """The owner lives and is not frozen."""


@dataclass(frozen=True, slots=True)
class Worked:
    """The fleet has something to do."""


@dataclass(frozen=True, slots=True)
class Scaled:
    """So many nodes are wanted from now on.

    Attributes:
        n: how many.
        busy: nodes that go last when there are to be fewer.
    """

    n: int
    busy: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Closed:
    """The fleet is to end."""

    why: str


@dataclass(frozen=True, slots=True)
class Created:
    """The provider said that it makes the node.

    Attributes:
        node: its name.
        asked_at_s: when it was asked to, after the order had waited for its turn; None where that is unknown.
    """

    node: str
    asked_at_s: float | None = None


@dataclass(frozen=True, slots=True)
class CreateFailed:
    """An order went wrong.

    Attributes:
        node: its name.
        why: in the provider's words.
        is_certain: whether the provider said no; else nobody knows whether it makes the node.
        again_s: seconds after which it may be asked again, where it was only asked too often: no failure.
        is_final: whether it says the same to every order.
    """

    node: str
    why: str
    is_certain: bool
    again_s: float | None = None
    is_final: bool = False


@dataclass(frozen=True, slots=True)
class Destroyed:
    """The provider said that it destroys the node, or does not know it; only a listing proves it.

    Attributes:
        node: its name.
        said_at_s: when it said so; None for now.
        is_found: whether it had one of that name.
    """

    node: str
    said_at_s: float | None = None
    is_found: bool = True


@dataclass(frozen=True, slots=True)
class DestroyFailed:
    """Nobody knows what became of the question to destroy a node, or whether there was one."""

    node: str


@dataclass(frozen=True, slots=True)
class Renewed:
    """A node asked for its lease; it is answered with `Grant` or `Refuse`."""

    node: str
    is_ready: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """A node, or its worker, said or was seen to be at its end: exit, out of memory, preemption."""

    node: str
    why: str


@dataclass(frozen=True, slots=True)
class Listed:
    """The provider's list of this fleet's nodes.

    Attributes:
        nodes: all names that it has.
        asked_at_s: when it was asked for: later changes are not in it.
    """

    nodes: frozenset[str]
    asked_at_s: float


Event = (
    Tick
    | OwnerSeen
    | Worked
    | Scaled
    | Closed
    | Created
    | CreateFailed
    | Destroyed
    | DestroyFailed
    | Renewed
    | Ended
    | Listed
)


@dataclass(frozen=True, slots=True)
class Create:
    """Order a node under this name."""

    node: str


@dataclass(frozen=True, slots=True)
class Destroy:
    """Destroy a node; again and again until a listing lacks it."""

    node: str


@dataclass(frozen=True, slots=True)
class Grant:
    """Answer a node that it may live on.

    Attributes:
        node: its name.
        ttl_s: seconds from the instant it asked.
        is_draining: whether it is to finish and take nothing new.
    """

    node: str
    ttl_s: float
    is_draining: bool


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer a node that it must end now."""

    node: str
    why: str


Action = Create | Destroy | Grant | Refuse
