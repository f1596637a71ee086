"""How fast does the speed model answer? One question after the other, and thousands at once, on one core.

python bench/perf_speed.py [--docs]

whole answer   `pace.llm_pace`: fit, room, three loads, capacity, curve, nearest measured cases
one by one     `serving.serve` on numbers: TTFT, TPOT and tokens/s of one machine under one load
at once        `serving.serve` and `serving.capacity` on arrays, as a planner asks them
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from measure import machine, ms, table, write_section

from rackrate.catalog.gpu import load_gpu
from rackrate.fit.precision import find_precision
from rackrate.pace import Demand, llm_pace
from rackrate.perf.chip import chip_of
from rackrate.perf.factors import load_factors
from rackrate.perf.machine import Machine, habits_of, rates_of
from rackrate.perf.serving import Request, Target, capacity, serve
from rackrate.perf.work import work_of
from rackrate.sizing import Wish, find_weights

GOAL_PER_S = 10_000
N_ONE, N_WHOLE, N_GRID = 2_000, 50, 100_000
N_RUNS = 5
MODEL, GPU = "llama-3.1-8b", "l40s"
ROOM = 165.0
SAME = 1e-9  # of the value


def best_per_s(thing: Callable[[], object], n: int) -> float:
    """Return how many answers a second a call of `n` gives; best of `N_RUNS`."""
    best = float("inf")
    for _ in range(N_RUNS):
        start = time.process_time()
        thing()
        best = min(best, time.process_time() - start)
    return n / best


def disagreements(n_in: Any, at_once: Any, together: Any, one: Callable[[float, float], float]) -> int:
    """Return at how many of 100 points an array says other than a number."""
    points = range(0, N_GRID, N_GRID // 100)
    alone = np.array([one(float(n_in[i]), float(at_once[i])) for i in points])
    return int(np.sum(np.abs(alone / together[:: N_GRID // 100] - 1) > SAME))


def report() -> str:
    """Measure all of it and return it as Markdown."""
    weights, factors = find_weights(MODEL), load_factors("llm")
    on = Machine(chip_of(load_gpu(GPU)), "vllm", "wide")
    work, rates = work_of(weights.arch, find_precision("bf16")), rates_of(on, factors)
    habits = habits_of(on, factors)
    chance = np.random.default_rng(20261122)
    n_in, at_once = chance.integers(16, 16_000, N_GRID), chance.integers(1, 512, N_GRID)

    def one(tokens: float, concurrency: float) -> float:
        found = serve(work, rates, habits, Request(tokens, 300.0), concurrency, ROOM)
        return float(found.output_tokens_per_s)

    def whole() -> None:
        for i in range(N_WHOLE):
            llm_pace(weights, GPU, Wish(), Demand(input_tokens=int(n_in[i]), concurrency=int(at_once[i])))

    many = Request(n_in.astype(float), 300.0)
    loads, rooms = at_once.astype(float), np.full(N_GRID, ROOM)
    together = serve(work, rates, habits, many, loads, rooms).output_tokens_per_s
    differ = disagreements(n_in, at_once, together, one)
    whole()
    rows = [
        ("serve, at once", best_per_s(lambda: serve(work, rates, habits, many, loads, rooms), N_GRID)),
        (
            "capacity at an SLO, at once",
            best_per_s(lambda: capacity(work, rates, habits, many, Target(1.0, 0.06, 0.95), rooms), N_GRID),
        ),
        (
            "serve, one by one",
            best_per_s(lambda: [one(float(n_in[i]), float(at_once[i])) for i in range(N_ONE)], N_ONE),
        ),
    ]
    whole_s = 1 / best_per_s(whole, N_WHOLE)
    goals = [[name, f"{per_s:,.0f}", "met" if per_s >= GOAL_PER_S else "missed"] for name, per_s in rows]
    return (
        f"## How fast is it: speed of the answer\n\n{MODEL} on an {GPU}, {N_GRID:,} loads of 16 to 16,000 "
        f"tokens and 1 to 512 requests; CPU time of the process, best of {N_RUNS} runs (goal {GOAL_PER_S:,} "
        f"a second on one core):\n\n{table(['question', 'answers a second', 'goal'], goals)}\n\n"
        f"Arrays differ from one by one at {differ} of 100 points. A whole answer, with fit, room, three "
        f"loads, capacity, curve and nearest cases, takes {ms(whole_s)} ({N_WHOLE} different loads, one "
        "after the other; model and card loaded before)."
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Time rackrate.perf.")
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks.md")
    args = parser.parse_args(argv)
    text = report()
    if args.docs:
        write_section("perf-speed", f"{text}\n\n{machine('rackrate', 'numpy')}")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
