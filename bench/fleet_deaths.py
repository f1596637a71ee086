"""Kill fleets in every way, at random, and count the seconds until no process of a node is left.

    python bench/fleet_deaths.py --trials 1000 --docs     # hours: a trial takes a boot and a lease
    python bench/fleet_deaths.py --trials 20 --nodes 8 --lease-s 3

Every node is busy with a loop that holds the interpreter and a child in a session of its own that is deaf to
SIGTERM and has a child itself. What is struck, how and when follows from the seed. Processes are found
by the fleet's mark in their environment, by somebody who is no part of the fleet.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass

import psutil
from measure import machine, table, write_section

from rackrate.fleet import opening, tree
from rackrate.fleet.folder import Folder, all_folders

GRACE_S = 1.0
"""Beyond the lease."""
LOOK_S = 0.01
PATIENCE_S = 30.0
BOOT_S = 120.0

METHOD = """{n} trials in the order of seed {seed}: a fleet of {nodes} nodes on this machine, lease
{lease_s:g} s, every node busy with a Python loop that holds the interpreter and a child in a session of its
own that ignores SIGTERM and has a child itself. After a random part of a lease something is struck; the time
is counted until no process of any node is left, the scheduler's among them; the stopped owner or keeper
itself is none. Killed is SIGKILL, frozen is SIGSTOP. The promise is the lease and {grace_s:g} s."""

OWNER = """
import sys, time
import rackrate

def busy(_):
    import subprocess, sys
    deaf = "import os, signal, time; signal.signal(15, signal.SIG_IGN); os.fork(); time.sleep(3600)"
    subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True)
    while True:
        pass

n = int(sys.argv[1])
fleet = rackrate.Fleet(nodes=n, lease_s=float(sys.argv[2]), boot_timeout_s=200)
work = fleet.map(busy, range(n))
print("busy", flush=True)
time.sleep(3600)
"""

KILL, FREEZE = signal.SIGKILL, signal.SIGSTOP
FAULTS: dict[str, tuple[tuple[str, ...], signal.Signals]] = {
    "owner killed": (("owner",), KILL),
    "owner frozen": (("owner",), FREEZE),
    "keeper killed": (("keeper",), KILL),
    "keeper frozen": (("keeper",), FREEZE),
    "scheduler killed": (("head",), KILL),
    "scheduler's agent killed": (("head agent",), KILL),
    "owner and keeper killed": (("owner", "keeper"), KILL),
    "owner and keeper frozen": (("owner", "keeper"), FREEZE),
    "owner and zygote killed": (("owner", "zygote"), KILL),
    "owner, keeper and zygote killed": (("keeper", "zygote", "owner"), KILL),
    "keeper, zygote and scheduler killed": (("keeper", "zygote", "head"), KILL),
}


@dataclass
class Target:
    """A busy fleet, and the process ids of its parts."""

    owner: subprocess.Popen[bytes]
    folder: Folder
    parts: dict[str, int]

    def of_nodes(self) -> list[psutil.Process]:
        """Return every process of every node, the scheduler's among them."""
        own = {self.parts["keeper"], self.parts["zygote"]}
        return [one for one in tree.marked(self.folder.fleet) if one.pid not in own]


def opened(nodes: int, lease_s: float) -> Target:
    """Bring up a fleet in a process of its own and return when every node is busy."""
    before = {folder.fleet for folder in all_folders()}
    words = [sys.executable, "-c", OWNER, str(nodes), str(lease_s)]
    owner = subprocess.Popen(words, stdout=subprocess.PIPE)
    if owner.stdout is None or owner.stdout.readline() != b"busy\n":
        raise RuntimeError("the fleet did not come up")
    (folder,) = (one for one in all_folders() if one.fleet not in before)
    target = Target(owner, folder, _parts(owner.pid, folder))
    until_s = time.monotonic() + BOOT_S
    while len(target.of_nodes()) < 4 * nodes + 2:  # agent, engine, the deaf one and its child; the head's two
        if time.monotonic() > until_s:
            raise RuntimeError(f"not all nodes are busy after {BOOT_S:g} s")
        time.sleep(0.1)
    return target


def _parts(owner: int, folder: Folder) -> dict[str, int]:
    """Return the process ids of what can be struck."""
    (keeper,) = (one for one in psutil.Process(owner).children() if _runs(one, "rackrate.fleet.keeper"))
    (zygote,) = (one for one in keeper.children() if _runs(one, "rackrate.fleet.backends.zygote"))
    agent = int((folder.path / "nodes" / f"rr-{folder.fleet}-head" / "alive").read_text())
    (head,) = psutil.Process(agent).children()
    return {
        "owner": owner,
        "keeper": keeper.pid,
        "zygote": zygote.pid,
        "head agent": agent,
        "head": head.pid,
    }


def _runs(process: psutil.Process, module: str) -> bool:
    return module in process.cmdline()


def seconds_until_gone(target: Target, fault: str) -> float | None:
    """Strike, and return the seconds until no process of a node is left; None when some stayed."""
    names, how = FAULTS[fault]
    processes = target.of_nodes()
    struck_s = time.monotonic()
    for name in names:
        os.kill(target.parts[name], how)
    while processes or (processes := target.of_nodes()):  # what was born meanwhile is waited for too
        while processes and _is_dead(processes[-1]):
            processes.pop()
        if time.monotonic() - struck_s > PATIENCE_S:
            return None
        time.sleep(LOOK_S)
    return time.monotonic() - struck_s


def _is_dead(process: psutil.Process) -> bool:
    """Tell whether a process has ended, collected by its parent or not."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def trial(fault: str, nodes: int, lease_s: float, delay_s: float) -> float | None:
    """Bring up a fleet, strike it after a while, and leave nothing."""
    target = opened(nodes, lease_s)
    try:
        time.sleep(delay_s)
        return seconds_until_gone(target, fault)
    finally:
        target.owner.kill()
        with suppress(ProcessLookupError):
            os.kill(target.parts["keeper"], KILL)
        target.owner.communicate()
        opening.reap(target.folder)


def series(n: int, nodes: int, lease_s: float, seed: int) -> dict[str, list[float | None]]:
    """Run trials: every fault in turn, in an order and after delays that follow from the seed."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    found: dict[str, list[float | None]] = defaultdict(list)
    order: list[str] = []
    for number in range(n):
        if not order:
            order = chance.sample(list(FAULTS), len(FAULTS))
        fault, delay_s = order.pop(), chance.uniform(0, lease_s / 2)
        found[fault].append(trial(fault, nodes, lease_s, delay_s))
        print(number + 1, fault, found[fault][-1], flush=True)
    return found


def section(found: dict[str, list[float | None]], method: str, lease_s: float) -> str:
    """Write the section of the benchmarks."""
    header = ["what was struck", "trials", "something left", "median", "longest", "within the promise"]
    rows = []
    for fault in FAULTS:
        runs = found.get(fault, [])
        well = [seconds for seconds in runs if seconds is not None]
        if not well:
            rows.append([fault, str(len(runs)), str(len(runs)), "", "", f"0 of {len(runs)}"])
            continue
        kept = sum(seconds <= lease_s + GRACE_S for seconds in well)
        longest, median = max(well), statistics.median(well)
        rows.append(
            [
                fault,
                str(len(runs)),
                str(len(runs) - len(well)),
                f"{median:.2f} s",
                f"{longest:.2f} s",
                f"{kept} of {len(runs)}",
            ]
        )
    all_runs = [seconds for runs in found.values() for seconds in runs]
    n_kept = sum(seconds is not None and seconds <= lease_s + GRACE_S for seconds in all_runs)
    says = f"Within the lease and {GRACE_S:g} s: {n_kept} of {len(all_runs)}."
    title = f"## Fleet: what is left when parts of it die\n\n{machine('rackrate', 'distributed')}"
    return "\n\n".join((title, method, table(header, rows), says))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=len(FAULTS))
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--lease-s", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--docs", action="store_true", help="write the section of docs/benchmarks.md")
    asked = parser.parse_args()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder  # the user's own fleets stay out of it
        found = series(asked.trials, asked.nodes, asked.lease_s, asked.seed)
    method = METHOD.format(
        n=asked.trials, seed=asked.seed, nodes=asked.nodes, lease_s=asked.lease_s, grace_s=GRACE_S
    )
    text = section(found, method, asked.lease_s)
    print(text)
    if asked.docs:
        write_section("fleet-deaths", text)


if __name__ == "__main__":
    main()
