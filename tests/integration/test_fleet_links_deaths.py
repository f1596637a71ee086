"""Machines that nobody can reach end by themselves: whatever dies, freezes or is cut off."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from rackrate.fleet import opening
from rackrate.testing import namespaces
from rackrate.testing.busy import AGENT, HOME, SCHEDULER, Busy, How, seconds_until_gone
from rackrate.testing.machines import MachineBackend

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(
        not namespaces.are_possible(),
        reason="machines with a network of their own need Linux, root and iproute2",
    ),
]

LEASE_S = 4.0
N_NODES = 3


@dataclass
class Away(Busy):
    """A fleet at work on machines of its own."""

    def any_number(self) -> str:
        """Return the number of one of its machines."""
        return min(self.numbers())

    def ready(self) -> set[str]:
        """Return the names of the nodes that work."""
        return {node["node"] for node in opening.status(self.folder).nodes if node["state"] == "ready"}

    def has_another_for(self, name: str) -> bool:
        """Tell whether all nodes that were asked for work, and one that is lost is not among them."""
        return len(self.ready()) == N_NODES and name not in self.ready()

    def seconds_until(self, is_so: Callable[[], bool]) -> float:
        started_s = time.monotonic()
        while not is_so():
            assert time.monotonic() - started_s < 10 * LEASE_S, self.machines.names()
            time.sleep(0.02)
        return time.monotonic() - started_s


@pytest.fixture
def away() -> Iterator[Away]:
    """Bring up a fleet in a process of its own and wait until all machines are busy."""
    away = Away.open(N_NODES, LEASE_S, "emulated")
    try:
        yield away.wait_busy()
    finally:
        away.close()


DEATHS: dict[str, tuple[str, How, float]] = {
    "the owner is killed": ("owner", "killed", 0.0),
    "the owner is frozen": ("owner", "frozen", LEASE_S),
    "the keeper is killed": ("keeper", "killed", LEASE_S),
    "the keeper is frozen": ("keeper", "frozen", LEASE_S),
    "the gate is killed": ("gate", "killed", 0.0),
    "the gate is frozen": ("gate", "frozen", LEASE_S),
    "home has no network": (HOME, "cut", LEASE_S),
    "the scheduler is frozen": (SCHEDULER, "frozen", LEASE_S),
    "the scheduler's agent is killed": (AGENT, "killed", 1.0),
    "the scheduler's agent is frozen": (AGENT, "frozen", LEASE_S),
}


@pytest.mark.parametrize("death", DEATHS)
def test_no_machine_outlives_the_lease_by_more_than_a_second(away: Away, death: str) -> None:
    part, how, lease_s = DEATHS[death]
    away.strike(part, how)
    seconds, left = seconds_until_gone(away.of_nodes, 10 * LEASE_S)
    assert left == []
    assert seconds <= lease_s + 1
    if part == "gate":  # all nodes are silent then, and none is lost
        assert len(opening.status(away.folder).nodes) == N_NODES


def test_a_machine_that_is_cut_off_ends_itself_and_another_takes_its_place(away: Away) -> None:
    number = away.any_number()
    name = away.name(number)
    away.strike(number, "cut")
    assert away.seconds_until(lambda: name not in away.machines.names()) <= LEASE_S + 1
    away.seconds_until(lambda: away.has_another_for(name))


def test_a_machine_that_is_cut_off_for_less_than_its_lease_works_on(away: Away) -> None:
    before = away.machines.names()
    number = away.any_number()
    away.strike(number, "cut")
    time.sleep(LEASE_S / 4)
    away.machines.heal(away.name(number))
    time.sleep(LEASE_S)
    assert before == away.machines.names() == away.ready()


def test_a_machine_that_is_frozen_is_destroyed_and_replaced(away: Away) -> None:
    number = away.any_number()
    name = away.name(number)
    away.strike(number, "frozen")
    assert away.seconds_until(lambda: name not in away.machines.names()) <= LEASE_S + 1
    away.seconds_until(lambda: away.has_another_for(name))


def test_machines_without_keeper_and_network_are_found_by_the_providers_list(away: Away) -> None:
    """The keeper dies while a machine is frozen, which so cannot end itself: a later command ends it."""
    number = away.any_number()
    name = away.name(number)
    away.strike(number, "frozen")
    for part in ("keeper", "owner"):
        away.strike(part, "killed")
    away.seconds_until(lambda: away.machines.names() == {name})
    assert opening.reap(away.folder) >= 1
    assert MachineBackend(away.folder.path, away.folder.fleet).list(away.folder.fleet) == frozenset()
    assert opening.status(away.folder).phase == "closed"
