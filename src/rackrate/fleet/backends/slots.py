"""What runs on a machine of one's own when a fleet elsewhere wants nodes there: a few slots, a node in each.

    slots/<i>/alive      locked while any process of the node in it lives
              who        the name and the fleet of that node, and the folder of its temporary files
    logs/<name>          what a node wrote

It runs while a session of SSH does, and answers every line of JSON on its standard input with one; nothing
of it stays but the nodes. A node is cut off from the session that started it, with its first lease in
its order: it needs no session, and ends when nobody grants it more.
"""

from __future__ import annotations

import fcntl
import json
import os
import runpy
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rackrate import config
from rackrate.fleet import tree
from rackrate.fleet.backends import forking, gpus, held
from rackrate.fleet.backends.base import BOOT, NoNode, Order

_KEPT_S = 7 * 24 * 3600
"""For which a log is kept."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A place for one node."""

    path: Path

    @property
    def alive(self) -> Path:
        """The file whose lock says that a node lives here."""
        return self.path / "alive"

    def who(self) -> dict[str, str] | None:
        """Return the name and fleet of the node that lives here; None where none does."""
        if not held.is_held(self.alive):
            return None
        found: dict[str, str] = json.loads((self.path / "who").read_text("utf-8"))
        return found

    def sweep(self) -> None:
        """Remove the temporary files of the node that was here last."""
        with suppress(FileNotFoundError):
            shutil.rmtree(json.loads((self.path / "who").read_text("utf-8"))["scratch"])


class Slots:
    """The slots of this machine and user."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        (folder / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """Do what is asked for: `start` an order, `list` a fleet, `end` a node, tell its `log`."""
        match question["do"]:
            case "start":
                return self._start(Order.from_dict(question["order"]), question["n_slots"])
            case "list":
                with self._entrance():
                    found = [who for slot in self._all() if (who := slot.who())]
                return {
                    "names": [who["name"] for who in found if who["fleet"] == question["fleet"]],
                    "n_taken": len(found),
                }
            case "end":
                with self._entrance():
                    found_slot = self._slot_of(question["name"])
                if found_slot:
                    held.end(found_slot.alive)
                    if not held.is_held(found_slot.alive):  # else it is dying; who comes next sweeps
                        found_slot.sweep()
                return {}
            case _:
                log = self._log(question["name"])
                return {"log": log.read_text(errors="replace") if log.exists() else ""}

    @contextmanager
    def _entrance(self) -> Iterator[None]:
        """Let one process at a time look at the slots and take one."""
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(lock, fcntl.LOCK_UN)  # a node that was forked meanwhile has the file open too

    def _all(self) -> list[Slot]:
        return [Slot(path) for path in sorted((self._folder / "slots").glob("*/"))]

    def _slot_of(self, name: str) -> Slot | None:
        return next((slot for slot in self._all() if (who := slot.who()) and who["name"] == name), None)

    def _log(self, name: str) -> Path:
        return self._folder / "logs" / Path(name).name

    def _start(self, order: Order, n_slots: int) -> dict[str, Any]:
        with self._entrance():
            if self._slot_of(order.name):
                return {"is_there": True}
            for number in range(n_slots):
                slot = Slot(self._folder / "slots" / str(number))
                if not held.is_held(slot.alive):
                    try:
                        env = gpus.visible_at(number, order.n_gpus, gpus.here())
                    except NoNode as error:
                        return {"is_there": False, "why": error.message}
                    self._fill(slot, order, env)
                    return {"is_there": True}
        return {"is_there": False, "why": f"all of its slots ({n_slots}) are taken"}

    def _fill(self, slot: Slot, order: Order, env: Mapping[str, str]) -> None:
        """Fork a node into a free slot; the slot is held before there is a node."""
        slot.sweep()  # what a node that was killed left
        slot.path.mkdir(parents=True, exist_ok=True)
        self._drop_old_logs()
        scratch = tempfile.mkdtemp(prefix="rr")  # short: it is to hold a socket
        who = {"name": order.name, "fleet": order.fleet, "scratch": scratch}
        (slot.path / "who").write_text(json.dumps(who), "utf-8")
        alive = os.open(slot.alive, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(alive, fcntl.LOCK_EX)
        if os.fork():
            os.close(alive)  # the child's copy holds the lock
            return
        try:
            forking.leave(self._log(order.name))
            _guard()
            os.write(alive, str(os.getpid()).encode())
            os.environ.update(env)
            _be_node(order, scratch)
        finally:
            os._exit(0)

    def _drop_old_logs(self) -> None:
        for path in (self._folder / "logs").iterdir():
            if path.stat().st_mtime < time.time() - _KEPT_S:
                path.unlink(missing_ok=True)


def _guard() -> None:
    """Fork, and return in the child: the parent waits for its end, and ends what it leaves when it is killed.

    A node's agent ends all that is below it; an agent that is killed does not, and here is no machine that
    ends with it.
    """
    tree.adopt_orphans()
    agent = os.fork()
    if agent:
        os.waitpid(agent, 0)
        tree.end_children()
        os._exit(0)


def _be_node(order: Order, scratch: str) -> None:
    """Boot as a machine does."""
    os.chdir(scratch)
    os.environ.update({**order.to_env(), "TMPDIR": scratch, tree.MARK: order.fleet})
    try:
        runpy.run_module(BOOT[-1], run_name="__main__", alter_sys=True)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def main() -> None:
    """Answer the questions on the standard input, until the session ends."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nodes are nobody's children
    slots = Slots(config.data_folder() / "node-slots")
    for line in sys.stdin:
        sys.stdout.write(json.dumps(slots.answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
