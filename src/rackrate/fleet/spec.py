"""What was asked for when a fleet was opened, checked before anything is started or paid."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rackrate.errors import BadQuantity, OverBudget, UnknownName, nearest
from rackrate.fleet.backends.base import Order, Role
from rackrate.fleet.budget import Budget
from rackrate.fleet.ledger import MICROUSD, Ledger, Rate
from rackrate.fleet.state import Policy

BACKENDS = ("local",)
TICK_S = 0.25
"""Between two looks of the keeper at owner and clock."""
DESTROY_S = 5.0
"""That a destroyed node may still be billed; on this machine it is a tenth of that."""

_MOST_NODES = 1000
_LONGEST_H = 24 * 30
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Spec:
    """A fleet as it was asked for.

    Attributes:
        fleet: its id.
        folder: where it keeps its files.
        nodes: wanted at first.
        backend: where they live.
        threads: tasks at once, a node.
        memory_gib: at which a node's worker is killed; None for no limit.
        usd_per_node_hour: what an hour of a node costs; 0 on a machine of one's own.
        budget_usd: the most that all may cost; None for no limit.
        max_hours: after which it ends in any case.
        idle_s: without work until it ends; None for never.
        lease_s: after which a node ends that hears nothing.
        boot_timeout_s: in which a node must come up.
        owner_pid: process that it lives for; None where the end is `max_hours` alone.
        owner_since_s: when that process began: a process id is used again.
        opened_at_s: Unix time.
        cwd: working folder of the tasks.
        path: where modules are looked for.
        preload: modules that nodes of this machine share, imported once.
    """

    fleet: str
    folder: str
    nodes: int = 1
    backend: str = "local"
    threads: int = 1
    memory_gib: float | None = None
    usd_per_node_hour: float = 0.0
    budget_usd: float | None = None
    max_hours: float = 12.0
    idle_s: float | None = 600.0
    lease_s: float = 10.0
    boot_timeout_s: float = 60.0
    owner_pid: int | None = None
    owner_since_s: float = 0.0
    opened_at_s: float = 0.0
    cwd: str = "."
    path: tuple[str, ...] = ()
    preload: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise UnknownName("backend", self.backend, nearest(self.backend, BACKENDS) or BACKENDS)
        _check("nodes", self.nodes, 0, _MOST_NODES, whole=True)
        _check("threads", self.threads, 1, 1024, whole=True)
        _check("lease_s", self.lease_s, 1, 600)
        _check("boot_timeout_s", self.boot_timeout_s, 1, 3600)
        _check("max_hours", self.max_hours, 0.001, _LONGEST_H)
        _check("usd_per_node_hour", self.usd_per_node_hour, 0, 1000)
        for name, least, most in (("memory_gib", 0.1, 1e5), ("budget_usd", 0, 1e7), ("idle_s", 1, 1e7)):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), least, most)
        policy = self.policy()
        if self.nodes and not policy.budget.allows(Ledger(), policy.rate, 0):
            one_usd = policy.budget.committed_microusd(Ledger(), 0) + policy.rate.microusd(
                policy.budget.exposure_s
            )
            raise OverBudget(
                f"a budget of {self.budget_usd:g} USD does not pay for one node",
                hint=f"one costs {one_usd / MICROUSD:.4f} USD before it can be ended again",
            )

    def policy(self) -> Policy:
        """Return what the life of the fleet keeps to."""
        limit = None if self.budget_usd is None else math.floor(self.budget_usd * MICROUSD)
        return Policy(
            ttl_s=self.lease_s,
            boot_timeout_s=self.boot_timeout_s,
            idle_s=self.idle_s,
            longest_s=self.max_hours * _SECONDS_PER_HOUR,
            rate=Rate(math.ceil(self.usd_per_node_hour * MICROUSD)),
            budget=Budget(limit, self.lease_s + DESTROY_S + TICK_S),
        )

    def order(self, name: str, role: Role, age_s: float) -> Order:
        """Return the order of a node of a fleet that is so old."""
        folder = Path(self.folder)
        return Order(
            name=name,
            fleet=self.fleet,
            role=role,
            keeper=str(folder / "keeper"),
            ttl_s=self.lease_s,
            longest_s=self.max_hours * _SECONDS_PER_HOUR - age_s,
            n_threads=self.threads,
            memory_bytes=round((self.memory_gib or 0) * 2**30),
            tls=str(folder / "key"),
            cwd=self.cwd,
            path=self.path,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def read(cls, path: Path) -> Spec:
        """Return the spec that `write` wrote."""
        data = json.loads(path.read_text("utf-8"))
        return cls(**{**data, "path": tuple(data["path"]), "preload": tuple(data["preload"])})

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_text(json.dumps(self.to_dict(), indent=1), "utf-8")

    def scaled(self, nodes: int) -> Spec:
        """Return it with another number of nodes, checked.

        Raises:
            BadQuantity: no number of nodes.
        """
        return replace(self, nodes=nodes)


def _check(name: str, value: float, least: float, most: float, *, whole: bool = False) -> None:
    is_number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        what = "a whole number" if whole else "a number"
        raise BadQuantity(f"{name} {value!r} is not {what}", hint=f"give {least:g} to {most:g}")
