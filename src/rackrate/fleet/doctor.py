"""Does a provider do what a fleet relies on? One machine, the cheapest, is rented to find out.

It boots with an order whose keeper does not exist. When its first lease is over it must end itself, bill and
all: that is the last of the switches that stand between a dead laptop and a bill, and the only one that
no test at home can prove. Whatever happens, the machine is destroyed in the end.
"""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

from rackrate.errors import BootFailed, OverBudget, UnknownName, nearest
from rackrate.fleet import tls
from rackrate.fleet.backends import KEYS
from rackrate.fleet.backends.base import Machine, Order
from rackrate.fleet.backends.rented import Rental, RentedBackend
from rackrate.fleet.identity import Identity
from rackrate.fleet.ledger import MICROUSD, Rate
from rackrate.fleet.quoting import open_rental
from rackrate.report.block import Column
from rackrate.report.cards import Listing

_COLUMNS = (Column("step", "step"), Column("result", "result"), Column("seconds", "s", 1))
_NOBODY = "127.0.0.1:9"
"""Where no keeper is."""
_LONGEST_BOOT_S = 900.0
_LOOK_S = 0.2
_SPECIFICATION = "this was an emulator: tested against the specification, not the cloud"
_CLOUD = "this ran on the cloud, with the account of the key"


@dataclass
class Report:
    """What was found so far, step by step."""

    rows: list[tuple[str, str, float | None]] = field(default_factory=list)

    def say(self, step: str, result: str, seconds: float | None = None) -> None:
        """Add a step."""
        self.rows.append((step, result, seconds))


def examine(provider: str, *, image: str, max_usd: float, lease_s: float, is_live: bool) -> Listing:
    """Return what a provider does; only a live examination rents anything.

    Args:
        provider: whose API.
        image: that the machine boots; it needs `python3 -m rackrate.fleet.boot`.
        max_usd: the most that it may cost.
        lease_s: after which the machine must end itself.
        is_live: whether a machine is rented.

    Raises:
        UnknownName: no such provider.
        MissingCredential, AuthRejected: no key, or one that is not taken.
        OverBudget: the cheapest machine would cost more before it ends.
    """
    if provider not in KEYS:
        raise UnknownName("provider", provider, nearest(provider, KEYS) or tuple(KEYS))
    report = Report()
    rental = open_rental(provider)
    try:
        machine, gpu = rental.cheapest()
        machine = replace(machine, image=image or "none")
        rate = rental.quote(machine)
        report.say("key", "taken")
        report.say("cheapest machine", f"{gpu}, {rate.microusd_per_hour / MICROUSD:.4f} USD an hour")
        if is_live:
            _drill(rental, machine, rate, report, max_usd=max_usd, lease_s=lease_s)
        else:
            report.say("drill", "not done: nothing is rented without --live")
        is_emulated = rental.url_variable in os.environ
    finally:
        rental.close()
    note = _SPECIFICATION if is_emulated else _CLOUD
    return Listing(f"Doctor: {rental.name}", _COLUMNS, tuple(report.rows), (note,))


def _drill(
    rental: Rental, machine: Machine, rate: Rate, report: Report, *, max_usd: float, lease_s: float
) -> None:
    """Rent a machine, watch it end itself, and see to it that it is gone."""
    longest_s = min(max_usd * MICROUSD / max(rate.microusd_per_hour, 1) * 3600 / 2, _LONGEST_BOOT_S)
    if longest_s < 2 * lease_s:
        usd = rate.microusd(4 * lease_s) / MICROUSD
        raise OverBudget(
            f"{max_usd:g} USD do not pay for a drill on the cheapest machine", hint=f"it needs {usd:.4f} USD"
        )
    fleet = uuid.uuid4().hex[:8]
    name = f"rr-{fleet}-1"
    with tempfile.TemporaryDirectory() as folder:
        backend = RentedBackend(rental, Path(folder))
        order = replace(_order(Path(folder), name, fleet, lease_s, longest_s), machine=machine)
        started_s = time.monotonic()
        try:
            backend.create(order)
            report.say("create", "made", time.monotonic() - started_s)
            is_seen, gone_after_s = _watch(backend, fleet, started_s + longest_s)
            report.say("list", "it is there" if is_seen else "it was never listed")
            report.say("self-destruct", *_verdict(gone_after_s, longest_s))
        finally:
            report.say("left behind", "nothing", _end(backend, fleet, name))


def _order(folder: Path, name: str, fleet: str, lease_s: float, longest_s: float) -> Order:
    key = folder / "key"
    valid = timedelta(seconds=longest_s)
    tls.write_key(key, fleet, valid)
    identity = tls.node_identity(Identity.read(key), name, valid).to_pem()
    return Order(name, fleet, "worker", _NOBODY, ttl_s=lease_s, longest_s=longest_s, identity=identity)


def _watch(backend: RentedBackend, fleet: str, until_s: float) -> tuple[bool, float | None]:
    """Look until a machine that was listed is not; return whether it was, and the seconds that took."""
    started_s, is_seen = time.monotonic(), False
    while time.monotonic() < until_s:
        if backend.list(fleet):
            is_seen = True
        elif is_seen:
            return is_seen, time.monotonic() - started_s
        time.sleep(max(backend.list_s, _LOOK_S))
    return is_seen, None


def _verdict(gone_after_s: float | None, longest_s: float) -> tuple[str, float | None]:
    if gone_after_s is None:
        return f"FAILED: it was still there after {longest_s:.0f} s", None
    return "it ended itself", gone_after_s


def _end(backend: RentedBackend, fleet: str, name: str) -> float:
    """Destroy the machine until listings lack it for longer than they lag; return the seconds that it took.

    Raises:
        BootFailed: it cannot be destroyed; the message says what to do.
    """
    started_s = missing_since_s = time.monotonic()
    while time.monotonic() - missing_since_s < backend.settle_s:
        backend.destroy(name)
        if backend.list(fleet):
            missing_since_s = time.monotonic()
        if time.monotonic() - started_s > _LONGEST_BOOT_S:
            raise BootFailed(f"{name} cannot be destroyed", hint="destroy it in the provider's console now")
        time.sleep(max(backend.list_s, _LOOK_S))
    return missing_since_s - started_s
