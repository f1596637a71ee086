"""Which parameters does the next trial get? Those of a list, in turn, or what a sampler of Optuna asks for.

A space is a mapping from names to a list of choices or a `Range`. Optuna is imported when a space is
sampled. It keeps nothing: the journal of the sweep is the truth, and a sweep that goes on tells a new
study all that was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Protocol

from rackrate.errors import BadQuantity, UsageError
from rackrate.fleet.trials import Goal, Params, Trial, TrialState


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers to sample from, both ends included; whole ones when both ends are.

    Attributes:
        low: the least.
        high: the most.
        is_log: whether to sample their logarithm evenly.
    """

    low: float
    high: float
    is_log: bool = False

    def __post_init__(self) -> None:
        are_numbers = all(isinstance(end, int | float) and isfinite(end) for end in (self.low, self.high))
        if not are_numbers or not self.low <= self.high or (self.is_log and self.low <= 0):
            hint = "Range(low, high) with low <= high; above 0 with is_log"
            raise BadQuantity(f"{self} is no range", hint=hint)


Space = Mapping[str, Sequence[Any] | Range]


class Source(Protocol):
    """Where parameters come from."""

    def ask(self, number: int) -> Params | None:
        """Return the parameters of a trial that nobody has asked for yet; None when there are no more."""

    def tell(self, trial: Trial) -> None:
        """Hear how a trial ended."""


class Listed:
    """The variants of a list, in their order."""

    def __init__(self, variants: Sequence[Mapping[str, Any]]) -> None:
        self.variants = [_plain(dict(variant), f"variant {n}") for n, variant in enumerate(variants)]
        if not self.variants:
            raise UsageError("there are no variants", hint="give a list of mappings, or a space")

    def ask(self, number: int) -> Params | None:
        """Return a variant."""
        return self.variants[number] if number < len(self.variants) else None

    def tell(self, trial: Trial) -> None:
        """Hear how a trial ended: a list does not care."""


class Sampled:
    """What a sampler of Optuna asks for.

    Args:
        space: to sample from.
        goal: whose values the sampler is told.
        n_trials: how many.
        sampler: of Optuna; None for its default, the tree-structured Parzen estimator.
        seed: of that default; with it, and one node, the same sweep again asks for the same.
        past: trials of the sweep so far.
    """

    def __init__(
        self, space: Space, goal: Goal, n_trials: int, sampler: Any, seed: int, past: Iterable[Trial]
    ) -> None:
        try:
            import optuna  # noqa: PLC0415 - only who samples needs it
        except ImportError as error:
            hint = "pip install 'rackrate[fleet]'"
            raise UsageError("sampling a space needs the package optuna", hint=hint, code="extra") from error
        self._optuna = optuna
        self._goal = goal
        self._n_trials = n_trials
        if sampler is not None and not isinstance(sampler, optuna.samplers.BaseSampler):
            hint = "sampler=optuna.samplers.RandomSampler(seed=0); without one it is TPE"
            raise UsageError(f"{sampler!r} is no sampler of Optuna", hint=hint)
        if not space:
            raise UsageError("there is nothing to sample in {}", hint='give {"lr": Range(1e-4, 1e-1)}')
        self._space = {name: _distribution(optuna, name, part) for name, part in space.items()}
        past = list(past)
        sampler = sampler or optuna.samplers.TPESampler(seed=seed + len(past))  # else it asks the same again
        said = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would say that it keeps a study in memory
        self._study = optuna.create_study(
            direction="minimize" if goal.is_minimised else "maximize", sampler=sampler
        )
        optuna.logging.set_verbosity(said)
        self._study.stop = self._exhaust  # type: ignore[method-assign]  # its own is for `optimize` alone
        self._asked: dict[int, Any] = {}
        for trial in past:
            self._enqueue(trial)

    def _enqueue(self, trial: Trial) -> None:
        """Have the study know a trial of the past, with the parameters that it had."""
        self._study.enqueue_trial(trial.params)
        self._asked[trial.number] = self._study.ask(self._space)
        if trial.state in (TrialState.DONE, TrialState.PRUNED, TrialState.FAILED):
            self.tell(trial)

    def _exhaust(self) -> None:
        """Ask for no more: the sampler has tried all that there is."""
        self._n_trials = 0

    def ask(self, number: int) -> Params | None:
        """Return parameters."""
        if number >= self._n_trials:
            return None
        self._asked[number] = self._study.ask(self._space)
        return dict(self._asked[number].params)

    def tell(self, trial: Trial) -> None:
        """Hear how a trial ended: its value, or how far it came before it was stopped."""
        asked = self._asked[trial.number]
        states = self._optuna.trial.TrialState
        if trial.state is TrialState.DONE and trial.value is not None:
            self._study.tell(asked, trial.value)
        elif trial.state is TrialState.PRUNED and trial.value is not None:
            asked.report(trial.value, max(trial.curve))
            self._study.tell(asked, state=states.PRUNED)
        else:
            self._study.tell(asked, state=states.FAIL)


def _distribution(optuna: Any, name: str, part: Sequence[Any] | Range) -> Any:
    if isinstance(part, Range):
        is_whole = isinstance(part.low, int) and isinstance(part.high, int)
        kind = optuna.distributions.IntDistribution if is_whole else optuna.distributions.FloatDistribution
        return kind(part.low, part.high, log=part.is_log)
    if isinstance(part, str) or not isinstance(part, Sequence) or not part:
        hint = "a list of choices, or Range(low, high)"
        raise UsageError(f"{name}: {part!r} is nothing to sample from", hint=hint)
    return optuna.distributions.CategoricalDistribution(_plain({name: list(part)}, "the space")[name])


def _plain(params: Params, what: str) -> Params:
    """Return parameters as the journal will have them."""
    try:
        found: Params = json.loads(json.dumps(params, allow_nan=False))
    except (TypeError, ValueError) as error:
        hint = "numbers, texts, lists and mappings: what JSON takes; build the rest inside of the function"
        raise UsageError(f"{what} is not plain data: {error}", hint=hint) from error
    return found
