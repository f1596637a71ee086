"""What did a question about offers find, and what was left out of it?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from rackrate.market.stats import SHOWN
from rackrate.units import format_age

Count = tuple[int, Mapping[str, int]]
"""How many rows match before the limit; reason to the number of those that a default leaves out."""


@dataclass(frozen=True)
class Found:
    """Rows of a question, and what was left out of them.

    Attributes:
        rows: in the columns of an offer, in the order asked for, cut to the limit.
        count: counts the rest, which is a question of its own, asked once and only where it is shown.
    """

    rows: tuple[tuple[Any, ...], ...]
    count: Callable[[], Count] = field(compare=False)

    @classmethod
    def counted(cls, rows: tuple[tuple[Any, ...], ...], n_matching: int, hidden: Mapping[str, int]) -> Found:
        """Return rows whose rest is counted already."""
        return cls(rows, lambda: (n_matching, hidden))

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and send by values: a count that is still to be made needs the store."""
        return Found.counted, (self.rows, self.n_matching, dict(self.hidden))

    @property
    def n_matching(self) -> int:
        """Return how many rows match, before the limit."""
        return self.count()[0]

    @property
    def hidden(self) -> Mapping[str, int]:
        """Return reason to the number of rows that match all but a default (kind, age)."""
        return self.count()[1]


def counted(counts: Iterable[tuple[bool, str, bool, int]], max_age: timedelta | None) -> Count:
    """Return what was counted, with the reasons in words.

    Args:
        counts: whether the kind is the one asked for, the kind, whether it is too old, and how many are so.
        max_age: how old an offer may be, as it was asked for; None where it was not.
    """
    n_matching = 0
    hidden: dict[str, int] = {}
    for is_kind, kind, is_old, n in counts:
        if is_kind and not is_old:
            n_matching += n
        elif is_old:
            reason = f"older than {format_age(max_age or SHOWN)}" + (" or undated" if max_age else "")
            hidden[reason] = hidden.get(reason, 0) + n
        else:
            hidden[kind] = hidden.get(kind, 0) + n
    return n_matching, hidden
