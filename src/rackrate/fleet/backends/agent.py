"""What keeps a node, and ends it when nobody wants it any more?

The agent is the first process of a node and the parent of all others. It holds the lease, asks the keeper
for more, and starts the engine's process when the keeper says where the work is. When the lease runs
out, the longest life is over, the keeper refuses, the engine's process ends or it is told to (SIGTERM), it
kills everything below it and exits. It runs nothing of the user's, so no task can hold it up, and its
only clock is the machine's own monotonic one.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from rackrate.errors import FleetError
from rackrate.fleet import tree
from rackrate.fleet.backends import inside
from rackrate.fleet.backends.base import Order
from rackrate.fleet.lease import ENDING_FRAC, Freeze, Lease
from rackrate.fleet.lines import Line, Message

Say = Callable[[Message], None]
"""Tells the agent what the keeper is to know: that the engine's process is ready, where, whether it works."""

Engine = Callable[[Order, str, Say], None]
"""Runs the engine's process of a node, given the address of the head, until it is told to stop."""

_PATIENCE_S = 2.0
"""For an answer of the keeper."""
_FAREWELL_S = 0.3
"""For the keeper to hear why a node ends: it is not held up by that."""
_LOG_PART = 1 << 17
"""Bytes of the log that go home with one question: of JSON that escapes each, less than the longest line."""
_WATCH_S = 1.0
"""Between two looks at the memory."""


class Over(Exception):
    """The node must end; the message says why."""


class Agent:
    """The agent of one node.

    Attributes:
        order: what the node is to be.
        lease: its right to live.
        news: what the engine's process said last.

    Args:
        order: what the node is to be.
        engine: runs the engine's process.
        line: to the keeper, where that is not a socket of this machine.
        log: file of all that the node writes, where the owner cannot read it: it goes home with the lease.
        door: process that holds the streams of this node, where it has one.
    """

    def __init__(
        self,
        order: Order,
        engine: Engine,
        *,
        line: Line | None = None,
        log: Path | None = None,
        door: int | None = None,
    ) -> None:
        self.order = order
        self.lease = _first_lease(order.ttl_s)
        self.news: Message = {**inside.machine_of(os.environ)}
        self._engine = engine
        self._end_s = time.monotonic() + order.longest_s
        self._line = line or Line(order.keeper)
        self._log_file = log.open("rb") if log else None
        self._n_logged = 0
        self._door = door
        self._next_ask_s = 0.0
        self._next_watch_s = 0.0
        self._pid: int | None = None
        self._freeze = Freeze()
        self._from_engine: int | None = None
        self._rest = b""
        self._is_ending = False
        self._wake_read, self._wake_write = os.pipe()

    def run(self) -> None:
        """Live until the node is over, then end all that is in it."""
        tree.adopt_orphans()
        os.set_blocking(self._wake_write, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, self._signalled)
        try:
            while True:
                self._live()
        except Over as over:
            self._end(str(over))
        except Exception as error:  # noqa: BLE001 - whatever it is: an agent that fails leaves nothing either
            self._end(f"its agent failed ({type(error).__name__}: {error})")

    def _end(self, why: str) -> None:
        """End all that is in the node, then say so, where there is somebody to hear and room to write."""
        self._is_ending = True
        tree.end_children(self._pid)
        with suppress(OSError, FleetError):
            self._log(f"over: {why}")
        if self.lease.is_live(time.monotonic()):  # else the keeper knows, or is dead
            with suppress(OSError, FleetError):
                self._line.ask("ended", _FAREWELL_S, node=self.order.name, why=why, **self._said())

    def _signalled(self, number: int, _frame: object) -> None:
        if number == signal.SIGTERM and not self._is_ending:  # told twice, it ends no less
            self._is_ending = True
            raise Over("told to end")

    def _log(self, text: str) -> None:
        sys.stderr.write(f"[{self.order.name}] {text}\n")
        sys.stderr.flush()

    def _said(self) -> Message:
        """Return what the node wrote since the keeper last confirmed, and where that stands in its log.

        Sent again it is written to the same place, so nothing is lost or doubled.
        """
        if self._log_file is None:
            return {}
        self._log_file.seek(self._n_logged)
        said = self._log_file.read(_LOG_PART)
        return {"log": said.decode("latin-1"), "log_at": self._n_logged} if said else {}

    def _live(self) -> None:
        """Wait for news or the next thing to do, and do it."""
        now = time.monotonic()
        if not self.lease.is_live(now):
            raise Over("its lease has run out")
        if now >= self._end_s:
            raise Over("its longest life is over")
        due_s = min(self._next_ask_s, self.lease.until_s, self._end_s)
        if self.order.memory_bytes and self._pid:
            due_s = min(due_s, self._next_watch_s)
        watched = [self._wake_read, *([self._from_engine] if self._from_engine is not None else [])]
        for ready in select.select(watched, [], [], max(due_s - now, 0.0))[0]:
            if ready == self._wake_read:
                os.read(self._wake_read, 512)
            else:
                self._hear()
        self._bury()
        self._watch_memory()
        if time.monotonic() >= self._next_ask_s:
            self._ask()

    def _watch_freeze(self) -> None:
        """End a node whose worker is found frozen for too much of a lease.

        Raises:
            Over: it is.
        """
        is_frozen = self._pid is not None and tree.is_frozen(self._pid)
        if self._freeze.is_over(time.monotonic(), self.order.ttl_s, is_frozen=is_frozen):
            raise Over("its worker is frozen")

    def _ask(self) -> None:
        self._watch_freeze()
        asked_at_s = time.monotonic()
        patience_s = max(min(_PATIENCE_S, self.lease.left_s(asked_at_s)), 0.01)
        self._next_ask_s = asked_at_s + self.lease.period_s
        said = self._said()
        try:
            answer = self._line.ask("renew", patience_s, node=self.order.name, **self.news, **said)
        except (OSError, FleetError):
            self._next_ask_s = time.monotonic() + min(self.lease.period_s, 0.5)
            return
        self._n_logged += len(said.get("log", ""))
        if "refused" in answer:
            raise Over(f"refused: {answer['refused']}")
        self.lease = Lease(self.order.ttl_s, max(self.lease.until_s, asked_at_s + answer["ttl_s"]))
        if self._pid is None and answer["address"] is not None:
            self._start(answer["address"])
        elif answer["is_draining"] and self._pid is not None:
            os.kill(self._pid, signal.SIGTERM)

    def _start(self, address: str) -> None:
        """Fork the engine's process, in a group of its own so that one call kills what stays in it."""
        self._from_engine, to_agent = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self._be_engine(address, to_agent)
            finally:
                os._exit(1)
        os.close(to_agent)
        os.set_blocking(self._from_engine, False)
        self._pid = pid
        with suppress(PermissionError):
            os.setpgid(pid, pid)

    def _be_engine(self, address: str, to_agent: int) -> None:
        os.setpgid(0, 0)
        tree.die_with_parent()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        self._line.close()
        try:
            if self.order.env:
                with Line(os.environ["RACKRATE_KEEPER"]) as line:
                    answer = line.ask("environment", self.order.ttl_s, node=self.order.name)
                os.environ.update(answer["values"])
            self._engine(
                self.order,
                address,
                lambda message: _write_all(to_agent, json.dumps(message).encode() + b"\n"),
            )
        except BaseException as error:  # whatever it is, the log must have it
            self._log(f"{type(error).__name__}: {error}")
            raise
        os._exit(0)

    def _hear(self) -> None:
        if self._from_engine is None:
            return
        data = os.read(self._from_engine, 1 << 16)
        if not data:  # it ended, or closed all its files
            os.close(self._from_engine)
            self._from_engine = None
            return
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            self.news |= json.loads(line)
            self._next_ask_s = 0.0  # news travel at once

    def _bury(self) -> None:
        """Collect every child that has ended: the engine's, the door, and orphans that this adopted."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                pid, code = ended[0], os.waitstatus_to_exitcode(ended[1])
                if pid == self._pid:
                    self._pid = None
                    raise Over("its worker has finished" if code == 0 else f"its worker died ({_exit(code)})")
                if pid == self._door:
                    raise Over("the gate hung up on its streams")

    def _watch_memory(self) -> None:
        now = time.monotonic()
        if self._pid and self.order.memory_bytes and now >= self._next_watch_s:
            self._next_watch_s = now + _WATCH_S
            used = psutil.Process(self._pid).memory_info().rss
            if used > self.order.memory_bytes:
                raise Over(f"its worker holds {used:,} bytes, more than {self.order.memory_bytes:,}")


def _first_lease(ttl_s: float) -> Lease:
    """Return what a node has before it is heard: a little less, for who ordered it may be dead by now."""
    return Lease(ttl_s, time.monotonic() + ttl_s * (1 - ENDING_FRAC))


def _exit(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit {code}"


def _write_all(handle: int, data: bytes) -> None:
    while data:
        data = data[os.write(handle, data) :]
