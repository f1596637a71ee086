"""What does the keeper do for a sweep? It keeps its journal, judges its trials and holds their checkpoints.

    sweeps/<name>/journal       `trials` says what stands in it
                  checkpoints/  the last of each trial that is not over, and of each that is done

The folder outlives the fleet: a sweep that is opened again, by whatever fleet, goes on where the journal
ends. One keeper at a time has it open (a lock on the journal). The verdict on a value is in the answer to
the message that brings it, so it needs neither the owner nor the engine.
"""

from __future__ import annotations

import base64
import fcntl
import math
import os
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from rackrate import config
from rackrate.errors import BadQuantity, FleetError, InternalError, UsageError
from rackrate.fleet import journal
from rackrate.fleet.lines import Message
from rackrate.fleet.trials import OVER, Goal, Trial, Trials, TrialState

PART_BYTES = 384 << 10
"""Of a checkpoint, in one message: as text it must fit into a line."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def sweep_folder(name: str) -> Path:
    """Return the folder of a sweep.

    Raises:
        BadQuantity: no name for a folder.
    """
    if not _NAME.fullmatch(name):
        hint = "small letters, digits, dots and dashes; at most 64"
        raise BadQuantity(f"{name!r} is no name of a sweep", hint=hint)
    return config.data_folder() / "sweeps" / name


def checkpoint_path(folder: Path, trial: int) -> Path:
    """Return the file with the last checkpoint of a trial."""
    return folder / "checkpoints" / str(trial)


def new_checkpoint(path: Path, attempt: int) -> Path:
    """Return the file into which an attempt writes what is to replace a checkpoint."""
    return path.with_name(f"{path.name}.{attempt}.new")


class OpenSweep:
    """A sweep that this keeper has open.

    Args:
        folder: of the sweep.
        goal: of it.
        clock: Unix time.
        has_our_disk: whether nodes can write to the folder.
    """

    def __init__(
        self, folder: Path, goal: Goal, clock: Callable[[], float], *, has_our_disk: bool = False
    ) -> None:
        self.folder = folder
        self._has_our_disk = has_our_disk
        self._clock = clock
        (folder / "checkpoints").mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(folder / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            hint = "wait until that has ended, or give this one another name"
            raise UsageError(
                f"another fleet runs the sweep {folder.name}", hint=hint, code="sweep-taken"
            ) from error
        self._journal = journal.Journal(folder / "journal")
        entries = journal.read(folder / "journal")
        self.trials = Trials(entries)
        self._judge = goal.rule.judge() if goal.rule else None
        for entry in entries:
            if entry["what"] == "point":
                self._verdict(goal, entry["trial"], entry["step"], entry["value"])
        self._write({"what": "opened", "goal": goal.to_dict()})
        self._goal = goal

    def _write(self, entry: dict[str, Any], *, is_synced: bool = True) -> None:
        entry = {"at": round(self._clock(), 3), **entry}
        self._journal.write([entry], is_synced=is_synced)
        self.trials.apply(entry)

    def _verdict(self, goal: Goal, trial: int, step: int, value: float | None) -> bool:
        comparable = math.nan if value is None else goal.signed(value)
        return self._judge is not None and self._judge.see(trial, step, comparable)

    def ask(self, number: int, params: dict[str, Any]) -> Message:
        """Write that a trial is wanted."""
        self._write({"what": "asked", "trial": number, "params": params})
        return {}

    def begin(self, number: int, node: str, usd_per_hour: float) -> Message:
        """Answer an attempt that wants to start: its number, or the state in which the trial is over."""
        trial = self.trials[number]
        if trial.state not in OVER and trial.is_stopped:
            self._end(trial, TrialState.PRUNED, "")
        elif trial.state not in OVER and trial.tries >= self._goal.tries:
            self._end(trial, TrialState.FAILED, f"{trial.tries} attempts ended with their node")
        if trial.state in OVER:
            return {"state": str(trial.state)}
        attempt = trial.attempt + 1
        begun = {"what": "begun", "trial": number, "attempt": attempt, "node": node}
        self._write({**begun, "usd_per_hour": usd_per_hour})
        self._remove_unfinished(number)
        path = checkpoint_path(self.folder, number)
        return {
            "attempt": attempt,
            "judged": self._goal.metric if self._goal.rule else "",
            "checkpoint_bytes": path.stat().st_size if path.exists() else None,
            "checkpoint": str(path) if self._has_our_disk else "",
        }

    def _remove_unfinished(self, number: int) -> None:
        """Remove what attempts of a trial began to write and never finished."""
        for path in self.folder.glob(f"checkpoints/{number}.*"):
            path.unlink(missing_ok=True)

    def _is_last(self, number: int, attempt: int, node: str) -> bool:
        """Tell whether it is the attempt that counts, and the node that has it."""
        trial = self.trials[number]
        return trial.state is TrialState.RUNNING and (trial.attempt, trial.node) == (attempt, node)

    def take(self, point: dict[str, Any]) -> bool:
        """Take what an attempt reported; tell whether it must stop."""
        number = point["trial"]
        if not self._is_last(number, point["attempt"], point["node"]):
            return True
        trial = self.trials[number]
        if self._goal.metric in point and not trial.is_stopped:
            value = point[self._goal.metric]
            value = value if value is not None and math.isfinite(value) else None
            entry = {"what": "point", "trial": number, "attempt": trial.attempt, "step": point["step"]}
            is_stopped = self._verdict(self._goal, number, point["step"], value)
            self._write({**entry, "value": value, "is_stopped": is_stopped}, is_synced=False)
        return trial.is_stopped

    def end(self, number: int, attempt: int, node: str, state: str, why: str) -> Message:
        """Write how an attempt ended; answer where that leaves the trial."""
        trial = self.trials[number]
        if self._is_last(number, attempt, node):
            new = TrialState(state)
            if new is TrialState.FAILED and trial.tries < self._goal.tries:
                new = TrialState.WAITING
            if new is TrialState.DONE and not trial.curve:
                new, why = TrialState.FAILED, f"it reported no {self._goal.metric}"
            self._end(trial, new, why)
        return {"state": str(trial.state)}

    def _end(self, trial: Trial, state: TrialState, why: str) -> None:
        entry = {"what": "ended", "trial": trial.number, "attempt": trial.attempt}
        self._write({**entry, "state": str(state), "why": why})
        if state in (TrialState.PRUNED, TrialState.FAILED):
            checkpoint_path(self.folder, trial.number).unlink(missing_ok=True)
            self._remove_unfinished(trial.number)

    def save(
        self, number: int, attempt: int, node: str, part: str, *, is_first: bool, is_last: bool
    ) -> Message:
        """Take a part of a checkpoint; with the last it replaces the one before."""
        if self._is_last(number, attempt, node):
            path = checkpoint_path(self.folder, number)
            new = new_checkpoint(path, attempt)
            with new.open("wb" if is_first else "ab") as file:
                file.write(base64.b64decode(part))
            if is_last:
                new.replace(path)
        return {}

    def written(self, number: int, attempt: int, node: str) -> Message:
        """Let what an attempt wrote replace the checkpoint, if it is the attempt that counts."""
        path = checkpoint_path(self.folder, number)
        if self._is_last(number, attempt, node):
            new_checkpoint(path, attempt).replace(path)
        else:
            new_checkpoint(path, attempt).unlink(missing_ok=True)
        return {}

    def load(self, number: int, node: str, at_byte: int) -> Message:
        """Return the part of a checkpoint that begins at a byte, to the node that has the trial."""
        if self.trials[number].node != node:
            raise FleetError(f"trial {number} is not of {node}", hint="", code="not-allowed")
        with checkpoint_path(self.folder, number).open("rb") as file:
            file.seek(at_byte)
            return {"part": base64.b64encode(file.read(PART_BYTES)).decode()}

    def close(self) -> None:
        """Let another keeper open it."""
        self._journal.close()
        os.close(self._lock)


class Sweeps:
    """The sweeps that a keeper has open.

    Args:
        usd_per_hour: what a task's share of a node costs.
        clock: Unix time.
        has_our_disk: whether nodes can write where sweeps are kept.
    """

    def __init__(
        self, usd_per_hour: float, clock: Callable[[], float] = time.time, *, has_our_disk: bool = False
    ) -> None:
        self._usd_per_hour = usd_per_hour
        self._has_our_disk = has_our_disk
        self._clock = clock
        self._open: dict[str, OpenSweep] = {}

    def answer(self, do: str, name: str, **question: Any) -> Message:
        """Answer a question about a sweep."""
        if do == "sweep-open":
            if name not in self._open:
                goal = Goal.from_dict(question["goal"])
                folder = sweep_folder(name)
                self._open[name] = OpenSweep(folder, goal, self._clock, has_our_disk=self._has_our_disk)
            return {}
        if do == "sweep-close":
            self._open.pop(name).close()
            return {}
        sweep = self._open[name]
        answers: dict[str, Callable[..., Message]] = {
            "sweep-ask": sweep.ask,
            "sweep-begin": partial(sweep.begin, usd_per_hour=self._usd_per_hour),
            "sweep-end": sweep.end,
            "sweep-save": sweep.save,
            "sweep-written": sweep.written,
            "sweep-load": sweep.load,
        }
        if do not in answers:
            raise InternalError(f"the keeper knows no {do!r}")
        return answers[do](**question)

    def take(self, points: list[dict[str, Any]]) -> list[list[Any]]:
        """Take events; return (sweep, trial, attempt) of those of their tasks that must stop."""
        stop: dict[tuple[str, int, int], bool] = {}
        for point in points:
            if point.get("sweep") in self._open:
                attempt = (point["sweep"], point["trial"], point["attempt"])
                stop[attempt] = self._open[point["sweep"]].take(point)
        return [list(attempt) for attempt, is_stopped in stop.items() if is_stopped]

    def close(self) -> None:
        """Close all."""
        for sweep in self._open.values():
            sweep.close()
        self._open.clear()
