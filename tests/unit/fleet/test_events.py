"""Numbers from a task to a file: batches, doubles and silence."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate import fleet
from rackrate.errors import BadQuantity, UsageError
from rackrate.fleet import events
from rackrate.fleet.events import Reporter
from rackrate.fleet.history import History
from rackrate.fleet.lines import LONGEST, encode


class Keeper:
    """A line to a keeper that takes, refuses or takes without saying so."""

    def __init__(self, history: History, fate: list[str]) -> None:
        self.history, self.fate = history, fate

    def ask(self, do: str, timeout_s: float, **message: Any) -> dict[str, Any]:
        del do, timeout_s
        fate = self.fate.pop(0) if self.fate else "taken"
        if fate != "lost":
            self.history.take(message["source"], message["first"], message["points"])
        if fate in ("torn", "restarted"):
            self.restart(is_torn=fate == "torn")
        if fate != "taken":
            raise ConnectionError(fate)
        return {"stop": []}

    def restart(self, *, is_torn: bool) -> None:
        """Die, in the middle of a line perhaps, and be followed by another."""
        self.history.close()
        if is_torn:
            path = Path(self.history._file.name)
            os.truncate(path, max(path.stat().st_size - 3, 0))
        self.history = History(Path(self.history._file.name))


@pytest.fixture
def reporter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Reporter:
    """Return a reporter that sends when it is told to."""
    monkeypatch.setattr(Reporter, "_run", lambda _: None)
    return Reporter(tmp_path / "keeper", "rr-x-1")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@given(
    st.lists(st.sampled_from(["taken", "lost", "taken, but not said so", "torn", "restarted"]), max_size=12)
)
def test_every_point_arrives_once_and_in_order_whatever_the_keeper_does(fate: list[str]) -> None:
    import tempfile  # noqa: PLC0415 - a fixture would be shared by all examples

    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Reporter, "_run", lambda _: None)
        path = Path(folder) / "events"
        history, reporter = History(path), Reporter(Path(folder) / "keeper", "rr-x-1")
        reporter._line = Keeper(history, fate)  # type: ignore[assignment]
        n_rounds = len(fate) + 1
        for step in range(n_rounds):
            reporter.add(step, {"loss": 1 / (step + 1)})
            reporter.flush()
        reporter.flush()
        reporter._line.history.close()  # type: ignore[attr-defined]
        assert [point["step"] for point in read(path)] == list(range(n_rounds))
        assert [point["seq"] for point in read(path)] == list(range(n_rounds))


def test_a_point_says_when_where_and_of_which_task(
    reporter: Reporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "task_name", lambda: "train-1")
    reporter.add(3, {"loss": 0.5})
    point = reporter._points[0]
    assert point["at"] > 1.7e9
    assert {**point, "at": 0} == {"at": 0, "node": "rr-x-1", "task": "train-1", "step": 3, "loss": 0.5}


def test_a_keeper_that_is_silent_costs_memory_for_so_many_points_only(reporter: Reporter) -> None:
    for step in range(events._MOST * 2):
        reporter.add(step, {"loss": 0.0})
    steps = [point["step"] for point in reporter._points]
    assert len(steps) <= events._MOST
    assert (steps[0], steps[-1]) == (0, events._MOST * 2 - 1)
    assert steps == sorted(steps)


def test_outside_of_a_fleet_a_report_does_nothing() -> None:
    fleet.report(1, loss=0.1)
    assert events._reporter is None


@pytest.mark.parametrize("values", [{"loss": "low"}, {"loss": None}, {"loss": 10**400}, {"loss": [1]}])
def test_a_value_that_is_no_number_is_told(values: dict[str, Any]) -> None:
    with pytest.raises(BadQuantity, match="loss"):
        fleet.report(1, **values)


@pytest.mark.parametrize("values", [{}, {"node": 1.0}, {"at": 1.0, "loss": 2.0}, {"seq": 1.0}])
def test_a_report_has_values_with_names_of_their_own(values: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        fleet.report(1, **values)


@pytest.mark.parametrize("step", [np.int64(3), np.array(3), np.float64(3.0), 3.0])
def test_a_step_is_the_whole_number_that_it_is(step: Any) -> None:
    assert json.dumps(events._whole(step)) == "3"


@pytest.mark.parametrize("step", ["3", None, 1.5, float("nan"), float("inf"), object(), 1 << 63])
def test_a_step_that_is_no_whole_number_is_told(step: Any) -> None:
    with pytest.raises(BadQuantity, match="step"):
        fleet.report(step, loss=1.0)


def test_more_values_than_a_line_holds_are_told() -> None:
    fleet.report(1, **{"ä" * 60 + str(n): 1.0 for n in range(1000)})
    with pytest.raises(BadQuantity, match="1,001 values"):
        fleet.report(1, **{str(n): 1.0 for n in range(1001)})
    with pytest.raises(BadQuantity, match="too long"):
        fleet.report(1, **{"x" * 65: 1.0})


def test_points_that_fill_more_than_a_line_arrive(reporter: Reporter, tmp_path: Path) -> None:
    lines: list[int] = []

    class Measured(Keeper):
        def ask(self, do: str, timeout_s: float, **message: Any) -> dict[str, Any]:
            lines.append(len(encode({"do": do, **message})))
            return super().ask(do, timeout_s, **message)

    reporter._line = Measured(History(tmp_path / "events"), [])  # type: ignore[assignment]
    names = ["\U0001f600" * 60 + str(n) for n in range(1000)]
    for step in range(40):
        reporter.add(step, dict.fromkeys(names, 1 / 3) if step % 2 else {"loss": 0.1})
    reporter.flush()
    reporter._line.history.close()  # type: ignore[attr-defined]
    assert [point["step"] for point in read(tmp_path / "events")] == list(range(40))
    assert max(lines) <= LONGEST
