"""How does a number come from inside a task to whoever watches? In batches, acknowledged, through a file.

`report(step=10, loss=0.3)` adds a point to a list and returns; a thread sends the list to the keeper four
times a second and forgets points when the keeper has said that they are in the file (`history`). Each process
counts its points: what comes twice is dropped by its number, what is not acknowledged is sent again.

Inside a task of a sweep whose trials are judged, a value of the metric does not wait for its batch: its
answer brings the verdict, and `report` raises `Pruned` when the trial is to stop. A keeper that does not
answer within a second holds up nobody: the verdict comes with a later report.
"""

from __future__ import annotations

import atexit
import operator
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rackrate.errors import BadQuantity, FleetError, UsageError
from rackrate.fleet.history import OWN, Event
from rackrate.fleet.lines import LONGEST, Line, encode

FLUSH_S = 0.25
_BATCH = 1000
_MOST = 20_000
"""Points that wait; beyond, every other of the older half is dropped: a curve gets coarser, not shorter."""
_MOST_VALUES = 1000
_LONGEST_NAME = 64
"""Characters. With the number above, a point of any names has room in a line."""
_MOST_STEP = 1 << 63
"""What the table of results takes."""
_PATIENCE_S = 5.0
_VERDICT_S = 1.0

task_name: Callable[[], str] = str
"""Names the task of the calling thread; the engine sets it."""


class Pruned(Exception):
    """Raised by `report` inside a task of a sweep: this trial is not worth going on with.

    Let it pass: the sweep catches it. Whoever catches it gets it again at the next report.
    """


@dataclass(frozen=True, slots=True)
class Attempt:
    """The attempt of a trial that the calling thread runs.

    Attributes:
        sweep: name of the sweep.
        trial: its number.
        attempt: number of the attempt.
        metric: whose values are judged; empty where none are.
    """

    sweep: str
    trial: int
    attempt: int
    metric: str


class _Here(threading.local):
    attempt: Attempt | None = None


here = _Here()
"""What the calling thread runs; `trial` sets it."""


class Reporter:
    """The points of one process on their way.

    Args:
        path: the keeper's socket.
        node: name of the node.

    Attributes:
        stopped: attempts of this process that must stop.
    """

    def __init__(self, path: Path, node: str) -> None:
        self.pid = os.getpid()
        self._node = node
        self._source = f"{node}/{os.getpid()}/{os.urandom(4).hex()}"
        self._line = Line(path)
        self._points: list[Event] = []
        self._n_sent = 0
        self.stopped: set[tuple[str, int, int]] = set()
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        threading.Thread(target=self._run, name="rackrate-report", daemon=True).start()

    def add(self, step: int, values: dict[str, float]) -> None:
        """Add a point; never waits for the keeper."""
        point = {"at": time.time(), "node": self._node, "task": task_name(), "step": step, **values}
        if attempt := here.attempt:
            point |= {"sweep": attempt.sweep, "trial": attempt.trial, "attempt": attempt.attempt}
        with self._lock:
            self._points.append(point)
            if len(self._points) > _MOST:
                del self._points[_BATCH : _MOST // 2 : 2]  # the first batch may be on its way

    def flush(self, patience_s: float = _PATIENCE_S) -> None:
        """Send what is there, as far as the keeper answers."""
        if self._sending.acquire(timeout=patience_s):
            try:
                with suppress(OSError, FleetError):
                    self._send(patience_s)
            finally:
                self._sending.release()

    @property
    def is_empty(self) -> bool:
        """Whether all that was added has arrived."""
        return not self._points

    def _send(self, patience_s: float) -> None:
        while self._points:
            with self._lock:
                batch = _fitting(self._points[:_BATCH])
            message = {"source": self._source, "first": self._n_sent, "points": batch}
            answer = self._line.ask("events", patience_s, **message)
            with self._lock:
                del self._points[: len(batch)]
                self._n_sent += len(batch)
                self.stopped |= {(sweep, trial, attempt) for sweep, trial, attempt in answer["stop"]}

    def look(self, attempt: Attempt, values: dict[str, float]) -> None:
        """Ask for the verdict on values where there is one; raise when the attempt is to stop.

        Raises:
            Pruned: it is.
        """
        if attempt.metric in values:
            self.flush(_VERDICT_S)
        if (attempt.sweep, attempt.trial, attempt.attempt) in self.stopped:
            raise Pruned(f"trial {attempt.trial} of the sweep {attempt.sweep} is to stop")

    def _run(self) -> None:
        while True:
            time.sleep(FLUSH_S)
            self.flush()


def _fitting(points: list[Event]) -> list[Event]:
    """Return as many of the first points as a line has room for beside what else it says."""
    while len(encode({"points": points})) > LONGEST // 2 and len(points) > 1:
        points = points[: len(points) // 2]
    return points


_reporter: Reporter | None = None
_making = threading.Lock()


def report(step: int, **values: float) -> None:
    """Report numbers of a step from inside a task of a fleet; outside of one it does nothing.

    Args:
        step: of the training, or whatever the numbers are counted by.
        values: by name: `loss`, `accuracy`, ...

    Raises:
        BadQuantity: a value is no number, the step no whole one, or there are too many.
        UsageError: no value at all, or a name that an event has already.
        Pruned: inside of a sweep, when this trial is to stop.

    Example:
        >>> report(step=10, loss=0.3)
    """
    if not values or not OWN.isdisjoint(values):
        hint = f"report(step=10, loss=0.3); {', '.join(sorted(OWN))} are known without saying"
        raise UsageError(f"nothing to report in {values}", hint=hint)
    if len(values) > _MOST_VALUES or max(map(len, values)) > _LONGEST_NAME:
        hint = f"at most {_MOST_VALUES:,} of a step, with names of at most {_LONGEST_NAME} characters"
        raise BadQuantity(f"{len(values):,} values are too many, or a name is too long", hint=hint)
    step = _whole(step)  # what JSON does not take would stay in the way of all that is reported after it
    numbers = {name: _number(name, value) for name, value in values.items()}
    reporter = _here()
    if reporter:
        reporter.add(step, numbers)
        if here.attempt:
            reporter.look(here.attempt, numbers)


def _whole(step: Any) -> int:
    """Return a step as the whole number that it is: of Python, numpy or torch, or a float without a rest."""
    try:
        whole = int(step) if isinstance(step, float) and step.is_integer() else operator.index(step)
    except TypeError:
        whole = _MOST_STEP
    if abs(whole) >= _MOST_STEP:
        hint = "count by whole numbers, and report what else there is as a value"
        raise BadQuantity(f"step {step!r} is not a whole number", hint=hint)
    return whole


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # the last is torch's
        hint = "give a number, or what float() takes"
        raise BadQuantity(f"{name} {value!r} is not a number", hint=hint) from error


def flush() -> bool:
    """Send what this process has reported and not yet sent; tell whether all of it has arrived."""
    if _reporter is None:
        return True
    _reporter.flush()
    return _reporter.is_empty


def _here() -> Reporter | None:
    """Return the reporter of this process, made when it is first needed; None outside of a fleet."""
    global _reporter  # noqa: PLW0603 - one a process
    if "RACKRATE_KEEPER" in os.environ and (_reporter is None or _reporter.pid != os.getpid()):
        with _making:
            if _reporter is None or _reporter.pid != os.getpid():  # a forked process has none of its threads
                _reporter = Reporter(Path(os.environ["RACKRATE_KEEPER"]), os.environ.get("RACKRATE_NODE", ""))
                atexit.register(flush)
    return _reporter
