"""What does a provider ask for a fleet's machines, now? Asked before anything is made or paid.

What a provider states now counts, not what a list said: the budget is reckoned with it, and no machine that
costs more is taken. A wrong key, a GPU that is not for rent or sold out, end here, in one sentence.
"""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from rackrate.fleet.backends import KEYS, PLACES
from rackrate.fleet.backends.base import Machine
from rackrate.fleet.ledger import MICROUSD

if TYPE_CHECKING:
    from rackrate.fleet.backends.rented import Rental


def open_rental(provider: str) -> Rental:
    """Open a provider's API.

    Raises:
        MissingCredential: the environment has no key.
    """
    rental: Rental = import_module(PLACES[provider]).open_rental()
    return rental


def quoted(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what is asked for a fleet, with the provider's price where its machines are rented.

    Raises:
        MissingCredential, AuthRejected: no key, or one that is not taken.
        NoNode: there are no such machines, or too few.
        ProviderError: the provider does not answer.
    """
    if asked.get("backend") not in KEYS:
        return asked
    machine: Machine = asked.get("machine") or Machine()
    rental = open_rental(asked["backend"])
    try:
        rate = rental.quote(machine, max(asked.get("nodes", 1), 1))
    finally:
        rental.close()
    usd_per_hour = rate.microusd_per_hour / MICROUSD
    limit = min(machine.most_usd_per_hour or usd_per_hour, usd_per_hour)
    waiting = rate.waiting_microusd_per_hour
    return asked | {
        "usd_per_node_hour": usd_per_hour,
        "waiting_usd_per_node_hour": None if waiting is None else waiting / MICROUSD,
        "machine": replace(machine, most_usd_per_hour=limit),
    }
