"""How does one function become many trials on a fleet? A thread asks for parameters and hands out attempts.

What is decided is decided elsewhere: whether a trial goes on by the keeper (`sweeping`, `rules`), what the
next one gets by `study`. Here a trial is submitted when a node is free, and again, elsewhere if there is
an elsewhere, when its attempt failed.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from inspect import iscoroutinefunction, isgeneratorfunction
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import cloudpickle

from rackrate.errors import BadQuantity, FleetClosed, FleetError, NoAnswer, RackrateError, UsageError
from rackrate.fleet import journal
from rackrate.fleet.history import OWN
from rackrate.fleet.results import COLUMNS, Results
from rackrate.fleet.rules import Rule, rule_of
from rackrate.fleet.spec import Spec
from rackrate.fleet.state import Phase
from rackrate.fleet.status import Status
from rackrate.fleet.study import Listed, Sampled, Source, Space
from rackrate.fleet.sweeping import checkpoint_path, sweep_folder
from rackrate.fleet.trial import NotBegun, run_trial
from rackrate.fleet.trials import OVER, Goal, Trial, Trials, TrialState

if TYPE_CHECKING:
    from rackrate.fleet.fleet import Fleet

Function = Callable[[dict[str, Any]], Any]
_LOOK_S = 0.5
"""Between two looks at the fleet while nothing ends."""
_TAKEN_S = 20.0
"""For the keeper of a fleet that has just lost its owner to let go of the sweep."""
_N_SAMPLED = 64
_MOST_SEEDS = 1 << 32
"""As numpy's, which samplers draw with; also more trials than anybody has."""
_driven: WeakValueDictionary[str, Sweep] = WeakValueDictionary()
"""The last sweep of each name that this process began."""


class Sweep:
    """A sweep that runs, or has run.

    It goes on while this process does other things. Leaving the fleet's block ends it; `wait` or `best`
    before that. Under the same name it goes on where it was, on this fleet or another.

    Attributes:
        name: of the sweep, and of its folder.
        goal: what it looks for.
        fleet: on which it runs.
    """

    def __init__(self, fleet: Fleet, function: bytes, name: str, goal: Goal, source: Source) -> None:
        self.name = name
        self.goal = goal
        self.fleet = fleet
        self._function = function
        self._source = source
        self._folder = sweep_folder(name)
        self._error: BaseException | None = None
        self._is_over = threading.Event()  # a join that is interrupted takes its thread for ended
        _driven[name] = self
        threading.Thread(target=self._run, name=f"rackrate-sweep-{name}", daemon=True).start()

    def table(self) -> Results:
        """Return the trials as they are now; an Arrow stream to whoever asks for one."""
        is_over = self._is_over.is_set()  # before the look: what runs now may have ended by then
        trials = self._trials()
        if is_over:
            trials.let_go()
        return Results(self.name, self.goal, tuple(trials.all))

    def curves(self) -> dict[int, list[tuple[int, float | None]]]:
        """Return what each trial has reported so far: (step, value), by its number."""
        return self.table().curves()

    def _trials(self) -> Trials:
        return Trials(journal.read(self._folder / "journal"))

    @property
    def is_running(self) -> bool:
        """Whether trials are still to come or to end."""
        return not self._is_over.is_set()

    def wait(self, timeout_s: float | None = None) -> Sweep:
        """Return when all trials are over, or the time is.

        Raises:
            FleetClosed: the fleet ended before; the message says why.
            UsageError: the function never reports the metric.
        """
        self._is_over.wait(timeout_s)
        if self._error is not None:
            raise self._error
        return self

    def best(self) -> Trial:
        """Wait for the end and return the best of the trials that were not stopped.

        Raises:
            NoAnswer: none has a value.
        """
        table = self.wait().table()
        found = table.best
        if found is None:
            reasons = [trial.why for trial in table.trials if trial.why]
            no_number = f"its {self.goal.metric} was no number (NaN or infinite) at the end of every trial"
            hint = f"the last says: {reasons[-1]}" if reasons else no_number
            raise NoAnswer(f"no trial of the sweep {self.name} has a {self.goal.metric}", hint=hint)
        return found

    def plot(self) -> Any:
        """Return the curves so far as an Altair chart.

        Raises:
            UsageError: the chart packages are not installed.
        """
        return self.table().plot()

    def show(self) -> None:
        """Show it live: in a notebook beside what the cell does, elsewhere on the terminal until it is over.

        Raises:
            UsageError: in a notebook, and its packages are not installed.
        """
        import_module("rackrate.notebook" if _is_in_kernel() else "rackrate.cli.watch").show(self)

    def checkpoint(self, trial: Trial | int) -> bytes | None:
        """Return what a trial, or the one of a number, kept last; None when it kept nothing."""
        number = trial.number if isinstance(trial, Trial) else trial
        with suppress(FileNotFoundError):
            return checkpoint_path(self._folder, number).read_bytes()
        return None

    def _run(self) -> None:
        try:
            _Driver(self.fleet, self._function, self.name, self.goal, self._source, self._trials()).run()
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            self._error = error
        with suppress(OSError, RackrateError):
            self.fleet.folder.ask("sweep-close", name=self.name)
        self._is_over.set()

    def __repr__(self) -> str:
        return f"<Sweep {self.name}>"

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


class _Driver:
    """Hands out the attempts of one sweep until all its trials are over."""

    def __init__(
        self, fleet: Fleet, function: bytes, name: str, goal: Goal, source: Source, trials: Trials
    ) -> None:
        self._fleet = fleet
        self._function = function
        self._name = name
        self._goal = goal
        self._source = source
        self._n_asked = len(trials)
        self._waiting = deque((trial.number, "") for trial in trials.all if trial.state not in OVER)
        self._params = {trial.number: trial.params for trial in trials.all}
        self._n_begun = {trial.number: trial.attempt for trial in trials.all}
        self._n_not_begun: Counter[int] = Counter()
        self._unfit: set[str] = set()
        self._running: dict[Any, int] = {}
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._threads = Spec.read(fleet.folder.spec).threads

    def run(self) -> None:
        while True:
            self._fill()
            if not self._running and not self._waiting:
                return
            with suppress(queue.Empty):
                self._take(self._ended.get(timeout=_LOOK_S))

    def _status(self) -> Status:
        status = self._fleet.status()
        if status.phase != Phase.OPEN:
            hint = f'sweep(..., name="{self._name}") on another fleet goes on'
            raise FleetClosed(f"the fleet of the sweep {self._name} has ended: {status.why}", hint=hint)
        return status

    def _fill(self) -> None:
        """Submit attempts while there are places, and parameters to try."""
        status = self._status()
        ready = [node["node"] for node in status.nodes if node["state"] == "ready"]
        while len(self._running) < status.wanted * self._threads:
            number, last = self._waiting.popleft() if self._waiting else (self._ask(), "")
            if number is None:
                return
            avoided = self._unfit | {last}
            fit = [node for node in ready if node not in avoided]
            self._submit(number, fit if len(fit) < len(ready) else [])

    def _ask(self) -> int | None:
        params = self._source.ask(self._n_asked)
        if params is None:
            return None
        number = self._n_asked
        self._n_asked += 1
        _checked(self._fleet.folder.ask("sweep-ask", name=self._name, number=number, params=params))
        self._params[number] = params
        return number

    def _submit(self, number: int, nodes: list[str]) -> None:
        where = {"workers": nodes, "allow_other_workers": True} if nodes else {}
        future: Any = self._fleet.submit(
            run_trial, self._function, self._name, number, self._params[number], **where
        )
        self._running[future] = number
        future.add_done_callback(self._ended.put)

    def _take(self, future: Any) -> None:
        number = self._running.pop(future)
        trial = self._look(number)
        state = TrialState.WAITING
        try:
            state = TrialState(future.result())
        except BaseException as error:  # noqa: BLE001 - whatever the engine raises, it has lost the attempt
            self._status()
            if trial.attempt == self._n_begun.get(number, 0):
                self._not_begun(number, error)
        self._n_begun[number] = trial.attempt
        if state not in OVER:
            self._waiting.append((number, trial.node))
        else:
            self._source.tell(trial)
        if trial.state is TrialState.FAILED and trial.why == f"it reported no {self._goal.metric}":
            hint = f"call rackrate.fleet.report(step, {self._goal.metric}=...) inside of the function"
            raise UsageError(f"trial {number} ended, and {trial.why}", hint=hint, code="no-metric")

    def _not_begun(self, number: int, error: BaseException) -> None:
        """Avoid the node on which a trial could not begin, where it is known.

        Raises:
            FleetError: it could not as often as it may fail.
        """
        if isinstance(error, NotBegun):
            self._unfit.add(error.node)
        self._n_not_begun[number] += 1
        if self._n_not_begun[number] >= self._goal.tries:
            hint = "`fleet.logs(node)` tells more of a node"
            raise FleetError(f"trial {number} cannot begin: {error}", hint=hint) from error

    def _look(self, number: int) -> Trial:
        return Trials(journal.read(sweep_folder(self._name) / "journal"))[number]


def _is_in_kernel() -> bool:
    """Tell whether this is a notebook's kernel, that shows what it is told to display."""
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _checked(answer: dict[str, Any] | None) -> dict[str, Any]:
    if answer is None:
        raise FleetClosed("the fleet has ended: its keeper is gone", hint="open a new one")
    return answer


def _pickled(function: Function) -> bytes:
    """Return a function as it travels to nodes.

    Raises:
        UsageError: it cannot travel.
    """
    try:
        data: bytes = cloudpickle.dumps(function)
    except Exception as error:
        hint = "open files, locks and connections cannot travel: make them inside of the function"
        name = getattr(function, "__qualname__", repr(function))
        raise UsageError(f"{name} cannot be pickled: {error}", hint=hint, code="not-picklable") from error
    return data


@dataclass(frozen=True)
class Asked:
    """A sweep as it was asked for, checked.

    Attributes:
        function: as it travels.
        goal: what it looks for.
        source: of parameters, which knows what was tried under this name.
        name: of it; empty for any.
    """

    function: bytes
    goal: Goal
    source: Source
    name: str


def asked(  # noqa: PLR0913 - all but two are keywords
    function: Function,
    space: Space | Sequence[Mapping[str, Any]],
    *,
    metric: str,
    minimise: bool = True,
    prune: Rule | str | None = None,
    sampler: Any = None,
    trials: int | None = None,
    tries: int = 3,
    seed: int = 0,
    name: str = "",
) -> Asked:
    """Return a sweep as `Fleet.sweep` asks for it; no fleet is needed to see that it cannot be."""
    _check_asked(function, metric, trials, tries, seed)
    goal = Goal(metric, minimise, rule_of(prune), tries)
    space = readable(space)
    _check_names(space)
    _check_free(name)
    past = _past(sweep_folder(name), goal) if name else []
    source: Source
    if isinstance(space, Mapping):
        source = Sampled(space, goal, trials or _N_SAMPLED, sampler, seed, past)
    else:
        source = Listed(list(space)[:trials])
        _check_same(name, source.variants, past)
    return Asked(_pickled(function), goal, source, name)


def start(fleet: Fleet, sweep: Asked) -> Sweep:
    """Start a sweep on a fleet, or go on with one."""
    name = sweep.name or f"{fleet.id}-{os.urandom(2).hex()}"
    _open(fleet, name, sweep.goal)
    return Sweep(fleet, sweep.function, name, sweep.goal, sweep.source)


def _check_asked(function: Any, metric: Any, trials: Any, tries: Any, seed: Any) -> None:
    if not callable(function):
        hint = "give train itself, not its name or what it returns"
        raise UsageError(f"{function!r} is no function of the parameters", hint=hint)
    if iscoroutinefunction(function) or isgeneratorfunction(function):
        hint = "asyncio.run(...) inside of a plain function runs a coroutine"
        raise UsageError(f"{function!r} runs nothing when it is called", hint=hint)
    if not isinstance(metric, str) or not metric or metric in OWN:
        hint = f'metric="loss", as in report(step, loss=...); {", ".join(sorted(OWN))} are taken'
        raise UsageError(f"metric {metric!r} is nothing that the function can report", hint=hint)
    for what, number, least in (("trials", trials, 1), ("tries", tries, 1), ("seed", seed, 0)):
        is_whole = isinstance(number, int) and not isinstance(number, bool)
        if number is not None and not (is_whole and least <= number < _MOST_SEEDS):
            raise BadQuantity(f"{what} {number!r} is not a whole number", hint=f"give {least} or more")


def readable(space: Any) -> Space | Sequence[Mapping[str, Any]]:
    """Return a space, or its variants as a list: whatever yields mappings will do.

    Raises:
        UsageError: it is neither.
    """
    if isinstance(space, Mapping):
        return space
    variants = list(space) if isinstance(space, Iterable) and not isinstance(space, str | bytes) else [space]
    strange = [variant for variant in variants if not isinstance(variant, Mapping)]
    if strange:
        hint = 'give a list of mappings, [{"lr": 0.1}, {"lr": 0.3}], or a space, {"lr": [0.1, 0.3]}'
        raise UsageError(f"{strange[0]!r} is no variant", hint=hint)
    return variants


def _check_free(name: str) -> None:
    """See to it that this process does not drive a sweep twice: a cell is soon run again."""
    other = _driven.get(name)
    if other and other.is_running and other.fleet.folder.keeper.exists():
        hint = "wait for its end, close its fleet, or give this one another name"
        raise UsageError(
            f"the sweep {name} runs on fleet {other.fleet.id} already", hint=hint, code="sweep-taken"
        )


def _open(fleet: Fleet, name: str, goal: Goal) -> None:
    """Have the keeper open the sweep; one that is dying with its owner may hold it a moment longer."""
    until_s = time.monotonic() + _TAKEN_S
    while True:
        try:
            _checked(fleet.folder.ask("sweep-open", name=name, goal=goal.to_dict()))
        except FleetError as error:
            if error.code != "sweep-taken" or time.monotonic() > until_s:
                raise
            time.sleep(0.2)
        else:
            return


def _past(folder: Path, goal: Goal) -> list[Trial]:
    """Return the trials of a sweep that was begun before.

    Raises:
        UsageError: it was begun for another metric, direction or rule.
    """
    if not (folder / "journal").exists():
        return []
    trials = Trials(journal.read(folder / "journal"))
    was = trials.goal
    if was and was.to_dict() | {"tries": 0} != goal.to_dict() | {"tries": 0}:
        hint = "go on with the same metric, direction and rule, or give it another name"
        raise UsageError(f"the sweep {folder.name} was begun with {was}, not with {goal}", hint=hint)
    return trials.all


def _check_same(name: str, variants: list[dict[str, Any]], past: list[Trial]) -> None:
    for trial in past:
        if trial.number >= len(variants) or variants[trial.number] != trial.params:
            hint = "variants may be added at the end; for other ones give another name"
            raise UsageError(f"variant {trial.number} of the sweep {name} was {trial.params}", hint=hint)


def _check_names(space: Space | Sequence[Mapping[str, Any]]) -> None:
    names = set(space) if isinstance(space, Mapping) else {name for variant in space for name in variant}
    taken = sorted(str(name) for name in names if name in COLUMNS or not isinstance(name, str))
    if taken:
        hint = f"columns of the results: {', '.join(COLUMNS)}"
        raise UsageError(f"no parameter may be named {', '.join(taken)}", hint=hint)
