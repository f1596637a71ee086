"""How long may somebody live, or let others live, without hearing from above?

A lease is a length of time counted on the holder's own monotonic clock from the moment it *asked*: the
answer may have been long on its way, and no two machines agree on the time of day. Who holds a lease
may hand on a part of it, never more than is left: so a chain of leases (owner, keeper, node) ends when
the first of it does, and not after the sum of all.
"""

from __future__ import annotations

from dataclasses import dataclass

ASKS_PER_LEASE = 4
"""So often a holder asks within one length of its lease: three answers may be lost."""
FROZEN_FRAC = 0.5
"""Of a lease: for so long a part that is seen to be stopped may come back. The rest is to end the others."""
ENDING_FRAC = 0.1
"""Of a lease: so long before its end all that hangs on it is ended, where nobody can make it last longer."""


@dataclass(slots=True)
class Freeze:
    """How long has a part of a fleet been seen to be stopped?

    Attributes:
        since_s: the first look that found it so, of all since it last was not; None where it is not.
    """

    since_s: float | None = None

    def is_over(self, at_s: float, ttl_s: float, *, is_frozen: bool) -> bool:
        """Tell at each look whether the part has used up what it may of a lease of `ttl_s`."""
        if not is_frozen:
            self.since_s = None
            return False
        if self.since_s is None:
            self.since_s = at_s
        return at_s - self.since_s >= ttl_s * FROZEN_FRAC


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to live until an instant of the holder's clock.

    Attributes:
        ttl_s: the longest that one renewal lasts, seconds.
        until_s: when it ends.
    """

    ttl_s: float
    until_s: float

    @classmethod
    def asked_at(cls, at_s: float, ttl_s: float) -> Lease:
        """Return the lease that was asked for at an instant and granted for `ttl_s`."""
        return cls(ttl_s, at_s + ttl_s)

    @property
    def period_s(self) -> float:
        """Seconds between two questions for more."""
        return self.ttl_s / ASKS_PER_LEASE

    def renewed(self, asked_at_s: float) -> Lease:
        """Return it renewed at an instant; a late answer to an old question never shortens it."""
        return Lease(self.ttl_s, max(self.until_s, asked_at_s + self.ttl_s))

    def left_s(self, at_s: float) -> float:
        """Return the seconds that are left, 0 when it is over: the most that may be handed on."""
        return max(self.until_s - at_s, 0.0)

    def is_live(self, at_s: float) -> bool:
        """Tell whether it lasts at an instant."""
        return at_s < self.until_s
