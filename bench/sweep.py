"""What do the rules that stop trials save, and what do they cost? Replayed on curves of a whole sweep.

    python bench/sweep.py                    # examples/bert_sweep: 64 variants, all to the end

Each rule sees the curves of `bench/cases/bert_sweep_curves.csv` (a run of the demo without a rule: 64 local
nodes, 480 steps each) in orders that differ by how fast each trial is, as on nodes that share a machine.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import random
import sys
from pathlib import Path
from statistics import mean

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


def main() -> int:
    """Replay the rules and print what they save."""
    asks = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asks.add_argument("curves", type=Path, nargs="?", default=CURVES)
    asks.add_argument("--orders", type=int, default=100)
    asked = asks.parse_args()
    curves = read(asked.curves)
    print("rule                      steps saved  orders within 1 %  worst")
    for rule in RULES:
        found = [replay(rule, curves, seed) for seed in range(asked.orders)]
        n_good = sum(loss <= _GOOD_FRAC for _, loss in found)
        name = f"{type(rule).__name__.lower()} first={rule.first}" + (
            f" eta={rule.eta}" if isinstance(rule, Asha) else ""
        )
        saved, worst = mean(saved for saved, _ in found), max(loss for _, loss in found)
        print(f"{name:<25} {saved:>10.0%}  {n_good / len(found):>17.0%}  {worst:>5.1%}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
