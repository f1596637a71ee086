"""What do the rules that stop trials save, and what do they cost? Replayed on curves of a whole sweep.

    python bench/sweep.py --docs             # examples/bert_sweep: 64 variants, all to the end

Each rule sees the curves of `bench/cases/bert_sweep_curves.csv` (a run of the demo without a rule: 64 local
nodes, 480 steps each) in orders that differ by how fast each trial is, as on nodes that share a machine.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean

from measure import machine, table, write_section

from rackrate.fleet.rules import Asha, Median, Rule

CURVES = Path(__file__).resolve().parent / "cases" / "bert_sweep_curves.csv"
RULES: tuple[Rule, ...] = (
    Asha(first=32, eta=4),
    Asha(first=64, eta=3),
    Asha(first=88, eta=2),
    Median(first=64),
    Median(first=96),
)
_SLOWEST = 6.0
"""The slowest variant takes so many times as long for a step as the fastest, about, as in that run."""
_GOOD_FRAC = 0.01
_GOAL_FRAC = 0.6

METHOD = """Replayed on the curves of a whole sweep without a rule (64 variants of BERT, 64 local nodes, 480
steps each), in {orders} orders that differ by how fast each trial is. Saved: of all steps, on average. Within
1 %: orders in which the best of those that went on is no more than 1 % worse than the best of all. Both:
orders in which that holds and at least 60 % of the steps are saved."""

Curve = list[tuple[int, float]]


def read(path: Path) -> dict[int, Curve]:
    """Return the curve of each trial."""
    found: dict[int, Curve] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found.setdefault(int(row["trial"]), []).append((int(row["step"]), float(row["loss"])))
    return found


def replay(rule: Rule, curves: dict[int, Curve], seed: int) -> tuple[float, float]:
    """Return what a rule saves of all steps, and by how much its best is worse than the best; fractions."""
    draw, judge = random.Random(seed), rule.judge()  # noqa: S311 - no secret
    pace = {trial: _SLOWEST ** draw.random() for trial in curves}
    reports = [(pace[trial], trial, 0) for trial in curves]
    heapq.heapify(reports)
    steps, ends = dict.fromkeys(curves, 0), []
    while reports:
        at, trial, place = heapq.heappop(reports)
        steps[trial], value = curves[trial][place]
        if judge.see(trial, steps[trial], value):
            continue
        if place + 1 < len(curves[trial]):
            heapq.heappush(reports, (at + pace[trial], trial, place + 1))
        else:
            ends.append(value)
    best = min(curve[-1][1] for curve in curves.values())
    saved = 1 - sum(steps.values()) / sum(curve[-1][0] for curve in curves.values())
    return saved, min(ends) / best - 1


def section(found: Mapping[Rule, Sequence[tuple[float, float]]]) -> str:
    """Write the section of the benchmarks, of what each rule saved and lost in each order."""
    rows, n_both = [], {}
    for rule, runs in found.items():
        settings = ",".join(f"{name}={value}" for name, value in asdict(rule).items())
        name = f"{type(rule).__name__.lower()}:{settings}"
        n_both[name] = sum(saved >= _GOAL_FRAC and loss <= _GOOD_FRAC for saved, loss in runs)
        n_good = sum(loss <= _GOOD_FRAC for _, loss in runs)
        saved, worst = mean(saved for saved, _ in runs), max(loss for _, loss in runs)
        rows.append(
            [f"`{name}`", f"{saved:.0%}", f"{n_good} of {len(runs)}", f"{worst:.1%}", str(n_both[name])]
        )
    n = len(next(iter(found.values())))
    best = max(n_both, key=n_both.__getitem__)
    verdict = "met" if n_both[best] == n else "missed"
    says = (
        f"At least {_GOAL_FRAC:.0%} saved with a best within {_GOOD_FRAC:.0%}: by `{best}` in "
        f"{n_both[best]} of {n} orders, goal all: {verdict}."
    )
    header = ["rule", "steps saved", "best within 1 %", "worst best", "both"]
    title = f"## Sweeps: what a rule saves\n\n{machine('rackrate')}"
    return "\n\n".join((title, METHOD.format(orders=n), table(header, rows), says))


def main() -> int:
    """Replay the rules and print what they save."""
    asks = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asks.add_argument("curves", type=Path, nargs="?", default=CURVES)
    asks.add_argument("--orders", type=int, default=100)
    asks.add_argument("--docs", action="store_true", help="write the section of docs/benchmarks.md")
    asked = asks.parse_args()
    curves = read(asked.curves)
    text = section({rule: [replay(rule, curves, seed) for seed in range(asked.orders)] for rule in RULES})
    print(text)
    if asked.docs:
        write_section("fleet-prune", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
