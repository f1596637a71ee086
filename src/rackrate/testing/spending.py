"""What does a fleet cost on a cloud that does several things wrong at once? One trial, over real HTTP.

The cloud answers on loopback and bills by its own meter. The keeper is a process of its own, which a trial
may kill. A machine is a name that does what an agent does: it renews its lease, and when it is refused, or
hears nothing for as long as the lease is, it ends itself with its own key. Prices are such that a second
costs a cent, and what takes a provider half a minute takes a second here; nothing else is other than with a
real one.

    python -m rackrate.testing.spending keep FOLDER        # what a trial starts: quotes, and keeps the fleet
    python -m rackrate.testing.spending reap FOLDER        # ends what is left, and reads the bill
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rackrate.errors import FleetError
from rackrate.fleet import backends, opening
from rackrate.fleet.backends.api import Provider
from rackrate.fleet.backends.base import Machine, Order
from rackrate.fleet.backends.inside import ask_to_end, machine_of
from rackrate.fleet.backends.rented import RentedBackend
from rackrate.fleet.backends.runpod import RUNPOD, RunPod
from rackrate.fleet.backends.vast import VAST, Vast
from rackrate.fleet.folder import Folder
from rackrate.fleet.keeper import Keeper
from rackrate.fleet.ledger import MICROUSD
from rackrate.fleet.lines import Line
from rackrate.fleet.spec import Spec
from rackrate.testing.clouds import Cloud, Faults, RunPodCloud, Stock, VastCloud
from rackrate.testing.clouds.cloud import Rented
from rackrate.testing.clouds.faults import KNOBS, in_pairs

CLOUDS: dict[str, tuple[Any, str, Provider, Any]] = {
    "runpod": (RunPodCloud, "NVIDIA L40S", RUNPOD, RunPod),
    "vast": (VastCloud, "L40S", VAST, Vast),
}
L40S = Machine(image="example/worker:1", gpu="l40s", n_gpus=1)
USD_PER_HOUR = 36.0
LEASE_S, SETTLE_S, LIST_S, DESTROY_S = 1.0, 1.0, 0.1, 3.0
"""Of a provider 30, 5 and 15 s, the last being three times the second; a keeper repeats calls each second."""
PATIENCE_S = 60.0
_KILLED = 3
"""In each third trial the keeper is killed."""
_LOOK_S = 0.08


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a trial ended.

    Attributes:
        budget_usd: the budget of the fleet.
        bound_usd: what it may cost at most: the budget and, for each node, its price x (lease + destruction).
        bill_usd: what it cost, by the meter of the cloud.
        said_usd: the same, as the provider's bill was read.
        ledger_usd: the same, as the keeper reckoned.
        least_usd: what it cost at least, by what the keeper saw.
        most_usd: what it cost at most, by what the keeper saw.
        n_made: machines that were ever made.
        left: machines that are billed after all.
        why: the fleet ended.
    """

    budget_usd: float
    bound_usd: float
    bill_usd: float
    said_usd: float
    ledger_usd: float
    least_usd: float
    most_usd: float
    n_made: int
    left: tuple[str, ...]
    why: str

    @property
    def is_kept(self) -> bool:
        """Tell whether nothing is left, and the bound was not passed."""
        return not self.left and self.bill_usd <= self.bound_usd

    @property
    def is_in_range(self) -> bool:
        """Tell whether the bill lies where the keeper said, to a begun second of each machine."""
        off_usd = self.n_made * USD_PER_HOUR / 3600
        return self.least_usd - off_usd <= self.bill_usd <= self.most_usd + off_usd


@dataclass
class Names:
    """A ground on which a machine is only a name; for each, when it was last granted its lease."""

    heard_s: dict[str, float] = field(default_factory=dict)

    def start(self, name: str, env: Mapping[str, str]) -> None:
        """Boot."""
        del env
        self.heard_s[name] = time.monotonic()

    def names(self) -> frozenset[str]:
        """Return those that live."""
        return frozenset(self.heard_s)

    def stop(self, name: str) -> None:
        """End."""
        self.heard_s.pop(name, None)


class WithHead(RentedBackend):
    """Rented nodes, beside a head at home that needs no machine."""

    def create(self, order: Order) -> None:
        """Rent a worker."""
        if order.role == "worker":
            super().create(replace(order, machine=L40S))

    def list(self, fleet: str) -> frozenset[str]:
        """Return the machines, and the head."""
        return super().list(fleet) | {f"rr-{fleet}-head"}

    def destroy(self, name: str) -> bool:
        """Destroy a machine."""
        return not name.endswith("-head") and super().destroy(name)


class Trial:
    """One fleet on one cloud.

    Args:
        provider: `runpod` or `vast`.
        knobs: what the cloud does wrong, of `KNOBS`.
        seed: decides the budget, and what happens when.
        is_killed: whether the keeper is, while nodes run.
    """

    def __init__(self, provider: str, knobs: Collection[str], seed: int, *, is_killed: bool = False) -> None:
        chance = random.Random(f"{provider} {seed}")  # noqa: S311 - no secret
        self.provider, self.knobs, self.is_killed = provider, frozenset(knobs), is_killed
        self.nodes = chance.randint(1, 3)
        exposure_s = LEASE_S + DESTROY_S + 1
        self.budget_usd = self.nodes * USD_PER_HOUR / 3600 * (exposure_s + chance.uniform(1.0, 5.0))
        self._faults = {knob: KNOBS[knob] for knob in knobs if hasattr(Faults(), knob)}
        struck = [knob for knob in ("reclaim", "run_dry") if knob in knobs]
        struck += ["kill"] if is_killed else []
        self._strikes = sorted((chance.uniform(0.2, 2.5), what) for what in struck)
        self._ground = Names()

    @property
    def is_bill_whole(self) -> bool:
        """Tell whether the bill can be read to its last machine as soon as the fleet is over.

        It cannot while it is behind. RunPod's names machines by number alone: of one whose number a keeper
        did not live to hear, and that ended itself before it was listed, it cannot be told whose it was.
        """
        return "bill_lag_s" not in self.knobs and not (self.is_killed and self.provider == "runpod")

    def run(self, home: Path) -> Outcome:
        """Do it, below a folder that is empty."""
        kind, gpu, provider, _ = CLOUDS[self.provider]
        folder = Folder(home / "fleets" / "c057c057")
        folder.path.mkdir(parents=True)
        with kind(self._ground, (Stock(gpu, 48, USD_PER_HOUR),)) as cloud:
            there = {provider.url_variable: cloud.url, provider.key_variable: cloud.key}
            env = os.environ | there | {"XDG_DATA_HOME": str(home)}
            more_s = self._kept(cloud, folder, env)
            said = json.loads(self._call("reap", folder, env).communicate(timeout=PATIENCE_S)[0])
            bill_usd = cloud.bill_microusd() / MICROUSD
            rate_usd_per_s = self.nodes * USD_PER_HOUR / 3600
            return Outcome(
                budget_usd=self.budget_usd,
                bound_usd=self.budget_usd + rate_usd_per_s * (LEASE_S + DESTROY_S + more_s),
                bill_usd=bill_usd,
                n_made=len(cloud.machines),
                left=tuple(cloud.billed()),
                **said,
            )

    def _call(self, what: str, folder: Folder, env: Mapping[str, str]) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "rackrate.testing.spending", what, str(folder.path)]
        with folder.log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - ourselves
                [*words, self.provider, str(self.nodes), str(self.budget_usd)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=env,
                text=True,
            )

    def _kept(self, cloud: Cloud, folder: Folder, env: Mapping[str, str]) -> float:
        """Keep the fleet until it is over; return the seconds that it had no keeper."""
        keeper = self._call("keep", folder, env)
        if keeper.stdin is None or keeper.stdout is None:
            raise FleetError("a keeper without pipes")
        keeper.stdout.readline()  # it has asked for the price
        for knob, value in self._faults.items():
            setattr(cloud.faults, knob, value)
        keeper.stdin.write("\n")
        keeper.stdin.flush()
        until_s, killed_s = time.monotonic() + PATIENCE_S, None
        strikes: list[tuple[float, str]] = []
        while keeper.poll() is None or (killed_s and time.monotonic() - killed_s < 2 * LEASE_S):
            if time.monotonic() > until_s:
                keeper.kill()
                raise FleetError(f"the fleet does not end; see {folder.log}")
            if not strikes and any(one.state == "running" for one in cloud.machines):
                strikes = [(time.monotonic() + delay_s, what) for delay_s, what in self._strikes]
                self._strikes = []
            while strikes and strikes[0][0] < time.monotonic():
                killed_s = self._strike(strikes.pop(0)[1], cloud, keeper) or killed_s
            self._live(cloud, folder)
            time.sleep(_LOOK_S)
        keeper.communicate()
        return time.monotonic() - killed_s if killed_s else 0.0

    def _strike(self, what: str, cloud: Cloud, keeper: subprocess.Popen[str]) -> float | None:
        """Let something happen; return the instant if it was the death of the keeper."""
        if what == "kill":
            keeper.kill()
            return time.monotonic()
        if what == "run_dry":
            cloud.run_dry()
        else:
            running = [one.name for one in list(cloud.machines) if one.state == "running"]
            for name in running[:1]:
                cloud.reclaim(name)
        return None

    def _live(self, cloud: Cloud, folder: Folder) -> None:
        """Let the head and every machine call home."""
        with suppress(OSError, FleetError), Line(str(folder.keeper)) as line:
            head = f"rr-{folder.fleet}-head"
            line.ask("renew", 5, node=head, address="tcp://127.0.0.1:1", is_busy=True)
            for one in [one for one in list(cloud.machines) if one.id in self._ground.heard_s]:
                asked_s = time.monotonic()
                said = machine_of(cloud.inside(one))
                if "ttl_s" in line.ask("renew", 5, node=one.name, is_ready=True, **said):
                    self._ground.heard_s[one.id] = asked_s
                else:
                    self._ground.heard_s[one.id] = float("-inf")
        for one in list(cloud.machines):
            if time.monotonic() - self._ground.heard_s.get(one.id, float("inf")) > LEASE_S:
                self._end_itself(cloud, one)

    def _end_itself(self, cloud: Cloud, one: Rented) -> None:
        """End a machine from inside: when the provider says yes its program is over."""
        if ask_to_end({**one.env, **cloud.inside(one)}):
            self._ground.stop(one.id)


def trials(provider: str, seed: int) -> list[Trial]:
    """Return trials in which each two faults meet once at least; in each third one the keeper is killed."""
    sets = in_pairs(random.Random(seed))  # noqa: S311 - no secret
    return [
        Trial(provider, knobs, seed * len(KNOBS) ** 2 + number, is_killed=number % _KILLED == 0)
        for number, knobs in enumerate(sets)
    ]


def _rented(provider: str, folder: Folder) -> tuple[WithHead, Any]:
    """Open a provider, at the pace of a trial."""
    backends.DESTROY_S[provider] = DESTROY_S
    kind = CLOUDS[provider][3]
    kind.settle_s, kind.list_s, kind.destroy_s = SETTLE_S, LIST_S, DESTROY_S
    rental = kind()
    return WithHead(rental, folder.path), rental


def keep(folder: Folder, provider: str, nodes: int, budget_usd: float) -> None:
    """Ask for the price, say so, and keep the fleet when told to."""
    backend, rental = _rented(provider, folder)
    rate = rental.quote(L40S, nodes)
    waiting = rate.waiting_microusd_per_hour
    spec = Spec(
        folder.fleet,
        str(folder.path),
        backend=provider,
        nodes=nodes,
        budget_usd=budget_usd,
        lease_s=LEASE_S,
        boot_timeout_s=3.0,
        usd_per_node_hour=rate.microusd_per_hour / MICROUSD,
        waiting_usd_per_node_hour=None if waiting is None else waiting / MICROUSD,
        opened_at_s=time.time(),
    )
    spec.write(folder.spec)
    sys.stdout.write("asked\n")
    sys.stdout.flush()
    sys.stdin.readline()

    async def kept() -> None:
        await Keeper(folder, spec, backend).run()

    asyncio.run(kept())


def reap(folder: Folder, provider: str) -> None:
    """End what is left, once, and say what it cost by the ledger and by the provider's bill."""
    backend, _ = _rented(provider, folder)
    opening.reap(folder)
    spec = Spec.read(folder.spec)
    billed = backend.billed(folder.fleet, spec.opened_at_s)
    backend.close()
    found = opening.settled(folder)
    reckoned = {"ledger_usd": found.spent_usd, "least_usd": found.least_usd, "most_usd": found.most_usd}
    sys.stdout.write(json.dumps({"said_usd": sum(billed.values()) / MICROUSD, "why": found.why, **reckoned}))


if __name__ == "__main__":
    if sys.argv[1] == "keep":
        keep(Folder(Path(sys.argv[2])), sys.argv[3], int(sys.argv[4]), float(sys.argv[5]))
    else:
        reap(Folder(Path(sys.argv[2])), sys.argv[3])
