"""What the keeper does for a sweep, without a fleet: who may report, what survives, what is refused."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rackrate.errors import BadQuantity, FleetError, UsageError
from rackrate.fleet import journal, trial
from rackrate.fleet.events import Attempt
from rackrate.fleet.results import Results
from rackrate.fleet.rules import Asha
from rackrate.fleet.sweeping import OpenSweep, Sweeps, checkpoint_path, new_checkpoint, sweep_folder
from rackrate.fleet.trials import Goal, Trial, Trials, TrialState


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


Opener = Callable[..., OpenSweep]


@pytest.fixture
def opened(tmp_path: Path, clock: Clock) -> Iterator[Opener]:
    """Open the one sweep of a test; what was opened before is closed, as by the death of its keeper."""
    open_now: list[OpenSweep] = []

    def open_again(**goal: Any) -> OpenSweep:
        for sweep in open_now:
            sweep.close()
        open_now[:] = [OpenSweep(tmp_path / "s", Goal(**{"metric": "loss", **goal}), clock)]
        return open_now[0]

    yield open_again
    for sweep in open_now:
        sweep.close()


def point(trial: int, attempt: int, step: int, loss: float, node: str = "a") -> dict[str, Any]:
    return {"sweep": "s", "trial": trial, "attempt": attempt, "node": node, "step": step, "loss": loss}


def best_of(sweep: OpenSweep) -> Trial:
    found = Results("s", sweep._goal, tuple(sweep.trials.all)).best
    assert found is not None
    return found


def test_only_the_last_attempt_may_report_end_and_keep(opened: Opener) -> None:
    sweep = opened()
    sweep.ask(0, {"x": 1})
    assert sweep.begin(0, "a", 0.0)["attempt"] == 1
    assert sweep.begin(0, "b", 0.0)["attempt"] == 2
    assert sweep.take(point(0, 1, 1, 0.5)), "the node that was thought dead is told to stop"
    assert not sweep.take(point(0, 2, 1, 0.7, "b"))
    sweep.save(0, 1, "a", base64.b64encode(b"old").decode(), is_first=True, is_last=True)
    assert not checkpoint_path(sweep.folder, 0).exists()
    assert sweep.end(0, 1, "a", "done", "") == {"state": "running"}
    assert sweep.end(0, 2, "a", "done", "") == {"state": "running"}, "another node's attempt"
    assert sweep.end(0, 2, "b", "done", "") == {"state": "done"}
    assert sweep.begin(0, "c", 0.0) == {"state": "done"}
    assert sweep.take(point(0, 2, 2, 0.1, "b"))
    assert sweep.trials[0].curve == {1: 0.7}


def test_a_checkpoint_is_replaced_as_a_whole(opened: Opener) -> None:
    sweep = opened()
    sweep.ask(0, {})
    sweep.begin(0, "a", 0.0)
    for part, is_last in ((b"one", True), (b"half of tw", False)):
        sweep.save(0, 1, "a", base64.b64encode(part).decode(), is_first=True, is_last=is_last)
    assert sweep.begin(0, "b", 0.0)["checkpoint_bytes"] == 3
    assert base64.b64decode(sweep.load(0, "b", 1)["part"]) == b"ne"
    with pytest.raises(FleetError, match="not of a"):
        sweep.load(0, "a", 0)


def test_what_nodes_write_themselves_counts_when_the_last_attempt_says_so(tmp_path: Path) -> None:
    sweep = OpenSweep(tmp_path, Goal("loss"), lambda: 0.0, has_our_disk=True)
    sweep.ask(0, {})
    path = Path(sweep.begin(0, "a", 0.0)["checkpoint"])
    assert path == checkpoint_path(sweep.folder, 0)
    new_checkpoint(path, 1).write_bytes(b"one")
    assert not path.exists()
    sweep.written(0, 1, "a")
    new_checkpoint(path, 1).write_bytes(b"half of tw")  # and its node dies
    assert sweep.begin(0, "b", 0.0)["checkpoint_bytes"] == 3
    assert [one.name for one in path.parent.iterdir()] == ["0"]
    new_checkpoint(path, 1).write_bytes(b"of who was thought dead")
    sweep.written(0, 1, "a")
    assert path.read_bytes() == b"one"
    assert [one.name for one in path.parent.iterdir()] == ["0"]
    sweep.close()


def test_a_checkpoint_that_is_too_large_to_travel_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "MOST_BYTES", 10)
    with pytest.raises(BadQuantity, match="a checkpoint of 11 bytes cannot be kept"):
        trial._save(Attempt("s", 0, 1, "loss"), bytes(11))


def test_what_was_stopped_or_failed_keeps_no_checkpoint(opened: Opener) -> None:
    sweep = opened(tries=1)
    for number, state in enumerate(("pruned", "failed", "done")):
        sweep.ask(number, {})
        sweep.begin(number, "a", 0.0)
        sweep.take(point(number, 1, 1, 1.0))
        sweep.save(number, 1, "a", base64.b64encode(b"x").decode(), is_first=True, is_last=True)
        sweep.end(number, 1, "a", state, "")
    assert [checkpoint_path(sweep.folder, number).exists() for number in range(3)] == [False, False, True]


def test_attempts_are_numbered_for_ever_and_tries_from_each_opening(opened: Opener) -> None:
    sweep = opened(tries=2)
    sweep.ask(0, {})
    assert [sweep.begin(0, "a", 0.0)["attempt"] for _ in range(2)] == [1, 2]
    sweep = opened(tries=2)
    assert sweep.trials[0].state is TrialState.WAITING
    assert [sweep.begin(0, "a", 0.0)["attempt"] for _ in range(2)] == [3, 4]
    assert sweep.begin(0, "a", 0.0) == {"state": "failed"}
    assert sweep.trials[0].why == "2 attempts ended with their node"


def test_what_fails_is_tried_again_as_often_as_said(opened: Opener) -> None:
    sweep = opened(tries=2)
    sweep.ask(0, {})
    states = []
    for attempt in (1, 2):
        sweep.begin(0, "a", 0.0)
        states.append(sweep.end(0, attempt, "a", "failed", "ValueError: no")["state"])
    assert states == ["waiting", "failed"]
    assert sweep.trials[0].why == "ValueError: no"


def test_verdicts_go_on_where_they_were_after_a_crash(opened: Opener) -> None:
    rule = Asha(first=1, eta=2)
    for number in range(3):
        sweep = opened(rule=rule)
        sweep.ask(number, {})
        attempt = sweep.begin(number, "a", 0.0)["attempt"]
        assert sweep.take(point(number, attempt, 1, float(number))) == (number > 0)
    sweep = opened(rule=rule)
    assert sweep.trials[1].is_stopped
    assert sweep.begin(1, "a", 0.0) == {"state": "pruned"}, "its node died before it could say so"
    written = [entry for entry in journal.read(sweep.folder / "journal") if entry["what"] == "point"]
    assert [entry["is_stopped"] for entry in written] == [False, True, True]


def test_more_is_better_when_it_is_said_so(opened: Opener) -> None:
    sweep = opened(rule=Asha(first=1, eta=2), is_minimised=False)
    for number in range(2):
        sweep.ask(number, {})
        sweep.begin(number, "a", 0.0)
    assert not sweep.take(point(0, 1, 1, 5.0))
    assert not sweep.take(point(1, 1, 1, 7.0))
    assert sweep.take(point(0, 1, 2, 6.0))
    sweep.end(1, 1, "a", "done", "")
    assert best_of(sweep).number == 1


def test_what_is_no_number_is_worst_and_never_best(opened: Opener) -> None:
    sweep = opened(rule=Asha(first=1, eta=2))
    for number, loss in enumerate((math.nan, 3.0)):
        sweep.ask(number, {})
        sweep.begin(number, "a", 0.0)
        sweep.take(point(number, 1, 1, loss))
    assert sweep.take(point(0, 1, 2, 0.0))
    sweep.end(1, 1, "a", "done", "")
    assert best_of(sweep).number == 1
    assert sweep.trials[0].curve == {1: None, 2: 0.0}


def test_time_and_money_are_those_of_all_attempts_as_far_as_heard(opened: Opener, clock: Clock) -> None:
    sweep = opened()
    sweep.ask(0, {})
    sweep.begin(0, "a", 3600.0)
    clock.now += 10
    sweep.take(point(0, 1, 1, 1.0))
    clock.now += 500  # its node died somewhere in here
    sweep.begin(0, "b", 7200.0)
    clock.now += 5
    sweep.take(point(0, 2, 2, 1.0, "b"))
    sweep.end(0, 2, "b", "done", "")
    trial = sweep.trials[0]
    assert (trial.seconds, trial.usd) == (pytest.approx(15), pytest.approx(20.0))
    assert Trials(journal.read(sweep.folder / "journal"))[0] == trial


def test_a_torn_last_line_loses_no_more_than_itself(opened: Opener) -> None:
    sweep = opened()
    sweep.ask(0, {"x": 1})
    with (sweep.folder / "journal").open("ab") as file:
        file.write(b'0123 {"what":"begu')
    sweep = opened()
    assert sweep.trials[0].params == {"x": 1}
    assert sweep.begin(0, "a", 0.0)["attempt"] == 1


def test_one_keeper_at_a_time_has_a_sweep_open(clock: Clock) -> None:
    one, other = Sweeps(0.0, clock), Sweeps(0.0, clock)
    goal = Goal("loss").to_dict()
    one.answer("sweep-open", "s", goal=goal)
    one.answer("sweep-open", "s", goal=goal)  # again is nothing
    with pytest.raises(UsageError) as caught:
        other.answer("sweep-open", "s", goal=goal)
    assert caught.value.code == "sweep-taken"
    one.answer("sweep-close", "s")
    other.answer("sweep-open", "s", goal=goal)
    other.close()


def test_events_of_others_are_left_alone_and_each_attempt_is_told_once(clock: Clock) -> None:
    sweeps = Sweeps(0.0, clock)
    sweeps.answer("sweep-open", "s", goal=Goal("loss").to_dict())
    sweeps.answer("sweep-ask", "s", number=0, params={})
    sweeps.answer("sweep-begin", "s", number=0, node="a")
    sweeps.answer("sweep-begin", "s", number=0, node="a")
    stale = point(0, 1, 1, 1.0)
    assert sweeps.take([{"step": 1, "loss": 2.0}, stale, stale, {**stale, "sweep": "t"}]) == [["s", 0, 1]]
    sweeps.close()


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", ".x", "x" * 65])
def test_a_name_is_one_of_a_folder(name: str) -> None:
    with pytest.raises(BadQuantity):
        sweep_folder(name)
