"""Machines that nobody can reach end by themselves: whatever dies, freezes or is cut off."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from rackrate.fleet import opening
from rackrate.fleet.folder import Folder, all_folders
from rackrate.testing import namespaces
from rackrate.testing.machines import MachineBackend, Machines

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(
        not namespaces.are_possible(),
        reason="machines with a network of their own need Linux, root and iproute2",
    ),
]

LEASE_S = 4.0
N_NODES = 3
OWNER = """
import sys, time
import rackrate

def busy(_):
    import subprocess, sys
    deaf = "import os, signal, time; signal.signal(15, signal.SIG_IGN); os.fork(); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True)
    while True:
        pass

n = int(sys.argv[1])
fleet = rackrate.Fleet(nodes=n, backend="emulated", lease_s=float(sys.argv[2]))
work = fleet.map(busy, range(n))
print("busy", flush=True)
time.sleep(600)
"""


@dataclass
class Away:
    """A fleet at work on machines of its own, and the process that it lives for."""

    owner: subprocess.Popen[str]
    folder: Folder
    machines: Machines

    def process(self, part: str) -> psutil.Process:
        """Return the owner, the keeper, the gate or the agent of the head."""
        if part == "owner":
            return psutil.Process(self.owner.pid)
        if part == "head":
            alive = self.folder.nodes / f"rr-{self.folder.fleet}-head" / "alive"
            return psutil.Process(int(alive.read_text()))
        command = [f"rackrate.fleet.{part}", str(self.folder.path)]
        return next(one for one in psutil.process_iter() if _command(one)[2:4] == command)

    def any_name(self) -> str:
        """Return the name of one of its machines."""
        return min(self.machines.names())

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


def _command(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture
def away() -> Iterator[Away]:
    """Bring up a fleet in a process of its own and wait until all machines are busy."""
    command = [sys.executable, "-c", OWNER, str(N_NODES), str(LEASE_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == "busy\n"
        (folder,) = all_folders()
        away = Away(owner, folder, Machines(folder.path / "machines"))
        assert len(away.machines.names()) == N_NODES
        nursery = psutil.Process(int((folder.path / "machines" / "nursery").read_text()))
        yield away
        owner.kill()
        opening.reap(folder)
        nursery.wait(10)


DEATHS: dict[str, tuple[str, Callable[[psutil.Process], None], float]] = {
    "the owner is killed": ("owner", psutil.Process.kill, 0.0),
    "the owner is frozen": ("owner", psutil.Process.suspend, LEASE_S),
    "the keeper is killed": ("keeper", psutil.Process.kill, LEASE_S),
    "the keeper is frozen": ("keeper", psutil.Process.suspend, LEASE_S),
    "the gate is killed": ("gate", psutil.Process.kill, 0.0),
    "the gate is frozen": ("gate", psutil.Process.suspend, LEASE_S),
    "the head is killed": ("head", psutil.Process.kill, 1.0),
    "the head is frozen": ("head", psutil.Process.suspend, LEASE_S),
}


@pytest.mark.parametrize("death", DEATHS)
def test_no_machine_outlives_the_lease_by_more_than_a_second(away: Away, death: str) -> None:
    part, strike, lease_s = DEATHS[death]
    before = away.machines.names()
    strike(away.process(part))
    assert away.seconds_until(lambda: not before & away.machines.names()) <= lease_s + 1


def test_a_machine_that_is_cut_off_ends_itself_and_another_takes_its_place(away: Away) -> None:
    name = away.any_name()
    away.machines.partition(name)
    assert away.seconds_until(lambda: name not in away.machines.names()) <= LEASE_S + 1
    away.seconds_until(lambda: away.has_another_for(name))


def test_a_machine_that_is_cut_off_for_less_than_its_lease_works_on(away: Away) -> None:
    before = away.machines.names()
    away.machines.partition(away.any_name())
    time.sleep(LEASE_S / 4)
    away.machines.heal(away.any_name())
    time.sleep(LEASE_S)
    assert before == away.machines.names() == away.ready()


def test_a_machine_that_is_frozen_is_destroyed_and_replaced(away: Away) -> None:
    name = away.any_name()
    away.machines.freeze(name)
    assert away.seconds_until(lambda: name not in away.machines.names()) <= LEASE_S + 1
    away.seconds_until(lambda: away.has_another_for(name))


def test_machines_without_keeper_and_network_are_found_by_the_providers_list(away: Away) -> None:
    """The keeper dies while a machine is frozen, which so cannot end itself: a later command ends it."""
    name = away.any_name()
    away.machines.freeze(name)
    for part in ("keeper", "owner"):
        away.process(part).kill()
    away.seconds_until(lambda: away.machines.names() == {name})
    assert opening.reap(away.folder) >= 1
    assert MachineBackend(Path(away.folder.path), away.folder.fleet).list(away.folder.fleet) == frozenset()
    assert opening.status(away.folder).phase == "closed"
