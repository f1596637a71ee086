"""Hold what a fleet says that it cost against the bill of the cloud that rented the machines out.

    python bench/fleet_bills.py --docs            # some minutes; emulated clouds, no money
    python bench/fleet_bills.py --n 10 --nodes 8

The clouds are emulators that speak the providers' published interfaces, boot a real machine of this host for
each order, and keep a meter of their own. Where the keeper is killed nobody destroys anything any more: the
machines end themselves, and the time until nothing is billed is taken.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from measure import machine, table, write_section

from rackrate import Fleet
from rackrate.fleet import opening
from rackrate.fleet.backends.api import Provider
from rackrate.fleet.backends.base import Machine
from rackrate.fleet.backends.runpod import RUNPOD
from rackrate.fleet.backends.vast import VAST
from rackrate.fleet.folder import Folder
from rackrate.testing.clouds import Cloud, RunPodCloud, VastCloud
from rackrate.testing.machines import Machines

GOAL_CENTS = 1.0
BEGUN_USD = 0.002
"""Begun seconds of eight machines at no more than 0.9 USD an hour."""
GRACE_S = 1.0
BOOT_S = 120.0
CLOSE_S = 120.0
L40S = Machine(image="example/worker:1", gpu="l40s", n_gpus=1)
CLOUDS: dict[str, tuple[type[RunPodCloud | VastCloud], Provider]] = {
    "runpod": (RunPodCloud, RUNPOD),
    "vast": (VastCloud, VAST),
}

METHOD = """Fleets of {nodes} nodes, lease {lease_s:g} s, on emulated clouds that boot a real machine for each
order and meter it by the second, apart from the fleet's ledger; largest difference of {n} runs each. Killed:
the keeper, which alone can destroy machines from here: they end themselves, each with the key that its
provider gave it, and the fleet is reaped afterwards."""


@dataclass(frozen=True)
class Scene:
    """A fleet on an emulated cloud."""

    cloud: Cloud
    fleet: Fleet
    keeper: opening.Keeper


def work(scene: Scene) -> None:
    """Do something on every node."""
    for result in scene.fleet.map(time.sleep, [1.0] * 8):
        result.result()


def resize(scene: Scene) -> None:
    """Have two more, then all but one fewer."""
    n = scene.fleet.status().n_ready
    scene.fleet.scale(n + 2)
    scene.fleet.scale(1)


def lose_one(scene: Scene) -> None:
    """Have the cloud take a machine back, and wait for another in its place."""
    before = {node["node"] for node in scene.fleet.status().nodes}
    scene.cloud.reclaim(min(before))
    while {node["node"] for node in scene.fleet.status().nodes} == before:
        time.sleep(0.1)
    opening.wait_ready(scene.fleet.folder)


def kill_keeper(scene: Scene) -> None:
    """Leave machines to themselves."""
    scene.keeper.kill()
    scene.keeper.wait()


ACTS: dict[str, Callable[[Scene], None]] = {
    "worked": work,
    "grew and shrank": resize,
    "lost a machine, got another": lose_one,
    "an order failed that was carried out": work,
    "keeper killed": kill_keeper,
}


@dataclass(frozen=True)
class Bill:
    """What a run came to.

    Attributes:
        ours_usd: as the journal has it.
        theirs_usd: on the cloud's meters.
        unbilled_s: from the death of the keeper until nothing was billed; None where it closed the fleet.
        range_usd: between what it is, as the journal has it.
    """

    ours_usd: float
    theirs_usd: float
    unbilled_s: float | None
    range_usd: tuple[float, float]

    @property
    def error_cents(self) -> float:
        """How far they are apart."""
        return abs(self.ours_usd - self.theirs_usd) * 100

    @property
    def is_in_range(self) -> bool:
        """Tell whether the cloud's bill is where the journal says, but for a begun second a machine."""
        least_usd, most_usd = self.range_usd
        return least_usd - BEGUN_USD <= self.theirs_usd <= most_usd + BEGUN_USD


def run(name: str, what: str, nodes: int, lease_s: float) -> Bill:
    """Open a fleet, let something happen to it and close it; return both bills."""
    kind, provider = CLOUDS[name]
    with tempfile.TemporaryDirectory() as folder:
        machines = Machines(Path(folder))
        with kind(machines, address=machines.address) as cloud:
            os.environ |= {provider.url_variable: cloud.url, provider.key_variable: cloud.key}
            cloud.faults.n_create_500_but_makes = int("order failed" in what)
            opened, keeper = opening.open_fleet(
                is_owned=True,
                nodes=nodes,
                backend=name,
                at=f"{machines.address}:0",
                machine=L40S,
                lease_s=lease_s,
                max_hours=0.1,
                boot_timeout_s=BOOT_S,
            )
            bill = _billed(Scene(cloud, _attached(opened, keeper), keeper), what)
        machines.close()
    return bill


def _attached(folder: Folder, keeper: opening.Keeper) -> Fleet:
    opening.wait_ready(folder, keeper)
    return Fleet.attach(folder.fleet)


def _billed(scene: Scene, what: str) -> Bill:
    """Let it happen, close the fleet, and hold the bills against each other."""
    unbilled_s = None
    ACTS[what](scene)
    if scene.keeper.returncode is None:
        scene.fleet.close()
        opening.end(scene.fleet.folder, "the run is over", CLOSE_S, scene.keeper)
    else:
        killed_s = time.monotonic()
        while scene.cloud.billed():
            time.sleep(0.02)
        unbilled_s = time.monotonic() - killed_s
        opening.reap(scene.fleet.folder)
    said = opening.settled(scene.fleet.folder)
    theirs_usd = scene.cloud.bill_microusd() / 1e6
    return Bill(said.spent_usd, theirs_usd, unbilled_s, (said.least_usd, said.most_usd))


def section(found: dict[tuple[str, str], list[Bill]], method: str, lease_s: float) -> str:
    """Write the section of the benchmarks."""
    header = [
        "provider",
        "the fleet",
        "its ledger",
        "at least to at most",
        "the cloud's",
        "largest difference",
        "nothing billed after",
    ]
    rows = []
    for (name, what), bills in found.items():
        worst = max(bills, key=lambda bill: bill.error_cents)
        least_usd, most_usd = worst.range_usd
        usd = [
            f"{worst.ours_usd:.4f} USD",
            f"{least_usd:.4f} to {most_usd:.4f}",
            f"{worst.theirs_usd:.4f} USD",
        ]
        ends = [bill.unbilled_s for bill in bills if bill.unbilled_s is not None]
        rows.append(
            [name, what, *usd, f"{worst.error_cents:.2f} cents", f"{max(ends):.2f} s" if ends else ""]
        )
    kept = [bill for (_, what), bills in found.items() for bill in bills if ACTS[what] is not kill_keeper]
    most = max(bill.error_cents for bill in kept)
    inside = [bill.is_in_range for bills in found.values() for bill in bills]
    ends = [bill.unbilled_s for bills in found.values() for bill in bills if bill.unbilled_s is not None]
    says = (
        f"Most that a fleet which was closed differs: {most:.2f} cents, goal {GOAL_CENTS:g}: "
        f"{'met' if most < GOAL_CENTS else 'missed'}. Nothing billed after the death of the keeper: "
        f"{max(ends):.2f} s at most, goal {lease_s + GRACE_S:g} s: "
        f"{'met' if max(ends) <= lease_s + GRACE_S else 'missed'}. The cloud's bill is in the range that the "
        f"ledger gives: {sum(inside)} of {len(inside)}."
    )
    title = f"## Fleet: its bill and the cloud's\n\n{machine('rackrate', 'distributed')}"
    return "\n\n".join((title, method, table(header, rows), says))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--lease-s", type=float, default=10.0)
    parser.add_argument("--n", type=int, default=2)
    parser.add_argument("--docs", action="store_true", help="write the section of docs/benchmarks.md")
    asked = parser.parse_args()
    found: dict[tuple[str, str], list[Bill]] = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder  # the user's own fleets stay out of it
        kinds = [(name, what) for name in CLOUDS for what in ACTS]
        for _ in range(asked.n):  # all kinds at once: a fleet mostly waits for a listing that cannot lag
            with ProcessPoolExecutor(len(kinds), get_context("spawn")) as pool:
                running = {kind: pool.submit(run, *kind, asked.nodes, asked.lease_s) for kind in kinds}
            for kind, bill in running.items():
                found.setdefault(kind, []).append(bill.result())
                print(*kind, bill.result(), flush=True)
    method = METHOD.format(nodes=asked.nodes, lease_s=asked.lease_s, n=asked.n)
    text = section(found, method, asked.lease_s)
    print(text)
    if asked.docs:
        write_section("fleet-bills", text)


if __name__ == "__main__":
    main()
