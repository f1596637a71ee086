"""Which trials of a sweep are not worth going on with? A rule sees one value after the other and says so.

A verdict depends on nothing but the values seen before it and that one, in their order: the same values
again give the same verdicts. Values are compared at equal steps, smaller is better (whoever maximises
turns the sign), and one that is no number counts as the worst of all.

*ASHA* (asynchronous successive halving): rungs stand at the steps `first`, `first` x eta, `first` x eta^2...
The first value that a trial reports at or past a rung is its value there. Of the n values of a rung the
best n // eta may go on. A trial is judged at every value by the highest rung that it has reached and that
holds at least eta values, or `least` where that is more: so at any moment no more than 1/eta of a rung's
trials go on by it, and the best of a rung is never stopped by it. The published rule judges once, at the
rung, by what is there by then; this one judges again when more is known, which stops early arrivals that were
lucky, and can so afford to wait for `least`, which spares early arrivals that were unlucky.

Source: Li et al., A System for Massively Parallel Hyperparameter Tuning, MLSys 2020, algorithm 2.

*Median*: a trial is stopped when its best value so far is worse than the median of what the others had by
that step: those that have come as far, and those that were stopped before it with the best that they had. The
published rule asks completed trials alone, and where all run at once there are none; without the stopped
ones it would halve what is left at every step.

Source: Golovin et al., Google Vizier, KDD 2017, section 3.2.2.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from dataclasses import asdict, dataclass, fields
from statistics import median
from typing import Any, Protocol

from rackrate.errors import BadQuantity, UnknownName, nearest

_REPORTS = 4
"""Where `first` is not given, it is so many times the first step that any trial reports."""


class Judge(Protocol):
    """What a rule is while a sweep runs: it remembers what it has seen."""

    def see(self, trial: int, step: int, value: float) -> bool:
        """Take a value, smaller is better; tell whether the trial is to be stopped."""


@dataclass(frozen=True, slots=True)
class Asha:
    """Asynchronous successive halving.

    Attributes:
        first: step of the first rung; None for four times the first step that is reported.
        eta: one of so many goes on.
        least: values that a rung must hold before anybody is stopped by it; None for as many as eta.
    """

    first: int | None = None
    eta: int = 4
    least: int | None = None

    def __post_init__(self) -> None:
        _check("first", self.first, 1)
        _check("eta", self.eta, 2)
        _check("least", self.least, 1)

    def judge(self) -> Judge:
        """Return a judge that has seen nothing."""
        return _AshaJudge(self)


@dataclass(frozen=True, slots=True)
class Median:
    """The median rule.

    Attributes:
        first: step before which nobody is stopped; None for four times the first step that is reported.
        least: others that must have come as far.
    """

    first: int | None = None
    least: int = 4

    def __post_init__(self) -> None:
        _check("first", self.first, 1)
        _check("least", self.least, 1)

    def judge(self) -> Judge:
        """Return a judge that has seen nothing."""
        return _MedianJudge(self)


Rule = Asha | Median
_RULES: dict[str, type[Asha | Median]] = {"asha": Asha, "median": Median}


def rule_of(prune: Rule | str | None) -> Rule | None:
    """Return a rule by its name and settings, or as it is.

    Raises:
        UnknownName: no such rule.
        BadQuantity: settings that cannot be.

    Example:
        >>> rule_of("asha:first=20,eta=3")
        Asha(first=20, eta=3, least=None)
    """
    if prune is None or isinstance(prune, Asha | Median):
        return prune
    name, _, settings = str(prune).partition(":")
    if name not in _RULES:
        raise UnknownName("rule", name, nearest(name, _RULES) or list(_RULES))
    try:
        pairs = [pair.split("=") for pair in settings.split(",") if pair]
        return _RULES[name](**{key.strip(): int(value) for key, value in pairs})
    except (TypeError, ValueError) as error:
        known = ", ".join(f"{one.name}=N" for one in fields(_RULES[name]))
        raise BadQuantity(f"{settings!r} are no settings of {name}", hint=f"it has {known}") from error


def to_dict(rule: Rule | None) -> dict[str, Any] | None:
    """Return a rule as plain data."""
    return None if rule is None else {"rule": type(rule).__name__.lower(), **asdict(rule)}


def from_dict(data: dict[str, Any] | None) -> Rule | None:
    """Return the rule that `to_dict` wrote."""
    if data is None:
        return None
    return _RULES[data["rule"]](**{name: value for name, value in data.items() if name != "rule"})


class _AshaJudge:
    def __init__(self, rule: Asha) -> None:
        self._first = rule.first
        self._eta = rule.eta
        self._least = max(rule.least or 0, rule.eta)
        self._rungs: list[list[tuple[float, int]]] = []
        self._passed: dict[int, list[tuple[float, int]]] = {}

    def see(self, trial: int, step: int, value: float) -> bool:
        self._first = self._first or _REPORTS * max(step, 0) or None
        if self._first is None:
            return False
        passed = self._passed.setdefault(trial, [])
        while step >= self._first * self._eta ** len(passed):
            if len(passed) == len(self._rungs):
                self._rungs.append([])
            rung = self._rungs[len(passed)]
            entry = (_comparable(value), len(rung))  # of equals, who came first
            insort(rung, entry)
            passed.append(entry)
        return self._is_out(passed)

    def _is_out(self, passed: list[tuple[float, int]]) -> bool:
        for entry, rung in reversed(list(zip(passed, self._rungs, strict=False))):
            if len(rung) >= self._least:
                return bisect_left(rung, entry) >= len(rung) // self._eta
        return False


class _MedianJudge:
    def __init__(self, rule: Median) -> None:
        self._first = rule.first
        self._least = rule.least
        self._curves: dict[int, tuple[list[int], list[float]]] = {}
        self._stopped: set[int] = set()

    def see(self, trial: int, step: int, value: float) -> bool:
        self._first = self._first or _REPORTS * max(step, 0) or None
        steps, bests = self._curves.setdefault(trial, ([], []))
        if not steps or step > steps[-1]:  # what an attempt repeats is known
            steps.append(step)
            bests.append(min([_comparable(value), *bests[-1:]]))
        if self._first is None or step < self._first:
            return False
        others = [
            bests[bisect_right(steps, step) - 1]
            for number, (steps, bests) in self._curves.items()
            if number != trial and steps[0] <= step and (step <= steps[-1] or number in self._stopped)
        ]
        mine = bests[bisect_right(steps, step) - 1]
        is_out = len(others) >= self._least and mine > median(others)
        if is_out:
            self._stopped.add(trial)
        return is_out


def _comparable(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _check(name: str, value: int | None, least: int) -> None:
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if value is not None and not (is_whole and value >= least):
        raise BadQuantity(f"{name} {value!r} is not a whole number", hint=f"give {least} or more")
