"""Whole fleets on this machine: they work, they tell, and nothing of them is left."""

from __future__ import annotations

import asyncio
import os
import pickle
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import rackrate
from rackrate.errors import (
    BadQuantity,
    BootFailed,
    FleetClosed,
    OverBudget,
    TaskExited,
    UnknownName,
    UsageError,
)
from rackrate.fleet import opening, tree
from rackrate.fleet.backends.gpus import VISIBLE
from rackrate.fleet.folder import all_folders, home
from rackrate.fleet.view import View

LEASE_S = 5.0


@pytest.fixture
def fleet() -> Iterator[rackrate.Fleet]:
    """Open a fleet of two nodes, and look that nothing is left when it is closed."""
    with rackrate.Fleet(nodes=2, lease_s=LEASE_S, tls=True) as fleet:
        yield fleet
    assert tree.marked(fleet.id) == []


def train(step_s: float = 0.0) -> Any:
    """Return a task that reports; made here, so that it travels by value."""

    def task(number: int) -> tuple[int, str]:
        import os  # noqa: PLC0415 - it runs elsewhere
        import time  # noqa: PLC0415

        from rackrate import fleet  # noqa: PLC0415

        for step in range(3):
            fleet.report(step, loss=number + 1 / (step + 1))
            time.sleep(step_s)
        return number, os.environ["RACKRATE_NODE"]

    return task


def nodes_of(fleet: rackrate.Fleet) -> list[tuple[str, str]]:
    """Return every node that the fleet ever had, with its state."""
    return [(node["node"], node["state"]) for node in fleet.status().nodes]


def test_work_is_done_on_nodes_and_what_tasks_report_is_read(fleet: rackrate.Fleet) -> None:
    found = fleet.status()
    assert (found.phase, found.n_ready, found.wanted) == ("open", 2, 2)
    results = fleet.client.gather(fleet.map(train(0.05), range(6)))
    assert [number for number, _ in results] == list(range(6))
    assert {node for _, node in results} == {node["node"] for node in found.nodes}
    first = next(fleet.events())
    assert first["at"] > 1.7e9
    fleet.close()
    points = list(fleet.events())
    assert len(points) == 18
    assert {(point["step"], point["loss"]) for point in points if point["loss"] > 5} == {
        (0, 6.0),
        (1, 5.5),
        (2, 5 + 1 / 3),
    }
    assert len({point["task"] for point in points}) == 6


def test_the_same_call_twice_runs_twice(fleet: rackrate.Fleet) -> None:
    calls = [fleet.submit(lambda: os.urandom(8)) for _ in range(2)]
    assert len(set(fleet.client.gather(calls))) == 2


def test_a_task_that_exits_ends_itself_and_not_its_node(fleet: rackrate.Fleet) -> None:
    def main() -> None:
        raise SystemExit(2)

    async def later(number: int) -> int:
        return number + 1

    before = nodes_of(fleet)
    with pytest.raises(TaskExited, match=r"main called sys\.exit\(2\)"):
        fleet.submit(main).result()
    assert fleet.submit(main).key.startswith("main-")
    assert fleet.submit(later, 1).result() == 2
    assert nodes_of(fleet) == before


def test_whatever_a_task_raises_reaches_who_waits_for_it_and_leaves_its_node(fleet: rackrate.Fleet) -> None:
    """The engine ends the node of the first, and lets who waits for the others wait for ever."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    def cancel() -> None:
        raise asyncio.CancelledError

    def call_itself() -> None:
        call_itself()

    before = nodes_of(fleet)
    for function, raised in ((interrupt, "KeyboardInterrupt"), (cancel, "CancelledError")):
        with pytest.raises(TaskExited, match=f"{function.__name__} raised {raised}"):
            fleet.submit(function).result(timeout=30)
    with pytest.raises(RecursionError):
        fleet.submit(call_itself).result(timeout=30)
    assert nodes_of(fleet) == before


def test_how_a_fleet_stands_and_what_it_has_cost_print_as_a_line(fleet: rackrate.Fleet) -> None:
    assert repr(fleet.status()) == f"<Status of fleet {fleet.id}: open; 2 of 2 wanted nodes work (2 ready)>"
    assert repr(fleet.cost()) == f"<Cost of fleet {fleet.id}: 0.000000 USD>"


def test_a_process_that_a_task_forks_and_ends_takes_nobody_with_it(fleet: rackrate.Fleet) -> None:
    """It shares the pipe by which the node's own loop hears of SIGTERM."""

    def fork() -> tuple[list[int], int | None]:
        import multiprocessing  # noqa: PLC0415 - it runs elsewhere
        import time  # noqa: PLC0415

        forking = multiprocessing.get_context("fork")
        with forking.Pool(2) as pool:  # ends its processes by SIGTERM
            found = pool.map(abs, [-1, 2])
        process = forking.Process(target=time.sleep, args=(60,))
        process.start()
        process.terminate()
        process.join(10)
        return found, process.exitcode

    before = nodes_of(fleet)
    assert [fleet.submit(fork).result(timeout=60) for _ in range(5)] == [([1, 2], -signal.SIGTERM)] * 5
    assert nodes_of(fleet) == before


def test_a_node_writes_into_its_own_scratch_folder_and_asks_for_its_key_at_each_port(
    fleet: rackrate.Fleet,
) -> None:
    def seen() -> tuple[str, str, int]:
        import os  # noqa: PLC0415 - it runs elsewhere
        import tempfile  # noqa: PLC0415

        import psutil  # noqa: PLC0415

        links = psutil.Process().net_connections()
        return (
            os.environ["RACKRATE_NODE"],
            tempfile.gettempdir(),
            [one.status for one in links].count("LISTEN"),
        )

    for node, scratch, n_ports in fleet.client.run(seen).values():
        assert scratch == str(fleet.folder.nodes / node / "scratch")
        assert n_ports == 1  # that of the worker, which speaks TLS and nothing else


def test_a_fleet_grows_and_shrinks_and_keeps_what_it_holds(fleet: rackrate.Fleet) -> None:
    held = fleet.map(lambda x: x * x, range(8))
    fleet.client.gather(held)
    assert fleet.scale(3).n_ready == 3
    assert fleet.scale(1).n_ready == 1
    until(lambda: sum(node["state"] == "gone" for node in fleet.status().nodes) == 2)
    assert fleet.client.gather(held) == [x * x for x in range(8)]
    with pytest.raises(BadQuantity):
        fleet.scale(-1)


def until(is_so: Any, patience_s: float = 20.0) -> None:
    """Wait until it is so."""
    end_s = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end_s, "it never was so"
        time.sleep(0.02)


def test_a_node_that_dies_is_replaced_and_its_work_done_again(fleet: rackrate.Fleet) -> None:
    before = {node["node"] for node in fleet.status().nodes}
    victim = fleet.submit(os.getpid).result()
    slow = fleet.map(lambda x: (__import__("time").sleep(1), x)[1], range(2))
    time.sleep(0.3)
    os.kill(victim, 9)
    assert fleet.client.gather(slow) == [0, 1]
    until(lambda: fleet.status().n_ready == 2)
    nodes = {node["node"]: node for node in fleet.status().nodes}
    lost = [node for name, node in nodes.items() if name in before and node["state"] != "ready"]
    assert len(lost) == 1
    assert any("its worker died (signal SIGKILL)" in line for line in lost[0]["story"])
    assert "signal SIGKILL" in fleet.logs(lost[0]["node"])


def test_nodes_share_the_gpus_of_their_machine_evenly_and_a_successor_takes_its_predecessors(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VISIBLE, "3,5")  # nobody asks a driver: what a node sees is what is tested

    def seen(fleet: rackrate.Fleet) -> list[str]:
        return sorted(fleet.client.run(lambda: os.environ[VISIBLE]).values())

    with rackrate.Fleet(nodes=4, lease_s=LEASE_S) as fleet:
        assert seen(fleet) == ["3", "3", "5", "5"]
        (agent,) = [*fleet.folder.path.glob("nodes/rr-*-2/alive")]
        os.kill(int(agent.read_text().split()[0]), signal.SIGKILL)
        while fleet.status().nodes[1]["state"] != "gone":
            time.sleep(0.05)
        opening.wait_ready(fleet.folder)
        assert seen(fleet) == ["3", "3", "5", "5"]
    with rackrate.Fleet(nodes=2, gpus=1, lease_s=LEASE_S) as fleet:
        assert seen(fleet) == ["3", "5"]
    with pytest.raises(UsageError, match="3 nodes with 1 GPUs each: this machine has 2"):
        rackrate.Fleet(nodes=3, gpus=1)


@pytest.mark.alone
def test_a_scheduler_that_is_held_up_for_longer_than_a_lease_fails_no_node() -> None:
    with rackrate.Fleet(nodes=0, lease_s=1) as fleet:
        holding_up = threading.Thread(target=fleet.client.run_on_scheduler, args=(time.sleep, 4))
        holding_up.start()  # four leases, of which the agents are granted each
        fleet.scale(1, wait=False)
        node = fleet.folder.path / "nodes" / f"rr-{fleet.id}-1"
        until(lambda: (node / "log").exists() and "Start worker" in fleet.logs("1"))
        assert holding_up.is_alive()
        holding_up.join()
        until(lambda: fleet.status().n_ready == 1)
        assert [one["node"] for one in fleet.status().nodes] == [f"rr-{fleet.id}-1"]
        assert fleet.submit(abs, -1).result() == 1


def test_a_fleet_that_was_ended_elsewhere_is_left_at_once(fleet: rackrate.Fleet) -> None:
    assert fleet.submit(abs, -1).result() == 1
    opening.end(fleet.folder, "somebody else's will", 10)
    left_s = time.monotonic()
    fleet.close()
    assert time.monotonic() - left_s < 10  # the client looks for its scheduler for longer
    assert fleet.status().why == "somebody else's will"


def test_a_fleet_ends_whose_close_is_interrupted(fleet: rackrate.Fleet, interrupted: Any) -> None:
    for worker in fleet.client.run(os.getpid).values():  # who asks them for what they have to report waits
        os.kill(worker, signal.SIGSTOP)
    interrupted(fleet.close, "disconnect")
    until(lambda: tree.marked(fleet.id) == [])
    assert (fleet.status().phase, fleet.status().why) == ("closed", "its owner has left it")


def test_a_process_that_was_forked_leaves_the_fleet_alone(fleet: rackrate.Fleet) -> None:
    assert fleet.submit(abs, -1).result() == 1
    read, write = os.pipe()
    if not (child := os.fork()):
        said = "nothing"
        try:
            fleet.close()
            _ = fleet.client
        except UsageError as error:
            said = error.hint
        finally:
            os.write(write, said.encode())
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as pipe:
        ready, _, _ = select.select([pipe], [], [], 30)
        if not ready:
            os.kill(child, signal.SIGKILL)
        assert f'attach("{fleet.id}")' in pipe.read()
    os.waitpid(child, 0)
    assert fleet.submit(abs, -2).result() == 2


def one_report(*_: Any) -> None:
    rackrate.fleet.report(1, loss=1.0)


@pytest.mark.parametrize(
    "use",
    [
        lambda fleet: fleet._repr_html_(),
        lambda fleet: fleet.status().phase == "open",
        lambda fleet: fleet.cost().data["fleet"] == fleet.id,
        lambda fleet: View(fleet.folder).look().phase == "open",
        lambda fleet: fleet.scale(2).wanted == 2,
        lambda fleet: fleet.sweep(
            lambda _: rackrate.fleet.report(1, loss=1.0), [{"a": 1}], metric="loss"
        ).best(),
        lambda fleet: fleet.submit(lambda: rackrate.fleet.report(7, loss=1.0)) and next(fleet.events()),
    ],
    ids=["shown", "status", "cost", "view", "scale", "sweep", "events"],
)
def test_the_first_use_in_a_notebook_waits_for_what_it_needs(use: Callable[[rackrate.Fleet], Any]) -> None:
    async def cell() -> None:
        fleet = rackrate.Fleet(nodes=1, lease_s=LEASE_S)  # returns at once, where a loop runs
        try:
            assert use(fleet)
        finally:
            fleet.close()

    asyncio.run(cell())


def test_what_a_task_reports_does_not_get_into_the_way_of_the_next(fleet: rackrate.Fleet) -> None:
    def steps() -> list[str]:
        import numpy  # noqa: ICN001, PLC0415 - it runs elsewhere

        from rackrate.fleet import report  # noqa: PLC0415

        refused = []
        for step in (*numpy.arange(2), 1.5, "x", float("nan"), None, 2):
            try:
                report(step, loss=0.5)
            except BadQuantity as error:
                refused.append(error.message)
        return refused

    fleet.scale(1)
    assert len(fleet.submit(steps).result()) == 4
    fleet.close()
    assert [event["step"] for event in fleet.events()] == [0, 1, 2]


def test_logs_are_found_by_number_and_an_unknown_node_is_told(fleet: rackrate.Fleet) -> None:
    assert fleet.logs("1") == fleet.logs(f"rr-{fleet.id}-1")
    assert fleet.logs("1") == fleet.logs(1)
    assert "Scheduler at" in fleet.logs("head")
    with pytest.raises(UnknownName) as caught:
        fleet.logs("17")
    assert caught.value.code == "unknown-node"


def test_what_is_left_of_a_fleet_is_its_history(fleet: rackrate.Fleet) -> None:
    threads = set(threading.enumerate())
    fleet.client.gather(fleet.map(abs, range(2)))
    assert fleet.folder.key.stat().st_mode & 0o777 == 0o600
    assert fleet.folder.path.stat().st_mode & 0o777 == 0o700
    fleet.close()
    fleet.close()  # again is nothing
    assert tree.marked(fleet.id) == []
    files = {path.name for path in fleet.folder.path.rglob("*") if path.is_file()}
    assert files == {"events", "journal", "keeper.log", "log", "spec", "zygote.log"}
    until(lambda: not [thread for thread in set(threading.enumerate()) - threads if not is_of_dask(thread)])
    assert (fleet.status().phase, fleet.status().why) == ("closed", "its owner has left it")
    assert [node["state"] for node in fleet.status().nodes] == ["gone", "gone"]
    for use in (lambda: fleet.client, lambda: fleet.scale(2), lambda: rackrate.Fleet.attach(fleet.id)):
        with pytest.raises(FleetClosed, match="its owner has left it"):
            use()


def is_of_dask(thread: threading.Thread) -> bool:
    """Tell whether it is one that distributed keeps for the next client of this process."""
    return thread.name.startswith(("IO loop", "Profile", "Dask-Offload", "TCP-Executor"))


def test_another_process_may_use_a_fleet_and_leave_it_running(fleet: rackrate.Fleet) -> None:
    with rackrate.Fleet.attach(fleet.id[:6]) as guest:
        assert guest.submit(abs, -3).result() == 3
    assert fleet.status().phase == "open"
    with pytest.raises(UnknownName):
        rackrate.Fleet.attach("n0ne")


def test_a_fleet_itself_does_not_travel(fleet: rackrate.Fleet) -> None:
    with pytest.raises(UsageError, match="cannot be sent"):
        pickle.dumps(fleet)
    with pytest.raises(UsageError) as caught:
        fleet.submit(lambda: fleet.id)
    assert "needs no fleet" in caught.value.hint


def test_a_stranger_without_the_key_gets_nothing(fleet: rackrate.Fleet) -> None:
    import distributed  # noqa: PLC0415 - the stranger's own

    address = fleet.status().address
    for security, scheme in ((None, "tcp"), (distributed.Security.temporary(), "tls")):
        with pytest.raises(OSError, match=r"\w"):
            distributed.Client(address.replace("tls", scheme), security=security, timeout=2)
    assert fleet.submit(abs, -1).result() == 1


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"nodes": -1}, BadQuantity),
        ({"nodes": 2.5}, BadQuantity),
        ({"lease_s": 0}, BadQuantity),
        ({"idle_s": float("nan")}, BadQuantity),
        ({"budget_usd": -1}, BadQuantity),
        ({"backend": "locl"}, UnknownName),
        ({"tls": False}, UsageError),
        ({"env": {"A": 1}}, UsageError),
        ({"env": {"A=B": "1"}}, UsageError),
        ({"sync": "no/such/folder"}, BadQuantity),
        ({"image": "me/work:1"}, UsageError),
        ({"hosts": ["me@gpu1"]}, UsageError),
        ({"budget_usd": 0.001, "usd_per_node_hour": 100}, OverBudget),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_made(
    asked: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        rackrate.Fleet(**asked)
    assert not home().exists()


def test_a_fleet_whose_workers_do_not_start_says_why_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", "no_such_module")
    with pytest.raises(BootFailed, match="its worker died"):
        rackrate.Fleet(nodes=1, lease_s=LEASE_S)
    (folder,) = all_folders()
    assert tree.marked(folder.fleet) == []
    assert "no_such_module" in opening.log_of(folder, "1")


@pytest.mark.alone
def test_idle_fleets_end_and_the_budget_is_kept(tmp_path: Path) -> None:
    del tmp_path
    with rackrate.Fleet(nodes=1, lease_s=LEASE_S, idle_s=1) as idle:
        until(lambda: idle.status().phase == "closed")
        assert idle.status().why == "idle"
    budget_usd = 0.79  # 0.1 a second: one of two nodes, for nearly 4 s before the 4 that it takes to end
    with rackrate.Fleet(nodes=2, lease_s=1, usd_per_node_hour=360, budget_usd=budget_usd) as dear:
        until(lambda: dear.status().phase == "closed")
        assert dear.status().why == "the budget is committed"
        assert 0.3 < dear.cost().usd <= budget_usd
