"""What do the rules that stop trials save, and what do they cost? Replayed on curves of whole sweeps.

    python bench/sweep.py --docs
    python bench/sweep.py curves.csv         # of your own: trial, step, s, loss

The curves are of runs of the demo without a rule (`examples/bert_sweep/sweep.py --prune none --curves FILE`,
the others with `--draw 1`). Where nodes are otherwise fast, a rule sees the same values in another order, and
judges otherwise.
"""

from __future__ import annotations

import argparse
import csv
import heapq
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from measure import machine, table, write_section

from rackrate.fleet.rules import Asha, Median, Rule

_CASES = Path(__file__).resolve().parent / "cases"
CURVES = {
    "the demo's 64": _CASES / "bert_sweep_curves.csv",
    "64 others": _CASES / "bert_sweep_curves_others.csv",
}
RULES: tuple[Rule, ...] = (
    Asha(first=32, eta=4),
    Asha(first=64, eta=3),
    Asha(first=64, eta=3, least=16),
    Asha(first=88, eta=2),
    Asha(first=88, eta=2, least=8),
    Median(first=64),
)
_N_PACED = 10
"""Reports over which a trial's pace is taken: while all trials still share the machine."""
_JITTER = 1.25
_SLOWEST = 5.0
"""To the eleventh report the slowest variant took 4.5 and 4.9 times as long as the fastest in those runs."""
_GOOD_FRAC = 0.01
_GOAL_FRAC = 0.6

METHOD = """Replayed on the curves of whole sweeps without a rule (64 variants of BERT, 64 local nodes, 480
steps each), in {orders} orders each. *As it ran*: each variant at the pace that it had, up to a quarter
faster or slower; *any*: each at a pace that has nothing to do with what it is, up to five times that of
another. Saved: of all steps, on average and at least. Within 1 %: orders in which the best of those that went
on is no more than 1 % worse than the best of all. The settings were chosen with the demo's curves in hand;
the others are another draw of variants, trained afterwards."""


class Report(NamedTuple):
    """A loss that a trial reported at a step, `s` seconds after the first of all reports."""

    step: int
    s: float
    loss: float


Curves = dict[int, list[Report]]
"""What each trial reported."""
Paces = Callable[[Curves, random.Random], dict[int, float]]
"""Draws the seconds between two reports of each trial."""


def read(path: Path) -> Curves:
    """Return the curve of each trial."""
    found: Curves = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            report = Report(int(row["step"]), float(row["s"]), float(row["loss"]))
            found.setdefault(int(row["trial"]), []).append(report)
    return found


def as_it_ran(curves: Curves, draw: random.Random) -> dict[int, float]:
    """Return about the pace that each trial had."""
    return {
        trial: (curve[_N_PACED].s - curve[0].s) / _N_PACED * _JITTER ** draw.uniform(-1, 1)
        for trial, curve in curves.items()
    }


def by_chance(curves: Curves, draw: random.Random) -> dict[int, float]:
    """Return a pace for each trial that has nothing to do with the one it had."""
    return {trial: _SLOWEST ** draw.random() for trial in curves}


ORDERS: dict[str, Paces] = {"as it ran": as_it_ran, "any": by_chance}


def replay(rule: Rule, curves: Curves, paces: Paces, seed: int) -> tuple[float, float]:
    """Return what a rule saves of all steps, and by how much its best is worse than the best; fractions."""
    judge, pace = rule.judge(), paces(curves, random.Random(seed))  # noqa: S311 - no secret
    reports = [(curve[0].s, trial, 0) for trial, curve in curves.items()]
    heapq.heapify(reports)
    steps, ends = dict.fromkeys(curves, 0), []
    while reports:
        at_s, trial, place = heapq.heappop(reports)
        steps[trial], _, loss = curves[trial][place]
        if judge.see(trial, steps[trial], loss):
            continue
        if place + 1 < len(curves[trial]):
            heapq.heappush(reports, (at_s + pace[trial], trial, place + 1))
        else:
            ends.append(loss)
    best = min(curve[-1].loss for curve in curves.values())
    saved = 1 - sum(steps.values()) / sum(curve[-1].step for curve in curves.values())
    return saved, min(ends) / best - 1


def section(found: Mapping[tuple[str, str, Rule], Sequence[tuple[float, float]]]) -> str:
    """Write the section of the benchmarks, of what each rule saved and lost in each order of some curves."""
    rows: list[list[str]] = []
    meets: dict[str, list[str]] = {}
    for (curves, order, rule), runs in found.items():
        saved = [part for part, _ in runs]
        n_good = sum(loss <= _GOOD_FRAC for _, loss in runs)
        cells = (f"{mean(saved):.0%}", f"{min(saved):.0%}", f"{n_good} of {len(runs)}")
        rows.append([curves, order, _text(rule), *cells, f"{max(loss for _, loss in runs):.1%}"])
        is_met = mean(saved) >= _GOAL_FRAC and n_good == len(runs)
        meets.setdefault(f"{curves}, {order}", []).extend([_text(rule)] * is_met)
    verdicts = [f"{name}: {'met by ' + ', '.join(by) if by else 'missed'}" for name, by in meets.items()]
    goal = f"{_GOAL_FRAC:.0%} saved on average with a best within {_GOOD_FRAC:.0%} in every order"
    header = ["curves", "order", "rule", "steps saved", "at least", "best within 1 %", "worst best"]
    title = f"## Sweeps: what a rule saves\n\n{machine('rackrate')}"
    method = METHOD.format(orders=len(next(iter(found.values()))))
    return "\n\n".join((title, method, table(header, rows), f"Goal, {goal}. {'; '.join(verdicts)}."))


def _text(rule: Rule) -> str:
    settings = ",".join(f"{name}={value}" for name, value in asdict(rule).items() if value is not None)
    return f"`{type(rule).__name__.lower()}:{settings}`"


def main() -> int:
    """Replay the rules and print what they save."""
    asks = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asks.add_argument("curves", type=Path, nargs="*", help="instead of the demo's")
    asks.add_argument("--orders", type=int, default=100)
    asks.add_argument("--docs", action="store_true", help="write the section of docs/benchmarks.md")
    asked = asks.parse_args()
    paths = {path.stem: path for path in asked.curves} or CURVES
    found = {
        (name, order, rule): [replay(rule, curves, paces, seed) for seed in range(asked.orders)]
        for name, curves in {name: read(path) for name, path in paths.items()}.items()
        for order, paces in ORDERS.items()
        for rule in RULES
    }
    text = section(found)
    print(text)
    if asked.docs:
        write_section("fleet-prune", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
