"""Measure local fleets: time to nodes ready, first results and live curves, memory, idle CPU, a small task.

    python bench/fleet.py --docs      # five minutes on two quiet cores; writes docs/benchmarks.md
    python bench/fleet.py --nodes 8 --large 16 --runs 1 --tasks 1000
    python bench/fleet.py --ray /opt/ray/bin/python      # beside Ray: a Python that has ray and psutil

Each run is a process of its own, ours and its peers in turn. A peer that fails or is not ready in time is
said to be.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence

from measure import machine, table, write_section

Told = dict[str, float] | str
"""What a run took; of one that failed or did not come up, why."""

AS_INSTALLED = {"PYTHONDONTWRITEBYTECODE": ""}
"""Who installs a package has its bytecode; who runs it from its sources, as here, from the second run on."""
LIMIT_S = 300
ENOUGH_FOR_P95 = 20
GOAL_S = 5.0
GOAL_LARGE_S = 30.0
GOAL_LIVE_S = 15.0
GOAL_AHEAD = 10.0
GOAL_MIB = 20e6 / 2**20
GOAL_CORES = 0.2

METHOD = """From the start of the owner's Python, `import` included, to all nodes ready and to the results of
one task a node; closing until no process is left. Memory is PSS of all processes below, scheduler, keeper and
zygote included, shared among the nodes; idle is the CPU time of the same processes in {idle_s:g} s without
work. LocalCluster has its defaults, nannies and plain TCP; workers without nannies are the `dask worker
--no-nanny` of the command line, with a scheduler in the client; a node of Ray is an actor with a CPU to
itself, without dashboard, on a machine that is said to have as many CPUs; the fleet has TLS, a lease, an
agent and a log a node. Medians, in turn. Small tasks: from `map` of {n_tasks:,} calls of `abs` to the last
result, on two nodes of one thread (Ray: two CPUs). Live curves: from the start of Python to the second point
of every node's curve in the owner's hands, of tasks that report ten times a second."""

_HEAD = """
import json, subprocess, sys, time
started = time.perf_counter()
n, idle_s, n_tasks = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
told = {}
def tell(what):
    told[what] = time.perf_counter() - started
def below(fleet):
    if fleet:
        from rackrate.fleet import tree
        return tree.marked(fleet)
    import psutil  # a peer's Python has no rackrate
    return psutil.Process().children(recursive=True)
def cpu_s(processes):
    return sum(sum(one.cpu_times()[:2]) for one in processes)
def use(client, fleet=None):
    use_by(lambda n: client.gather(client.map(abs, range(n), pure=False)), fleet)
def use_by(run, fleet=None):
    if n_tasks:
        before = time.perf_counter()
        assert len(run(n_tasks)) == n_tasks
        told["tasks"] = time.perf_counter() - before
        return
    assert run(n) == list(range(n))
    tell("result")
    processes = below(fleet)
    told["pss_mib"] = sum(one.memory_full_info().pss for one in processes) / 2**20
    time.sleep(2)
    before = cpu_s(processes)
    time.sleep(idle_s)
    told["idle_cores"] = (cpu_s(processes) - before) / idle_s
if __name__ == "__main__":
"""
_OURS = """
    import rackrate
    with rackrate.Fleet(nodes=n, boot_timeout_s=200) as fleet:
        tell("ready")
        use(fleet.client, fleet.id)
        closing = time.perf_counter()
    told["closed"] = time.perf_counter() - closing
    print(json.dumps(told))
"""
_DASK = """
    from distributed import Client, LocalCluster
    with LocalCluster(n_workers=n, threads_per_worker=1, dashboard_address=None) as cluster:
        with Client(cluster) as client:
            client.wait_for_workers(n, timeout=250)
            tell("ready")
            use(client)
        closing = time.perf_counter()
    told["closed"] = time.perf_counter() - closing
    print(json.dumps(told))
"""
_NO_NANNY = """
    from distributed import Client, LocalCluster
    with LocalCluster(n_workers=0, dashboard_address=None) as cluster, Client(cluster) as client:
        words = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        words += ["--no-nanny", "--nthreads", "1", "--no-dashboard"]
        workers = [subprocess.Popen(words, stderr=subprocess.DEVNULL) for _ in range(n)]
        client.wait_for_workers(n, timeout=250)
        tell("ready")
        use(client)
        closing = time.perf_counter()
        for worker in workers:
            worker.terminate()
        for worker in workers:
            worker.wait()
        told["closed"] = time.perf_counter() - closing
    print(json.dumps(told))
"""
_RAY = """
    import ray
    memory = 100 << 20
    ray.init(num_cpus=n, include_dashboard=False, log_to_driver=False, object_store_memory=memory)
    @ray.remote(num_cpus=1)
    class Node:
        def abs(self, number):
            return abs(number)
    if n_tasks:
        remote = ray.remote(num_cpus=1)(lambda number: abs(number))
        ray.get([remote.remote(number) for number in range(n)])
        use_by(lambda n: ray.get([remote.remote(number) for number in range(n)]))
    else:
        nodes = [Node.remote() for _ in range(n)]
        ray.get([node.__ray_ready__.remote() for node in nodes])
        tell("ready")
        use_by(lambda n: ray.get([node.abs.remote(number) for number, node in enumerate(nodes)]))
    closing = time.perf_counter()
    ray.shutdown()
    told["closed"] = time.perf_counter() - closing
    print(json.dumps(told))
"""
_READY = """
    import rackrate
    with rackrate.Fleet(nodes=n, boot_timeout_s=200):
        tell("ready")
    print(json.dumps(told))
"""
_LIVE = """
    import rackrate
    from rackrate.fleet.curves import Curves
    def train(number):
        import time
        from rackrate import fleet
        for step in range(600):
            fleet.report(step, loss=number + 1 / (step + 1))
            time.sleep(0.1)
    with rackrate.Fleet(nodes=n, boot_timeout_s=200) as fleet:
        events, curves = fleet.events(), Curves()
        work = fleet.map(train, range(n))
        while sum(len(curve.points()) > 1 for curve in curves.curves.values()) < n:
            curves.add(events.arrived())
            time.sleep(0.02)
        tell("live")
        fleet.client.cancel(work)
    print(json.dumps(told))
"""
RAY = "Ray"
CONTENDERS = {"rackrate.Fleet": _OURS, "Dask LocalCluster": _DASK, "Dask workers, no nanny": _NO_NANNY}


def once(code: str, n: int, idle_s: float = 0, n_tasks: int = 0, python: str = sys.executable) -> Told:
    """Run one contender in a process of its own; what it took, or why it took nothing."""
    with tempfile.TemporaryDirectory() as home:  # the user's own fleets stay out of it
        process = subprocess.Popen(
            [python, "-c", _HEAD + code, str(n), str(idle_s), str(n_tasks)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | {"XDG_DATA_HOME": home, "PYTHONWARNINGS": "ignore", **AS_INSTALLED},
            process_group=0,
            text=True,
        )
        try:
            said, trouble = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # workers without a nanny outlive their cluster
            process.communicate()
            return f"did not come up in {LIMIT_S} s"
    if process.returncode:
        return f"failed: {(trouble.strip().splitlines() or ['it said nothing'])[-1][:80]}"
    told: dict[str, float] = json.loads(said.splitlines()[-1])
    return told


Contenders = Mapping[str, tuple[str, str]]
"""The code of each, and the Python that runs it."""


def contenders(ray: str) -> Contenders:
    """Return who takes part: Ray where a Python that has it is named."""
    found = {name: (code, sys.executable) for name, code in CONTENDERS.items()}
    return found | ({RAY: (_RAY, ray)} if ray else {})


def raced(
    who: Contenders, sizes: Sequence[int], n_runs: int, idle_s: float
) -> dict[tuple[int, str], list[Told]]:
    """Run all contenders in turn, at each size."""
    found: dict[tuple[int, str], list[Told]] = {}
    for n in sizes:
        for _ in range(n_runs):
            for name, (code, python) in who.items():
                found.setdefault((n, name), []).append(once(code, n, idle_s, python=python))
                print(n, name, found[n, name][-1], flush=True)
    return found


def tasked(who: Contenders, n_tasks: int, n_runs: int) -> dict[str, list[Told]]:
    """Run many small tasks on two nodes of each contender in turn."""
    found: dict[str, list[Told]] = {name: [] for name in who}
    for _ in range(n_runs):
        for name, (code, python) in who.items():
            found[name].append(once(code, 2, 0, n_tasks, python))
            print(n_tasks, "tasks", name, found[name][-1], flush=True)
    return found


def alone(code: str, n: int, n_runs: int) -> list[Told]:
    """Run what only fleets of ours do."""
    found = [once(code, n) for _ in range(n_runs)]
    print(n, found, flush=True)
    return found


def _well(runs: Sequence[Told]) -> list[dict[str, float]]:
    """Return the runs that came up."""
    return [run for run in runs if not isinstance(run, str)]


def _most(runs: Sequence[Told], what: str) -> tuple[float | None, str]:
    """Return the 95th percentile where there are runs enough for one, else the longest, and which it is."""
    values = [run[what] for run in _well(runs)]
    if len(values) < len(runs) or not values:
        return None, f"{len(runs) - len(values)} of {len(runs)} failed"
    if len(values) < ENOUGH_FOR_P95:
        return max(values), f"longest of {len(values)} runs"
    return statistics.quantiles(values, n=20)[-1], f"p95 of {len(values)} runs"


def held(runs: Sequence[Told], what: str, says: str, goal_s: float) -> str:
    """Hold the most that something took against its goal."""
    seconds, which = _most(runs, what)
    took = "" if seconds is None else f" {seconds:.2f} s"
    return f"{says}:{took} ({which}), goal {goal_s:g} s: {_verdict(seconds, goal_s)}."


def _median(runs: Sequence[Told], what: str) -> float | None:
    values = [run[what] for run in _well(runs)]
    return statistics.median(values) if values else None


def _cells(n: int, runs: Sequence[Told]) -> list[str]:
    well = _well(runs)
    came_up = f"{len(well)} of {len(runs)}"
    if not well:
        return [came_up, str(runs[-1]), *[""] * 4]
    ready, result, closed, pss, idle = (
        statistics.median(run[what] for run in well)
        for what in ("ready", "result", "closed", "pss_mib", "idle_cores")
    )
    seconds = [f"{value:.2f} s" for value in (ready, result, closed)]
    return [came_up, *seconds, f"{pss / n:.1f} MiB", f"{idle:.2f} cores"]


def _verdict(value: float | None, goal: float, *, at_least: bool = False) -> str:
    if value is None:
        return "not measured"
    return "met" if (value >= goal if at_least else value <= goal) else "missed"


def goals(found: Mapping[tuple[int, str], Sequence[Told]], alone_too: Sequence[Told]) -> str:
    """Hold the largest fleet against what was set out for, its start in runs without a peer beside it too."""
    n = max(size for size, _ in found)
    ours = found[n, "rackrate.Fleet"]
    ready, theirs = _median(ours, "ready"), _median(found[n, "Dask LocalCluster"], "ready")
    says = []
    if ready is not None:
        says.append(held([*ours, *alone_too], "ready", f"{n} nodes ready", GOAL_S))
        if theirs is None:
            says.append(f"LocalCluster: {found[n, 'Dask LocalCluster'][-1]}.")
        else:
            ahead = theirs / ready
            verdict = _verdict(ahead, GOAL_AHEAD, at_least=True)
            says.append(f"{ahead:.1f} times ahead of LocalCluster, goal {GOAL_AHEAD:g}: {verdict}.")
        mib, idle = (_median(ours, "pss_mib") or 0.0) / n, _median(ours, "idle_cores") or 0.0
        says.append(f"{mib:.1f} MiB a node, goal {GOAL_MIB:.1f}: {_verdict(mib, GOAL_MIB)}.")
        says.append(f"{idle:.2f} cores idle, goal {GOAL_CORES:g}: {_verdict(idle, GOAL_CORES)}.")
    return " ".join(says)


def overhead(tasks: Mapping[str, Sequence[Told]], n_tasks: int) -> str:
    """Write what a small task takes on each contender."""
    rows = []
    for name, runs in tasks.items():
        seconds = _median(runs, "tasks")
        rows.append(
            [name, str(runs[-1]), ""]
            if seconds is None
            else [name, f"{seconds:.2f} s", f"{seconds / n_tasks * 1e6:,.0f} us"]
        )
    return table([f"{n_tasks:,} small tasks", "all", "a task"], rows)


def _version(python: str) -> str:
    words = [python, "-c", "import ray; print(ray.__version__)"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--large", type=int, default=250, help="nodes of a fleet without peers")
    parser.add_argument("--runs", "--n", type=int, default=1, help="in turn with the peers")
    parser.add_argument("--alone", type=int, default=3, help="runs of ours by itself; of 20 the p95 is said")
    parser.add_argument("--ray", default="", metavar="PYTHON", help="a Python that has ray and psutil")
    parser.add_argument("--idle-s", type=float, default=5.0)
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--docs", action="store_true", help="write the section of docs/benchmarks.md")
    asked = parser.parse_args()
    who = contenders(asked.ray)
    live = alone(_LIVE, max(asked.nodes), asked.alone)
    large = alone(_READY, asked.large, asked.alone)
    usual = alone(_READY, max(asked.nodes), asked.alone)
    found = raced(who, asked.nodes, asked.runs, asked.idle_s)
    tasks = tasked(who, asked.tasks, asked.runs)
    ours = " ".join(
        (
            goals(found, usual),
            held(large, "ready", f"{asked.large} nodes ready", GOAL_LARGE_S),
            held(live, "live", f"{max(asked.nodes)} live curves", GOAL_LIVE_S),
        )
    )
    header = ["nodes", "", "runs that came up", "ready", "first results", "closed", "memory a node", "idle"]
    rows = [[str(size), name, *_cells(size, runs)] for (size, name), runs in found.items()]
    ray = f" Ray {_version(asked.ray)}." if asked.ray else ""
    title = f"## Fleet: nodes on this machine\n\n{machine('rackrate', 'distributed')}{ray}"
    method = METHOD.format(idle_s=asked.idle_s, n_tasks=asked.tasks)
    text = "\n\n".join((title, method, table(header, rows), ours, overhead(tasks, asked.tasks)))
    print(text)
    if asked.docs:
        write_section("fleet", text)


if __name__ == "__main__":
    main()
