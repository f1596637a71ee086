"""Live prices: ask the sources, keep what they said, publish what passes the gate.

`base` says what a collector is, `providers` has one module a source, `fetch` asks, `archive` keeps the
raw answers, `run` does it all side by side, `status` tells how each source stands. The only part that
imports an HTTP client.
"""

from __future__ import annotations

import pkgutil
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING

from rackrate.errors import UnknownName, nearest

if TYPE_CHECKING:
    from rackrate.market.collect.base import Collector


@cache
def collectors() -> dict[str, Collector]:
    """Return every collector by name: each module of `providers` has one, called `COLLECTOR`."""
    from rackrate.market.collect import providers  # noqa: PLC0415 - walked, not named

    found = {}
    for module in pkgutil.iter_modules(providers.__path__):
        collector: Collector = import_module(f"{providers.__name__}.{module.name}").COLLECTOR
        found[collector.name] = collector
    return dict(sorted(found.items()))


def pick(names: tuple[str, ...]) -> list[Collector]:
    """Return the collectors of these names; all of them for none.

    Raises:
        UnknownName: there is no such source.
    """
    known = collectors()
    for name in names:
        if name not in known:
            raise UnknownName("source", name, nearest(name, known) or list(known))
    return [known[name] for name in dict.fromkeys(names)] if names else list(known.values())
