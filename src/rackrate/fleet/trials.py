"""How does a sweep stand? The fold of its journal, the same for whoever keeps it and whoever looks.

    waiting -> running -> done | pruned | failed
                 |  ^
                 v  |  its node died, or its function raised and there are tries left

An attempt is one go of a trial on one node; attempts are numbered over the whole life of the sweep, and
only the last may report. Tries count the attempts since the sweep was last opened: that its owner died
is no fault of a trial. The value of a trial is the last that it reported at its highest step.

Entries, beside what all journals have: `opened`, `asked`, `begun`, `point`, `ended`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from rackrate.fleet.rules import Rule, from_dict, to_dict

Entry = dict[str, Any]
Params = dict[str, Any]
_SECONDS_PER_HOUR = 3600


class TrialState(StrEnum):
    """A state of a trial."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    PRUNED = "pruned"
    FAILED = "failed"


OVER = frozenset({TrialState.DONE, TrialState.PRUNED, TrialState.FAILED})
"""Is not run again."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What a sweep looks for, and by which rules.

    Attributes:
        metric: name of the reported value.
        is_minimised: whether less is better.
        rule: which stops trials early; None to let all finish.
        tries: attempts that a trial has before it has failed.
    """

    metric: str
    is_minimised: bool = True
    rule: Rule | None = None
    tries: int = 3

    def signed(self, value: float) -> float:
        """Return a value so that smaller is better."""
        return value if self.is_minimised else -value

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "metric": self.metric,
            "is_minimised": self.is_minimised,
            "rule": to_dict(self.rule),
            "tries": self.tries,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Goal:
        """Return the goal that `to_dict` wrote."""
        return cls(data["metric"], data["is_minimised"], from_dict(data["rule"]), data["tries"])


@dataclass
class Trial:
    """One trial as far as it has come.

    Attributes:
        number: from 0, in the order asked.
        params: what its function gets.
        state: where it is.
        attempt: number of the last one; 0 before the first.
        tries: attempts since the sweep was last opened.
        node: of the last attempt.
        curve: value of the metric by step; what a later attempt repeats replaces the earlier.
        is_stopped: whether the rule has stopped it.
        seconds: that its attempts took, as far as anything was heard of them.
        usd: what those cost.
        why: it is in its state, where there is something to say.
    """

    number: int
    params: Params
    state: TrialState = TrialState.WAITING
    attempt: int = 0
    tries: int = 0
    node: str = ""
    curve: dict[int, float | None] = field(default_factory=dict)
    is_stopped: bool = False
    seconds: float = 0.0
    usd: float = 0.0
    why: str = ""
    _heard_at: float = field(default=0.0, repr=False)
    _usd_per_hour: float = field(default=0.0, repr=False)

    @property
    def value(self) -> float | None:
        """The value at the highest step; None where there is none, or it is no number."""
        return self.curve[max(self.curve)] if self.curve else None

    def hear(self, at: float) -> None:
        """Count the time of the running attempt up to an instant."""
        seconds = max(at - self._heard_at, 0.0)
        self.seconds += seconds
        self.usd += seconds * self._usd_per_hour / _SECONDS_PER_HOUR
        self._heard_at = at

    def begin(self, entry: Entry) -> None:
        """Start an attempt."""
        self.state, self.why = TrialState.RUNNING, ""
        self.attempt, self.node = entry["attempt"], entry["node"]
        self.tries += 1
        self._heard_at, self._usd_per_hour = entry["at"], entry["usd_per_hour"]


class Trials:
    """All trials of a sweep, by their numbers.

    Attributes:
        goal: as the sweep was last opened; None before.
    """

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.goal: Goal | None = None
        self._trials: dict[int, Trial] = {}
        for entry in entries:
            self.apply(entry)

    def __getitem__(self, number: int) -> Trial:
        """Return a trial."""
        return self._trials[number]

    def __len__(self) -> int:
        """Return how many were asked."""
        return len(self._trials)

    @property
    def all(self) -> list[Trial]:
        """All, in their order."""
        return list(self._trials.values())

    def apply(self, entry: Entry) -> None:
        """Let an entry of the journal happen."""
        match entry["what"]:
            case "opened":
                self._open(Goal.from_dict(entry["goal"]))
            case "asked":
                self._trials[entry["trial"]] = Trial(entry["trial"], entry["params"])
            case "begun":
                self._trials[entry["trial"]].begin(entry)
            case "point":
                trial = self._trials[entry["trial"]]
                trial.hear(entry["at"])
                trial.curve[entry["step"]] = entry["value"]
                trial.is_stopped |= entry["is_stopped"]
            case "ended":
                trial = self._trials[entry["trial"]]
                if trial.state is TrialState.RUNNING:
                    trial.hear(entry["at"])
                trial.state, trial.why = TrialState(entry["state"]), entry["why"]

    def _open(self, goal: Goal) -> None:
        self.goal = goal
        for trial in self._trials.values():
            trial.tries = 0
        self.let_go()

    def let_go(self) -> None:
        """Have nothing run: the fleet that ran it has ended, and nobody was left to say so of each."""
        for trial in self._trials.values():
            if trial.state is TrialState.RUNNING:
                trial.state, trial.why = TrialState.WAITING, "its fleet ended"
