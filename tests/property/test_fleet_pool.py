"""A pool's size: grown at once, given back node by node, never too small for its work."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from rackrate.fleet.pool import Demand, Pool

DEMANDS = st.builds(
    Demand,
    n_tasks=st.integers(0, 60),
    holds_results=st.booleans(),
    busy=st.sets(st.sampled_from([f"n{n}" for n in range(12)])).map(frozenset),
)
HISTORY = st.lists(st.tuples(st.floats(0, 40), DEMANDS), min_size=1, max_size=30)


@given(HISTORY, st.integers(0, 4), st.integers(4, 12), st.integers(1, 4), st.floats(0.1, 60))
def test_a_size_is_the_greatest_need_of_the_last_while(
    history: list[tuple[float, Demand]], least: int, most: int, threads: int, idle_s: float
) -> None:
    """Held against the definition, over all that was asked: what anyone would count by hand."""
    pool, at_s, needs = Pool(least, most, threads, idle_s), 0.0, []
    for pause_s, demand in history:
        at_s += pause_s
        n_work = max(math.ceil(demand.n_tasks / threads), len(demand.busy))
        n = max(n_work, 1) if demand.holds_results else n_work
        needs.append((at_s, min(max(n, least), most)))
        of_late = [n for was_s, n in needs[:-1] if at_s - was_s < idle_s]
        assert pool.wanted(demand, at_s) == max([needs[-1][1], *of_late])


def test_a_pool_grows_at_once_and_shrinks_when_it_idled() -> None:
    pool = Pool(0, 4, threads=2, idle_s=10)
    assert pool.wanted(Demand(), 0) == 0
    assert pool.wanted(Demand(n_tasks=5), 1) == 3
    assert pool.wanted(Demand(n_tasks=100), 2) == 4
    assert pool.wanted(Demand(n_tasks=1), 11.9) == 4
    assert pool.wanted(Demand(n_tasks=1), 12.1) == 1
    assert pool.wanted(Demand(), 22.2) == 0


def test_a_node_that_works_and_one_that_holds_results_are_counted() -> None:
    pool = Pool(0, 8, threads=4, idle_s=1)
    assert pool.wanted(Demand(n_tasks=3, busy=frozenset("abc")), 0) == 3
    assert pool.wanted(Demand(holds_results=True), 10) == 1


def test_news_of_an_older_head_are_no_demand() -> None:
    assert Demand.said({"node": "head", "is_ready": True}) == Demand()
    said = Demand.said({"n_tasks": 2, "busy": ["a"], "holds_results": True})
    assert said == Demand(2, holds_results=True, busy=frozenset("a"))
