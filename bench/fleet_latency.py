"""Measure what a task waits for: the verdict on a value that it reports, and its result on the way home.

    python bench/fleet_latency.py --docs          # a minute on two quiet cores
    python bench/fleet_latency.py --nodes 8 --seconds 5

The verdict: a sweep whose rule sees every value and stops nobody; each trial takes the time of each call of
`report`, and reports it with the next value. The result: of one task after the other, in the hands of the
owner, from a node that is a process of this machine, and from one that is a machine of its own behind a gate.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from measure import machine, ms, table, write_section

import rackrate

GOAL_VERDICT_S = 0.25
GOAL_RATIO = 2.0
NEVER = "asha:first=1000000"
"""A rule whose first rung nobody reaches: it judges each value, and stops nobody."""
SIZES = {"an integer": 0, "1 MiB": 1 << 20}
PLACES = {"direct": "local", "through the gate": "emulated"}

METHOD = """Verdict: {nodes} nodes, each a trial of a sweep with ASHA that reports {per_s:g} times a second
for {seconds:g} s; the time of the call of `report` itself, which brings the verdict, after the first second.
Result: from `submit` to `result()` in the owner, {n_results} tasks one after the other on one node; behind
the gate the node is a machine with a network of its own, reached by nothing but what it dialled itself."""


def reporter(per_s: float, seconds: float) -> Callable[[Mapping[str, int]], None]:
    """Return a trial that reports at a rate, and with each value how long the call before took."""

    def report(params: Mapping[str, int]) -> None:
        import time  # noqa: PLC0415 - it runs elsewhere

        from rackrate import fleet  # noqa: PLC0415

        started_s, took_s = time.monotonic(), 0.0
        for n in range(int(per_s * seconds)):
            called_s = time.monotonic()
            fleet.report(n, loss=params["number"] + 1 / (n + 1), took_s=took_s)
            took_s = time.monotonic() - called_s
            time.sleep(max(started_s + (n + 1) / per_s - time.monotonic(), 0))

    return report


def verdicts(nodes: int, per_s: float, seconds: float) -> list[float]:
    """Return how long each call of `report` took in a sweep that is judged, seconds."""
    with rackrate.Fleet(nodes=nodes, boot_timeout_s=200) as fleet:
        events = fleet.events()
        variants = [{"number": number} for number in range(nodes)]
        sweep = fleet.sweep(reporter(per_s, seconds), variants, metric="loss", prune=NEVER)
        sweep.wait()
        found = events.arrived()
    return [event["took_s"] for event in found if "took_s" in event and event["step"] > per_s]


def results(place: str, n: int) -> dict[str, list[float]]:
    """Return how long each result was on its way, by its size, seconds."""

    def answer(n_bytes: int) -> int | bytes:
        return bytes(n_bytes) if n_bytes else 1

    found: dict[str, list[float]] = {}
    with rackrate.Fleet(nodes=1, backend=PLACES[place], boot_timeout_s=200) as fleet:
        for size, n_bytes in SIZES.items():
            took = []
            for _ in range(n + 5):
                started_s = time.perf_counter()
                fleet.client.submit(answer, n_bytes, pure=False).result()
                took.append(time.perf_counter() - started_s)
            found[size] = took[5:]
    return found


def _quantile_s(seconds: Sequence[float], percent: int) -> float:
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1]


def section(judged: Sequence[float], found: Mapping[str, Mapping[str, Sequence[float]]], method: str) -> str:
    """Write the section of the benchmarks."""
    rows = [["verdict inside of `report`", f"{len(judged):,}", *_cells(judged)]]
    rows += [
        [f"result, {size}, {place}", f"{len(took):,}", *_cells(took)]
        for place, sizes in found.items()
        for size, took in sizes.items()
    ]
    p99_s = _quantile_s(judged, 99)
    direct, gated = (found[place] for place in PLACES)
    ratios = {size: statistics.median(gated[size]) / statistics.median(direct[size]) for size in SIZES}
    times = ", ".join(f"{ratio:.1f} times ({size})" for size, ratio in ratios.items())
    says = (
        f"Verdict p99 {ms(p99_s)}, goal {ms(GOAL_VERDICT_S)}: {_verdict(p99_s, GOAL_VERDICT_S)}. A result "
        f"through the gate takes {times} as long as a direct one (medians), goal {GOAL_RATIO:g}: "
        f"{_verdict(max(ratios.values()), GOAL_RATIO)}."
    )
    title = f"## Fleet: what a task waits for\n\n{machine('rackrate', 'distributed')}"
    return "\n\n".join((title, method, table(["", "n", "median", "p99", "most"], rows), says))


def _cells(seconds: Sequence[float]) -> list[str]:
    return [ms(value) for value in (statistics.median(seconds), _quantile_s(seconds, 99), max(seconds))]


def _verdict(value: float, goal: float) -> str:
    return "met" if value <= goal else "missed"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--per-s", type=float, default=10.0, help="reports of a node")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--results", type=int, default=200)
    parser.add_argument("--docs", action="store_true", help="write the section of docs/benchmarks.md")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder  # the user's own fleets stay out of it
        judged = verdicts(asked.nodes, asked.per_s, asked.seconds)
        found: dict[str, Any] = {place: results(place, asked.results) for place in PLACES}
    method = METHOD.format(
        nodes=asked.nodes, per_s=asked.per_s, seconds=asked.seconds, n_results=asked.results
    )
    text = section(judged, found, method)
    print(text)
    if asked.docs:
        write_section("fleet-latency", text)


if __name__ == "__main__":
    main()
