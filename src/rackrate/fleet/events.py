"""How does a number come from inside a task to whoever watches? In batches, acknowledged, through a file.

`report(step=10, loss=0.3)` adds a point to a list and returns; a thread sends the list to the keeper four
times a second and forgets points when the keeper has said that they are in the file (`history`). Each process
counts its points: what comes twice is dropped by its number, what is not acknowledged is sent again.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rackrate.errors import BadQuantity, FleetError, UsageError
from rackrate.fleet.history import OWN, Event
from rackrate.fleet.lines import Line

FLUSH_S = 0.25
_BATCH = 1000
_MOST = 20_000
"""Points that wait; beyond, every other of the older half is dropped: a curve gets coarser, not shorter."""
_PATIENCE_S = 5.0

task_name: Callable[[], str] = str
"""Names the task of the calling thread; the engine sets it."""


class Reporter:
    """The points of one process on their way.

    Args:
        path: the keeper's socket.
        node: name of the node.
    """

    def __init__(self, path: Path, node: str) -> None:
        self.pid = os.getpid()
        self._node = node
        self._source = f"{node}/{os.getpid()}/{os.urandom(4).hex()}"
        self._line = Line(path)
        self._points: list[Event] = []
        self._n_sent = 0
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        threading.Thread(target=self._run, name="rackrate-report", daemon=True).start()

    def add(self, step: int, values: dict[str, float]) -> None:
        """Add a point; never waits for the keeper."""
        point = {"at": time.time(), "node": self._node, "task": task_name(), "step": step, **values}
        with self._lock:
            self._points.append(point)
            if len(self._points) > _MOST:
                del self._points[_BATCH : _MOST // 2 : 2]  # the first batch may be on its way

    def flush(self) -> None:
        """Send what is there, as far as the keeper answers."""
        with self._sending, suppress(OSError, FleetError):
            while self._points:
                with self._lock:
                    batch = self._points[:_BATCH]
                message = {"source": self._source, "first": self._n_sent, "points": batch}
                self._line.ask("events", _PATIENCE_S, **message)
                with self._lock:
                    del self._points[: len(batch)]
                    self._n_sent += len(batch)

    def _run(self) -> None:
        while True:
            time.sleep(FLUSH_S)
            self.flush()


_reporter: Reporter | None = None
_making = threading.Lock()


def report(step: int, **values: float) -> None:
    """Report numbers of a step from inside a task of a fleet; outside of one it does nothing.

    Args:
        step: of the training, or whatever the numbers are counted by.
        values: by name: `loss`, `accuracy`, ...

    Raises:
        BadQuantity: a value is no number.
        UsageError: no value at all, or a name that an event has already.

    Example:
        >>> report(step=10, loss=0.3)
    """
    if not values or not OWN.isdisjoint(values):
        hint = "report(step=10, loss=0.3); at, node, task, source and seq are known without saying"
        raise UsageError(f"nothing to report in {values}", hint=hint)
    numbers = {name: _number(name, value) for name, value in values.items()}
    reporter = _here()
    if reporter:
        reporter.add(step, numbers)


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError) as error:
        hint = "give a number, or what float() takes"
        raise BadQuantity(f"{name} {value!r} is not a number", hint=hint) from error


def flush() -> None:
    """Send what this process has reported and not yet sent."""
    if _reporter:
        _reporter.flush()


def _here() -> Reporter | None:
    """Return the reporter of this process, made when it is first needed; None outside of a fleet."""
    global _reporter  # noqa: PLW0603 - one a process
    if "RACKRATE_KEEPER" in os.environ and (_reporter is None or _reporter.pid != os.getpid()):
        with _making:
            if _reporter is None or _reporter.pid != os.getpid():  # a forked process has none of its threads
                _reporter = Reporter(Path(os.environ["RACKRATE_KEEPER"]), os.environ.get("RACKRATE_NODE", ""))
                atexit.register(flush)
    return _reporter
