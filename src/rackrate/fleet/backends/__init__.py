"""Where nodes come from: one module a place, all of one contract (`base`).

A place is known by its name here and loaded when a fleet is to live there. The module of a place elsewhere
has `open_backend(spec)`, which returns a `Backend` for one fleet; that of this machine begins before all else
is loaded (`fleet.keeping`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rackrate.fleet.backends.base import Backend
    from rackrate.fleet.spec import Spec

PLACES = {
    "local": "rackrate.fleet.backends.local",
    "container": "rackrate.fleet.backends.container",
    "ssh": "rackrate.fleet.backends.ssh",
    "runpod": "rackrate.fleet.backends.runpod",
    "vast": "rackrate.fleet.backends.vast",
    "kubernetes": "rackrate.fleet.backends.kubernetes",
    "emulated": "rackrate.testing.machines",
}
"""The module of each place; all but `local` make machines of their own."""


BOOT_S = {"container": 120.0, "ssh": 120.0, "kubernetes": 900.0, "runpod": 900.0, "vast": 900.0}
"""Seconds in which a node must come up, where nobody says; elsewhere `USUAL_BOOT_S`. An image of 10 GB takes
minutes."""
USUAL_BOOT_S = 60.0

DESTROY_S = {
    "local": 2.0,
    "container": 10.0,
    "ssh": 5.0,
    "kubernetes": 5.0,
    "runpod": 15.0,
    "vast": 15.0,
    "emulated": 2.0,
}
"""By so much the end of a node, and of its bill, may lag behind the decision to destroy it, seconds.

Here, in containers, on hosts and on pods: several times what is measured of nodes that work. RunPod and Vast
publish nothing; theirs is three calls, 5 s apart: two of them may fail, or be answered and not done.
"""

KEYS = {"runpod": "RUNPOD_API_KEY", "vast": "VAST_API_KEY"}
"""Where machines are rented, and the variable that holds the account's key: it is the keeper's alone."""


def open_backend(spec: Spec) -> Backend:
    """Return the backend elsewhere that a spec names; no other is loaded."""
    backend: Backend = import_module(PLACES[spec.backend]).open_backend(spec)
    return backend
