"""What many pages of one state of the data share: worked out once, and forgotten with those data."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from rackrate.market.store import Store

T = TypeVar("T")

MOST_KEPT = 400
"""Answers kept of one market: a few kilobytes each."""

_LOCK = threading.Lock()
_KEPT: WeakKeyDictionary[Store, OrderedDict[Hashable, Any]] = WeakKeyDictionary()


def once(market: Store, key: Hashable, make: Callable[[], T]) -> T:
    """Return what was made of a market under a key; make it where it was not. A store never changes."""
    with _LOCK:
        kept = _KEPT.setdefault(market, OrderedDict())
        if key in kept:
            kept.move_to_end(key)
            known: T = kept[key]
            return known
    found = make()
    with _LOCK:
        kept[key] = found
        if len(kept) > MOST_KEPT:
            kept.popitem(last=False)
    return found
