"""Each dead man's switch alone: whatever dies or freezes, no process outlives the lease by a second.

The nodes are busy, and not with friendly things: a loop that holds the interpreter, and a child in a session
of its own that is deaf to SIGTERM and has a child itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from rackrate.fleet import opening, tree
from rackrate.fleet.backends.local import LocalBackend
from rackrate.fleet.folder import Folder, all_folders

pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="what is promised here, Linux makes possible"),
]

LEASE_S = 3.0
N_NODES = 4
OWNER = """
import sys, time
import rackrate

def busy(_):
    import subprocess, sys
    deaf = "import os, signal, time; signal.signal(15, signal.SIG_IGN); os.fork(); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True)
    while True:
        pass

fleet = rackrate.Fleet(nodes=int(sys.argv[1]), lease_s=float(sys.argv[2]))
work = fleet.map(busy, range(int(sys.argv[1])))
print("busy", flush=True)
time.sleep(600)
"""


@dataclass
class Busy:
    """A fleet at work, and the process that it lives for."""

    owner: subprocess.Popen[str]
    folder: Folder

    def process(self, part: str) -> psutil.Process:
        """Return the owner, the keeper or the zygote."""
        if part == "owner":
            return psutil.Process(self.owner.pid)
        named = [one for one in tree.marked(self.folder.fleet) if f"rackrate.fleet.{part}" in _line(one)]
        return next(one for one in named if not _is_forked(one))

    def of_nodes(self) -> list[psutil.Process]:
        """Return every process of every node, the head's among them: all but keeper and zygote."""
        backend = LocalBackend(self.folder.path, self.folder.fleet)
        folder = self.folder.path / "nodes"
        agents = {int((folder / name / "alive").read_text()) for name in backend.list(self.folder.fleet)}
        own = {"rackrate.fleet.keeper", "rackrate.fleet.backends.zygote"}
        return [
            one
            for one in tree.marked(self.folder.fleet)
            if one.pid in agents or not any(name in _line(one) for name in own) or _is_forked(one)
        ]

    def seconds_until_gone(self) -> float:
        """Wait until no process of a node is left."""
        started_s = time.monotonic()
        while self.of_nodes():
            assert time.monotonic() - started_s < 10 * LEASE_S, self.of_nodes()
            time.sleep(0.02)
        return time.monotonic() - started_s


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _is_forked(process: psutil.Process) -> bool:
    """Tell whether it is a fork of the zygote, with its command line: a node's, not the zygote itself."""
    try:
        parent = process.parent()
    except psutil.NoSuchProcess:
        return False
    return parent is not None and "backends.zygote" in _line(parent)


@pytest.fixture
def busy() -> Iterator[Busy]:
    """Bring up a fleet in a process of its own and wait until all nodes are busy."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(N_NODES), str(LEASE_S)], stdout=subprocess.PIPE, text=True
    )
    assert owner.stdout
    assert owner.stdout.readline() == "busy\n"
    (folder,) = all_folders()
    fleet = Busy(owner, folder)
    until_s = time.monotonic() + 10
    while len(fleet.of_nodes()) < 2 * (N_NODES + 1) + 2 * N_NODES:  # agents, engines; the deaf and theirs
        assert time.monotonic() < until_s, fleet.of_nodes()
        time.sleep(0.05)
    yield fleet
    owner.kill()
    owner.wait()
    owner.stdout.close()
    opening.reap(folder)


DEATHS: dict[str, tuple[str, Callable[[psutil.Process], None], float]] = {
    "the owner is killed": ("owner", psutil.Process.kill, 0.0),
    "the owner is terminated": ("owner", psutil.Process.terminate, 0.0),
    "the owner is frozen": ("owner", psutil.Process.suspend, LEASE_S),
    "the keeper is killed": ("keeper", psutil.Process.kill, LEASE_S),
    "the keeper is frozen": ("keeper", psutil.Process.suspend, LEASE_S),
}


@pytest.mark.parametrize("death", DEATHS)
def test_no_process_of_a_node_outlives_the_lease_by_more_than_a_second(busy: Busy, death: str) -> None:
    part, strike, lease_s = DEATHS[death]
    strike(busy.process(part))
    assert busy.seconds_until_gone() <= lease_s + 1


def test_when_all_above_the_nodes_dies_at_once_they_still_end(busy: Busy) -> None:
    for part in ("keeper", "backends.zygote", "owner"):
        busy.process(part).kill()
    assert busy.seconds_until_gone() <= LEASE_S + 1


def test_an_agent_that_is_killed_takes_its_node_with_it(busy: Busy) -> None:
    victim = busy.folder.path / "nodes" / f"rr-{busy.folder.fleet}-1"
    pid = int((victim / "alive").read_text())
    below = psutil.Process(pid).children(recursive=True)
    assert len(below) == 3
    os.kill(pid, signal.SIGKILL)
    assert psutil.wait_procs(below, timeout=2)[1] == []


def test_an_owner_that_is_frozen_for_less_than_the_lease_keeps_its_fleet(busy: Busy) -> None:
    owner = busy.process("owner")
    owner.suspend()
    time.sleep(LEASE_S / 3)
    owner.resume()
    time.sleep(LEASE_S)
    assert opening.status(busy.folder).phase == "open"


def test_what_is_left_of_a_keeper_that_was_killed_is_reaped_and_said(busy: Busy) -> None:
    for part in ("keeper", "owner"):
        busy.process(part).kill()
    assert opening.reap(busy.folder) >= 4 * N_NODES
    assert tree.marked(busy.folder.fleet) == []
    found = opening.status(busy.folder)
    assert (found.phase, found.why) == ("closed", "reaped")
    assert {node["state"] for node in found.nodes} == {"gone"}
    assert not Path(busy.folder.key).exists()
    assert opening.reap(busy.folder) == 0
