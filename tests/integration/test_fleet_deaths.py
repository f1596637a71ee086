"""Each dead man's switch alone: whatever dies or freezes, no process outlives the lease by a second.

The nodes are busy, and not with friendly things: see `rackrate.testing.busy`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from rackrate.fleet import opening, tree
from rackrate.fleet.folder import new_folder
from rackrate.testing.busy import AGENT, SCHEDULER, Busy, How, seconds_until_gone

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="what is promised here, Linux makes possible"),
]

LEASE_S = 3.0
N_NODES = 4


@pytest.fixture
def busy() -> Iterator[Busy]:
    """Bring up a fleet in a process of its own and wait until all nodes are busy."""
    busy = Busy.open(N_NODES, LEASE_S)
    try:
        yield busy.wait_busy()
    finally:
        busy.close()


def gone_after_s(look: Callable[[], list[psutil.Process]]) -> float:
    seconds, left = seconds_until_gone(look, 10 * LEASE_S)
    assert left == []
    return seconds


DEATHS: dict[str, tuple[str, How, float]] = {
    "the owner is killed": ("owner", "killed", 0.0),
    "the owner is frozen": ("owner", "frozen", LEASE_S),
    "the keeper is killed": ("keeper", "killed", LEASE_S),
    "the keeper is frozen": ("keeper", "frozen", LEASE_S),
    "the scheduler is killed": (SCHEDULER, "killed", 0.0),
    "the scheduler is frozen": (SCHEDULER, "frozen", LEASE_S),
    "the scheduler's agent is killed": (AGENT, "killed", 1.0),
    "the scheduler's agent is frozen": (AGENT, "frozen", LEASE_S),
    "the zygote is killed": ("zygote", "killed", 0.0),
}


@pytest.mark.parametrize("death", DEATHS)
def test_no_process_of_a_node_outlives_the_lease_by_more_than_a_second(busy: Busy, death: str) -> None:
    part, how, lease_s = DEATHS[death]
    busy.strike(part, how)
    assert gone_after_s(busy.of_nodes) <= lease_s + 1


def test_an_owner_that_is_terminated_leaves_nothing(busy: Busy) -> None:
    busy.owner.terminate()
    assert gone_after_s(busy.of_nodes) <= 1


def test_when_all_above_the_nodes_dies_at_once_they_still_end(busy: Busy) -> None:
    for part in ("keeper", "zygote", "owner"):
        busy.strike(part, "killed")
    assert gone_after_s(busy.of_nodes) <= LEASE_S + 1


def test_a_scheduler_whose_agent_is_killed_before_it_called_home_is_missed() -> None:
    busy = Busy.open(1, LEASE_S)
    try:
        busy.look_for([AGENT])
        busy.strike(AGENT, "killed")
        assert gone_after_s(busy.of_nodes) <= LEASE_S + 1
        assert busy.owner.wait(10) != 0
    finally:
        busy.close()


def test_an_agent_that_is_killed_takes_its_node_with_it(busy: Busy) -> None:
    node = busy.of_node(1)
    assert len(node) == 4
    busy.strike("1", "killed")
    assert psutil.wait_procs(node, timeout=2)[1] == []


def test_a_killed_agent_that_nobody_is_there_to_sweep_up_after_leaves_nothing_either(busy: Busy) -> None:
    """Its orphans are then children of nobody in the fleet: the keeper finds them by their mark."""
    for part in ("zygote", "1"):
        busy.strike(part, "killed")
    assert gone_after_s(lambda: tree.marked(busy.folder.fleet)) <= 3


def test_a_keeper_leaves_no_frozen_zygote(busy: Busy) -> None:
    busy.strike("zygote", "frozen")
    busy.strike("owner", "killed")
    assert gone_after_s(lambda: tree.marked(busy.folder.fleet)) <= 3


def test_an_owner_that_is_frozen_for_less_than_the_lease_keeps_its_fleet(busy: Busy) -> None:
    busy.strike("owner", "frozen")
    time.sleep(LEASE_S / 3)
    busy.parts["owner"].resume()
    time.sleep(LEASE_S)
    assert opening.status(busy.folder).phase == "open"


LATE = """
import sys, time
import rackrate
fleet = rackrate.Fleet(nodes=1, lease_s=2)
future = fleet.submit(time.sleep, 600)
print(fleet.id, flush=True)
sys.stdin.readline()
try:
    fleet.submit(abs, 1)
except rackrate.errors.FleetClosed as error:
    print(error.message)
fleet.close()
"""


def test_an_owner_that_comes_back_too_late_is_told_in_one_error_and_nothing_else() -> None:
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", LATE], stdin=pipe, stdout=pipe, stderr=pipe) as owner:
        assert owner.stdout
        fleet = owner.stdout.readline().decode().strip()
        owner.send_signal(signal.SIGSTOP)
        gone_after_s(lambda: tree.marked(fleet))
        owner.send_signal(signal.SIGCONT)
        said, noise = owner.communicate(b"\n", timeout=30)
    assert said.decode() == f"fleet {fleet} has ended: the owner is silent\n"
    assert noise.decode() == ""


def test_a_fleet_whose_keeper_died_before_its_journal_is_reaped_too() -> None:
    folder = new_folder()
    opening.spec_of(folder, is_owned=True, nodes=1).write(folder.spec)
    assert opening.reap(folder) == 0
    assert opening.status(folder).why == "reaped"


def test_what_is_left_of_a_keeper_that_was_killed_is_reaped_and_said(busy: Busy) -> None:
    for part in ("keeper", "owner"):
        busy.strike(part, "killed")
    assert opening.reap(busy.folder) >= 4 * N_NODES
    assert tree.marked(busy.folder.fleet) == []
    found = opening.status(busy.folder)
    assert (found.phase, found.why) == ("closed", "reaped")
    assert {node["state"] for node in found.nodes} == {"gone"}
    assert not Path(busy.folder.key).exists()
    assert opening.reap(busy.folder) == 0
