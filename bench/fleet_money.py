"""Run fleets with a small budget on clouds that do several things wrong at once, and hold the bills.

    python bench/fleet_money.py --n 1000 --docs     # an hour or two
    python bench/fleet_money.py --n 44

A trial is a keeper in a process of its own, which is killed in each third of them, and an emulated RunPod or
Vast.ai, asked over HTTP. Which faults come together, the budget and what happens when follow from the seed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, islice
from pathlib import Path

from measure import machine, table, write_section

from rackrate.testing.clouds.faults import KNOBS
from rackrate.testing.spending import (
    CLOUDS,
    DESTROY_S,
    LEASE_S,
    SETTLE_S,
    USD_PER_HOUR,
    Outcome,
    Trial,
    trials,
)

METHOD = """{n} trials from seed {seed} on: a keeper and an emulated cloud that speaks the provider's
published HTTP API, 1 to 3 nodes at {usd_per_s:.2f} USD a second, lease {lease_s:g} s, {destroy_s:g} s to
destroy, a listing believed after {settle_s:g} s; machines are names that renew their lease and end
themselves as an agent does. In each trial up to six of {n_knobs} faults, chosen so that in a round each two
meet; in each third one the keeper is killed, and `reap` run once. The bound is the budget and, for each node,
its price x (lease + time to destroy), and where the keeper was killed the time until the reaper had ended.
Bills are those of the cloud's own meter; *bill read* is how far off the provider's billing API was read to
be, of trials in which it is not behind and names every machine. *In range*: the bill lies between what the
ledger says that it is at least and at most, to a begun second a machine; *ledger above* is by how much its
one figure, which the budget is held against, is above the bill (median and most, keeper alive)."""


def series(n: int, seed: int, at_once: int) -> dict[str, list[tuple[Trial, Outcome | None]]]:
    """Run trials, some side by side, the clouds in turn; an outcome is None where the fleet did not end."""
    asked = islice(_asked(seed), n)
    found: dict[str, list[tuple[Trial, Outcome | None]]] = {name: [] for name in CLOUDS}
    with ThreadPoolExecutor(at_once) as pool:
        for number, (trial, outcome) in enumerate(pool.map(_run, asked), start=1):
            found[trial.provider].append((trial, outcome))
            print(number, trial.provider, ",".join(sorted(trial.knobs)), outcome, flush=True)
    return found


def _asked(seed: int) -> Iterator[Trial]:
    for one in count(seed):
        for pair in zip(*(trials(name, one) for name in CLOUDS), strict=True):
            yield from pair


def _run(trial: Trial) -> tuple[Trial, Outcome | None]:
    with tempfile.TemporaryDirectory(prefix="rr") as home:
        try:
            return trial, trial.run(Path(home))
        except Exception as error:  # noqa: BLE001 - it is counted, and the rest goes on
            print(f"{trial.provider} {sorted(trial.knobs)}: {type(error).__name__}: {error}", flush=True)
            return trial, None


def section(found: Mapping[str, Sequence[tuple[Trial, Outcome | None]]], method: str) -> str:
    """Write the section of the benchmarks."""
    above = "above the budget (keeper alive)"
    header = ["", "trials", "ended", "left after a reap", above, "above the bound", "bill read"]
    header += ["in range", "ledger above"]
    rows = [[name, *_cells(runs)] for name, runs in found.items() if runs]
    kept = [outcome is not None and outcome.is_kept for runs in found.values() for _, outcome in runs]
    says = f"Bound kept and nothing left: {sum(kept)} of {len(kept)}."
    title = f"## Fleet: money on clouds that fail\n\n{machine('rackrate')}"
    return "\n\n".join((title, method, table(header, rows), says))


def _cells(runs: Sequence[tuple[Trial, Outcome | None]]) -> list[str]:
    ended = [(trial, outcome) for trial, outcome in runs if outcome is not None]
    on_time = [outcome for trial, outcome in ended if trial.is_bill_whole]
    worst_usd = max((abs(one.said_usd - one.bill_usd) for one in on_time), default=0.0)
    above = [trial for trial, one in ended if one.bill_usd > one.budget_usd]
    over = [one.ledger_usd - one.bill_usd for trial, one in ended if not trial.is_killed] or [0.0]
    return [
        str(len(runs)),
        str(len(ended)),
        str(sum(bool(one.left) for _, one in ended)),
        f"{len(above)} ({sum(not trial.is_killed for trial in above)})",
        str(sum(one.bill_usd > one.bound_usd for _, one in ended)),
        f"within {worst_usd:.6f} USD",
        f"{sum(one.is_in_range for _, one in ended)} of {len(ended)}",
        f"{statistics.median(over) * 100:.1f} / {max(over) * 100:.1f} cents",
    ]


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=44)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--docs", action="store_true", help="write the section of docs/benchmarks.md")
    asked = parser.parse_args()
    found = series(asked.n, asked.seed, asked.at_once)
    method = METHOD.format(
        n=asked.n,
        seed=asked.seed,
        usd_per_s=USD_PER_HOUR / 3600,
        lease_s=LEASE_S,
        destroy_s=DESTROY_S,
        settle_s=SETTLE_S,
        n_knobs=len(KNOBS),
    )
    text = section(found, method)
    print(text)
    if asked.docs:
        write_section("fleet-money", text)


if __name__ == "__main__":
    main()
