"""Machines of their own on this host: each boots the real agent and worker behind its own network.

With root a machine has its own processes, mounts, name and network, in which it can only dial out
(`namespaces`). Without, it is a plain process, and cannot be partitioned. `Machines` is what emulators of
providers rent out; `MachineBackend` rents it to a fleet without a provider between them.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from rackrate.errors import FleetError, UsageError
from rackrate.fleet import tree
from rackrate.fleet.backends import DESTROY_S
from rackrate.fleet.backends.base import NoNode, Order
from rackrate.fleet.backends.held import is_held
from rackrate.testing import namespaces
from rackrate.testing.nursery import ALIVE, LOG

if TYPE_CHECKING:
    from rackrate.fleet.spec import Spec

_PATIENCE_S = 5.0
_NURSERY = "nursery"


class Machines:
    """Machines that are processes of this host.

    What they are is read from the folder, so that any process can list, stop and disturb those that another
    started.

    Args:
        folder: each machine has one below it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._nursery: subprocess.Popen[bytes] | None = None
        self._said: dict[str, Any] = {}

    @property
    def address(self) -> str:
        """Of this host, as machines reach it."""
        with self._lock:
            self._running()
        return str(self._said["address"])

    @property
    def are_isolated(self) -> bool:
        """Tell whether each is a machine of its own, and no plain process."""
        with self._lock:
            self._running()
        return bool(self._said["is_isolated"])

    def _running(self) -> subprocess.Popen[bytes]:
        if self._nursery is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / f"{_NURSERY}.log").open("ab") as log:
                self._nursery = subprocess.Popen(  # noqa: S603 - ourselves
                    [sys.executable, "-m", "rackrate.testing.nursery", str(self.folder)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                )
            (self.folder / _NURSERY).write_text(str(self._nursery.pid))
            self._said = self._answer(self._nursery)
        return self._nursery

    def _answer(self, nursery: subprocess.Popen[bytes]) -> dict[str, Any]:
        line = nursery.stdout.readline() if nursery.stdout else b""
        if not line:
            raise FleetError("the nursery of machines died", hint=f"see {self.folder / _NURSERY}.log")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def start(self, name: str, env: Mapping[str, str]) -> None:
        """Boot a machine with an environment; returns when its first process runs.

        Raises:
            FleetError: machines cannot be started any more.
        """
        with self._lock:
            nursery = self._running()
            try:
                if nursery.stdin:
                    nursery.stdin.write(json.dumps({"name": name, "env": dict(env)}).encode() + b"\n")
                    nursery.stdin.flush()
            except BrokenPipeError:
                pass  # the answer says so
            self._answer(nursery)

    def names(self) -> frozenset[str]:
        """Return the machines in which any process lives."""
        return frozenset(path.parent.name for path in self.folder.glob(f"*/{ALIVE}") if is_held(path))

    def stop(self, name: str) -> None:
        """Kill everything in a machine; of one that is not there, that is no error."""
        alive = self.folder / name / ALIVE
        until_s = time.monotonic() + _PATIENCE_S
        while is_held(alive):
            with suppress(psutil.NoSuchProcess, ValueError, IndexError):
                tree.end_tree(psutil.Process(self._pid_and_number(name)[0]))
            if time.monotonic() > until_s:
                raise FleetError(
                    f"machine {name} does not stop", hint="it is in a call that cannot be interrupted"
                )
            time.sleep(0.005)

    def freeze(self, name: str) -> None:
        """Stop the clock of everything in a machine, as a hypervisor does."""
        first = psutil.Process(self._pid_and_number(name)[0])
        while running := [one for one in (first, *first.children(recursive=True)) if _runs(one)]:
            for process in running:  # what one of them forks meanwhile is found at the next look
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGSTOP)
            time.sleep(0.001)

    def partition(self, name: str) -> None:
        """Have no packet reach a machine or leave it.

        Raises:
            UsageError: it is a plain process, which has no network of its own.
        """
        self._plug(name, is_in=False)

    def heal(self, name: str) -> None:
        """Take back what `partition` did."""
        self._plug(name, is_in=True)

    def _plug(self, name: str, *, is_in: bool) -> None:
        if not namespaces.are_possible():
            raise UsageError("a plain process cannot be partitioned", hint="machines of their own need root")
        switch = int((self.folder / _NURSERY).read_text())
        namespaces.plug(switch, namespaces.port(self._pid_and_number(name)[1]), is_in=is_in)

    def _pid_and_number(self, name: str) -> tuple[int, int]:
        pid, number = (self.folder / name / ALIVE).read_text().split()
        return int(pid), int(number)

    def log(self, name: str) -> Path:
        """Return the file with what a machine wrote on its console."""
        return self.folder / name / LOG

    def close(self) -> None:
        """Stop every machine, and what they are started from."""
        for name in self.names():
            self.stop(name)
        self.let_go()

    def let_go(self) -> None:
        """Start no more machines; those that run stay."""
        with self._lock:
            if self._nursery is None:
                return
            for pipe in filter(None, (self._nursery.stdin, self._nursery.stdout)):
                with suppress(OSError):  # what a dead one did not read has no reader
                    pipe.close()
            if not self.names():
                self._nursery.wait(_PATIENCE_S)
            self._nursery = None


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() not in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
    except psutil.NoSuchProcess:
        return False


class MachineBackend:
    """Emulated machines as nodes of a fleet.

    Args:
        folder: of the machines.
        fleet: whose nodes they are.
    """

    settle_s = 0.0
    list_s = 0.0
    destroy_s = DESTROY_S["emulated"]
    n_calls = 4

    def __init__(self, folder: Path, fleet: str) -> None:
        self.machines = Machines(folder / "machines")
        self._fleet = fleet
        self._lock = threading.Lock()

    @property
    def at(self) -> str:
        """Where machines reach this host."""
        return f"{self.machines.address}:0"

    def create(self, order: Order) -> None:
        """Boot a machine.

        Raises:
            NoNode: there are none any more.
        """
        with self._lock:
            if order.name in self.machines.names():
                return
            try:
                self.machines.start(order.name, order.to_env())
            except FleetError as error:
                raise NoNode(error.message, hint=error.hint) from error

    def list(self, fleet: str) -> frozenset[str]:
        """Return the machines that run."""
        return frozenset(name for name in self.machines.names() if name.startswith(f"rr-{fleet}-"))

    def destroy(self, name: str) -> bool:
        """Stop a machine."""
        self.machines.stop(name)
        return self.machines.log(name).exists()

    def billed(self, fleet: str, since_at: float) -> None:
        """Return nothing: nobody bills these nodes."""

    def logs(self, name: str) -> Path:
        """Return what the machine wrote on its console."""
        return self.machines.log(name)

    def close(self) -> None:
        """Let go of the machines; they stay."""
        self.machines.let_go()


def open_backend(spec: Spec) -> MachineBackend:
    """Return the backend of a fleet on emulated machines."""
    return MachineBackend(Path(spec.folder), spec.fleet)
