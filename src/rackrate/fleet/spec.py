"""What was asked for when a fleet was opened, checked before anything is started or paid."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from rackrate.durable import write_whole
from rackrate.errors import BadQuantity, DataError, OverBudget, UnknownName, UsageError, nearest
from rackrate.fleet.backends import DESTROY_S, KEYS, PLACES, gpus
from rackrate.fleet.backends.base import Machine, Order, Role
from rackrate.fleet.backends.engines import find_engine
from rackrate.fleet.backends.hosts import read_hosts
from rackrate.fleet.backends.kubeconfig import read_cluster
from rackrate.fleet.budget import Budget
from rackrate.fleet.ledger import MICROUSD, Ledger, Rate
from rackrate.fleet.pool import Pool
from rackrate.fleet.state import Policy

TICK_S = 0.25
"""Between two looks of the keeper at owner and clock."""

_MACHINES = {
    "container": "a container",
    "kubernetes": "a pod",
    "runpod": "a pod",
    "vast": "an instance",
}
"""What is made for a node, by backend; a container may share this machine's network."""
_MOST_NODES = 1000
_MOST_GPUS = 16
_LONGEST_H = 24 * 30
_SECONDS_PER_HOUR = 3600
_MOST_PORTS = 1 << 16


@dataclass(frozen=True, slots=True)
class Spec:
    """A fleet as it was asked for.

    Attributes:
        fleet: its id.
        folder: where it keeps its files.
        nodes: wanted at first; of a pool, always.
        nodes_max: up to which a pool grows with its work; None for a fleet that does not.
        backend: where they live.
        threads: tasks at once, a node.
        memory_gib: at which a node's worker is killed; None for no limit.
        gpus: that a node has to itself; None for what its machine has, shared where nodes share a machine.
        usd_per_node_hour: what an hour of a node costs; 0 on a machine of one's own.
        waiting_usd_per_node_hour: what it costs until its machine runs; None for the same.
        budget_usd: the most that all may cost; None for no limit.
        max_hours: after which it ends in any case.
        idle_s: without work until it ends, of a pool until a node does; None for never.
        lease_s: after which a node ends that hears nothing.
        boot_timeout_s: in which a node must come up.
        owner_pid: process that it lives for; None where the end is `max_hours` alone.
        owner_since_s: when that process began: a process id is used again.
        opened_at_s: Unix time.
        cwd: working folder of the tasks.
        path: where modules are looked for.
        at: `host:port` at which machines reach this one; empty for a port of the loopback address.
        machine: what a node's machine is to be, where it is not this one.
        hosts: machines of one's own, or files that name them.
        env: names of variables that tasks see; their values stand in no file.
        sync: files and folders that every node is to have.
        versions: what the owner runs, by package.
        preload: modules that nodes of this machine share, imported once.
    """

    fleet: str
    folder: str
    nodes: int = 1
    nodes_max: int | None = None
    backend: str = "local"
    threads: int = 1
    memory_gib: float | None = None
    gpus: int | None = None
    usd_per_node_hour: float = 0.0
    waiting_usd_per_node_hour: float | None = None
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
    at: str = ""
    machine: Machine = field(default_factory=Machine)
    hosts: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    sync: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    preload: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.backend not in PLACES:
            raise UnknownName("backend", self.backend, nearest(self.backend, PLACES) or tuple(PLACES))
        _check_at(self.at)
        _check("nodes", self.nodes, 0, _MOST_NODES, whole=True)
        if self.nodes_max is not None:
            _check("nodes_max", self.nodes_max, max(self.nodes, 1), _MOST_NODES, whole=True)
        _check("threads", self.threads, 1, 1024, whole=True)
        _check("lease_s", self.lease_s, 1, 600)
        _check("boot_timeout_s", self.boot_timeout_s, 1, 3600)
        _check("max_hours", self.max_hours, 0.001, _LONGEST_H)
        _check("usd_per_node_hour", self.usd_per_node_hour, 0, 1000)
        if self.gpus is not None:
            _check("gpus", self.gpus, 0, _MOST_GPUS, whole=True)
        for name, least, most in (("memory_gib", 0.1, 1e5), ("budget_usd", 0, 1e7), ("idle_s", 1, 1e7)):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), least, most)
        policy = self.policy()
        if (self.nodes or self.nodes_max) and not policy.budget.n_allowed(Ledger(), policy.rate, 0):
            one_usd = policy.budget.committed_microusd(Ledger(), 0) + policy.rate.microusd(
                policy.budget.exposure_s
            )
            raise OverBudget(
                f"a budget of {self.budget_usd:g} USD does not pay for one node",
                hint=f"one costs {one_usd / MICROUSD:.4f} USD before it can be ended again",
            )

    def pool(self) -> Pool | None:
        """Return what sets the number of nodes; None where that is fixed."""
        if self.nodes_max is None:
            return None
        return Pool(
            self.nodes, self.nodes_max, self.threads, math.inf if self.idle_s is None else self.idle_s
        )

    def check_place(self) -> None:
        """See to it that the place can be asked for nodes; a spec that is only read may be of last year.

        Raises:
            MissingCredential, UsageError, UnknownName, BadQuantity: it cannot, and what is to be said or
                installed.
        """
        self._check_gpus()
        self._check_place_fits()
        if self.backend == "ssh":
            read_hosts(self.hosts)
        if self.backend in _MACHINES:
            self._check_machine(_MACHINES[self.backend])
        if self.backend == "container":
            find_engine()
        if self.backend == "kubernetes":
            cluster = read_cluster()
            cluster.tls()
            cluster.headers()

    def _check_place_fits(self) -> None:
        """See to it that what is named of a place is of this one: else work would run where nobody meant."""
        if self.machine.image and self.backend in {"local", "ssh"}:
            hint = 'backend="container" boots it on this machine'
            raise UsageError(f"image={self.machine.image!r}: nodes of {self.backend} boot none", hint=hint)
        if self.hosts and self.backend != "ssh":
            hint = 'backend="ssh" has nodes live on them'
            raise UsageError(f"hosts: nodes of {self.backend} do not live on {self.hosts[0]}", hint=hint)

    def _check_gpus(self) -> None:
        """See to it that nodes can have the GPUs that they are to have to themselves."""
        if self.gpus is None:
            return
        if self.backend in KEYS:
            hint = "take an offer of as many as you want"
            raise UsageError(f"gpus={self.gpus}: how many a rented machine has, its offer says", hint=hint)
        n_here, n_nodes = len(gpus.here()), max(self.nodes, self.nodes_max or 0)
        if self.backend == "local" and n_nodes * self.gpus > n_here:
            raise UsageError(
                f"{n_nodes} nodes with {self.gpus} GPUs each: this machine has {n_here} that CUDA can see",
                hint="have fewer nodes, or leave out `gpus`: then nodes share what there is",
            )

    def _check_machine(self, what: str) -> None:
        """See to it that a machine that is made for a node can boot and call home, before one is paid for."""
        if not self.machine.image:
            raise UsageError(f"{what} is made of an image: none is named", hint='image="me/work:1"')
        if self.backend in KEYS and not self.machine.gpu:
            hint = f'give an offer or a plan: rackrate.offers(gpu="l40s", provider="{self.backend}")[0]'
            raise UsageError(f"{what} is rented with a GPU: none is named", hint=hint)
        if self.backend != "container" and not self.at:
            hint = 'say by which address it reaches it: at="192.0.2.7:7700"'
            raise UsageError(f"{what} dials this machine, and cannot reach its loopback address", hint=hint)

    def policy(self) -> Policy:
        """Return what the life of the fleet keeps to."""
        limit = None if self.budget_usd is None else math.floor(self.budget_usd * MICROUSD)
        waiting = self.waiting_usd_per_node_hour
        return Policy(
            ttl_s=self.lease_s,
            boot_timeout_s=self.boot_timeout_s,
            idle_s=None if self.nodes_max else self.idle_s,  # of a pool the nodes go, one by one
            longest_s=self.max_hours * _SECONDS_PER_HOUR,
            rate=Rate(
                _microusd(self.usd_per_node_hour),
                waiting_microusd_per_hour=None if waiting is None else _microusd(waiting),
            ),
            budget=Budget(limit, self.lease_s + DESTROY_S[self.backend] + TICK_S),
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
            n_gpus=self.gpus,
            tls=str(folder / "key"),
            cwd=self.cwd,
            path=self.path,
            env=self.env,
        )

    def order_away(self, name: str, age_s: float, gate: str, identity: str) -> Order:
        """Return the order of a node that is another machine: it calls at the gate and shares no file."""
        return replace(
            self.order(name, "worker", age_s),
            keeper=gate,
            tls="",
            cwd=".",
            path=(),
            machine=self.machine if self.gpus is None else replace(self.machine, n_gpus=self.gpus),
            identity=identity,
            is_synced=bool(self.sync),
            versions=self.versions,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def read(cls, path: Path) -> Spec:
        """Return the spec that `write` wrote.

        Raises:
            DataError: it is damaged, or of a version that says what this one does not know.
        """
        try:
            data = json.loads(path.read_text("utf-8"))
            lists = {name: tuple(data[name]) for name in ("path", "env", "sync", "hosts", "preload")}
            return cls(**{**data, **lists, "machine": Machine(**data["machine"])})
        except (ValueError, TypeError, KeyError) as error:
            hint = f"end what is left of it, then remove {path.parent}"
            raise DataError(f"the fleet {path.parent.name} cannot be read: {error}", hint=hint) from error

    def write(self, path: Path) -> None:
        """Write it as JSON, all of it or nothing: by it a fleet is known."""
        write_whole(path, json.dumps(self.to_dict(), indent=1))

    def scaled(self, nodes: int) -> Spec:
        """Return it with another number of nodes, checked.

        Raises:
            BadQuantity: no number of nodes.
        """
        return replace(self, nodes=nodes, nodes_max=None)


def _microusd(usd: float) -> int:
    return math.ceil(round(usd * MICROUSD, 3))


def _check_at(at: str) -> None:
    host, _, port = at.rpartition(":")
    if at and not (host and port.isdecimal() and int(port) < _MOST_PORTS):
        raise BadQuantity(
            f"at {at!r} is no address that machines can reach",
            hint="give host:port, or host:0 for any free port",
        )


def _check(name: str, value: float, least: float, most: float, *, whole: bool = False) -> None:
    is_number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not is_number or not least <= value <= most:
        what = "out of bounds" if is_number else "not a whole number" if whole else "not a number"
        raise BadQuantity(f"{name} {value!r} is {what}", hint=f"give {least:g} to {most:g}")
