"""A fleet whose nodes share a GPU: the demo's sweep at real sizes; how long a death leaves the card held.

    PYTHONPATH=src python bench/gpu/fleet_gpu.py sweep --out bench/gpu/results/fleet
    PYTHONPATH=src python bench/gpu/fleet_gpu.py deaths --rounds 2 --out bench/gpu/results/fleet

Needs PyTorch, an NVIDIA GPU and its NVML. What is written has the GPU's name: curves, a row a report, and
times, a row an event; of deaths a row a trial.
"""

from __future__ import annotations

import argparse
import csv
import os
import re
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rackrate.testing.busy import How

STARTED_AT = time.time()
"""Unix time before anything of ours is imported."""

_ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(_ROOT / "examples" / "bert_sweep"), str(_ROOT / "bench" / "gpu")]
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)

_LEASE_S = 10.0
_GRACE_S = 1.0
_PATIENCE_S = 30.0
_FREE_GIB = 0.05
"""Of more than was before, that the card may have in use when it counts as free."""
_NODE = "node"
_COLUMNS = ("at", "node", "trial", "attempt", "step", "loss", "train_loss")
STRIKES: tuple[tuple[str, How], ...] = (
    ("owner", "killed"),
    ("owner", "frozen"),
    ("keeper", "killed"),
    ("keeper", "frozen"),
    ("scheduler", "killed"),
    ("scheduler", "frozen"),
    ("zygote", "killed"),
    (_NODE, "killed"),
    (_NODE, "frozen"),
)


@contextmanager
def card() -> Iterator[tuple[str, Callable[[], float]]]:
    """Yield the GPU's name, and what tells how many GiB of it are in use, without a context of our own."""
    import pynvml  # noqa: PLC0415 - only a machine with a GPU has one

    pynvml.nvmlInit()
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        yield (
            str(pynvml.nvmlDeviceGetName(handle)),
            lambda: float(pynvml.nvmlDeviceGetMemoryInfo(handle).used) / 2**30,
        )
    finally:
        pynvml.nvmlShutdown()


def wait_for(is_so: Callable[[], bool], patience_s: float) -> float:
    """Return the seconds until something is so.

    Raises:
        TimeoutError: it never was.
    """
    began_s = time.monotonic()
    while not is_so():
        if time.monotonic() - began_s > patience_s:
            raise TimeoutError(f"not so after {patience_s:g} s")
        time.sleep(0.01)
    return time.monotonic() - began_s


def sweep(n_nodes: int, n_steps: int, used_gib: Callable[[], float]) -> dict[str, list[dict[str, Any]]]:
    """Run the demo's sweep on nodes that share the card; return its curves and its times."""
    before_gib = used_gib()
    from bert_sweep_gpu import variants  # noqa: PLC0415 - times count what is imported

    import rackrate  # noqa: PLC0415

    train = import_module("sweep").train  # the example's

    space = [
        asdict(variant) | {"device": "cuda", "n_texts": 6000, "n_words": 4096}
        for variant in variants(n_steps).values()
    ]
    times: list[dict[str, Any]] = []

    def mark(what: str, at: float | None = None) -> None:
        times.append({"what": what, "s": round((at or time.time()) - STARTED_AT, 2)})
        print(f"{times[-1]['s']:8.2f} s  {what}", flush=True)

    with rackrate.Fleet(nodes=n_nodes, preload=["bert"], boot_timeout_s=120, lease_s=_LEASE_S) as fleet:
        mark(f"{n_nodes} nodes ready")
        running = fleet.sweep(train, space, metric="loss", prune=None)
        running.wait()
        mark("all trials done")
        table = running.table()
        states = Counter(str(trial.state) for trial in table.trials)
        mark(f"{dict(states)} of {len(space)}; best loss {running.best().value:.4f}")
        for why in {trial.why for trial in table.trials if trial.why}:
            print(why, file=sys.stderr)
        last_gib = used_gib()
    mark("closed")
    events = list(fleet.events())
    firsts = {event["node"]: event["at"] for event in reversed(events)}
    mark("first point of a curve", min(firsts.values()))
    mark(f"a point of each of {len(firsts)} nodes", max(firsts.values()))
    free_s = wait_for(lambda: used_gib() <= before_gib + _FREE_GIB, _PATIENCE_S)
    mark(
        f"the card is free again ({free_s:.2f} s after the close; {last_gib:.1f} GiB were in use at the end)"
    )
    return {"curves": [{name: event[name] for name in _COLUMNS} for event in events], "times": times}


def death(part: str, how: How, n_nodes: int, used_gib: Callable[[], float]) -> dict[str, Any]:
    """Strike a fleet whose nodes compute on the card; time until neither process nor memory there is left."""
    from rackrate.testing.busy import GPU_GIB, Busy, living, seconds_until_gone  # noqa: PLC0415

    before_gib = used_gib()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder
        busy = Busy.open(n_nodes, _LEASE_S, "local", "gpu")
        try:
            busy.wait_busy()
            wait_for(lambda: used_gib() > before_gib + n_nodes * GPU_GIB, 120)
            time.sleep(2)
            busy_gib = used_gib() - before_gib
            busy.look_for([part])
            look, target, free_gib = busy.of_nodes, part, before_gib + _FREE_GIB
            if part == _NODE:  # the others work on, and a successor takes its work
                target = busy.numbers()[0]
                node = busy.of_node(target)
                look = partial(living, node)
                free_gib = float("inf")
            struck_s = time.monotonic()
            busy.strike(target, how)
            gone_s, left = seconds_until_gone(look, _PATIENCE_S)
            wait_for(lambda: used_gib() <= free_gib, _PATIENCE_S)
            free_s = time.monotonic() - struck_s
        finally:
            busy.close()
    wait_for(lambda: used_gib() <= before_gib + _FREE_GIB, _PATIENCE_S)
    return {
        "part": part,
        "how": how,
        "nodes": n_nodes,
        "lease_s": _LEASE_S,
        "busy_gib": round(busy_gib, 2),
        "n_left": len(left),
        "gone_s": round(gone_s, 2),
        "card_free_s": "" if part == _NODE else round(free_s, 2),
    }


def deaths(rounds: int, n_nodes: int, until_s: float, used_gib: Callable[[], float]) -> list[dict[str, Any]]:
    """Strike in every way, so many times or until the time is over."""
    found = []
    for part, how in STRIKES * rounds:
        if time.monotonic() > until_s:
            break
        found.append(death(part, how, n_nodes, used_gib))
        print(found[-1], flush=True)
    kept = [row["gone_s"] <= _LEASE_S + _GRACE_S and not row["n_left"] for row in found]
    free = [row["card_free_s"] for row in found if row["card_free_s"] != ""]
    print(f"{sum(kept)} of {len(kept)} within the lease and {_GRACE_S:g} s; the card free: median ", end="")
    print(f"{statistics.median(free):.2f} s, longest {max(free):.2f} s")
    return found


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write rows with every column that any has."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, names)
        out.writeheader()
        out.writerows(rows)


def main() -> int:
    """Measure and write."""
    asks = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asks.add_argument("what", choices=("sweep", "deaths"))
    asks.add_argument("--out", type=Path, required=True, help="folder of the results")
    asks.add_argument("--nodes", type=int, default=6, help="that share the card")
    asks.add_argument("--steps", type=int, default=300, help="of each variant of the sweep")
    asks.add_argument("--rounds", type=int, default=2, help="of deaths")
    asks.add_argument("--limit-s", type=float, default=480, help="after which no further death is begun")
    asked = asks.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with card() as (name, used_gib):
        slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        stem = f"{slug}-{datetime.now(UTC):%Y-%m-%d}"
        if asked.what == "sweep":
            for kind, rows in sweep(asked.nodes, asked.steps, used_gib).items():
                write(asked.out / f"{stem}-{kind}.csv", rows)
        else:
            rows = deaths(asked.rounds, asked.nodes, time.monotonic() + asked.limit_s, used_gib)
            write(asked.out / f"{stem}-deaths.csv", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
