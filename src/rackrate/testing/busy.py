"""A fleet at work in a process of its own, with nodes that are hard to end: what tests and benchmarks strike.

A node holds its interpreter, and has a child in a session of its own that is deaf to SIGTERM and has a child
itself. Run as a program this is the owner of such a fleet.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, Self

import psutil

import rackrate
from rackrate.errors import FleetError
from rackrate.fleet import opening, tree
from rackrate.fleet.folder import Folder, all_folders
from rackrate.testing import namespaces
from rackrate.testing.machines import Machines

How = Literal["killed", "frozen", "cut"]
Place = Literal["local", "emulated"]
Work = Literal["loop", "call", "gpu"]
"""A loop of Python takes a core and lets other threads in; a call into C that keeps the lock does neither.
Work on a GPU multiplies matrices and holds `GPU_GIB` there; it needs PyTorch."""

HOME = "home"
"""The part that is everything beside the owner, cut off from all nodes and from who could destroy them."""
SCHEDULER = "scheduler"
AGENT = "scheduler's agent"

GPU_GIB = 2.0

_BOOT_S = 200.0
_DEAF = "import os, signal, time; signal.signal(15, signal.SIG_IGN); os.fork(); time.sleep(3600)"
_PROCESSES = ("owner", "keeper", "zygote", "gate", SCHEDULER, AGENT)
_AT_HOME = ("keeper", "zygote", "gate", "nursery")
_LOOK_S = 0.01
_NURSERY_S = 10.0


def be_busy(_: int, work: Work) -> None:
    """Work for ever, and have children that do not want to end."""
    subprocess.Popen([sys.executable, "-IS", "-c", _DEAF], start_new_session=True)  # noqa: S603 - ourselves
    if work == "gpu":
        _multiply()
    while True:
        if work == "call":
            ctypes.PyDLL(None).sleep(3600)


def _multiply() -> None:
    """Keep a GPU busy for ever."""
    import torch  # noqa: PLC0415 - a test on the CPU needs none

    kept = torch.empty(round(GPU_GIB * 2**30), dtype=torch.uint8, device="cuda")
    values = torch.eye(4096, device=kept.device)
    while True:
        values = values @ values


def be_owner(nodes: int, lease_s: float, backend: Place, kind: Work) -> None:
    """Open a fleet, give every node its work, say so and sleep."""
    preload = ["torch"] if kind == "gpu" else []
    fleet = rackrate.Fleet(
        nodes=nodes, backend=backend, lease_s=lease_s, boot_timeout_s=_BOOT_S, preload=preload
    )
    work = fleet.map(partial(be_busy, work=kind), range(nodes))
    sys.stdout.write(f"{len(work)} tasks\n")
    sys.stdout.flush()
    time.sleep(3600)


@dataclass
class Busy:
    """A fleet, and the process that it lives for.

    Attributes:
        owner: that process.
        folder: of the fleet.
        nodes: how many it was opened with.
        parts: processes that can be struck, by what they are; nodes by their number.
    """

    owner: subprocess.Popen[str]
    folder: Folder
    nodes: int
    parts: dict[str, psutil.Process] = field(default_factory=dict)

    @classmethod
    def open(cls, nodes: int, lease_s: float, backend: Place = "local", work: Work = "loop") -> Self:
        """Start the owner of a fleet; return when the fleet has a folder."""
        before = {folder.fleet for folder in all_folders()}
        words = [sys.executable, "-m", "rackrate.testing.busy", str(nodes), str(lease_s), backend, work]
        owner = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)  # noqa: S603 - ourselves
        while not (new := [one for one in all_folders() if one.fleet not in before]):
            if owner.poll() is not None:
                owner.communicate()
                raise FleetError("the owner died before there was a fleet")
            time.sleep(_LOOK_S)
        return cls(owner, new[0], nodes)

    def wait_busy(self) -> Self:
        """Return when every node is busy and every part known.

        Raises:
            FleetError: they do not come up.
        """
        said = self.owner.stdout.readline() if self.owner.stdout else ""
        until_s = time.monotonic() + _BOOT_S
        while not said or sum(map(_is_deaf, self.of_nodes())) < 2 * self.nodes:  # and a child of each
            if not said or time.monotonic() > until_s:
                raise FleetError("not all nodes are busy", hint=f"see {self.folder.log}")
            time.sleep(_LOOK_S)
        self.look()
        return self

    def numbers(self) -> list[str]:
        """Return the numbers of the nodes that live."""
        return [part for part, process in self.parts.items() if part.isdigit() and not is_dead(process)]

    def look_for(self, parts: Iterable[str]) -> None:
        """Learn which parts there are, as soon as some are.

        Raises:
            FleetError: they do not come.
        """
        until_s = time.monotonic() + _BOOT_S
        self.look()
        while missing := [part for part in parts if part in _PROCESSES and part not in self.parts]:
            if time.monotonic() > until_s or self.owner.poll() is not None:
                raise FleetError(f"there is no {missing[0]}", hint=f"see {self.folder.log}")
            time.sleep(_LOOK_S)
            self.look()

    def look(self) -> None:
        """Learn which parts there are by now; a strike is at what was learnt before."""
        owner = self.parts["owner"] = psutil.Process(self.owner.pid)
        self._learn(owner, "keeper", "rackrate.fleet.keeping")
        if "keeper" in self.parts:
            self._learn(self.parts["keeper"], "gate", "rackrate.fleet.gate")
            self._learn(self.parts["keeper"], "zygote", "rackrate.fleet.backends.zygote")
            self._learn(self.parts["keeper"], "nursery", "rackrate.testing.nursery")
        for alive in self.folder.path.glob("*/rr-*/alive"):
            number = alive.parent.name.removeprefix(self.name(""))
            with suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
                agent = psutil.Process(int(alive.read_text().split()[0]))
                self.parts[AGENT if number == "head" else number] = agent
        if AGENT in self.parts:
            with suppress(psutil.NoSuchProcess, IndexError):
                self.parts[SCHEDULER] = self.parts[AGENT].children()[0]

    def _learn(self, parent: psutil.Process, part: str, module: str) -> None:
        with suppress(psutil.NoSuchProcess):
            for child in parent.children():
                if module in child.cmdline():
                    self.parts[part] = child

    @property
    def machines(self) -> Machines:
        """The machines that its nodes are, where they are emulated."""
        return Machines(self.folder.path / "machines")

    def name(self, number: int | str) -> str:
        """Return the name of a node."""
        return f"rr-{self.folder.fleet}-{number}"

    def of_nodes(self) -> list[psutil.Process]:
        """Return every process of every node, the scheduler's among them."""
        home = {self.parts[part].pid for part in _AT_HOME if part in self.parts}
        return [one for one in tree.marked(self.folder.fleet) if one.pid not in home]

    def of_node(self, number: int | str) -> list[psutil.Process]:
        """Return every process of one node."""
        agent = self.parts[str(number)]
        return [agent, *agent.children(recursive=True)]

    def strike(self, part: str, how: How) -> None:
        """Kill a part, freeze it, or cut it off from the network."""
        is_machine = "nursery" in self.parts and part.isdigit()
        match how:
            case "cut" if part == HOME:
                self.parts["keeper"].suspend()  # or it would have the machines destroyed
                namespaces.plug(self.parts["nursery"].pid, namespaces.UPLINK, is_in=False)
            case "cut":
                self.machines.partition(self.name(part))
            case "frozen" if is_machine:
                self.machines.freeze(self.name(part))
            case "frozen":
                self.parts[part].suspend()
            case "killed":
                self.parts[part].kill()

    def close(self) -> None:
        """End all of it, whatever state it is in."""
        self.owner.kill()
        self.owner.communicate()
        opening.reap(self.folder)
        if "nursery" in self.parts:
            self.parts["nursery"].wait(_NURSERY_S)


def seconds_until_gone(
    look: Callable[[], list[psutil.Process]], patience_s: float, empty_s: float = 0.0
) -> tuple[float, list[psutil.Process]]:
    """Return the seconds until looks show nothing that lives, or patience is over, and what then lives.

    A look costs a busy machine time: the next is when all that the last has shown is dead.

    Args:
        look: returns what should go.
        patience_s: after which it stays.
        empty_s: for which looks must show nothing.
    """
    started_s = time.monotonic()
    left = look()
    gone_s = time.monotonic()  # what ended while it was looked for is as late as the look
    while time.monotonic() - started_s < patience_s:
        if not (left or (left := look())):
            if time.monotonic() - gone_s >= empty_s:
                break
        else:
            while left and is_dead(left[-1]):
                left.pop()
            gone_s = time.monotonic()
        time.sleep(_LOOK_S)
    return gone_s - started_s, left


def _is_deaf(process: psutil.Process) -> bool:
    try:
        return _DEAF in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def living(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return those of some processes that have not ended."""
    return [process for process in processes if not is_dead(process)]


def is_dead(process: psutil.Process) -> bool:
    """Tell whether a process has ended, collected by its parent or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


if __name__ == "__main__":
    be_owner(int(sys.argv[1]), float(sys.argv[2]), *sys.argv[3:5])  # type: ignore[arg-type]
