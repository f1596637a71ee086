"""Pools that grow with their work, functions that run on one, and fleets in an event loop."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import rackrate
from rackrate import fleet
from rackrate.errors import BadQuantity, BootFailed, MissingCredential, OverBudget, UnknownName
from rackrate.fleet import opening, tree
from rackrate.fleet.backends import KEYS
from rackrate.fleet.folder import all_folders, home

LEASE_S = 5.0


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Look that no process of any fleet is left."""
    yield
    assert [folder.fleet for folder in all_folders() if opening.reap(folder)] == []


def until(is_so: Callable[[], bool], patience_s: float = 20.0) -> None:
    end_s = time.monotonic() + patience_s
    while not is_so():
        assert time.monotonic() < end_s, "it never was so"
        time.sleep(0.02)


def work(seconds: float) -> Callable[[int], tuple[int, str]]:
    """Return a task that takes its time and says where; made here, so that it travels by value."""

    def task(number: int) -> tuple[int, str]:
        import os  # noqa: PLC0415 - it runs elsewhere
        import time  # noqa: PLC0415

        time.sleep(seconds)
        return number, os.environ["RACKRATE_NODE"]

    return task


def test_a_pool_grows_with_its_queue_gives_back_what_idles_and_keeps_what_is_held() -> None:
    with rackrate.Fleet(nodes=(0, 3), lease_s=LEASE_S, idle_s=1.0) as pool:
        assert (pool.status().wanted, pool.status().nodes) == (0, [])
        futures = pool.map(work(0.2), range(12))
        results = pool.client.gather(futures)
        assert [number for number, _ in results] == list(range(12))
        assert len({node for _, node in results}) > 1
        until(lambda: pool.status().n_ready == 1 and pool.status().wanted == 1)
        ran = {node["node"] for node in pool.status().nodes}
        assert len(ran) <= 3
        assert pool.client.gather(futures) == results  # held on the node that stays: not computed again
        del futures
        until(lambda: {node["state"] for node in pool.status().nodes} == {"gone"})
        assert (pool.status().phase, pool.status().wanted) == ("open", 0)
        assert pool.submit(abs, -1).result() == 1
        assert {node["node"] for node in pool.status().nodes} > ran


def test_who_says_how_many_gets_so_many() -> None:
    with rackrate.Fleet(nodes=(0, 3), lease_s=LEASE_S, idle_s=1.0) as pool:
        assert pool.scale(2).n_ready == 2
        time.sleep(1.5)
        assert pool.status().n_ready == 2


def test_a_node_that_works_is_not_the_one_that_goes() -> None:
    with rackrate.Fleet(nodes=(1, 2), lease_s=LEASE_S, idle_s=1.0) as pool:
        short, long = pool.map(work(0.0), range(1)), pool.submit(work(4.0), 7)
        other = pool.submit(work(0.5), 8)
        _, node = long.result()
        assert [one["state"] for one in pool.status().nodes if one["node"] == node] == ["ready"]
        assert short[0].result()[0] == 0
        assert other.result()[0] == 8


def test_a_function_of_a_pool_runs_there_and_its_pool_idles_out() -> None:
    @fleet.task(nodes=(0, 2), lease_s=LEASE_S, idle_s=1.0)
    def where(number: int) -> tuple[int, str]:
        import os  # noqa: PLC0415 - it runs elsewhere

        return number, os.environ.get("RACKRATE_NODE", "")

    assert all_folders() == []  # nothing is opened before it is called
    number, node = where(3)
    assert (number, where.fleet.id in node) == (3, True)
    until(lambda: where.fleet.status().n_ready == 0)
    assert [one.result()[0] for one in where.map([1, 2])] == [1, 2]
    name = where.fleet.id
    opening.end(where.fleet.folder, "a test", 10)
    assert where(4)[0] == 4  # on another pool
    assert where.fleet.id != name
    where.close()


def test_a_function_of_a_pool_calls_itself_where_it_runs() -> None:
    @fleet.task(nodes=(0, 1), lease_s=LEASE_S)
    def factorial(n: int) -> int:
        return 1 if n < 2 else n * factorial(n - 1)

    assert factorial(5) == 120
    assert len(all_folders()) == 1
    factorial.close()


def test_a_function_of_a_pool_needs_no_word_but_task() -> None:
    @fleet.task
    def square(number: int) -> int:
        return number * number

    assert square(4) == 16
    square.close()


def test_a_gpu_that_cannot_be_rented_is_said_when_its_function_is_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in KEYS.values():
        monkeypatch.delenv(variable, raising=False)
    with pytest.raises(MissingCredential, match="at which l40s can be rented"):
        fleet.task(gpu="l40s")(print)()
    monkeypatch.setenv("RUNPOD_API_KEY", "k")
    with pytest.raises(UnknownName, match="l40z"):
        fleet.task(gpu="l40z")(print)()
    assert all_folders() == []


async def ticks(while_: asyncio.Task[Any]) -> int:
    """Count how often the loop comes round until a task is done."""
    n = 0
    while not while_.done():
        await asyncio.sleep(0.01)
        n += 1
    return n


def test_a_fleet_in_a_coroutine_comes_and_goes_while_the_loop_runs() -> None:
    async def main() -> tuple[list[Any], list[int], list[int]]:
        one = rackrate.Fleet(nodes=1, lease_s=LEASE_S)
        opened = asyncio.ensure_future(one.__aenter__())
        n_ticks = [await ticks(opened)]
        results = await one.gather(one.map(lambda x: x * x, range(4)))
        watched = []

        def tell() -> None:
            from rackrate import fleet  # noqa: PLC0415 - it runs elsewhere

            for step in range(3):
                fleet.report(step, loss=1.0)

        telling = one.submit(tell)
        async for event in one.events():
            watched.append(event["step"])
            if len(watched) == 3:
                break
        await one.gather([telling])
        closed = asyncio.ensure_future(one.__aexit__(None, None, None))
        n_ticks.append(await ticks(closed))
        assert tree.marked(one.id) == []
        return results, watched, n_ticks

    results, watched, n_ticks = asyncio.run(main())
    assert results == [0, 1, 4, 9]
    assert watched == [0, 1, 2]
    assert min(n_ticks) >= 5, n_ticks


def test_a_block_that_is_cancelled_leaves_nothing() -> None:
    async def use() -> None:
        async with rackrate.Fleet(nodes=1, lease_s=LEASE_S):
            await asyncio.sleep(60)

    async def main(after_s: float) -> None:
        using = asyncio.ensure_future(use())
        await asyncio.wait([using], timeout=after_s)
        using.cancel()
        with pytest.raises(asyncio.CancelledError):
            await using

    asyncio.run(main(0.1))  # while it boots
    asyncio.run(main(6.0))  # while it works
    assert {opening.status(folder).phase for folder in all_folders()} == {"closed"}
    assert len(all_folders()) == 2


def test_in_a_running_loop_the_first_use_waits_and_says_what_went_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def notebook() -> int:
        with rackrate.Fleet(nodes=1, lease_s=LEASE_S) as one:  # a cell: plain code inside of a loop
            return int(one.submit(abs, -3).result())

    assert asyncio.run(notebook()) == 3
    monkeypatch.setenv("DASK_DISTRIBUTED__WORKER__PRELOAD", "no_such_module")

    async def broken() -> None:
        one = rackrate.Fleet(nodes=1, lease_s=LEASE_S)
        one.submit(abs, -3)

    with pytest.raises(BootFailed, match="its worker died"):
        asyncio.run(broken())


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"nodes": (3, 2)}, BadQuantity),
        ({"nodes": (0, 0)}, BadQuantity),
        ({"nodes": (0, 1, 2)}, BadQuantity),
        ({"nodes": (0, 2), "budget_usd": 0.001, "usd_per_node_hour": 100}, OverBudget),
    ],
)
def test_a_pool_that_cannot_be_is_told_before_anything_is_made(
    asked: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        rackrate.Fleet(**asked)
    assert not home().exists()
    assert "RACKRATE_NODE" not in os.environ
