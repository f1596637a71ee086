"""How long does a plan take: warm, from the shell, and beside a loop that asks one way after the other?

    python bench/plan.py              # three minutes on an idle machine
    python bench/plan.py --docs       # writes its section of docs/benchmarks.md

The market is the synthetic one of `bench/market.py`, 10,000 offers; the question is the same for all. The
loop asks `rackrate.fit` and `rackrate.perf` for each offer and each way by itself, as one would without
arrays. It is run on a sample of the offers, over which the plan must name the same price; its time for all of
them is the sample's times the ratio of their numbers, and is said to be.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, isclose
from pathlib import Path
from typing import Any

import catalogue
from market import store
from measure import commands, machine, ms, side_by_side, table, write_section

import rackrate
from rackrate import planning
from rackrate.catalog.gpu import Gpu, load_gpu
from rackrate.catalog.load import slugs
from rackrate.catalog.workload import capabilities_missing, find_workload
from rackrate.fit.overhead import usable_memory
from rackrate.fit.precision import Precision
from rackrate.fit.setup import Setup
from rackrate.market.store import Store
from rackrate.perf.chip import chip_of
from rackrate.perf.factors import load_factors
from rackrate.perf.machine import Machine, habits_of, rates_of
from rackrate.perf.serving import Request, Target, capacity
from rackrate.perf.work import work_of
from rackrate.plan.ways import SEQUENCES, Way, engines, is_sensible, is_tried, layouts, precisions, takes
from rackrate.sizing import Weights, Wish, find_weights, fits, setup_for

N_OFFERS = 10_000
N_SAMPLE = 40
N_RUNS, N_SHELL = 24, 8
GOAL_S, GOAL_SHELL_S = 0.100, 0.8
SEED = 20261122
MODEL = "llama-3.1-70b"
REQUEST, TARGET = Request(1000.0, 300.0), Target(1.0, 0.06, 0.9)
FIELDS: dict[str, Any] = {"rps": 2, "input": 1000, "output": 300, "ttft": "1s", "tpot": "60ms", "kind": "any"}
WORDS = [word for name, value in FIELDS.items() for word in (f"--{name}", str(value))]


@dataclass(frozen=True)
class Asked:
    """The question, in the parts that a loop needs."""

    weights: Weights
    published: Precision

    def per_s(self, gpu: Gpu, way: Way) -> float:
        """Return the requests a second of one copy; 0 where it does not fit or is too slow."""
        room = self._room(gpu, way)
        if not room:
            return 0.0
        chunk = Setup(engine=way.engine).chunk_tokens(usable_memory(gpu), 1300)
        group = Machine(chip_of(gpu), way.engine.name, way.packing, way.tensor, way.pipeline, chunk)
        work, factors = work_of(self.weights.arch, way.precision), load_factors("llm")
        rates, habits = rates_of(group, factors), habits_of(group, factors)
        served, is_met = capacity(work, rates, habits, REQUEST, TARGET, room)
        return float(served.output_tokens_per_s) / 300 if is_met else 0.0

    def _room(self, gpu: Gpu, way: Way) -> int:
        for sequences in SEQUENCES:
            wish = Wish(
                engine=way.engine.name,
                precision=way.precision.name,
                tensor=way.tensor,
                pipeline=way.pipeline,
                max_num_seqs=sequences or None,
            )
            fit = fits(self.weights, f"{gpu.slug}:{way.n_gpus}", context=1300, wish=wish)
            room = min(fit.most_concurrent, fit.setup.seats(fit.card, 1300) or fit.most_concurrent)
            if room:
                return room
        return 0

    def ways(self, gpu: Gpu, count: int) -> Iterator[Way]:
        """Yield every way that is worth a try."""
        chip = chip_of(gpu)
        for engine in engines(""):
            sizes = layouts(self.weights.arch, engine, count)
            for precision, (tensor, pipeline) in product(precisions(self.published, engine), sizes):
                way = Way(engine, precision, tensor, pipeline)
                is_run = is_tried(engine, chip) and takes(gpu, chip, engine, way.packing)
                if is_run and is_sensible(way, chip, sizes):
                    yield way


def loop(rows: Sequence[catalogue.Row]) -> float:
    """Return the USD an hour of the cheapest way to carry the load, asking for each by itself."""
    weights = find_weights(MODEL)
    asked = Asked(weights, setup_for(weights, 1, Wish()).precision)
    workload, best = find_workload("llm-serving"), float("inf")
    for row in rows:
        if row.shape.gpu not in slugs("gpus") or capabilities_missing(workload, load_gpu(row.shape.gpu)):
            continue
        gpu, count = load_gpu(row.shape.gpu), int(row.shape.gpu_count)
        for way in asked.ways(gpu, count):
            a_machine = (count // way.n_gpus) * asked.per_s(gpu, way)
            if a_machine:
                best = min(best, ceil(2 / a_machine - 1e-9) * row.usd_per_hour)
    return best


def planned(market: Store) -> float:
    """Return what the plan says for the same."""
    return rackrate.plan(MODEL, data=market, **FIELDS).best.usd_per_hour.value


def report(folder: Path) -> str:
    """Measure all of it and return it as Markdown."""
    rows = catalogue.rows(N_OFFERS)
    (folder / "all").mkdir()
    whole = store(folder / "all", rows)
    things = {
        "plan, warm, all offers": lambda: planned(whole),
        "the same of Llama 3.1 8B": lambda: planning.plan("llama-3.1-8b", data=whole, **FIELDS),
        "LoRA of Llama 3.1 8B": lambda: _run(whole),
    }
    timings = side_by_side(things, N_RUNS)
    tool = str(Path(sys.executable).with_name("rackrate"))
    line = [tool, "plan", MODEL, *WORDS, "--data", str(whole.folder)]
    timings |= commands({"`rackrate plan ...` from the shell": line}, N_SHELL)
    on_demand = [row for row in rows if row.kind == "on_demand"]
    sample = random.Random(SEED).sample(on_demand, N_SAMPLE)  # noqa: S311 - repeatable on purpose
    (folder / "sample").mkdir()
    few = store(folder / "sample", [_by_itself(row) for row in sample])
    looped_s = _same(sample, few)
    timings |= side_by_side({f"plan, warm, {N_SAMPLE} offers": lambda: planned(few)}, N_RUNS)
    lines = [
        [name, ms(min(t.wall_s)), ms(t.wall_median_s), ms(t.cpu_median_s)] for name, t in timings.items()
    ]
    lines.append([f"loop, {N_SAMPLE} offers", ms(looped_s), ms(looped_s), "not taken"])
    warm, _, _, shell, _ = timings.values()
    all_s = looped_s / N_SAMPLE * N_OFFERS
    made = rackrate.plan(MODEL, data=whole, **FIELDS).plan
    n_gpus = len({row.shape.gpu for row in rows})
    says = (
        f"{MODEL}, 2 requests/s of 1,000 tokens in and 300 out, TTFT 1 s for 90 %, TPOT 60 ms, "
        f"any kind: {made.n_offers:,} offers of {n_gpus} GPUs, {made.n_ways:,} ways that keep the promise on "
        f"the shapes that they sell. {_goal('Warm', warm.wall_median_s, GOAL_S)} "
        f"{_goal('Shell', shell.wall_median_s, GOAL_SHELL_S)} The loop over {N_SAMPLE} offers names the same "
        f"price; for all {N_OFFERS:,} it would take {all_s:,.0f} s at that pace, "
        f"{all_s / warm.wall_median_s:,.0f} times as long (extrapolated)."
    )
    return f"## Plan: speed\n\n{table(['', 'wall, best', 'wall, median', 'CPU, median'], lines)}\n\n{says}"


def _by_itself(row: catalogue.Row) -> catalogue.Row:
    """Return an offer of somebody of whom no price of disk and traffic is known: the loop asks for none."""
    return row._replace(shape=replace(row.shape, provider_raw="somebody"))


def _same(sample: Sequence[catalogue.Row], few: Store) -> float:
    """Return the seconds that the loop takes, once it names the plan's price."""
    started = time.perf_counter()
    by_loop = loop(sample)
    looped_s = time.perf_counter() - started
    by_plan = planned(few)
    if not isclose(by_loop, by_plan, rel_tol=1e-6):
        raise SystemExit(f"the loop says {by_loop} USD/h and the plan {by_plan}: nothing to compare")
    return looped_s


def _run(market: Store) -> object:
    return planning.plan("llama-3.1-8b", data=market, finetune="lora", tokens="50M", kind="any")


def _goal(what: str, value: float, limit: float) -> str:
    return f"{what}: {ms(value)}, goal {ms(limit)}: {'met' if value <= limit else 'missed'}."


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Time rackrate.plan.")
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks.md")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        text = report(Path(folder))
    print(text)
    if args.docs:
        write_section("plan-speed", f"{text}\n\n{machine('rackrate', 'numpy', 'duckdb')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
