"""What can a cloud do wrong?"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any


@dataclass
class Faults:
    """What a cloud does wrong; a count is used up, one with each time.

    Attributes:
        n_create_500_but_makes: creates that answer 500 and make the machine all the same.
        n_create_500: creates that answer 500 and make nothing.
        n_error: machines that are made and then fail.
        n_mute: machines that run but never call home.
        n_no_capacity: creates that are refused for want of machines.
        n_asks_gone: offers that somebody else takes between the look and the order.
        list_lag_s: by which listings are behind.
        n_deaf_deletes: deletes that are answered as done, and are not.
        n_delete_500: deletes that answer 500.
        n_too_many: requests that are answered 429.
        retry_after_s: what such an answer says, where the provider says it.
        pull_s: that the image takes.
        skew_s: by which the cloud's clock is ahead.
        is_broke: whether the account has no money.
        bill_lag_s: by which what it says of its bill is behind.
    """

    n_create_500_but_makes: int = 0
    n_create_500: int = 0
    n_error: int = 0
    n_mute: int = 0
    n_no_capacity: int = 0
    n_asks_gone: int = 0
    list_lag_s: float = 0.0
    n_deaf_deletes: int = 0
    n_delete_500: int = 0
    n_too_many: int = 0
    retry_after_s: int = 1
    pull_s: float = 0.0
    skew_s: float = 0.0
    is_broke: bool = False
    bill_lag_s: float = 0.0

    def use(self, name: str) -> bool:
        """Tell whether a fault happens this time."""
        left = getattr(self, name)
        if left > 0:
            setattr(self, name, left - 1)
        return bool(left > 0)


KNOBS: Mapping[str, Any] = {
    "n_create_500_but_makes": 1,
    "n_create_500": 1,
    "n_error": 1,
    "n_mute": 1,
    "n_no_capacity": 1,
    "n_asks_gone": 2,
    "list_lag_s": 0.5,
    "n_deaf_deletes": 2,
    "n_delete_500": 2,
    "n_too_many": 3,
    "pull_s": 0.7,
    "skew_s": -3600.0,
    "bill_lag_s": 1.0,
    "reclaim": True,
    "run_dry": True,
}
"""Every fault with a value that a fleet of seconds feels; the last two are done to a cloud that runs."""


def in_pairs(chance: random.Random, at_once: int = 6) -> list[frozenset[str]]:
    """Return sets of knobs such that each two of them are in one set together, at least.

    Args:
        chance: decides which are together.
        at_once: knobs in a set, at most.
    """
    left = {frozenset(pair) for pair in combinations(KNOBS, 2)}
    found = []
    while left:
        chosen = set(chance.choice(sorted(map(sorted, left))))
        while len(chosen) < at_once:
            others = sorted(KNOBS.keys() - chosen)
            chance.shuffle(others)
            chosen.add(max(others, key=lambda new: sum(frozenset({new, old}) in left for old in chosen)))
        left -= {frozenset(pair) for pair in combinations(chosen, 2)}
        found.append(frozenset(chosen))
    return found
