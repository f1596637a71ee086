"""The fleet's state machine against a provider and machines that do their worst.

The model has its own clock, its own bill and machines that watch their own lease; messages between it and
the state machine are lost, late, doubled and out of order. What it checks is what the owner would
count: machines that live, dollars on the provider's bill, orders by name.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from rackrate.fleet.budget import Budget
from rackrate.fleet.event import (
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
    Tick,
)
from rackrate.fleet.ledger import Rate
from rackrate.fleet.node import NodeState
from rackrate.fleet.state import Lifecycle, Phase, Policy

TTL_S, TICK_S, LATENCY_S, BOOT_S = 10.0, 1.0, 5.0, 30.0
INSTANT_S = 1e-6
"""Between two events: a listing that was asked for before a destroy has an earlier time than it."""
LIMIT = 3_000_000
RATE = Rate(60_000_000, least_s=60, step_s=60)  # a dollar a begun minute


@dataclass
class Machine:
    """A machine as the provider has it, with an agent that watches its lease."""

    made_at_s: float
    lease_until_s: float
    gone_at_s: float | None = None
    is_broken: bool = False


class World(RuleBasedStateMachine):
    """A fleet and all that can happen to it."""

    @initialize(n=st.integers(0, 4), most_failures=st.sampled_from([2, 50]))
    def start(self, n: int, most_failures: int) -> None:
        policy = Policy(
            ttl_s=TTL_S,
            boot_timeout_s=BOOT_S,
            retry_s=2,
            most_failures=most_failures,
            rate=RATE,
            budget=Budget(LIMIT, exposure_s=TTL_S + TICK_S + LATENCY_S),
        )
        self.now = 0.0
        self.life = Lifecycle("p", policy)
        self.machines: dict[str, Machine] = {}
        self.orders: list[str] = []
        self.to_make: list[str] = []
        self.mail: list[Event] = []
        self.answers: list[Destroyed] = []
        self.unknown: set[str] = set()
        self.broken_off: set[str] = set()
        self.listed_at_s = 0.0
        self.was_destroyed: set[str] = set()
        self.owner_seen_at_s = 0.0
        self.was_up = False
        self.tell(Scaled(n))
        while self.to_make:
            self.make(self.to_make.pop())

    def make(self, name: str) -> None:
        """Make a machine; its agent has one lease's time to call home."""
        self.machines.setdefault(name, Machine(self.now, self.now + TTL_S))

    def look(self, asked_at_s: float) -> None:
        """Of whom a whole lease passes between two listings, it may be that nobody saw it."""
        if asked_at_s >= self.listed_at_s:
            for name in self.orders:
                if asked_at_s - max(self.listed_at_s, self.life.nodes[name].ordered_at_s) > TTL_S:
                    self.unknown.add(name)
            self.listed_at_s = asked_at_s

    def tell(self, event: Event) -> None:
        if isinstance(event, Listed):
            self.look(event.asked_at_s)
        worked = self.life.in_states([NodeState.READY])
        actions = self.life.handle(event, self.now).actions
        if self.was_up and self.life.why == "nodes do not come up":
            assert not any("the fleet closes" in node.story[-1].why for node in worked)
        self.was_up = self.was_up or (self.life.wanted > 0 and self.life.is_up)
        for action in actions:
            match action:
                case Create(name):
                    self.orders.append(name)
                    self.to_make.append(name)
                case Destroy(name):
                    self.was_destroyed.add(name)
                    self.answers.append(Destroyed(name, self.now, is_found=name in self.live()))
                    if name in self.machines and not self.machines[name].is_broken:
                        self.end(name)
                case Grant(name, ttl_s):
                    assert name not in self.was_destroyed
                    assert self.now + ttl_s <= self.owner_seen_at_s + TTL_S + 1e-9
                    if name in self.machines:
                        self.machines[name].lease_until_s = self.now + ttl_s
                case Refuse(name) if name in self.machines:
                    self.end(name)
        self.now += INSTANT_S

    def end(self, name: str) -> None:
        machine = self.machines[name]
        if machine.gone_at_s is None:
            machine.gone_at_s = self.now

    def live(self) -> list[str]:
        return [name for name, machine in self.machines.items() if machine.gone_at_s is None]

    @rule(n=st.sampled_from([1, 3, 9, 40]), is_seen=st.booleans(), has_network=st.booleans())
    def time_passes(self, n: int, *, is_seen: bool, has_network: bool) -> None:
        """Seconds go by: ticks, the owner is seen or not, agents look at their leases and ask for more."""
        for _ in range(n):
            self.now += TICK_S
            for name in self.live():
                if self.now >= self.machines[name].lease_until_s:
                    self.end(name)
            if is_seen and self.life.owner.is_live(self.now):
                self.owner_seen_at_s = self.now
            self.tell(OwnerSeen() if is_seen else Tick())
            if has_network:
                for name in self.live():
                    self.tell(Renewed(name, is_ready=True))

    @rule(n=st.integers(0, 6))
    def scale(self, n: int) -> None:
        self.tell(Scaled(n))

    @precondition(lambda self: self.to_make)
    @rule(data=st.data(), answer=st.sampled_from(["yes", "lost", "no", "error but made", "error"]))
    def provider_takes_an_order(self, data: st.DataObject, answer: str) -> None:
        name = self.to_make.pop(data.draw(st.integers(0, len(self.to_make) - 1)))
        if self.now - self.life.nodes[name].ordered_at_s > BOOT_S:
            return  # so late that no provider carries it out
        if answer in ("yes", "lost", "error but made"):
            self.make(name)
        if answer == "yes":
            self.mail.append(Created(name))
        elif answer == "no":
            self.mail.append(CreateFailed(name, "no capacity", is_certain=True))
        elif answer.startswith("error"):
            self.mail.append(CreateFailed(name, "500", is_certain=False))

    @rule(n=st.sampled_from([5, 30]))
    def more_is_wanted_than_there_is(self, n: int) -> None:
        """For some seconds the provider refuses every order; what is there goes on."""
        self.time_passes(1, is_seen=True, has_network=True)
        self.tell(Scaled(self.life.wanted + 1))
        for _ in range(n):
            while self.to_make:
                self.tell(CreateFailed(self.to_make.pop(), "no capacity", is_certain=True))
            self.time_passes(1, is_seen=True, has_network=True)

    @precondition(lambda self: self.live())
    @rule(data=st.data(), is_ready=st.booleans(), fate=st.sampled_from(["now", "late", "twice", "lost"]))
    def agent_asks(self, data: st.DataObject, *, is_ready: bool, fate: str) -> None:
        event = Renewed(data.draw(st.sampled_from(self.live())), is_ready)
        if fate in ("now", "twice"):
            self.tell(event)
        if fate == "twice":
            self.tell(event)

    @precondition(lambda self: self.mail)
    @rule(data=st.data(), is_kept=st.booleans())
    def mail_arrives(self, data: st.DataObject, *, is_kept: bool) -> None:
        at = data.draw(st.integers(0, len(self.mail) - 1))
        self.tell(self.mail[at] if is_kept else self.mail.pop(at))

    @precondition(lambda self: self.answers)
    @rule(data=st.data(), is_known=st.booleans())
    def destroy_is_answered(self, data: st.DataObject, *, is_known: bool) -> None:
        """An answer to a destroy arrives, or is known to be lost; one of the two always comes at last."""
        answer = self.answers.pop(data.draw(st.integers(0, len(self.answers) - 1)))
        self.tell(answer if is_known else DestroyFailed(answer.node))
        self.unknown |= set() if is_known else {answer.node}

    @precondition(lambda self: self.live())
    @rule(data=st.data(), is_told=st.booleans())
    def machine_dies(self, data: st.DataObject, *, is_told: bool) -> None:
        name = data.draw(st.sampled_from(self.live()))
        self.end(name)
        if not self.life.nodes[name].is_seen:
            self.broken_off.add(name)  # it was for less than its lease, and nobody saw it
        if is_told:
            self.mail.append(Ended(name, "preempted"))

    @precondition(lambda self: self.live())
    @rule(data=st.data())
    def destroy_breaks(self, data: st.DataObject) -> None:
        """The provider says yes to a destroy and does nothing; only the agent's lease ends the machine."""
        self.machines[data.draw(st.sampled_from(self.live()))].is_broken = True

    @rule(late=st.booleans())
    def provider_lists(self, *, late: bool) -> None:
        event = Listed(frozenset(self.live()), self.now)
        if late:
            self.mail.append(event)
        else:
            self.tell(event)

    @rule()
    def close(self) -> None:
        self.mail.append(Closed("done"))

    @invariant()
    def no_machine_outlives_its_owners_lease(self) -> None:
        for name in self.live():
            machine = self.machines[name]
            end_s = max(self.owner_seen_at_s, machine.made_at_s) + TTL_S
            assert self.now <= end_s + TICK_S, name

    @invariant()
    def the_providers_bill_stays_in_the_budget(self) -> None:
        assert sum(map(self.bill_microusd, self.machines)) <= LIMIT

    @invariant()
    def the_ledger_knows_between_what_each_bill_lies(self) -> None:
        for name in self.orders:
            line = self.life.nodes[name].line()
            bill = self.bill_microusd(name)
            assert line.least_microusd() <= bill, name
            assert bill <= line.most_microusd(self.now) or name in self.broken_off, name
            assert line.microusd(self.now) <= line.most_microusd(self.now)

    def bill_microusd(self, name: str) -> int:
        """Return what the provider bills for an order, a begun minute at a time."""
        if name not in self.machines:
            return 0
        machine = self.machines[name]
        end_s = self.now if machine.gone_at_s is None else machine.gone_at_s
        return max(1, math.ceil((end_s - machine.made_at_s) / 60)) * 1_000_000

    @invariant()
    def every_order_has_a_name_of_its_own(self) -> None:
        assert len(self.orders) == len(set(self.orders))

    @invariant()
    def what_is_gone_was_destroyed_and_is_not_there(self) -> None:
        for name in self.orders:
            if self.life.nodes[name].state is NodeState.GONE:
                assert name in self.was_destroyed
                assert name not in self.live()

    def teardown(self) -> None:
        """However it came, from here the fleet closes, and everything is gone and paid."""
        self.tell(Closed("the end of the test"))
        self.to_make.clear()
        for _ in range(int(2 * BOOT_S)):
            self.now += TICK_S
            for answer in self.answers[:]:
                self.tell(answer)
                self.answers.remove(answer)
            for name in self.live():
                if self.now >= self.machines[name].lease_until_s:
                    self.end(name)
            self.tell(Listed(frozenset(self.live()), self.now))
        assert self.live() == []
        assert self.life.phase is Phase.CLOSED
        assert all(node.state is NodeState.GONE for node in self.life.nodes.values())
        self.the_ledger_knows_between_what_each_bill_lies()
        for name in set(self.orders) - self.machines.keys() - self.unknown:
            assert self.life.nodes[name].line().most_microusd(self.now) == 0, name


World.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestWorld = World.TestCase
