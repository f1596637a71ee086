"""Whole sweeps on this machine: they find, they stop what is not worth it, they survive every death."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import duckdb
import optuna
import pyarrow as pa
import pytest

import rackrate
from rackrate.errors import BadQuantity, FleetClosed, FleetError, NoAnswer, UnknownName, UsageError
from rackrate.fleet import Asha, Range, checkpoint, journal, opening, tree
from rackrate.fleet.folder import all_folders
from rackrate.fleet.history import Events
from rackrate.fleet.sweeping import sweep_folder
from rackrate.fleet.trial import MOST_BYTES
from rackrate.fleet.trials import Trials, TrialState

LEASE_S = 5.0
N_STEPS = 24


@pytest.fixture
def fleet() -> Iterator[rackrate.Fleet]:
    """Open a fleet of four nodes, and look that neither processes nor threads of it are left."""
    with rackrate.Fleet(nodes=4, lease_s=LEASE_S, usd_per_node_hour=3.6) as fleet:
        yield fleet
    assert tree.marked(fleet.id) == []
    until(lambda: not [one for one in threading.enumerate() if one.name.startswith("rackrate-sweep")])


def until(is_so: Callable[[], Any], patience_s: float = 30.0) -> None:
    """Wait until it is so."""
    end_s = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end_s, "it never was so"
        time.sleep(0.02)


def so_far(fleet: rackrate.Fleet) -> list[dict[str, Any]]:
    """Return what was reported until now."""
    return list(Events(fleet.folder.events, lambda: True))


def entries(name: str) -> list[dict[str, Any]]:
    return journal.read(sweep_folder(name) / "journal")


def training(n_steps: int = N_STEPS, fails: str = "") -> Callable[[dict[str, Any]], None]:
    """Return a task whose loss falls towards its `floor`; made here, so that it travels by value."""

    def train(params: dict[str, Any]) -> None:
        from rackrate import fleet  # noqa: PLC0415 - it runs elsewhere

        for step in range(1, n_steps + 1):
            if fails:
                raise ValueError(fails)
            fleet.report(step, loss=params["floor"] + 1 / step, other=step)

    return train


def test_what_is_not_worth_it_stops_in_the_very_report_that_says_so(fleet: rackrate.Fleet) -> None:
    variants = [{"floor": float(floor)} for floor in (5, 3, 8, 1, 9, 2, 7, 4, 6, 0, 11, 10)]
    sweep = fleet.sweep(training(), variants, metric="loss", prune=Asha(first=2, eta=3), name="pruned")
    best = sweep.best()
    assert best.params == {"floor": 0.0}
    assert best.value == pytest.approx(1 / N_STEPS)
    table = sweep.table()
    assert [trial.params for trial in table.trials] == variants
    assert table.n(TrialState.DONE) + table.n(TrialState.PRUNED) == len(variants)
    assert table.n(TrialState.PRUNED) >= 5
    seen: dict[int, bool] = {}
    for entry in entries("pruned"):
        if entry["what"] == "point":
            assert not seen.get(entry["trial"]), "nothing is reported after the verdict"
            seen[entry["trial"]] = entry["is_stopped"]
    for trial in table.trials:
        assert seen[trial.number] == (trial.state is TrialState.PRUNED)
        assert trial.attempt == 1
        assert list(trial.curve) == list(range(1, len(trial.curve) + 1))
        assert trial.usd == pytest.approx(trial.seconds * 3.6 / 3600)
    reported = [event for event in so_far(fleet) if event["sweep"] == "pruned"]
    assert len(reported) == sum(len(trial.curve) for trial in table.trials)


def test_the_journal_again_gives_the_same_verdicts(fleet: rackrate.Fleet) -> None:
    rule = Asha(first=2, eta=2)
    fleet.sweep(
        training(), [{"floor": float(n % 5)} for n in range(10)], metric="loss", prune=rule, name="again"
    ).wait()
    judge = rule.judge()
    points = [entry for entry in entries("again") if entry["what"] == "point"]
    assert any(point["is_stopped"] for point in points)
    for point in points:
        assert judge.see(point["trial"], point["step"], point["value"]) == point["is_stopped"]


def test_results_are_a_table_for_arrow_and_for_people(fleet: rackrate.Fleet) -> None:
    variants = [{"floor": 1.5, "kind": "a"}, {"floor": 2, "deep": {"x": [1]}}]
    sweep = fleet.sweep(training(3), variants, metric="loss").wait()
    table = pa.table(sweep.table())
    assert table.column("floor").to_pylist() == [1.5, 2.0]
    assert table.column("kind").to_pylist() == ["a", None]
    assert table.column("deep").to_pylist() == [None, '{"x": [1]}']
    assert table.column("curve_steps").to_pylist() == [[1, 2, 3]] * 2
    assert table.column("curve_values").to_pylist()[0] == pytest.approx([2.5, 2.0, 1.5 + 1 / 3])
    assert set(table.column("state").to_pylist()) == {"done"}
    rows = sweep.table()
    found = duckdb.from_arrow(rows).order("value").limit(1).project("trial").fetchall()
    assert found == [(0,)]
    assert "2 done" in sweep._repr_html_()
    assert sweep.curves()[0] == [(step, pytest.approx(1.5 + 1 / step)) for step in (1, 2, 3)]


def test_a_trial_whose_node_is_killed_goes_on_from_its_checkpoint_elsewhere(fleet: rackrate.Fleet) -> None:
    size = 3_000_000  # several messages

    def train(params: dict[str, Any]) -> None:
        import os  # noqa: PLC0415
        import time  # noqa: PLC0415

        from rackrate import fleet  # noqa: PLC0415

        saved = fleet.checkpoint()
        start = 1 if saved is None else int(saved[:2]) + 1
        for step in range(start, 13):
            fleet.report(step, loss=1 / step, pid=os.getpid(), start=start)
            if step % 4 == 0:
                fleet.checkpoint(b"%02d" % step + bytes(params["size"]))
            while step == 9 and saved is None:
                time.sleep(0.05)  # until it is killed

    sweep = fleet.sweep(train, [{"size": size}], metric="loss")
    until(lambda: len(sweep.curves().get(0, ())) == 9)
    until(lambda: any(event["step"] == 9 for event in so_far(fleet)))
    first = next(event for event in so_far(fleet) if event["step"] == 9)
    os.kill(int(first["pid"]), signal.SIGKILL)
    trial = sweep.best()
    assert (trial.attempt, trial.state) == (2, TrialState.DONE)
    assert trial.node != first["node"]
    assert list(trial.curve) == list(range(1, 13))
    second = [event for event in so_far(fleet) if event["attempt"] == 2]
    assert [event["step"] for event in second] == [9, 10, 11, 12]
    assert {event["start"] for event in second} == {9}
    assert sweep.checkpoint(0) == sweep.checkpoint(trial) == b"12" + bytes(size)


def test_a_trial_that_fails_is_tried_elsewhere_and_then_given_up(fleet: rackrate.Fleet) -> None:
    sweep = fleet.sweep(training(fails="no such luck"), [{"floor": 1.0}], metric="loss", tries=3, name="bad")
    with pytest.raises(NoAnswer, match="no trial of the sweep bad has a loss") as caught:
        sweep.best()
    assert "ValueError: no such luck" in caught.value.hint
    (trial,) = sweep.table().trials
    assert (trial.state, trial.attempt) == (TrialState.FAILED, 3)
    nodes = [entry["node"] for entry in entries("bad") if entry["what"] == "begun"]
    assert nodes[0] != nodes[1] != nodes[2]


def test_a_trial_that_is_interrupted_inside_leaves_its_node(fleet: rackrate.Fleet) -> None:
    def train(params: dict[str, Any]) -> None:
        raise KeyboardInterrupt(params["a"])

    table = fleet.sweep(train, [{"a": 1}], metric="loss", tries=2).wait(60).table()
    assert [(trial.state, trial.why) for trial in table.trials] == [
        (TrialState.FAILED, "KeyboardInterrupt: 1")
    ]
    assert repr(table).endswith(": 1 failed, 0 steps, 0.0 s on nodes, 0.0000 USD>")
    assert len(fleet.status().nodes) == 4


def test_a_function_that_never_reports_the_metric_is_told_before_all_is_spent(fleet: rackrate.Fleet) -> None:
    sweep = fleet.sweep(training(2), [{"floor": 1.0}] * 40, metric="accuracy")
    with pytest.raises(UsageError, match="reported no accuracy") as caught:
        sweep.wait()
    assert caught.value.code == "no-metric"
    assert len(sweep.table().trials) < 40


def test_a_sweep_whose_values_are_no_numbers_has_no_best_and_says_why(fleet: rackrate.Fleet) -> None:
    def train(params: dict[str, Any]) -> None:
        from rackrate.fleet import report  # noqa: PLC0415 - it runs elsewhere

        report(1, loss=params["gain"] * float("inf"))

    sweep = fleet.sweep(train, [{"gain": 0}, {"gain": 1}], metric="loss")
    with pytest.raises(NoAnswer) as caught:
        sweep.best()
    assert "NaN" in caught.value.hint


def losing_keeper() -> Callable[[], None]:
    """Return what has the node on which it runs no longer find the keeper; it travels by value."""

    def lose() -> None:
        os.environ["RACKRATE_KEEPER"] = "/nowhere/at/all"

    return lose


def test_what_no_node_can_begin_is_not_tried_for_ever(fleet: rackrate.Fleet) -> None:
    fleet.client.run(losing_keeper())
    sweep = fleet.sweep(training(2), [{"floor": 1.0}], metric="loss")
    with pytest.raises(FleetError, match=r"trial 0 cannot begin: rr-\w+-\d: FileNotFoundError"):
        sweep.wait(60)
    assert not sweep.is_running


def test_what_one_node_cannot_begin_another_does(fleet: rackrate.Fleet) -> None:
    workers = fleet.client.scheduler_info()["workers"]
    good, *bad = workers
    fleet.client.run(losing_keeper(), workers=bad)
    table = fleet.sweep(training(2), [{"floor": 1.0}], metric="loss", tries=4).wait(60).table()
    assert [(trial.state, trial.node) for trial in table.trials] == [(TrialState.DONE, workers[good]["name"])]


def test_a_space_is_sampled_and_goes_on_where_it_was(fleet: rackrate.Fleet) -> None:
    space = {"floor": Range(0.1, 10.0, is_log=True), "n": Range(1, 4), "kind": ["a", "b"]}
    fleet.scale(1)
    asked = []
    for name in ("one", "two"):
        sweep = fleet.sweep(training(2), space, metric="loss", trials=6, seed=3, name=name).wait()
        asked.append([trial.params for trial in sweep.table().trials])
    assert asked[0] == asked[1]
    more = fleet.sweep(training(2), space, metric="loss", trials=9, seed=3, name="one").wait().table()
    assert [trial.params for trial in more.trials[:6]] == asked[0]
    assert [trial.attempt for trial in more.trials] == [1] * 9
    for trial in more.trials:
        assert 0.1 <= trial.params["floor"] <= 10
        assert trial.params["n"] in range(1, 5)
        assert trial.params["kind"] in ("a", "b")
    assert more.trials[6].params != more.trials[0].params


def test_what_cannot_be_is_told_before_anything_runs(fleet: rackrate.Fleet) -> None:
    lock = threading.Lock()

    def steps(_: Any) -> Iterator[int]:
        yield 1

    cases: list[tuple[Any, Any, dict[str, Any], type[Exception], str]] = [
        (lambda _: lock, [{"a": 1}], {}, UsageError, "not-picklable"),
        (print, [{"a": object()}], {}, UsageError, "usage"),
        (print, [], {}, UsageError, "usage"),
        (print, [{"state": 1}], {}, UsageError, "usage"),
        (print, {"a": "xyz"}, {}, UsageError, "usage"),
        (print, [{"a": 1}], {"prune": "ahsa"}, UnknownName, "unknown-rule"),
        (print, [{"a": 1}], {"tries": 0}, BadQuantity, "bad-quantity"),
        (print, [{"a": 1}], {"trials": 1.5}, BadQuantity, "bad-quantity"),
        (print, [{"a": 1}], {"name": "../x"}, BadQuantity, "bad-quantity"),
        (print, [{"a": 1}], {"trials": True}, BadQuantity, "bad-quantity"),
        (print, {"a": [1]}, {"seed": "x"}, BadQuantity, "bad-quantity"),
        (print, {"a": [1]}, {"seed": -1}, BadQuantity, "bad-quantity"),
        (print, {"a": [1]}, {"sampler": "tpe"}, UsageError, "usage"),
        (print, {"a": [1]}, {"metric": ""}, UsageError, "usage"),
        (print, {"a": [1]}, {"metric": "task"}, UsageError, "usage"),
        (print, {}, {}, UsageError, "usage"),
        (print, [1, 2], {}, UsageError, "usage"),
        (print, "abc", {}, UsageError, "usage"),
        (print, None, {}, UsageError, "usage"),
        ("train", [{"a": 1}], {}, UsageError, "usage"),
        (asyncio.sleep, [{"a": 1}], {}, UsageError, "usage"),
        (steps, [{"a": 1}], {}, UsageError, "usage"),
    ]
    for function, space, asked, error, code in cases:
        with pytest.raises(error) as caught:
            fleet.sweep(function, space, **{"metric": "loss", **asked})
        assert caught.value.code == code, caught.value
    assert not sweep_folder("x").parent.exists()


def test_under_the_same_name_only_the_same_sweep_goes_on(fleet: rackrate.Fleet) -> None:
    variants = [{"floor": 1.0}, {"floor": 2.0}]
    fleet.sweep(training(2), variants, metric="loss", name="kept").wait()
    n_begun = sum(entry["what"] == "begun" for entry in entries("kept"))
    for asked in ({"metric": "other"}, {"metric": "loss", "minimise": False}):
        with pytest.raises(UsageError, match="was begun with"):
            fleet.sweep(training(2), variants, name="kept", **asked)
    with pytest.raises(UsageError, match="variant 1"):
        fleet.sweep(training(2), variants[:1], metric="loss", name="kept")
    fleet.sweep(training(2), variants, metric="loss", name="kept").wait()
    assert sum(entry["what"] == "begun" for entry in entries("kept")) == n_begun == 2
    longer = fleet.sweep(training(2), [*variants, {"floor": 0.5}], metric="loss", name="kept")
    assert longer.best().number == 2


def test_a_sweep_goes_on_whose_waiting_is_interrupted(fleet: rackrate.Fleet, interrupted: Any) -> None:
    done = fleet.folder.path / "done"

    def train(params: dict[str, Any]) -> None:
        from rackrate.fleet import report  # noqa: PLC0415 - it runs elsewhere

        report(1, loss=params["floor"])
        until(done.exists)

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    sweep = fleet.sweep(train, ({"floor": n} for n in (2, 1)), metric="loss", name="once")
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    interrupted(sweep.best, "wait")
    assert sweep.is_running
    with pytest.raises(UsageError, match="runs on fleet") as caught:  # the cell is run again
        fleet.sweep(train, [{"floor": 2}, {"floor": 1}], metric="loss", name="once")
    assert caught.value.code == "sweep-taken"
    done.touch()
    assert sweep.best().params == {"floor": 1}
    assert not sweep.is_running


def test_a_sampler_that_has_tried_all_ends_the_sweep(fleet: rackrate.Fleet) -> None:
    fleet.scale(1)
    space = {"floor": [1.0, 2.0, 3.0]}
    sampler = optuna.samplers.GridSampler(space, seed=0)
    table = fleet.sweep(training(2), space, metric="loss", sampler=sampler, trials=9).wait(60).table()
    assert sorted(trial.params["floor"] for trial in table.trials) == [1.0, 2.0, 3.0]


def test_leaving_the_fleet_ends_the_sweep_and_says_so() -> None:
    with rackrate.Fleet(nodes=1, lease_s=LEASE_S) as fleet:
        sweep = fleet.sweep(lambda _: __import__("time").sleep(600), [{"a": 1}], metric="loss", name="left")
        until(lambda: sweep.table().n(TrialState.RUNNING) == 1)
    with pytest.raises(FleetClosed, match="its owner has left it"):
        sweep.wait()
    assert [(trial.state, trial.why) for trial in sweep.table().trials] == [("waiting", "its fleet ended")]


def test_a_node_of_this_machine_keeps_a_checkpoint_of_any_size(fleet: rackrate.Fleet) -> None:
    size = MOST_BYTES + 1

    def train(params: dict[str, Any]) -> None:
        from rackrate import fleet  # noqa: PLC0415

        saved = fleet.checkpoint()
        if saved is None:
            fleet.report(1, loss=1.0)
            fleet.checkpoint(bytes(params["size"]))
            raise ValueError("the first attempt fails")
        fleet.report(2, loss=1 / len(saved))

    sweep = fleet.sweep(train, [{"size": size}], metric="loss")
    assert sweep.best().curve == {1: 1.0, 2: pytest.approx(1 / size)}


def test_outside_of_a_sweep_a_checkpoint_is_nothing_and_what_is_no_bytes_is_told() -> None:
    assert checkpoint() is None
    checkpoint(b"x")
    assert checkpoint() is None
    with pytest.raises(BadQuantity, match="cannot be kept"):
        checkpoint("text")  # type: ignore[call-overload]


OWNER = """
import sys, rackrate
sys.path.insert(0, {tests!r})

def train(params):
    import time
    from pathlib import Path
    from rackrate import fleet
    saved = fleet.checkpoint()
    for step in range(1 if saved is None else int(saved) + 1, 11):
        fleet.report(step, loss=params["floor"] + 1 / step)
        fleet.checkpoint(b"%d" % step)
        while step == 5 and params["floor"] >= 2 and not Path({go!r}).exists():
            time.sleep(0.02)

with rackrate.Fleet(nodes=2, lease_s=5) as fleet:
    variants = [{{"floor": float(n)}} for n in range(6)]
    sweep = fleet.sweep(train, variants, metric="loss", name="owned")
    print(sweep.best().number)
"""


def test_a_sweep_whose_owner_is_killed_goes_on_with_a_new_fleet(tmp_path: Path) -> None:
    go = tmp_path / "go"
    script = tmp_path / "owner.py"
    script.write_text(OWNER.format(tests=str(tmp_path), go=str(go)))
    with subprocess.Popen([sys.executable, str(script)]) as owner:
        until(lambda: (sweep_folder("owned") / "journal").exists() and is_halfway())
        owner.kill()
    (first,) = all_folders()
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as again:
        until(lambda: tree.marked(first.fleet) == [])
        go.touch()
        assert again.communicate(timeout=90)[0].strip() == "0"
    trials = Trials(entries("owned"))
    assert [trial.state for trial in trials.all] == [TrialState.DONE] * 6
    assert [list(trial.curve) for trial in trials.all] == [list(range(1, 11))] * 6
    assert [trial.attempt for trial in trials.all] == [1, 1, 2, 2, 1, 1]
    steps = [entry["step"] for entry in entries("owned") if entry["what"] == "point" and entry["trial"] == 2]
    assert steps == [*range(1, 6), *range(6, 11)], "it went on from its checkpoint, and no step was lost"
    ended = [entry["trial"] for entry in entries("owned") if entry["what"] == "ended"]
    assert sorted(ended) == list(range(6))
    for folder in all_folders():
        assert tree.marked(folder.fleet) == []
    assert opening.status(first).why == "its owner has ended"


def is_halfway() -> bool:
    """Tell whether two trials are done and two stand at their fifth step, kept."""
    trials = Trials(entries("owned")).all
    states = [trial.state for trial in trials]
    kept = [
        len(trial.curve) == 5 and Path(sweep_folder("owned"), "checkpoints", str(trial.number)).exists()
        for trial in trials
    ]
    is_kept = all(
        Path(sweep_folder("owned"), "checkpoints", str(trial.number)).read_bytes() == b"5"
        for trial, is_five in zip(trials, kept, strict=True)
        if is_five
    )
    return states.count(TrialState.DONE) == 2 and sum(kept) == 2 and is_kept


def test_modules_that_nodes_share_are_imported_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "shared_by_nodes.py").write_text("import os\nPID = os.getpid()\n")
    monkeypatch.syspath_prepend(tmp_path)
    with rackrate.Fleet(nodes=2, lease_s=LEASE_S, preload=["shared_by_nodes"]) as fleet:

        def both(_: int) -> tuple[int, int]:
            return __import__("shared_by_nodes").PID, os.getpid()

        found = fleet.client.gather(fleet.map(both, range(8)))
    imported, own = ({one[part] for one in found} for part in (0, 1))
    assert len(imported) == 1
    assert not imported & own


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import no_such_thing", "no_such_thing"),
        (
            "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
            "it starts",
        ),
    ],
)
def test_a_module_that_cannot_be_shared_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, says: str
) -> None:
    (tmp_path / "unsharable.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(rackrate.RackrateError, match=f"unsharable cannot be preloaded.*{says}"):
        rackrate.Fleet(nodes=1, lease_s=LEASE_S, preload=["unsharable"])
