"""Where nodes come from: one module a place, all of one contract (`base`).

A place is known by its name here and loaded when a fleet is to live there. Its module has
`open_backend(spec)`, which returns a `Backend` for one fleet.
"""

from __future__ import annotations

PLACES = {
    "local": "rackrate.fleet.backends.local",
    "emulated": "rackrate.testing.machines",
}
"""The module of each place; all but `local` make machines of their own."""
