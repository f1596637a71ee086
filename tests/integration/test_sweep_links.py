"""Sweeps on nodes that are other machines: verdicts, checkpoints and resuming through the gate."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rackrate
from rackrate.fleet import Asha, journal
from rackrate.fleet.history import Events
from rackrate.fleet.sweeping import PART_BYTES, sweep_folder
from rackrate.fleet.trials import TrialState
from rackrate.testing.machines import Machines

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="machines are emulated on Linux alone")

LEASE_S = 8.0
SIZE = 2 * PART_BYTES + 7


@pytest.fixture
def fleet() -> Iterator[rackrate.Fleet]:
    """Open a fleet of two machines, and look that none runs when it is closed."""
    with rackrate.Fleet(nodes=2, backend="emulated", lease_s=LEASE_S) as fleet:
        yield fleet
    assert machines(fleet).names() == frozenset()


def machines(fleet: rackrate.Fleet) -> Machines:
    return Machines(fleet.folder.path / "machines")


def until(is_so: Callable[[], Any], patience_s: float = 60.0) -> None:
    """Wait until it is so."""
    end_s = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end_s, "it never was so"
        time.sleep(0.02)


def training(n_steps: int, size: int, held_at: int = 0) -> Callable[[dict[str, Any]], None]:
    """Return a task that keeps every fourth step, and whose first attempt waits at one to be ended."""

    def train(params: dict[str, Any]) -> None:
        import time  # noqa: PLC0415 - it runs elsewhere

        from rackrate import fleet  # noqa: PLC0415

        saved = fleet.checkpoint()
        start = 1 if saved is None else int(saved[:2]) + 1
        for step in range(start, n_steps + 1):
            fleet.report(step, loss=params["floor"] + 1 / step, start=start)
            if step % 4 == 0:
                fleet.checkpoint(b"%02d" % step + bytes(size))
            while step == held_at and saved is None:
                time.sleep(0.05)

    return train


def test_a_verdict_comes_through_the_gate_with_the_report_that_decides(fleet: rackrate.Fleet) -> None:
    variants = [{"floor": float(floor)} for floor in (1, 0, 5, 4, 3, 2)]
    rule = Asha(first=2, eta=2)
    sweep = fleet.sweep(training(12, 0), variants, metric="loss", prune=rule, name="judged")
    assert sweep.best().params == {"floor": 0.0}
    states = [trial.state for trial in sweep.table().trials]
    assert states.count(TrialState.PRUNED) >= 2
    entries = journal.read(sweep_folder("judged") / "journal")
    last = {entry["trial"]: entry["is_stopped"] for entry in entries if entry["what"] == "point"}
    assert last == {number: state is TrialState.PRUNED for number, state in enumerate(states)}
    assert sum(entry["is_stopped"] for entry in entries if entry["what"] == "point") == sum(last.values())


def test_a_trial_whose_machine_is_destroyed_goes_on_from_its_checkpoint_on_another(
    fleet: rackrate.Fleet,
) -> None:
    sweep = fleet.sweep(training(12, SIZE, held_at=10), [{"floor": 0.0}], metric="loss", name="moved")
    until(lambda: 10 in dict(sweep.curves().get(0, ())))
    (first,) = sweep.table().trials
    machines(fleet).stop(first.node)
    trial = sweep.best()
    assert (trial.attempt, trial.state) == (2, TrialState.DONE)
    assert trial.node != first.node
    assert list(trial.curve) == list(range(1, 13))
    assert sweep.checkpoint(0) == b"12" + bytes(SIZE)
    told = [event for event in Events(fleet.folder.events, lambda: True) if event["attempt"] == 2]
    assert [(event["step"], event["start"]) for event in told] == [(step, 9) for step in range(9, 13)]
