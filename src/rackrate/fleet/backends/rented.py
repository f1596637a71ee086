"""How does a provider's API become a place where nodes live? The same way for every provider that rents.

A provider offers three things, a `Rental`: make one machine, list all, end one by the provider's own id.
What it does not offer is made here: a name is one node (who asks twice finds the first), nodes are found
by the prefix of their fleet, and a machine that is ended twice, or was never there, is no error. All that
is remembered is a shortcut: asked from a process that knows nothing, the answers are the same.
"""

from __future__ import annotations

import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rackrate.errors import AuthRejected, MissingCredential, ProviderDown, ProviderError, RateLimited
from rackrate.fleet.backends.base import Machine, NoMoney, NoNode, NotNow, Order
from rackrate.fleet.backends.roll import Roll
from rackrate.fleet.ledger import MICROUSD, Rate

_NO_MONEY = re.compile("balance|credit|payment", re.IGNORECASE)
"""In what a provider says: RunPod has status 402 for it, Vast.ai 403, which it has for other things too."""
_NOT_FOUND = 404
_FAULT = 500
"""From here on an answer says nothing about what was done."""
_OFF_S = 86400.0
"""By so much a provider's clock may differ from ours: a bill is asked for from a day before."""


@dataclass(frozen=True, slots=True)
class Charge:
    """What a provider bills for a machine.

    Attributes:
        machine_id: the provider's id of it.
        name: of its node, where the provider says it; else empty.
        usd: the amount, or a part of it.
    """

    machine_id: str
    name: str
    usd: float


class Rental(Protocol):
    """A provider's API, as far as nodes need it.

    Attributes:
        name: of the provider.
        url_variable: environment variable that names another address of its API.
        settle_s: by so much its listing may lag.
        list_s: that must lie between two listings, so that the rate limit is left to orders.
        destroy_s: by so much the end of a bill may lag behind the decision to end a machine.
        n_calls: calls that it takes at once.
    """

    name: str
    url_variable: str
    settle_s: float
    list_s: float
    destroy_s: float
    n_calls: int

    def quote(self, machine: Machine, n: int = 1) -> Rate:
        """Return what the dearest of `n` such machines costs now.

        Raises:
            NoNode: they are not for rent, in the provider's words.
        """

    def cheapest(self) -> tuple[Machine, str]:
        """Return the cheapest machine for rent, without an image, and the provider's name of its GPU.

        Raises:
            NoNode: there is none.
        """

    def make(self, order: Order, machine: Machine) -> str:
        """Rent a machine that boots the order; return the provider's id of it."""

    def all(self) -> Iterable[tuple[str, str]]:
        """Return name and id of every machine of the account that may be billed."""

    def end(self, machine_id: str) -> None:
        """End a machine and its bill."""

    def charges(self, since_at: float) -> Iterable[Charge]:
        """Return what machines of the account have cost since a Unix time, as the provider's bill has it."""

    def close(self) -> None:
        """Hang up."""


@contextmanager
def refusals() -> Iterator[None]:
    """Say of an answer to an order that is a no that there is no node; others say nothing about that.

    Raises:
        NotNow: the provider was asked too often.
        NoMoney: the account cannot pay.
        NoNode: it said no, in its words.
    """
    try:
        yield
    except RateLimited as error:
        raise NotNow(error.message, again_s=error.again_s) from error
    except (MissingCredential, AuthRejected) as error:
        raise NoNode(error.message, hint=error.hint) from error
    except ProviderError as error:
        if 0 < error.status < _FAULT:
            kind = NoMoney if _NO_MONEY.search(error.words) else NoNode
            raise kind(error.message, hint=error.hint) from error
        raise


class RentedBackend:
    """Nodes on machines of a provider.

    Args:
        rental: its API.
        folder: of the fleet, for what nodes wrote.
    """

    def __init__(self, rental: Rental, folder: Path) -> None:
        self.settle_s = rental.settle_s
        self.list_s = rental.list_s
        self.destroy_s = rental.destroy_s
        self.n_calls = rental.n_calls
        self._rental = rental
        self._nodes = folder / "nodes"
        self._roll = Roll(folder / "machines")
        self._lock = threading.Lock()
        self._listed_at_s = float("-inf")
        self._ids: dict[str, set[str]] = {}

    @property
    def at(self) -> str:
        """Nothing: only the owner knows by which address a provider's machines reach home."""
        return ""

    def create(self, order: Order) -> None:
        """Rent a machine for a node, unless one of its name is there.

        Raises:
            NotNow: the provider was asked too often; nothing was made.
            NoNode: the provider said no, in its words.
        """
        if order.machine is None:
            raise NoNode(f"{order.name}: the order names no machine", hint="name a GPU and an image")
        try:
            with refusals():
                if self._find(order.name):
                    return
                machine_id = self._rental.make(order, order.machine)
        except ProviderError:
            with self._lock:
                self._listed_at_s = float("-inf")  # it may be there: no older listing tells
            raise
        self._note(order.name, [machine_id])
        with self._lock:
            self._ids.setdefault(order.name, set()).add(machine_id)

    def list(self, fleet: str) -> frozenset[str]:
        """Return the names of the machines that bear the fleet's prefix."""
        found = {name: ids for name, ids in self._look().items() if name.startswith(_prefix(fleet))}
        for name, ids in found.items():
            self._note(name, ids)
        return frozenset(found)

    def destroy(self, name: str) -> bool:
        """End every machine of this name; there are two where a provider made one that it denied."""
        found = self._find(name)
        for machine_id in found:
            try:
                self._rental.end(machine_id)
            except ProviderError as error:
                if error.status != _NOT_FOUND:
                    raise
            with self._lock:
                self._ids.get(name, set()).discard(machine_id)
        return bool(found)

    def billed(self, fleet: str, since_at: float) -> Mapping[str, int]:
        """Return what the provider bills for each node of a fleet, of those that its bill has by now."""
        names = self._roll.names()
        found: Counter[str] = Counter()
        try:
            for charge in self._rental.charges(since_at - _OFF_S):
                name = charge.name or names.get(charge.machine_id, "")
                if name.startswith(_prefix(fleet)):
                    found[name] += round(charge.usd * MICROUSD)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ProviderDown(f"{self._rental.name}: its bill cannot be read: {error!r}") from error
        return dict(found)

    def logs(self, name: str) -> Path:
        """Return the file with what the node wrote, as far as it reached home."""
        return self._nodes / name / "log"

    def close(self) -> None:
        """Hang up; nodes stay."""
        self._rental.close()
        self._roll.close()

    def _find(self, name: str) -> frozenset[str]:
        """Return the ids of a name: as remembered, or else as a listing has them that is not old."""
        with self._lock:
            known = frozenset(self._ids.get(name, ()))
            is_fresh = time.monotonic() - self._listed_at_s < self.list_s
        if known or is_fresh:
            return known
        found = self._look().get(name, frozenset())
        self._note(name, found)
        return found

    def _note(self, name: str, ids: Iterable[str]) -> None:
        """Write down which machines were a node: its bill names them so."""
        for machine_id in ids:
            self._roll.note(name, machine_id)

    def _look(self) -> dict[str, frozenset[str]]:
        """List, and take over what it says."""
        asked_at_s = time.monotonic()
        found: dict[str, set[str]] = {}
        for name, machine_id in self._rental.all():
            found.setdefault(name, set()).add(machine_id)
        with self._lock:
            self._listed_at_s = max(self._listed_at_s, asked_at_s)
            for name, ids in found.items():
                self._ids.setdefault(name, set()).update(ids)
        return {name: frozenset(ids) for name, ids in found.items()}


def _prefix(fleet: str) -> str:
    """Return how the names of a fleet's nodes begin."""
    return f"rr-{fleet}-"
