"""Measure how numbers travel from tasks to whoever watches: all of them, how many a second, how late.

    python bench/fleet_events.py --docs          # some minutes on two quiet cores
    python bench/fleet_events.py --nodes 8 --seconds 5

Every node runs one task that reports at a fixed rate; the owner reads along as anyone does. Late is the time
from the call of `report` to the event in the owner's hands, on one clock. All that was reported is counted:
by process and number, so that one that is lost or doubled is seen.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psutil
from measure import machine, ms, table, write_section

import rackrate
from rackrate.fleet.curves import Curves

GOAL_P99_S = 0.5
GOAL_PER_S = 5000
HELD_UP_S = 2.0
LEASE_S = 20.0

METHOD = """Every node runs one task that calls `report` at a fixed rate; the owner reads `fleet.events()` and
keeps curves of all, as the live view does. Late: from the call of `report` to the event in the owner's hands.
Lost and doubled: counted by process and number, against what the tasks say that they reported. The rate is
that of the middle half of all arrivals: without the start and the end of the tasks. Every event is in the
history's file before it is acknowledged. Held up: keeper and scheduler, which no fleet outlives, are stopped
half-way and go on (SIGSTOP, SIGCONT)."""


@dataclass(frozen=True)
class Run:
    """What came of one rate.

    Attributes:
        n_reported: calls of `report`.
        n_lost: of them, that never arrived.
        n_doubled: that arrived more than once.
        per_s: that arrived a second, over the middle half of them.
        late_s: of each that arrived, seconds.
        n_drawn: points of the longest curve that a viewer has.
    """

    n_reported: int
    n_lost: int
    n_doubled: int
    per_s: float
    late_s: list[float]
    n_drawn: int

    def quantile_s(self, percent: int) -> float:
        """Return how late a share of all events was at most, seconds."""
        return statistics.quantiles(self.late_s, n=100)[percent - 1]


def reporter(per_s: float, seconds: float) -> Callable[[int], int]:
    """Return a task that reports at a rate and returns how often it did."""

    def report(number: int) -> int:
        import time  # noqa: PLC0415 - it runs elsewhere

        from rackrate import fleet  # noqa: PLC0415

        started_s, n = time.monotonic(), 0
        while n < per_s * seconds:
            fleet.report(n, loss=number + 1 / (n + 1))
            n += 1
            time.sleep(max(started_s + n / per_s - time.monotonic(), 0))
        return n

    return report


def hold_up(fleet: rackrate.Fleet, after_s: float, for_s: float) -> None:
    """Stop keeper and scheduler for a while."""
    time.sleep(after_s)
    agent = psutil.Process(int((fleet.folder.nodes / f"rr-{fleet.id}-head" / "alive").read_text()))
    keeper = next(one for one in psutil.Process().children() if "rackrate.fleet.keeping" in one.cmdline())
    stopped = [keeper, *agent.children()]
    for process in stopped:
        process.suspend()
    time.sleep(for_s)
    for process in stopped:
        process.resume()


def measured(nodes: int, per_s: float, seconds: float, held_up_s: float = 0.0) -> Run:
    """Have every node report so often a second, for so long, and read along.

    Args:
        nodes: how many.
        per_s: reports of each.
        seconds: for which it reports.
        held_up_s: for which keeper and scheduler are stopped half-way.
    """
    late_s: list[float] = []
    at_s: list[float] = []
    seen: Counter[tuple[str, int]] = Counter()
    curves, last_at_s = Curves(), 0.0
    with (
        rackrate.Fleet(nodes=nodes, boot_timeout_s=200, lease_s=LEASE_S) as fleet,
        ThreadPoolExecutor() as aside,
    ):
        events = fleet.events()
        tasks: list[Any] = fleet.map(reporter(per_s, seconds), range(nodes))
        counts = aside.submit(fleet.client.gather, tasks)
        if held_up_s:
            aside.submit(hold_up, fleet, seconds / 2, held_up_s)
        n_reported = None
        while n_reported is None or (len(late_s) < n_reported and time.time() < last_at_s + 10):
            arrived, now_s = events.arrived(), time.time()
            late_s += [now_s - event["at"] for event in arrived]
            at_s += [now_s] * len(arrived)
            seen.update((event["source"], event["seq"]) for event in arrived)
            curves.add(arrived)
            if n_reported is None and counts.done():
                n_reported, last_at_s = sum(counts.result()), time.time()
            time.sleep(0.02)
        fleet.close()
        rest = events.arrived()
        seen.update((event["source"], event["seq"]) for event in rest)
    drawn = max((len(curve.points()) for curve in curves.curves.values()), default=0)
    n_doubled = sum(count - 1 for count in seen.values())
    first, _, last = statistics.quantiles(at_s, n=4)
    per_s = len(at_s) / 2 / (last - first)
    return Run(n_reported, n_reported - len(seen), n_doubled, per_s, late_s, drawn)


def _row(what: str, run: Run) -> list[str]:
    return [
        what,
        f"{run.n_reported:,}",
        str(run.n_lost),
        str(run.n_doubled),
        f"{run.per_s:,.0f}",
        *(ms(late_s) for late_s in (run.quantile_s(50), run.quantile_s(99), max(run.late_s))),
    ]


def section(nodes: int, runs: dict[float, Run], held_up: Run | None = None) -> str:
    """Write the section of the benchmarks: what was measured at each rate, and at the least one held up."""
    header = [
        "reports a second",
        "in all",
        "lost",
        "doubled",
        "arrived a second",
        "late: median",
        "p99",
        "most",
    ]
    rows = [_row(f"{nodes} x {per_s:g}", run) for per_s, run in runs.items()]
    slow, fast = runs[min(runs)], max(runs.values(), key=lambda run: run.per_s)
    p99_s = slow.quantile_s(99)
    is_whole = all(run.n_lost == run.n_doubled == 0 for run in runs.values())
    if held_up:
        rows.append(_row(f"{nodes} x {min(runs):g}, held up for {HELD_UP_S:g} s", held_up))
        is_whole = is_whole and held_up.n_lost == held_up.n_doubled == 0
    says = (
        f"p99 at {nodes} x {min(runs):g} reports a second {ms(p99_s)}, goal {ms(GOAL_P99_S)}: "
        f"{'met' if p99_s <= GOAL_P99_S else 'missed'}. {fast.per_s:,.0f} a second, goal {GOAL_PER_S:,}: "
        f"{'met' if fast.per_s >= GOAL_PER_S else 'missed'}. None lost or doubled: "
        f"{'met' if is_whole else 'missed'}. Longest curve of a viewer: {fast.n_drawn:,} points."
    )
    title = f"## Fleet: numbers from tasks to the owner\n\n{machine('rackrate', 'distributed')}"
    return "\n\n".join((title, METHOD, table(header, rows), says))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument(
        "--per-s", type=float, nargs="+", default=[10.0, 90.0, 160.0], help="reports of a node"
    )
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--docs", action="store_true", help="write the section of docs/benchmarks.md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder  # the user's own fleets stay out of it
        runs = {per_s: measured(asked.nodes, per_s, asked.seconds) for per_s in asked.per_s}
        held_up = measured(asked.nodes, min(asked.per_s), asked.seconds, HELD_UP_S)
    text = section(asked.nodes, runs, held_up)
    print(text)
    if asked.docs:
        write_section("fleet-events", text)


if __name__ == "__main__":
    main()
