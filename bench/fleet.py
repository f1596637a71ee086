"""Measure local fleets: time to N nodes ready and to the first result, memory, time to nothing left.

    python bench/fleet.py             # some minutes on two cores; writes docs/benchmarks.md
    python bench/fleet.py --nodes 8 --runs 1 --dry-run

Each run is a process of its own, ours and Dask's LocalCluster in turn. A peer that fails or is not ready
in time is said to be.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

import psutil
from measure import machine, table, write_section

from rackrate.fleet import opening, tree
from rackrate.fleet.folder import Folder, all_folders

LIMIT_S = 240
GOAL_S = 5.0
GOAL_AHEAD = 10.0

METHOD = """From the start of the owner's Python, `import` included, to all nodes ready and to the results of
one task a node; closing until no process is left. Memory is PSS of all processes below, scheduler, keeper and
zygote included, shared among the nodes. LocalCluster has its defaults, nannies and plain TCP; the fleet has
TLS, a lease, an agent and a log a node. Medians, in turn."""

_HEAD = """
import json, sys, time
started = time.perf_counter()
n = int(sys.argv[1])
told = {}
def tell(what):
    told[what] = time.perf_counter() - started
def pss_mb(fleet=None):
    import psutil
    from rackrate.fleet import tree
    below = tree.marked(fleet) if fleet else psutil.Process().children(recursive=True)
    return sum(one.memory_full_info().pss for one in below) / 2**20
if __name__ == "__main__":
"""
_OURS = """
    import rackrate
    with rackrate.Fleet(nodes=n, boot_timeout_s=200) as fleet:
        tell("ready")
        assert fleet.client.gather(fleet.map(abs, range(n))) == list(range(n))
        tell("result")
        told["pss_mb"] = pss_mb(fleet.id)
        closing = time.perf_counter()
    told["closed"] = time.perf_counter() - closing
    print(json.dumps(told))
"""
_DASK = """
    from distributed import Client, LocalCluster
    with LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            client.wait_for_workers(n, timeout=200)
            tell("ready")
            assert client.gather(client.map(abs, range(n), pure=False)) == list(range(n))
            tell("result")
            told["pss_mb"] = pss_mb()
        closing = time.perf_counter()
    told["closed"] = time.perf_counter() - closing
    print(json.dumps(told))
"""
CONTENDERS = {"rackrate.Fleet": _OURS, "Dask LocalCluster": _DASK}


def once(code: str, n: int) -> dict[str, float] | None:
    """Run one contender in a process of its own; None when it failed or was not ready in time."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _HEAD + code, str(n)],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError):
        return None
    told: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return told


def raced(sizes: Sequence[int], n_runs: int) -> dict[tuple[int, str], list[dict[str, float] | None]]:
    """Run all contenders in turn, at each size."""
    found: dict[tuple[int, str], list[dict[str, float] | None]] = {}
    for n in sizes:
        for _ in range(n_runs):
            for name, code in CONTENDERS.items():
                found.setdefault((n, name), []).append(once(code, n))
                print(n, name, found[n, name][-1], flush=True)
    return found


def deaths(n: int, n_runs: int, lease_s: float) -> list[float]:
    """Return seconds from kill -9 of the owner of `n` busy nodes until no process of the fleet is left."""
    code = f"""
import rackrate, time
fleet = rackrate.Fleet(nodes={n}, lease_s={lease_s}, boot_timeout_s=200)
work = fleet.map(lambda _: __import__("subprocess").run(["sleep", "600"]), range({n}))
time.sleep(2)
print("busy", flush=True)
time.sleep(600)
"""
    taken = []
    for _ in range(n_runs):
        before = {folder.fleet for folder in all_folders()}
        owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
        if owner.stdout is None or owner.stdout.readline() != b"busy\n":
            raise RuntimeError("the fleet did not come up")
        (folder,) = (one for one in all_folders() if one.fleet not in before)
        taken.append(_seconds_after_kill(owner, folder))
    return taken


def _seconds_after_kill(owner: subprocess.Popen[bytes], folder: Folder) -> float:
    below = [one for one in tree.marked(folder.fleet) if one.is_running()]
    owner.kill()
    started = time.perf_counter()
    _, left = psutil.wait_procs(below, timeout=60)
    seconds = time.perf_counter() - started
    owner.communicate()
    if left or opening.reap(folder):
        raise RuntimeError(f"{len(left)} processes were left")
    return seconds


def _median(runs: Sequence[dict[str, float] | None], what: str) -> float | None:
    values = [run[what] for run in runs if run]
    return statistics.median(values) if values else None


def _cells(n: int, runs: Sequence[dict[str, float] | None]) -> list[str]:
    well = [run for run in runs if run]
    cells = [f"{len(well)} of {len(runs)}"]
    for what in ("ready", "result", "closed"):
        value = _median(runs, what)
        cells.append("failed" if value is None else f"{value:.2f} s")
    pss = _median(runs, "pss_mb")
    return [*cells, "failed" if pss is None else f"{pss / n:.1f} MiB"]


def report(
    found: Mapping[tuple[int, str], Sequence[dict[str, float] | None]], killed: list[float], n: int
) -> str:
    """Write the section of the benchmarks."""
    header = ["nodes", "", "runs that came up", "ready", "first results", "closed", "memory a node"]
    rows = [[str(size), name, *_cells(size, runs)] for (size, name), runs in found.items()]
    largest = max(size for size, _ in found)
    ours, dask = (_median(found[largest, name], "ready") for name in CONTENDERS)
    says = []
    if ours is not None:
        verdict = "met" if ours <= GOAL_S else "missed"
        says.append(f"{largest} nodes ready in {ours:.2f} s (median), goal {GOAL_S:g} s: {verdict}.")
        if dask is None:
            says.append(f"LocalCluster did not come up in {LIMIT_S} s.")
        else:
            verdict = "met" if dask / ours >= GOAL_AHEAD else "missed"
            says.append(f"{dask / ours:.1f} times ahead of LocalCluster, goal {GOAL_AHEAD:g}: {verdict}.")
    longest = f"{statistics.median(killed):.2f} s (median of {len(killed)}, longest {max(killed):.2f} s)"
    death = f"After `kill -9` of the owner of {n} nodes, each busy with a subprocess, the last process was "
    title = f"## Fleet: nodes on this machine\n\n{machine('rackrate', 'distributed')}"
    parts = (title, METHOD, table(header, rows), " ".join(says), f"{death}gone after {longest}.")
    return "\n\n".join(parts)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--dry-run", action="store_true", help="print, do not write")
    asked = parser.parse_args()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder  # the user's own fleets stay out of it
        found = raced(asked.nodes, asked.runs)
        killed = deaths(max(asked.nodes), asked.runs, lease_s=10.0)
    text = report(found, killed, max(asked.nodes))
    print(text)
    if not asked.dry_run:
        write_section("fleet", text)


if __name__ == "__main__":
    main()
