"""What must a place offer so that nodes can live there? Three calls, and a promise about each.

- `create(order)` asks for one node under the order's name and returns when the provider has said yes.
  Asked twice for one name it makes one node. `NoNode` means that there is none and will be none (`NotNow`:
  under another name, later); every other exception means that nobody knows, and the node may exist.
- `list(fleet)` returns the names of all nodes of a fleet, also of one whose keeper is dead, asked from a
  process that never created anything. It may lag by `settle_s`, never longer, and is asked at most every
  `list_s`.
- `destroy(name)` asks for a node to be destroyed, with all that runs in it and all that is billed. It may
  be asked again and again, and of a node that is not there. By `destroy_s` after it was first wanted nothing
  is billed any more.

All block, may be called from several threads, and raise on failure; none retries, waits for a node to
boot or keeps a state that matters after a crash. A node boots `rackrate.fleet.backends.agent` with its
`Order`: the lease and the longest life are in the order itself, so that a node that never hears from
anybody ends too.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from rackrate.errors import FleetError

Role = Literal["head", "worker"]


class NoNode(FleetError):
    """The provider refused an order: there is no node, and nothing is billed."""

    code = "no-node"


class NoMoney(NoNode):
    """The account cannot pay for it, nor for another one like it."""

    code = "no-money"


class NotNow(NoNode):
    """The provider was asked too often, and made nothing: it may be asked again.

    Args:
        message: in the provider's words.
        again_s: seconds until then.
    """

    code = "not-now"

    def __init__(self, message: str, *, again_s: float) -> None:
        super().__init__(message, hint=f"it may be asked again in {again_s:.0f} s")
        self.again_s = again_s


BOOT = ("python3", "-m", "rackrate.fleet.boot")
"""What a machine is to run as its first process; its order is in its environment (`Order.to_env`)."""

ORDER = "RACKRATE_ORDER"
"""Environment variable in which a machine finds its order."""

ALIVE = "alive"
"""File of a node on this machine that is locked while any process of it lives; it holds the agent's id."""
LOG = "log"
"""File in a node's folder with all that it wrote."""
CONSOLE = "console"
"""File in a node's folder with what its machine said outside of the node's log: why it did not boot, say."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What a node's machine is to be, where a backend makes machines.

    Attributes:
        image: OCI image; empty where machines have none.
        gpu: slug in the catalog; empty for none.
        n_gpus: how many of them.
        disk_gib: of its own.
        region: in the provider's words; empty for any.
        offer: the provider's id of the offer; empty for any.
        is_spot: whether the provider may take it back.
        most_usd_per_hour: the most that it may cost, for budgets are reckoned with it; 0 for no limit.
    """

    image: str = ""
    gpu: str = ""
    n_gpus: int = 0
    disk_gib: int = 20
    region: str = ""
    offer: str = ""
    is_spot: bool = False
    most_usd_per_hour: float = 0.0


@dataclass(frozen=True, slots=True)
class Order:
    """What a node is to be.

    Attributes:
        name: unique for ever.
        fleet: its id.
        role: `worker`, or `head` for the process that hands out the work.
        keeper: where the lease is renewed: the path of a socket, or `host:port` of a gate.
        ttl_s: lease until it first calls home.
        longest_s: after which it ends in any case.
        n_threads: tasks at once.
        memory_bytes: at which its worker is killed; 0 for no limit.
        n_gpus: of the machine that it shares with other nodes, for it alone; None for one that it shares too.
        tls: file with certificate and key.
        cwd: working folder.
        path: where modules are looked for, as the owner does.
        machine: what to make for it; None for a process on this machine.
        identity: key and certificate of this node alone, and its fleet's authority, as PEM; empty here.
        env: names of variables that its worker asks the keeper for: their values stand in no order.
        is_synced: whether its worker asks the gate for files of the owner's.
        versions: what the owner runs, by package, for a node to compare; empty where it is the same disk.
    """

    name: str
    fleet: str
    role: Role
    keeper: str
    ttl_s: float
    longest_s: float
    n_threads: int = 1
    memory_bytes: int = 0
    n_gpus: int | None = None
    tls: str = ""
    cwd: str = "."
    path: tuple[str, ...] = ()
    machine: Machine | None = None
    identity: str = ""
    env: tuple[str, ...] = ()
    is_synced: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Order:
        """Return the order that `to_dict` wrote."""
        machine = data["machine"] and Machine(**data["machine"])
        lists = {key: tuple(data[key]) for key in ("path", "env")}
        return cls(**{**data, **lists, "machine": machine})

    def to_env(self) -> dict[str, str]:
        """Return it as a machine is told of it: in its environment, before it boots, and never later."""
        return {ORDER: base64.b64encode(json.dumps(self.to_dict()).encode()).decode()}

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Order:
        """Return the order that `to_env` wrote.

        Raises:
            KeyError: there is none.
        """
        return cls.from_dict(json.loads(base64.b64decode(env[ORDER])))


class Backend(Protocol):
    """A place where nodes live.

    Attributes:
        settle_s: by so much a listing may lag behind, seconds.
        list_s: seconds between two listings, or two calls to destroy a node, at least.
        destroy_s: by so much the end of a node, and of its bill, may lag behind the decision to destroy it.
        n_calls: calls that it takes at once.
    """

    settle_s: float
    list_s: float
    destroy_s: float
    n_calls: int

    @property
    def at(self) -> str:
        """`host:port` at which its nodes reach this machine when the fleet names none; empty for loopback."""

    def create(self, order: Order) -> None:
        """Ask for a node.

        Raises:
            NoNode: there is none and will be none.
        """

    def list(self, fleet: str) -> frozenset[str]:
        """Return the names of all nodes of a fleet."""

    def destroy(self, name: str) -> bool:
        """Ask for a node to be destroyed; of one that is not there, that is no error.

        Returns:
            Whether there may have been one: no only where none of that name is known or listed.
        """

    def billed(self, fleet: str, since_at: float) -> Mapping[str, int] | None:
        """Return what nodes of a fleet cost by the provider's own bill, micro-USD; None where nobody bills.

        Args:
            fleet: its id.
            since_at: Unix time at which it was opened.
        """

    def logs(self, name: str) -> Path:
        """Return the file with what the node wrote; it need not exist yet."""

    def close(self) -> None:
        """Let go of what the backend itself holds; nodes stay."""
