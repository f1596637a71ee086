"""What is to be done next, given all that has happened to a fleet?

A pure state machine: events go in, changes and actions come out; whoever drives it writes the changes
to the journal, then does the actions. Three things are kept apart, because they differ most of the time:
how many nodes are *wanted*, which were *ordered* (an intent with a name that is used once), and which the
provider *lists*. Held in every order of events, lost, late or doubled ones among them:

- a node is granted no more than what is left of the owner's own lease;
- a node is ordered only while the bill, with everything ordered counted to its end, stays in the budget;
- a node that is ending is never granted anything again;
- every order ends in a listing without it, and is asked to be destroyed until then.

An instant is seconds since the fleet was opened.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from rackrate.fleet.budget import Budget
from rackrate.fleet.event import (
    Action,
    Closed,
    Create,
    Created,
    CreateFailed,
    Destroy,
    Destroyed,
    DestroyFailed,
    Ended,
    Event,
    Grant,
    Listed,
    OwnerSeen,
    Refuse,
    Renewed,
    Scaled,
    Worked,
)
from rackrate.fleet.lease import Lease
from rackrate.fleet.ledger import Ledger, Rate
from rackrate.fleet.node import ALIVE, BOOTING, WANTED, Change, Node, NodeState

KEEPER_DIED = "its keeper died"


class Phase(StrEnum):
    """Where a fleet is in its life."""

    OPEN = "open"
    CLOSING = "closing"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a fleet keeps to.

    Attributes:
        ttl_s: length of a lease.
        boot_timeout_s: from the order until the worker must work.
        drain_timeout_s: for a node to finish.
        idle_s: without work until the fleet ends; None for never.
        longest_s: the fleet's own end; None for none.
        settle_s: for so long a provider's listing may lag behind.
        retry_s: until a destroy or a failed order is tried again.
        most_failures: boots in a row that may fail: then a fleet of which nothing works ends, and another
            orders one node at a time.
        rate: how a node is billed.
        budget: of all nodes.
    """

    ttl_s: float = 10.0
    boot_timeout_s: float = 60.0
    drain_timeout_s: float = 10.0
    idle_s: float | None = None
    longest_s: float | None = None
    settle_s: float = 0.0
    retry_s: float = 1.0
    most_failures: int = 3
    rate: Rate = field(default_factory=Rate)
    budget: Budget = field(default_factory=Budget)


@dataclass(frozen=True, slots=True)
class Step:
    """What follows from an event: first the changes go to the journal, then the actions are done."""

    changes: tuple[Change, ...]
    actions: tuple[Action, ...]


class Lifecycle:
    """The life of a fleet and of its nodes.

    Attributes:
        fleet: its id; nodes are named after it.
        policy: what it keeps to.
        phase: open, closing or closed.
        why: it closes or closed.
        wanted: nodes that there should be.
        nodes: every node that was ever ordered or seen, by name.
        owner: the owner's lease.
        remark: why fewer nodes are ordered than are wanted; empty when they are not.
    """

    def __init__(self, fleet: str, policy: Policy, at_s: float = 0.0) -> None:
        self.fleet = fleet
        self.policy = policy
        self.phase = Phase.OPEN
        self.why = ""
        self.wanted = 0
        self.nodes: dict[str, Node] = {}
        self.owner = Lease.asked_at(at_s, policy.ttl_s)
        self.remark = ""
        self._busy: frozenset[str] = frozenset()
        self._worked_at_s = at_s
        self._listed_at_s = at_s
        self._n_ordered = 0
        self._n_failed = 0
        self._next_order_s = at_s
        self._was_up = False
        self._is_short = False
        self._changes: list[Change] = []
        self._actions: list[Action] = []

    @classmethod
    def recovered(cls, fleet: str, policy: Policy, changes: Iterable[Change], at_s: float) -> Lifecycle:
        """Return the life of a fleet whose keeper died: all that can still be done is to end its nodes."""
        life = cls(fleet, policy, at_s)
        for change in changes:
            node = life.nodes.setdefault(change.node, Node(change.node, policy.rate))
            node.state = change.state
            node.is_refused = change.state is NodeState.ENDING and change.until_s is not None
            node.asked_at_s = change.from_s if node.asked_at_s is None else node.asked_at_s
            called_at_s = (
                change.at_s if change.state in (NodeState.BOOTED, NodeState.READY) else change.heard_s
            )
            node.heard_s = node.heard_s if called_at_s is None else called_at_s
            node.is_seen = True  # for all that is known
            node.story.append(change)
        life.phase, life.why = Phase.CLOSING, KEEPER_DIED
        return life

    @property
    def ledger(self) -> Ledger:
        """The bill."""
        return Ledger.of(node.line() for node in self.nodes.values())

    @property
    def is_up(self) -> bool:
        """Whether it is no use to wait for more nodes: all that are wanted work, or all that can be had."""
        n_ready = len(self.in_states([NodeState.READY]))
        is_all = n_ready == self.wanted or (n_ready > 0 and self._is_short)
        return is_all and not self.in_states(BOOTING)

    def in_states(self, states: Iterable[NodeState]) -> list[Node]:
        """Return the nodes in any of these states, in the order of their making."""
        among = frozenset(states)
        return [node for node in self.nodes.values() if node.state in among]

    def handle(self, event: Event, at_s: float) -> Step:
        """Return what follows from an event at an instant.

        A renewal that changes nothing costs the same however many nodes there are, for a thousand renew their
        leases hundreds of times a second: what time has ended meanwhile is looked for with the next event.
        """
        self._take(event, at_s)
        if self._changes or not isinstance(event, Renewed):
            self._judge(at_s)
            self._balance(at_s)
            self._was_up = self._was_up or (self.wanted > 0 and self.is_up)
        step = Step(tuple(self._changes), tuple(self._actions))
        self._changes, self._actions = [], []
        return step

    def _take(self, event: Event, at_s: float) -> None:
        match event:
            case OwnerSeen() if self.owner.is_live(at_s):  # who comes back too late finds the fleet closed
                self.owner = self.owner.renewed(at_s)
            case Worked():
                self._worked_at_s = at_s
            case Scaled(n, busy):
                self.wanted = n
                self._busy = busy
                self._worked_at_s = at_s
            case Closed(why):
                self._close(why)
            case Listed(names, asked_at_s):
                self._listed(names, asked_at_s, at_s)
            case Renewed(name, is_ready):
                self._renewed(name, at_s, is_ready=is_ready)
            case Destroyed(name) | DestroyFailed(name) if node := self.nodes.get(name):
                self._destroyed(node, event, at_s)
            case Created() | CreateFailed() | Ended():
                self._heard_of(self.nodes.get(event.node), event, at_s)

    def _destroyed(self, node: Node, event: Destroyed | DestroyFailed, at_s: float) -> None:
        node.n_asked -= 1
        if isinstance(event, DestroyFailed):
            node.is_seen = True  # it may have been, and be no more
            return
        said_at_s = at_s if event.said_at_s is None else event.said_at_s
        is_news = node.destroyed_at_s is None or event.is_found > node.is_found
        if is_news and (node.made_at_s is None or said_at_s > node.made_at_s):
            node.destroyed_at_s = said_at_s
        node.is_found |= event.is_found
        node.is_seen |= event.is_found

    def _heard_of(self, node: Node | None, event: Created | CreateFailed | Ended, at_s: float) -> None:
        if node is None:
            return
        if isinstance(event, Created):
            node.is_answered = node.is_seen = True
            node.made_at_s = at_s
            node.destroyed_at_s = None  # who was asked to destroy it before did not find it
            node.asked_at_s = event.asked_at_s
            if node.state is NodeState.INTENT:
                self._move(node, NodeState.REQUESTED, at_s, "the provider makes it")
            return
        if isinstance(event, CreateFailed):
            node.is_refused = event.is_certain and not node.is_answered
            node.is_answered = node.is_answered or event.is_certain
            if event.again_s is not None:
                self._next_order_s = max(self._next_order_s, at_s + event.again_s)
                self._end(node, event.why, at_s)
                return
            if event.is_final:
                self._n_failed = max(self._n_failed, self.policy.most_failures - 1)  # and this one
        self._end(node, event.why, at_s, is_failure=True)

    def _close(self, why: str) -> None:
        if self.phase is Phase.OPEN:
            self.phase, self.why = Phase.CLOSING, why

    def _move(self, node: Node, state: NodeState, at_s: float, why: str) -> None:
        self._changes.append(node.move(state, at_s, why))

    def _renewed(self, name: str, at_s: float, *, is_ready: bool) -> None:
        node = self.nodes.get(name)
        if node:
            node.is_seen, node.called_s = True, at_s
            node.heard_s = at_s if node.state in ALIVE else node.heard_s
        if node is None or node.state not in ALIVE or self.phase is not Phase.OPEN:
            self._actions.append(Refuse(name, node.story[-1].why if node else "unknown to this fleet"))
            return
        ttl_s = min(self.policy.ttl_s, self.owner.left_s(at_s))
        if ttl_s <= 0:
            self._actions.append(Refuse(name, "the owner is silent"))
            return
        node.is_answered, node.is_refused = True, False
        node.lease = Lease.asked_at(at_s, ttl_s)
        if node.state in (NodeState.INTENT, NodeState.REQUESTED):
            self._move(node, NodeState.BOOTED, at_s, "it called home")
        if is_ready and node.state is NodeState.BOOTED:
            self._move(node, NodeState.READY, at_s, "its worker works")
            self._n_failed = 0
            self._worked_at_s = at_s
        self._actions.append(Grant(name, ttl_s, node.state is NodeState.DRAINING))

    def _end(self, node: Node, why: str, at_s: float, *, is_failure: bool = False) -> None:
        """Begin to destroy a node, unless that has begun."""
        if node.state not in ALIVE:
            return
        if is_failure and node.state in BOOTING:
            self._n_failed += 1
            self._next_order_s = at_s + self.policy.retry_s * self._n_failed
        until_s = node.line().from_s if node.is_refused else None  # for who reads the journal: it never was
        self._changes.append(node.move(NodeState.ENDING, at_s, why, until_s))

    def _listed(self, names: frozenset[str], asked_at_s: float, at_s: float) -> None:
        if asked_at_s < self._listed_at_s:
            return  # overtaken by a newer one
        before_s, self._listed_at_s = self._listed_at_s, asked_at_s
        for name in sorted(names - self.nodes.keys()):
            self._adopt(name, at_s)
        for node in self.nodes.values():
            if node.name in names:
                node.missing_since_s = node.absent_at_s = None
                node.is_answered = node.is_seen = node.is_listed = True
                node.is_refused = False
                if node.destroyed_at_s is not None and asked_at_s > node.destroyed_at_s:
                    node.destroyed_at_s = None
                if node.state is NodeState.GONE:
                    self._move(node, NodeState.ENDING, at_s, "listed again")
            else:
                # Who is never listed nor heard lives for its lease: longer than this, and it may have been.
                node.is_seen |= asked_at_s - max(before_s, node.ordered_at_s) > self.policy.ttl_s
                since_s = asked_at_s if node.missing_since_s is None else node.missing_since_s
                node.missing_since_s = since_s
                if node.is_listed and node.absent_at_s is None:
                    node.absent_at_s = at_s
                if asked_at_s - max(since_s, node.since_s) >= self.policy.settle_s:
                    self._missing(node, asked_at_s, at_s)

    def _adopt(self, name: str, at_s: float) -> None:
        """Take up a node that bears our mark but that no intent names, to destroy it.

        Nobody knows since when it is there: it is billed from the opening of the fleet.
        """
        node = self.nodes[name] = Node(name, self.policy.rate, NodeState.ENDING, asked_at_s=0.0)
        node.is_answered = node.is_seen = node.is_listed = True
        self._changes.append(node.begin(at_s, "listed, but in no journal"))

    def _missing(self, node: Node, asked_at_s: float, at_s: float) -> None:
        """Judge a node that the listings lack, for longer than they lag: it is lost, or gone at last."""
        if node.state is NodeState.ENDING:
            destroyed_s = node.destroy_asked_at_s
            if destroyed_s is not None and destroyed_s <= asked_at_s and self._is_settled(node, asked_at_s):
                self._changes.append(node.is_over(at_s, "no longer listed"))
        elif node.state in ALIVE and node.is_answered:
            self._end(node, "no longer listed", at_s, is_failure=True)

    def _is_settled(self, node: Node, asked_at_s: float) -> bool:
        """Tell whether the order was answered, or is so old that nobody carries it out any more.

        Whether there ever was a node that nobody saw, who was asked to destroy it must have said.
        """
        patience_s = self.policy.boot_timeout_s + self.policy.settle_s
        is_too_old = asked_at_s - node.ordered_at_s > patience_s
        return node.is_answered or (is_too_old and (node.is_seen or node.n_asked <= 0))

    def _judge(self, at_s: float) -> None:
        """End what has outlived its time."""
        policy = self.policy
        if self.phase is Phase.OPEN:
            for is_over, why in (
                (not self.owner.is_live(at_s), "the owner is silent"),
                (policy.longest_s is not None and at_s >= policy.longest_s, "its time is over"),
                (self._is_idle(at_s), "idle"),
                (self._is_committed(at_s), "the budget is committed"),
                (self._is_hopeless(), "nodes do not come up"),
            ):
                if is_over:
                    self._close(why)
        for node in self.in_states(ALIVE):
            waited_s = at_s - node.since_s
            if self.phase is not Phase.OPEN:
                self._end(node, f"the fleet closes: {self.why}", at_s)
            elif node.state in BOOTING and at_s - node.ordered_at_s >= policy.boot_timeout_s:
                silent = "" if node.lease else ": it never called home"
                why = f"not ready after {policy.boot_timeout_s:g} s{silent}"
                self._end(node, why, at_s, is_failure=True)
            elif node.lease and not node.lease.is_live(at_s):
                self._end(node, "silent for the length of its lease", at_s, is_failure=True)
            elif node.state is NodeState.DRAINING and waited_s >= policy.drain_timeout_s:
                self._end(node, f"not drained after {policy.drain_timeout_s:g} s", at_s)

    def _is_failing(self) -> bool:
        """Tell whether so many boots failed in a row that the next is likely to fail too."""
        return self._n_failed >= self.policy.most_failures

    def _is_hopeless(self) -> bool:
        """Tell whether boots fail of a fleet that never was up, or of which nothing works any more."""
        return self._is_failing() and not (self._was_up and self.in_states([NodeState.READY]))

    def _is_committed(self, at_s: float) -> bool:
        budget = self.policy.budget
        return budget.is_limited and budget.is_crossed(self.ledger, at_s)

    def _is_idle(self, at_s: float) -> bool:
        """Tell whether nothing was done for too long; while nodes boot, something is."""
        idle_s = self.policy.idle_s
        if idle_s is None or self.in_states(BOOTING):
            return False
        return at_s - self._worked_at_s >= idle_s

    def _balance(self, at_s: float) -> None:
        """Order what lacks, drain what is too much, destroy what ends."""
        if self.phase is Phase.OPEN:
            here = self.in_states(WANTED)[::-1]
            if len(here) > self.wanted:
                here.sort(key=self._worth)  # those that work go last, and the newest of them first
            for node in here[: max(len(here) - self.wanted, 0)]:
                self._dismiss(node, at_s)
            self._order(self.wanted - len(here), at_s)
        for node in self.in_states([NodeState.ENDING]):
            asked = node.destroy_asked_at_s
            if asked is None or at_s - asked >= self.policy.retry_s or asked < node.since_s:
                node.destroy_asked_at_s = at_s
                node.n_asked += 1
                self._actions.append(Destroy(node.name))
        if self.phase is Phase.CLOSING and all(n.state is NodeState.GONE for n in self.nodes.values()):
            self.phase = Phase.CLOSED

    def _worth(self, node: Node) -> tuple[bool, bool]:
        """Return by what the nodes are sorted that may go."""
        return node.state is NodeState.READY, node.name in self._busy

    def _dismiss(self, node: Node, at_s: float) -> None:
        if node.state is NodeState.READY:
            self._move(node, NodeState.DRAINING, at_s, "fewer nodes are wanted")
        else:
            self._end(node, "fewer nodes are wanted", at_s)

    def _order(self, n: int, at_s: float) -> None:
        self.remark, self._is_short = "", False
        if n > 0 and self._is_failing():
            self.remark = f"{self._n_failed} nodes in a row did not come up: one at a time is tried"
            self._is_short = True
            n = 0 if self.in_states(BOOTING) else 1
        if n > 0 and at_s < self._next_order_s:
            self.remark = self.remark or "the next order waits: one has failed"
            return
        n_allowed = self.policy.budget.n_allowed(self.ledger, self.policy.rate, at_s) if n > 0 else 0
        if n_allowed < n:
            self.remark, self._is_short = "the budget allows no more nodes", True
        for _ in range(int(min(n, n_allowed))):
            name = self._new_name()
            node = self.nodes[name] = Node(name, self.policy.rate)
            self._changes.append(node.begin(at_s, f"{self.wanted} nodes are wanted"))
            self._actions.append(Create(name))

    def _new_name(self) -> str:
        """Return a name that no node of this fleet ever had."""
        while True:
            self._n_ordered += 1
            name = f"rr-{self.fleet}-{self._n_ordered}"
            if name not in self.nodes:
                return name
